"""A GPU is not waited for: errors come with the next wait, numbers are made where they are, graphs capture it."""

import lamina
import numpy as np
import pytest
from lamina import nn

pytestmark = pytest.mark.skipif(not lamina.cuda.is_available(), reason=lamina.cuda.why_unavailable())


def on_cuda(*values, **options):
    return lamina.tensor(*values, device="cuda", **options)


def ones(*shape):
    return lamina.ones(*shape, device="cuda")


# --- what a kernel finds out is said by whoever waits next ---

# A call that does not wait and what the next wait raises.
LATE = {
    "embedding": (
        lambda: lamina.embedding(on_cuda([1, 10]), ones(10, 2)),
        IndexError,
        "embedding: index 10 is out of range; need 0 <= index < 10",
    ),
    "index": (
        lambda: ones(2, 3)[:, on_cuda([0, 3])],
        IndexError,
        "index: index 3 is out of range for dimension 1 of size 3; need -3 <= index < 3",
    ),
    "index_put": (
        lambda: ones(3).index_put_([on_cuda([-4])], on_cuda(2.0)),
        IndexError,
        "index: index -4 is out of range for dimension 0 of size 3; need -3 <= index < 3",
    ),
    "index_select": (
        lambda: ones(2).index_select(0, on_cuda([-1])),
        IndexError,
        "index_select: index -1 is out of range for dimension 0 of size 2; need 0 <= index < 2",
    ),
    "index_add": (
        lambda: ones(2).index_add(0, on_cuda([2]), ones(1)),
        IndexError,
        "index_add: index 2 is out of range",
    ),
    "gather": (lambda: ones(2).gather(0, on_cuda([5])), IndexError, "gather: index 5 is out of range"),
    "scatter": (lambda: ones(2).scatter(0, on_cuda([5]), 1.0), IndexError, "scatter: index 5 is out of range"),
    "take": (
        lambda: ones(2, 2).take(on_cuda([4])),
        IndexError,
        "take: index 4 is out of range for dimension 0 of size 4",
    ),
    "one_hot": (lambda: lamina.one_hot(on_cuda([3]), 3), IndexError, "one_hot: index 3 is out of range; need 0 <="),
    "searchsorted": (
        lambda: lamina.searchsorted(ones(2), ones(1), sorter=on_cuda([0, 2])),
        IndexError,
        "searchsorted: index 2 is out of range",
    ),
    "cross_entropy": (
        lambda: lamina.cross_entropy(ones(2, 3), on_cuda([0, 7])),
        IndexError,
        "cross_entropy: target 7 is out of range; need 0 <= target < 3, the number of classes, or ignore_index -100",
    ),
    "nll_loss": (lambda: lamina.nll_loss(ones(1, 3), on_cuda([-1])), IndexError, "nll_loss: target -1 is out of range"),
    "binary_cross_entropy": (
        lambda: lamina.binary_cross_entropy(on_cuda([1.5]), ones(1)),
        ValueError,
        "binary_cross_entropy: input 1.5 is not a probability; need 0 <= input <= 1",
    ),
    "bernoulli": (lambda: lamina.bernoulli(on_cuda([0.5, 1.5])), ValueError, "bernoulli_: p is 1.5; need 0 <= p <= 1"),
    "multinomial": (
        lambda: lamina.multinomial(on_cuda([1.0, -1.0]), 1),
        ValueError,
        "multinomial: probability is -1; need finite numbers >= 0",
    ),
    "multinomial of nothing": (
        lambda: lamina.multinomial(on_cuda([0.0, 0.0]), 1, True),
        ValueError,
        "multinomial: the probabilities add up to 0; need a sum > 0",
    ),
    "multinomial of too few": (
        lambda: lamina.multinomial(on_cuda([0.0, 1.0]), 2),
        ValueError,
        "num_samples is 2 without replacement, but only 1 categories have a probability > 0",
    ),
    "normal": (lambda: lamina.normal(ones(2), on_cuda([1.0, -1.0])), ValueError, "normal: std is -1; need std >= 0"),
    "floor_divide": (
        lambda: on_cuda([1, 2]) // on_cuda([1, 0]),
        RuntimeError,
        "floor_divide: integer division by zero",
    ),
}


@pytest.mark.parametrize("name", LATE)
def test_an_error_of_the_device_is_raised_by_the_next_wait(name):
    call, error, message = LATE[name]
    lamina.cuda.synchronize()
    waits = (
        lambda result: lamina.cuda.synchronize(),
        lambda result: lamina.cuda.current_stream().synchronize(),
        lambda result: result.cpu(),
    )
    for wait in waits:
        result = call()  # nothing is raised here: nobody has looked
        with pytest.raises(error) as caught:
            wait(result)
        assert message in str(caught.value) and str(caught.value).endswith(" (found on cuda:0 while running)")
        lamina.cuda.synchronize()  # said once
        assert (ones(3) + 1).tolist() == [2.0, 2.0, 2.0]


def test_an_event_raises_what_was_found():
    done = lamina.cuda.Event()
    lamina.embedding(on_cuda([3]), ones(2, 2))
    done.record()
    with pytest.raises(IndexError, match="index 3 is out of range"):
        done.synchronize()


def test_a_wrong_target_counts_as_an_ignored_one_until_it_is_raised():
    x = lamina.randn(3, 4, device="cuda").requires_grad_()
    loss = lamina.cross_entropy(x, on_cuda([1, 9, 2]))
    loss.backward()
    with pytest.raises(IndexError, match="target 9 is out of range"):
        lamina.cuda.synchronize()
    want = lamina.cross_entropy(x, on_cuda([1, -100, 2]))
    assert loss.item() == want.item() and x.grad[1].tolist() == [0.0] * 4


def test_an_index_of_the_host_is_refused_at_once():
    with pytest.raises(IndexError, match=r"index 2 at position \(1,\) is out of range for dimension 0 of size 2"):
        ones(2, 3)[[0, 2]]
    with pytest.raises(IndexError, match=r"index 0 at position \(0,\) is out of range for dimension 0 of size 0"):
        ones(0, 3)[on_cuda([0])]  # no harmless index to go on with
    assert ones(2, 3)[[1, -1]].shape == (2, 3) and ones(3)[lamina.tensor([True, False, True])].shape == (2,)


# --- the same numbers, made where they are wanted ---

MADE = {
    "arange": lambda: lamina.arange(-3, 40, 3),
    "arange of floats": lambda: lamina.arange(0.1, 700.0, 0.3, dtype=lamina.float64),
    "linspace": lambda: lamina.linspace(-1, 3, 1001),
    "logspace": lambda: lamina.logspace(-2, 2, 100),
    "eye": lambda: lamina.eye(3, 5),
    "tril_indices": lambda: lamina.tril_indices(30, 17, -2),
    "triu_indices": lambda: lamina.triu_indices(30, 17, -2),
    "randperm": lambda: lamina.randperm(50),
    "bernoulli": lambda: lamina.bernoulli(lamina.linspace(0, 1, 300)),
    "multinomial": lambda: lamina.multinomial(lamina.arange(1, 61, dtype=lamina.float32).reshape(2, 30), 20),
    "multinomial, again and again": lambda: lamina.multinomial((lamina.arange(5) % 2).float(), 200, True),
    "normal": lambda: lamina.normal(lamina.zeros(40), lamina.linspace(0, 1, 40)),
}


@pytest.mark.parametrize("name", MADE)
def test_the_same_numbers_on_both_devices(name):
    lamina.manual_seed(5)
    want = MADE[name]()
    with lamina.device("cuda"):
        lamina.manual_seed(5)
        got = MADE[name]()
    assert got.is_cuda and got.dtype == want.dtype
    if name == "normal":
        np.testing.assert_allclose(got.cpu().numpy(), want.numpy(), rtol=1e-5, atol=1e-6)
    else:
        assert got.tolist() == want.tolist()


# --- nothing waits and nothing is brought from the host: all of this can be captured ---


def assigned(x, i):
    x[i] = 7.0
    x[:, 0] = 1
    return x


# Of x (4, 3), which wants its gradient, indices i (3,), and probabilities p (3,).
CAPTURED = {
    "embedding": lambda x, i, p: lamina.embedding(i, x, padding_idx=0),
    "embedding, renormalized": lambda x, i, p: lamina.embedding(i, x.detach(), max_norm=1.0) * x[0],
    "embedding by frequency": lambda x, i, p: lamina.embedding(i, x, scale_grad_by_freq=True),
    "index": lambda x, i, p: x[i, (i + 1) % 3],
    "index_put": lambda x, i, p: (x * 2).index_put([i], x[:3] + 1, True),
    "assignment": lambda x, i, p: assigned(x * 2, i),
    "gather": lambda x, i, p: x.gather(0, i.reshape(1, 3)),
    "scatter": lambda x, i, p: x.scatter(0, i.reshape(1, 3), 5.0),
    "scatter_reduce": lambda x, i, p: x.scatter_reduce(0, i.reshape(1, 3), x, "amax", include_self=False),
    "index_select": lambda x, i, p: x.index_select(0, i),
    "index_fill": lambda x, i, p: x.index_fill(0, i, 3.0),
    "topk": lambda x, i, p: x.topk(2, dim=0)[0],
    "one_hot": lambda x, i, p: x * lamina.one_hot(i, 4).T,
    "cross_entropy": lambda x, i, p: lamina.cross_entropy(x[:3], i),
    "nll_loss": lambda x, i, p: lamina.nll_loss(x[:3], i, weight=p),
    "binary_cross_entropy": lambda x, i, p: lamina.binary_cross_entropy(x[0].sigmoid(), p),
    "gaussian_nll_loss": lambda x, i, p: nn.functional.gaussian_nll_loss(x[0], p, p),
    "causal attention": lambda x, i, p: lamina.scaled_dot_product_attention(x, x, x, dropout_p=0.5, is_causal=True),
    "interpolate": lambda x, i, p: nn.functional.interpolate(x[None], scale_factor=2.0, mode="linear"),
    "integer division": lambda x, i, p: x[0] * (i // (i + 1) + i % (i + 1)),
    "bernoulli": lambda x, i, p: x * lamina.bernoulli(p),
    "multinomial": lambda x, i, p: x[:2] * lamina.multinomial(p, 3),
    "normal": lambda x, i, p: x * lamina.normal(p, p),
    **{f"made: {name}": lambda x, i, p, make=make: x.sum() * make() for name, make in MADE.items()},
}
del CAPTURED["made: randperm"]  # shuffles on the host


@pytest.mark.parametrize("name", CAPTURED)
def test_what_neither_waits_nor_uploads_can_be_captured(name):
    with lamina.device("cuda"):
        x = lamina.arange(12.0).reshape(4, 3).requires_grad_()
        i, p = lamina.tensor([2, 0, 2]), lamina.tensor([0.25, 0.5, 1.0])

        def step():
            x.grad = None
            y = CAPTURED[name](x, i, p)
            y.sum().backward()
            return y.detach(), x.grad

        replay = lamina.cuda.graph(step)
        for seed in range(2):
            lamina.manual_seed(seed)
            want = [t.cpu().tolist() for t in step()]
            lamina.manual_seed(seed)
            assert [t.cpu().tolist() for t in replay()] == want


def test_a_replay_reports_its_errors():
    at, weight = on_cuda([0, 1]), ones(3, 2)
    replay = lamina.cuda.graph(lambda: lamina.embedding(at, weight) + 1)
    at[1] = 3
    y = replay()
    with pytest.raises(IndexError, match="embedding: index 3 is out of range; need 0 <= index < 3"):
        y.cpu()
    at[1] = 2
    assert replay().tolist() == [[2.0, 2.0], [2.0, 2.0]]
