"""Optimizers: formulas written out in plain Python floats, groups, state, saving, errors.

Against PyTorch, option by option: tests/parity/test_nn_parity.py.
"""

import copy
import math

import lamina
import pytest
from lamina import nn, optim

ALL = [
    (optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (optim.Adam, {"lr": 0.1}),
    (optim.AdamW, {"lr": 0.1, "amsgrad": True}),
    (optim.RMSprop, {"lr": 0.05, "momentum": 0.5, "centered": True}),
    (optim.Adagrad, {"lr": 0.5}),
    (optim.Adadelta, {"lr": 5.0}),
    (optim.Adamax, {"lr": 0.1}),
    (optim.NAdam, {"lr": 0.1}),
    (optim.RAdam, {"lr": 0.3}),
    (optim.Rprop, {"lr": 0.1}),
]


def gradient_of(x):
    return 2 * x + math.cos(x)


def sgd(x, g, s, t, lr=0.1, momentum=0.9, dampening=0.2, decay=0.1):
    g += decay * x
    s["b"] = g if t == 1 else momentum * s["b"] + (1 - dampening) * g
    return x - lr * s["b"]


def nesterov(x, g, s, t, lr=0.1, momentum=0.9):
    s["b"] = g if t == 1 else momentum * s["b"] + g
    return x - lr * (g + momentum * s["b"])


def adam(x, g, s, t, lr=0.1, b1=0.8, b2=0.9, eps=1e-8, decay=0.0, decoupled=False, amsgrad=False):
    if decoupled:
        x *= 1 - lr * decay
    else:
        g += decay * x
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g * g
    v = s["top"] = max(s["v"], s.get("top", 0)) if amsgrad else s["v"]
    return x - lr * s["m"] / (1 - b1**t) / (math.sqrt(v / (1 - b2**t)) + eps)


def rmsprop(x, g, s, t, lr=0.1, alpha=0.8, eps=1e-8, momentum=0.9):
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g * g
    s["m"] = alpha * s.get("m", 0) + (1 - alpha) * g
    s["b"] = momentum * s.get("b", 0) + g / (math.sqrt(s["v"] - s["m"] ** 2) + eps)
    return x - lr * s["b"]


BETAS = {"lr": 0.1, "betas": (0.8, 0.9)}
FORMULAS = [
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1}, sgd),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}, nesterov),
    (optim.SGD, {"lr": 0.1}, lambda x, g, s, t: x - 0.1 * g),
    (optim.SGD, {"lr": 0.1, "maximize": True}, lambda x, g, s, t: x + 0.1 * g),
    (optim.Adam, BETAS, adam),
    (optim.Adam, BETAS | {"weight_decay": 0.2}, lambda *a: adam(*a, decay=0.2)),
    (optim.Adam, BETAS | {"amsgrad": True}, lambda *a: adam(*a, amsgrad=True)),
    (optim.AdamW, BETAS | {"weight_decay": 0.2}, lambda *a: adam(*a, decay=0.2, decoupled=True)),
    (optim.Adam, BETAS | {"maximize": True}, lambda x, g, s, t: adam(x, -g, s, t)),
    (optim.RMSprop, {"lr": 0.1, "alpha": 0.8, "momentum": 0.9, "centered": True}, rmsprop),
]


@pytest.mark.parametrize(("kind", "options", "formula"), FORMULAS, ids=[f"{k.__name__}{o}" for k, o, _ in FORMULAS])
@pytest.mark.parametrize("n", [1, 40_000])  # 40,000 elements are cut into several chunks
def test_formula(kind, options, formula, n):
    start = 1.3
    p = nn.Parameter(lamina.full((n,), start, dtype=lamina.float64))
    optimizer = kind([p], **options)
    x, state = start, {}
    for t in range(1, 7):
        optimizer.zero_grad()
        (p * p + p.sin()).sum().backward()
        optimizer.step()
        x = formula(x, gradient_of(x), state, t)
        values = p.tolist()
        assert values[0] == pytest.approx(x, rel=1e-12) and values[-1] == values[n // 2] == values[0]


@pytest.mark.parametrize(("kind", "options"), ALL, ids=lambda v: getattr(v, "__name__", None))
def test_finds_a_minimum(kind, options):
    p = nn.Parameter(lamina.tensor([3.0, -2.0]))
    optimizer = kind([p], **options)

    def closure():
        optimizer.zero_grad()
        loss = ((p - lamina.tensor([1.0, 2.0])) ** 2).sum()
        loss.backward()
        return loss

    first = optimizer.step(closure).item()
    for _ in range(300):
        last = optimizer.step(closure)
    assert first == 20.0 and last.item() < 0.05 * first


@pytest.mark.parametrize("dtype", [lamina.float16, lamina.bfloat16, lamina.float32])
def test_dtypes(dtype):
    for kind, options in ALL[:4]:
        p = nn.Parameter(lamina.full((5,), 1.5, dtype=dtype))
        optimizer = kind([p], **options)
        for _ in range(3):
            optimizer.zero_grad()
            (p * p).sum().backward()
            optimizer.step()
        assert p.dtype == dtype and 0.0 < p.tolist()[0] < 1.5


def test_non_contiguous_parameters():
    for kind, options in ALL[:4]:
        results = []
        for transposed in (False, True):
            base = lamina.arange(6, dtype=lamina.float32).reshape(2, 3)
            p = nn.Parameter(base.T if transposed else base.T.contiguous())
            optimizer = kind([p], **options)
            for _ in range(3):
                optimizer.zero_grad()
                (p * p * p).sum().backward()
                optimizer.step()
            results.append(p.tolist())
        assert results[0] == results[1]


def test_parameters_without_gradient_stay_and_their_count_waits():
    a, b, c = (nn.Parameter(lamina.ones(1)) for _ in range(3))
    optimizer = optim.Adam([a, b, c], lr=0.1)
    for used in ([a], [a, b], [b]):
        optimizer.zero_grad()
        sum((p * p).sum() for p in used).backward()
        optimizer.step()
    assert c.item() == 1.0 and c not in optimizer.state
    assert optimizer.state[a]["step"].item() == optimizer.state[b]["step"].item() == 2.0
    assert a.item() == pytest.approx(0.8, abs=1e-2) == b.item()


def test_step_is_seen_by_the_tape():
    p = nn.Parameter(lamina.ones(2))
    p.grad = lamina.ones(2)
    loss = (p * p).sum()
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError):  # the saved p is not the one the loss was computed from
        loss.backward()


def test_groups():
    a, b = nn.Parameter(lamina.ones(1)), nn.Parameter(lamina.ones(1))
    optimizer = optim.SGD([{"params": a}, {"params": [b], "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": [("late", nn.Parameter(lamina.ones(1)))], "weight_decay": 0.5})
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.5, 0.1]
    assert optimizer.param_groups[2]["param_names"] == ["late"]
    a.grad, b.grad = lamina.ones(1), lamina.ones(1)
    optimizer.step()
    assert (a.item(), b.item()) == (pytest.approx(0.9), 0.5)
    optimizer.param_groups[1]["lr"] = 0.25  # read at every step
    optimizer.step()
    assert b.item() == 0.25
    assert "lr: 0.25" in repr(optimizer) and "Parameter Group 2" in repr(optimizer)


def test_momentum_switched_on_later():
    p = nn.Parameter(lamina.ones(1))
    optimizer = optim.SGD([p], lr=0.1)
    p.grad = lamina.ones(1)
    optimizer.step()
    optimizer.param_groups[0]["momentum"] = 0.5
    optimizer.step()
    optimizer.step()
    assert p.item() == pytest.approx(1 - 0.1 - 0.1 - 0.15)
    assert optimizer.state[p]["momentum_buffer"].item() == 1.5


def test_zero_grad():
    p = nn.Parameter(lamina.ones(1))
    optimizer = optim.SGD([p], lr=0.1)
    p.grad = lamina.ones(1)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.item() == 0.0
    optimizer.zero_grad()
    assert p.grad is None


@pytest.mark.parametrize(("kind", "options"), ALL, ids=lambda v: getattr(v, "__name__", None))
def test_state_dict_continues_exactly(kind, options, tmp_path):
    def run(p, optimizer, n):
        for _ in range(n):
            optimizer.zero_grad()
            (p * p + p.sin()).sum().backward()
            optimizer.step()

    a = nn.Parameter(lamina.tensor([1.0, -2.0, 0.5]))
    first = kind([a], **options)
    run(a, first, 3)
    lamina.save(first.state_dict(), tmp_path / "state.safetensors")
    b = nn.Parameter(a.detach().clone())
    second = kind([b], lr=123.0)
    second.load_state_dict(lamina.load(tmp_path / "state.safetensors"))
    assert second.param_groups[0]["lr"] == options["lr"]
    run(a, first, 3)
    run(b, second, 3)
    assert a.tolist() == b.tolist()


def test_state_dict_layout():
    net = nn.Linear(2, 1)
    optimizer = optim.Adam([{"params": [net.weight]}, {"params": [net.bias]}])
    net(lamina.ones(1, 2)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    assert [g["params"] for g in state["param_groups"]] == [[0], [1]]
    assert sorted(state["state"][0]) == ["exp_avg", "exp_avg_sq", "step"]
    copied = copy.deepcopy(net)
    other = optim.Adam(copied.parameters())
    with pytest.raises(ValueError, match="the state has 2 parameter groups, the optimizer 1"):
        other.load_state_dict(state)
    with pytest.raises(ValueError, match="group 0 of the state has 1 parameters, the optimizer's 2"):
        other.load_state_dict({"state": {}, "param_groups": state["param_groups"][:1]})
    wrong = optim.Adam([{"params": [nn.Parameter(lamina.zeros(3))]}, {"params": [copied.bias]}])
    with pytest.raises(ValueError, match=r"'exp_avg' has shape \(1, 2\), its parameter \(3,\)"):
        wrong.load_state_dict(state)


def test_native_step_checks_state():
    p = nn.Parameter(lamina.ones(2))
    optimizer = optim.Adam([p])
    p.grad = lamina.ones(2)
    optimizer.step()
    p.data = lamina.ones(2, dtype=lamina.float64)
    p.grad = lamina.ones(2, dtype=lamina.float64)
    with pytest.raises(TypeError, match="adam_step_: parameter 0 is float64, its gradient or state float32"):
        optimizer.step()


@pytest.mark.parametrize(("kind", "options"), ALL[:4], ids=lambda v: getattr(v, "__name__", None))
def test_bitwise_equal_for_any_number_of_threads(kind, options):
    start = lamina.randn(70_001)

    def run(threads):
        lamina.set_num_threads(threads)
        p = nn.Parameter(start.clone())
        optimizer = kind([p], **options)
        for _ in range(3):
            p.grad = p.detach().sin()
            optimizer.step()
        return p.tolist()

    before = lamina.get_num_threads()
    try:
        assert run(1) == run(2) == run(5)
    finally:
        lamina.set_num_threads(before)
