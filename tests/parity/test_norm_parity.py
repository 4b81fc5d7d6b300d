"""Normalisations, losses, dropout and embedding against PyTorch: values and gradients, float32."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import lamina  # noqa: E402

F = torch.nn.functional
rng = np.random.default_rng(0)


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def positive(*shape):
    return rng.uniform(0.5, 2, shape).astype(np.float32)


def prob(*shape):
    return rng.uniform(0.05, 0.95, shape).astype(np.float32)


def classes(*shape, hi):
    return rng.integers(0, hi, shape)


class Fixed(np.ndarray):
    """An array that becomes a tensor without a gradient."""


def fixed(x):
    return x.view(Fixed)


def last(x):
    """The same values with channels-last memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def results(module, function, args, kwargs):
    """The output, and the gradient of a weighted sum of it with respect to every float array."""
    leaves = []

    def ready(x):
        if not isinstance(x, np.ndarray):
            return x
        dense = np.array(np.moveaxis(x, 1, -1) if x.ndim > 2 else x, order="C")
        t = module.tensor(dense)
        t = module.movedim(t, -1, 1) if x.ndim > 2 else t
        t = t.contiguous() if x.flags.c_contiguous else t
        if x.dtype == np.float32 and not isinstance(x, Fixed):
            t = t.detach().requires_grad_()
            leaves.append(t)
        return t

    y = function(*map(ready, args), **{k: ready(v) for k, v in kwargs.items()})
    weights = np.linspace(-1, 2, max(y.numel(), 1), dtype=np.float32).reshape(tuple(y.shape))
    (y * module.tensor(weights)).sum().backward()
    return [y.detach().numpy(), *(x.grad.numpy() for x in leaves)]


def compare(name, *args, tolerance=1e-5, **kwargs):
    ours = results(lamina, getattr(lamina, name), args, kwargs)
    theirs = results(torch, getattr(F, name), args, kwargs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
@pytest.mark.parametrize("shape, dim", [((5, 7), 1), ((5, 7), 0), ((2, 33, 5), 1), ((3, 1000), -1), ((4,), 0)])
def test_softmax(name, shape, dim):
    compare(name, normal(*shape), dim=dim)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(6, 10), (2, 5, 3, 4), (3, 4, 2)])
def test_cross_entropy(shape, weighted, smoothing, reduction):
    target = classes(shape[0], *shape[2:], hi=shape[1])
    target.flat[0] = 3
    options = {"ignore_index": 3, "reduction": reduction, "label_smoothing": smoothing}
    weight = fixed(positive(shape[1])) if weighted else None
    compare("cross_entropy", normal(*shape), target, weight, **options)
    compare("cross_entropy", last(normal(*shape)), target, weight, **options)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_of_probabilities(reduction):
    p = prob(4, 6)
    compare("cross_entropy", normal(4, 6), p / p.sum(1, keepdims=True), reduction=reduction, label_smoothing=0.2)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nll_loss(reduction):
    compare("nll_loss", normal(6, 5), classes(6, hi=5), fixed(positive(5)), reduction=reduction)
    compare("nll_loss", normal(2, 5, 3, 2), classes(2, 3, 2, hi=5), ignore_index=1, reduction=reduction)
    compare("nll_loss", normal(5), np.array(2), reduction=reduction)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    "name, kwargs",
    [
        ("mse_loss", {}),
        ("l1_loss", {}),
        ("smooth_l1_loss", {"beta": 0.7}),
        ("smooth_l1_loss", {"beta": 0.0}),
        ("huber_loss", {"delta": 0.7}),
        ("binary_cross_entropy_with_logits", {}),
        ("kl_div", {"log_target": True}),
    ],
)
def test_elementwise_loss(name, kwargs, reduction):
    compare(name, normal(5, 7), prob(5, 7), reduction=reduction, **kwargs)


def test_binary_cross_entropy():
    compare("binary_cross_entropy", prob(5, 7), prob(5, 7))
    compare("binary_cross_entropy", prob(5, 7), prob(5, 7), fixed(positive(7)), reduction="sum")
    compare("binary_cross_entropy", np.float32([0, 1, 0, 1]), fixed(np.float32([0, 1, 1, 0])), reduction="none")
    compare("kl_div", normal(5, 7), prob(5, 7), reduction="batchmean")
    weights = {"weight": fixed(positive(7)), "pos_weight": fixed(positive(7))}
    compare("binary_cross_entropy_with_logits", normal(5, 7), prob(5, 7), **weights)


def test_row_norms():
    compare("layer_norm", normal(5, 3, 8), (8,), normal(8), normal(8))
    compare("layer_norm", normal(5, 3, 8), (3, 8), normal(3, 8), normal(3, 8), eps=0.1)
    compare("layer_norm", normal(300, 33), (33,))
    compare("rms_norm", normal(5, 3, 8), (8,), normal(8), eps=1e-5)
    compare("rms_norm", normal(4, 100), (100,))


@pytest.mark.parametrize("order", [np.array, last])
def test_channel_norms(order):
    x, w, b = order(normal(4, 6, 5, 7)), normal(6), normal(6)
    mean, var = fixed(normal(6)), fixed(positive(6))
    compare("batch_norm", x, None, None, w, b, True, tolerance=1e-4)
    compare("batch_norm", x, mean, var, w, b, False, eps=1e-3, tolerance=1e-4)
    for groups in (1, 2, 6):
        compare("group_norm", x, groups, w, b, tolerance=1e-4)
    compare("instance_norm", x, None, None, w, b, tolerance=1e-4)
    compare("batch_norm", normal(16, 5), None, None, normal(5), normal(5), True, tolerance=1e-4)


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
def test_running_statistics(name):
    x, outcomes = normal(3, 4, 10), []
    for module, f in ((lamina, getattr(lamina, name)), (torch, getattr(F, name))):
        mean, var = module.ones(4), module.ones(4)
        f(module.tensor(x), mean, var, None, None, True, 0.2)
        outcomes.append([mean.numpy(), var.numpy()])
    np.testing.assert_allclose(*outcomes, rtol=1e-5)


def test_embedding():
    compare("embedding", classes(4, 3, hi=7), normal(7, 5))
    compare("embedding", classes(40, hi=3), normal(3, 5), padding_idx=-1)


@pytest.mark.parametrize("length, keys", [(5, 7), (130, 200), (64, 64)])
@pytest.mark.parametrize("inside", [False, True])
def test_attention(length, keys, inside):
    def heads(n, width):  # (B, H, n, width), with memory (B, n, H, width) when inside
        x = normal(2, n, 4, width) if inside else normal(2, 4, n, width)
        return np.swapaxes(x, 1, 2) if inside else x

    q, k, v = heads(length, 8), heads(keys, 8), heads(keys, 6)
    name = "scaled_dot_product_attention"
    compare(name, q, k, v)
    compare(name, q, k, v, is_causal=True, scale=0.5)
    mask = rng.integers(0, 2, (length, keys)).astype(bool)
    mask[:, 0] = True
    compare(name, q, k, v, attn_mask=mask)
    compare(name, q, k, v, attn_mask=fixed(normal(2, 1, length, keys)))
    compare(name, q, k, v, attn_mask=normal(1, 4, 1, keys))
    compare(name, q, k[:, :2], v[:, :2], enable_gqa=True)
    compare(name, q[0], k[0], v[0])


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_dropout(p):
    lamina.manual_seed(0)
    x = lamina.ones(100, 100).requires_grad_()
    y = lamina.dropout(x, p)
    y.sum().backward()
    np.testing.assert_array_equal(y.detach().numpy(), x.grad.numpy())
    kept = y.detach().numpy() != 0
    assert abs(kept.mean() - (1 - p)) < 0.02
    assert not kept.any() or np.allclose(y.detach().numpy()[kept], 1 / (1 - p))
    assert lamina.dropout(x, p, False) is x
