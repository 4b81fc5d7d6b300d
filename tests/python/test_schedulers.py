"""Learning-rate schedules: values in closed form, groups, resuming, errors. Against PyTorch: tests/parity."""

import math

import lamina
import pytest
from lamina import nn, optim
from lamina.optim import lr_scheduler as lrs


def sgd(*rates, momentum=0.0):
    return optim.SGD([{"params": [nn.Parameter(lamina.zeros(1))], "lr": lr} for lr in rates], momentum=momentum)


def walk(build, n=12, lr=1.0):
    optimizer = sgd(lr)
    schedule = build(optimizer)
    out = []
    for _ in range(n):
        assert schedule.get_last_lr() == [optimizer.param_groups[0]["lr"]]
        out.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    return out


CLOSED = [
    (lambda o: lrs.LambdaLR(o, lambda e: 1 / (e + 1)), lambda e: 1 / (e + 1)),
    (lambda o: lrs.MultiplicativeLR(o, lambda e: 0.5), lambda e: 0.5**e),
    (lambda o: lrs.StepLR(o, 3, 0.5), lambda e: 0.5 ** (e // 3)),
    (lambda o: lrs.MultiStepLR(o, [8, 2], 0.1), lambda e: 0.1 ** ((e >= 2) + (e >= 8))),
    (lambda o: lrs.ConstantLR(o, 0.25, 4), lambda e: 0.25 if e < 4 else 1.0),
    (lambda o: lrs.ConstantLR(o, 0.0, 4), lambda e: 0.0 if e < 4 else 1.0),
    (lambda o: lrs.LinearLR(o, 0.5, 1.0, 5), lambda e: 0.5 + 0.5 * min(e, 5) / 5),
    (lambda o: lrs.ExponentialLR(o, 0.9), lambda e: 0.9**e),
    (lambda o: lrs.PolynomialLR(o, 6, 2.0), lambda e: (1 - min(e, 6) / 6) ** 2),
    (lambda o: lrs.CosineAnnealingLR(o, 4, 0.2), lambda e: 0.2 + 0.4 * (1 + math.cos(math.pi * e / 4))),
    (lambda o: lrs.CosineAnnealingWarmRestarts(o, 4), lambda e: 0.5 * (1 + math.cos(math.pi * (e % 4) / 4))),
]


@pytest.mark.parametrize(("build", "formula"), CLOSED)
def test_closed_forms(build, formula):
    assert walk(build) == pytest.approx([formula(e) for e in range(12)], abs=1e-12)


def test_groups_keep_their_own_base():
    optimizer = sgd(1.0, 0.1)
    schedule = lrs.ExponentialLR(optimizer, 0.5)
    schedule.step()
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.05]
    each = lrs.LambdaLR(sgd(1.0, 0.1), [lambda e: 2.0, lambda e: 3.0])
    assert each.get_last_lr() == pytest.approx([2.0, 0.3])


def test_one_cycle():
    optimizer = sgd(1.0, momentum=0.9)
    schedule = lrs.OneCycleLR(optimizer, max_lr=1.0, total_steps=11, pct_start=0.4, anneal_strategy="linear")
    rates, momenta = [], []
    for step in range(11):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        if step < 10:
            schedule.step()
    assert rates[0] == 1 / 25 and max(rates) == pytest.approx(rates[3], abs=0.15) and rates[-1] == pytest.approx(4e-6)
    assert momenta[0] == pytest.approx(0.95) and min(momenta) >= 0.85 and momenta[-1] == pytest.approx(0.95)
    schedule.step()
    with pytest.raises(ValueError, match="this is step 12; total_steps is 11"):
        schedule.step()
    adam = optim.Adam([nn.Parameter(lamina.zeros(1))])
    lrs.OneCycleLR(adam, max_lr=1.0, total_steps=5)
    assert adam.param_groups[0]["betas"] == (0.95, 0.999)


def test_cyclic():
    rates = walk(lambda o: lrs.CyclicLR(o, 0.0, 1.0, step_size_up=2, step_size_down=4, cycle_momentum=False), 8)
    assert rates == pytest.approx([0, 0.5, 1, 0.75, 0.5, 0.25, 0, 0.5])


def test_chained_and_sequential():
    chained = walk(lambda o: lrs.ChainedScheduler([lrs.ConstantLR(o, 0.1, 2), lrs.ExponentialLR(o, 0.9)]), 5)
    assert chained == pytest.approx([0.1, 0.09, 0.81, 0.729, 0.6561])
    parts = lambda o: [lrs.ConstantLR(o, 0.5, 100), lrs.ExponentialLR(o, 0.5)]  # noqa: E731
    assert walk(lambda o: lrs.SequentialLR(o, parts(o), [3]), 6) == pytest.approx([0.5, 0.5, 0.5, 1, 0.5, 0.25])


def test_plateau():
    optimizer = sgd(1.0)
    schedule = lrs.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, min_lr=0.2)
    for metric, expected in [
        (3, 1),
        (2, 1),
        (2, 1),
        (2, 0.5),
        (2, 0.5),
        (2, 0.25),
        (2, 0.25),
        (2, 0.2),
        (2, 0.2),
        (2, 0.2),
    ]:
        schedule.step(lamina.tensor(float(metric)))
        assert schedule.get_last_lr() == [expected]


@pytest.mark.parametrize(("build", "formula"), [c for c in CLOSED if c[0](sgd(1.0)).__class__ is not lrs.LambdaLR])
def test_state_resumes(build, formula):
    a, b = sgd(1.0), sgd(1.0)
    first, second = build(a), build(b)
    for _ in range(5):
        first.step()
    second.load_state_dict(first.state_dict())
    b.load_state_dict(a.state_dict())
    for _ in range(4):
        first.step(), second.step()
        assert a.param_groups[0]["lr"] == b.param_groups[0]["lr"]


def test_combined_state_resumes():
    a, b = sgd(1.0), sgd(1.0)
    build = lambda o: lrs.SequentialLR(o, [lrs.LinearLR(o), lrs.StepLR(o, 2)], [3])  # noqa: E731
    first, second = build(a), build(b)
    for _ in range(4):
        first.step()
    second.load_state_dict(first.state_dict())
    b.load_state_dict(a.state_dict())
    for _ in range(4):
        first.step(), second.step()
        assert a.param_groups[0]["lr"] == b.param_groups[0]["lr"]


def test_resuming_at_an_epoch():
    optimizer = sgd(1.0)
    with pytest.raises(KeyError, match="group 0 has no 'initial_lr' to resume at epoch 3"):
        lrs.StepLR(optimizer, 2, last_epoch=3)
    optimizer.param_groups[0]["initial_lr"] = 1.0
    schedule = lrs.ExponentialLR(optimizer, 0.5)
    schedule.step(3)
    assert schedule.get_last_lr() == [0.125]
