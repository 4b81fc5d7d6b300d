"""Captured graphs: a replay does what the step does, draws new numbers, keeps its memory; errors name the operator."""

import gc

import lamina
import pytest
from lamina import nn

pytestmark = pytest.mark.skipif(not lamina.cuda.is_available(), reason=lamina.cuda.why_unavailable())


def training(seed=0, optimizer=lamina.optim.AdamW, **options):
    """A model with dropout, its data and one step of its training."""
    lamina.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 16),
        nn.LayerNorm(16),
        nn.GELU(),
        nn.Dropout(0.5),
        nn.Linear(16, 5),
    ).to("cuda")
    optimizer = optimizer(model.parameters(), **{"lr": 0.01, **options})
    x, target = lamina.randn(8, 1, 6, 6).to("cuda"), lamina.randint(0, 5, (8,)).to("cuda")

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), target)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return model, x, target, step


def state(model):
    return {name: value.cpu().tolist() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (lamina.optim.AdamW, {}),
        (lamina.optim.SGD, {"momentum": 0.9}),
        (lamina.optim.RMSprop, {}),
    ],
)
def test_replays_are_steps(optimizer, options):
    model, x, _, step = training(1, optimizer, **options)
    batches = [lamina.randn(8, 1, 6, 6) for _ in range(4)]
    lamina.manual_seed(2)
    losses = []
    for batch in [x.cpu(), x.cpu(), *batches]:
        x.copy_(batch)
        losses.append(step().item())
    expected = state(model)

    model, x, _, step = training(1, optimizer, **options)
    lamina.manual_seed(2)
    replay = lamina.cuda.graph(step)  # two steps to warm up; the recording itself does not happen
    replayed = []
    for batch in batches:
        x.copy_(batch)
        replayed.append(replay().item())
    assert replayed == losses[2:]
    assert state(model) == expected


@pytest.mark.parametrize("optimizer", [lamina.optim.Adam, lamina.optim.SGD, lamina.optim.RMSprop])
def test_a_schedule_reaches_a_captured_step(optimizer):
    def run(lr, captured):
        w = nn.Parameter(lamina.tensor([1.0, -2.0], device="cuda"))
        rule = optimizer([w], lr=lr)
        schedule = lamina.optim.lr_scheduler.ExponentialLR(rule, gamma=0.5)

        def step():
            rule.zero_grad()
            (w * w).sum().backward()
            rule.step()

        replay = lamina.cuda.graph(step) if captured else step
        for _ in range(0 if captured else 2):
            step()
        for _ in range(3):
            replay()
            schedule.step()
        assert schedule.get_last_lr() == [0.03125]
        return w.tolist()

    assert run(lamina.tensor(0.25, device="cuda"), captured=True) == run(0.25, captured=False)


def test_a_learning_rate_on_another_device_is_refused():
    w = nn.Parameter(lamina.ones(2))
    w.grad = lamina.ones(2)
    with pytest.raises(RuntimeError, match=r"sgd_step_: lr is on cuda:0, parameter 0 on cpu; need one device"):
        lamina.optim.SGD([w], lr=lamina.tensor(0.1, device="cuda")).step()
    with pytest.raises(
        TypeError, match=r"sgd_step_: lr is a tensor of shape \(\) and float64 on cuda:0; need a number"
    ):
        lamina.optim.SGD([w], lr=lamina.tensor(0.1, dtype=lamina.float64, device="cuda")).step()


def test_every_replay_draws_new_numbers_and_a_seed_repeats_them():
    x, generator = lamina.ones(1000, device="cuda"), lamina.Generator()

    def step():
        noise = lamina.rand(1000, device="cuda", generator=generator)
        return nn.functional.dropout(x, 0.5), lamina.randn(1000, device="cuda"), noise

    replay = lamina.cuda.graph(step)

    def draw():
        return [t.cpu().tolist() for t in replay()]

    lamina.manual_seed(3), generator.manual_seed(4)
    first, second = draw(), draw()
    assert all(a != b for a, b in zip(first, second, strict=True))
    lamina.manual_seed(3), generator.manual_seed(4)
    assert draw() == first
    lamina.manual_seed(3), generator.manual_seed(4)
    assert [t.cpu().tolist() for t in step()] == first  # the same as without a graph


def test_memory_of_a_graph_is_its_own_until_it_is_gone():
    gc.collect()
    before = lamina.cuda.memory_allocated()
    x = lamina.arange(1000.0, device="cuda")
    lamina.cuda.empty_cache()
    reserved = lamina.cuda.memory_reserved()
    replay = lamina.cuda.graph(lambda: (x * 2 + 1).exp().log() / 2)
    expected = replay().cpu().tolist()
    assert lamina.cuda.memory_reserved() > reserved
    others = [lamina.full((1000,), float("nan"), device="cuda") for _ in range(20)]
    assert replay().cpu().tolist() == expected
    del others, replay
    assert lamina.cuda.memory_allocated() == before + 4096  # x
    lamina.cuda.empty_cache()
    assert lamina.cuda.memory_reserved() == reserved  # its pool went back to the device


@pytest.mark.parametrize(
    ("step", "operator"),
    [
        (lambda x: x.sum().item(), "item"),
        (lambda x: float(x.sum()), "item"),
        (lambda x: x[x > 0], "index"),
        (lambda x: lamina.nonzero(x), "nonzero"),
        (lambda x: x + lamina.tensor([1.0, 2.0, 3.0]).to("cuda"), "copy"),
        (lambda x: x.cpu(), "copy"),
        (lambda x: lamina.randperm(5, device="cuda"), "randperm"),
    ],
)
def test_what_cannot_be_captured_is_named(step, operator):
    x = lamina.tensor([1.0, -2.0, 3.0], device="cuda")
    gc.collect()
    before = lamina.cuda.memory_allocated()
    with pytest.raises(RuntimeError, match=rf"^{operator}: .*while a graph is captured, nothing"):
        lamina.cuda.graph(lambda: step(x * 2))
    assert (x * 2).tolist() == [2.0, -4.0, 6.0]  # everything goes on
    gc.collect()
    assert lamina.cuda.memory_allocated() == before
    assert lamina.cuda.graph(lambda: x * 3)().tolist() == [3.0, -6.0, 9.0]


def test_an_operator_of_the_backward_pass_is_named():
    class Reads(lamina.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * grad.sum().item()

    x = lamina.ones(3, device="cuda", requires_grad=True)
    with pytest.raises(RuntimeError, match=r"^item: .*while a graph is captured"):
        lamina.cuda.graph(lambda: Reads.apply(x).sum().backward())


def test_a_node_of_the_backward_pass_is_named():
    on_cpu = lamina.ones(3, requires_grad=True)
    x = on_cpu.to("cuda")
    with pytest.raises(RuntimeError, match=r"^to: copy: cuda: while a graph is captured, nothing can be read"):
        lamina.cuda.graph(lambda: (x * 2).sum().backward(), warmup=0)


def test_errors_of_the_step_come_through():
    with pytest.raises(ZeroDivisionError):
        lamina.cuda.graph(lambda: lamina.ones(2, device="cuda") * (1 // 0), warmup=0)
    assert lamina.cuda.graph(lambda: lamina.ones(2, device="cuda") + 1)().tolist() == [2.0, 2.0]


def test_graphs_in_turn_on_one_stream():
    x = lamina.zeros(4, device="cuda")
    add, double = lamina.cuda.graph(lambda: x.add_(1), warmup=0), lamina.cuda.graph(lambda: x.mul_(2), warmup=0)
    add(), double(), add()
    assert x.tolist() == [3.0] * 4
