"""Layers: shapes, wiring of arguments, modes, errors; numbers against formulas written out in NumPy.

Against PyTorch, layer by layer: tests/parity/test_nn_parity.py.
"""

import math

import lamina
import numpy as np
import pytest
from lamina import nn
from lamina.autograd.check import gradcheck
from lamina.nn import functional as F


def array(t):
    return t.detach().numpy()


def wide(t):
    return array(t.to(lamina.float64).cpu())


def close(t, expected, tolerance=1e-5):
    np.testing.assert_allclose(array(t), expected, rtol=tolerance, atol=tolerance)


def test_linear():
    layer = nn.Linear(3, 2)
    x = lamina.randn(4, 5, 3)
    close(layer(x), array(x) @ array(layer.weight).T + array(layer.bias))
    assert nn.Linear(3, 2, bias=False).bias is None
    assert nn.Linear(3, 2, dtype=lamina.float64).weight.dtype == lamina.float64
    bound = 1 / math.sqrt(3)
    assert abs(array(nn.Linear(3, 200).weight)).max() <= bound


def test_bilinear():
    layer = nn.Bilinear(2, 3, 4)
    a, b = lamina.randn(5, 2), lamina.randn(5, 3)
    close(layer(a, b), np.einsum("bi,oij,bj->bo", array(a), array(layer.weight), array(b)) + array(layer.bias))


def test_conv_shapes_and_padding_modes():
    x = lamina.randn(2, 4, 9, 8)
    assert tuple(nn.Conv2d(4, 6, 3, stride=2, padding=1)(x).shape) == (2, 6, 5, 4)
    assert tuple(nn.Conv2d(4, 6, (3, 5), padding="same")(x).shape) == (2, 6, 9, 8)
    assert tuple(nn.Conv2d(4, 8, 3, groups=4).weight.shape) == (8, 1, 3, 3)
    assert tuple(nn.ConvTranspose2d(4, 8, 3, groups=4).weight.shape) == (4, 2, 3, 3)
    up = nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1)
    assert tuple(up(x).shape) == (2, 2, 17, 15)
    assert tuple(up(x, output_size=[18, 16]).shape) == (2, 2, 18, 16)
    for mode in ("reflect", "replicate", "circular"):
        layer = nn.Conv2d(4, 6, 3, padding=2, padding_mode=mode)
        padded = F.pad(x, (2, 2, 2, 2), mode=mode)
        close(layer(x), array(F.conv2d(padded, layer.weight, layer.bias)))


def test_transposed_convolution_is_the_gradient_of_convolution():
    conv, up = nn.Conv1d(3, 5, 4, stride=2, bias=False), nn.ConvTranspose1d(5, 3, 4, stride=2, bias=False)
    up.load_state_dict(conv.state_dict())
    x = lamina.randn(1, 3, 10, requires_grad=True)
    y = conv(x)
    seed = lamina.randn(*y.shape)
    y.backward(seed)
    close(x.grad, array(up(seed)))


def test_batch_norm_statistics():
    layer = nn.BatchNorm1d(3, momentum=0.25)
    x = lamina.randn(8, 3) * 2 + 5
    a = array(x)
    close(layer(x), (a - a.mean(0)) / np.sqrt(a.var(0) + 1e-5), 1e-4)
    close(layer.running_mean, 0.25 * a.mean(0))
    close(layer.running_var, 0.75 + 0.25 * a.var(0, ddof=1))
    assert layer.num_batches_tracked.item() == 1
    layer.eval()
    close(layer(x), (a - array(layer.running_mean)) / np.sqrt(array(layer.running_var) + 1e-5), 1e-4)
    assert layer.num_batches_tracked.item() == 1
    layer.reset_running_stats()
    assert array(layer.running_var).tolist() == [1, 1, 1]
    average = nn.BatchNorm1d(3, momentum=None)
    average(x), average(x + 1)
    close(average.running_mean, a.mean(0) + 0.5)


def test_norms_normalize():
    x = lamina.randn(4, 6, 5) * 3 + 1
    for layer, axes in [(nn.LayerNorm(5), -1), (nn.LayerNorm([6, 5]), (1, 2)), (nn.InstanceNorm1d(6), -1)]:
        y = array(layer(x))
        np.testing.assert_allclose(y.mean(axes), 0, atol=1e-5)
        np.testing.assert_allclose(y.std(axes), 1, atol=1e-3)
    groups = array(nn.GroupNorm(2, 6)(x)).reshape(4, 2, 15)
    np.testing.assert_allclose(groups.std(-1), 1, atol=1e-3)
    np.testing.assert_allclose((array(nn.RMSNorm(5)(x)) ** 2).mean(-1), 1, atol=1e-3)
    assert nn.LayerNorm(5, bias=False).bias is None and nn.GroupNorm(2, 6, affine=False).weight is None


def test_instance_norm_running_statistics():
    layer = nn.InstanceNorm1d(2, track_running_stats=True, momentum=0.5)
    x = lamina.randn(3, 2, 7)
    layer(x)
    close(layer.running_mean, 0.5 * array(x).mean((0, 2)))
    layer.eval()
    assert tuple(layer(x).shape) == (3, 2, 7)


def test_dropout():
    lamina.manual_seed(0)
    x = lamina.ones(50, 40)
    layer = nn.Dropout(0.25)
    y = array(layer(x))
    np.testing.assert_allclose(np.unique(y), [0, 4 / 3], rtol=1e-6)
    assert 0.2 < (y == 0).mean() < 0.3
    assert array(layer.eval()(x)).tolist() == array(x).tolist()
    channels = array(nn.Dropout2d(0.5)(lamina.ones(20, 10, 3, 3))).reshape(200, 9)
    assert (channels.min(1) == channels.max(1)).all() and 0.3 < (channels[:, 0] == 0).mean() < 0.7
    assert set(np.unique(array(nn.Dropout1d(1.0)(lamina.ones(2, 3, 4))))) == {0.0}
    z = lamina.randn(200, 100)
    kept = array(nn.AlphaDropout(0.3)(z))
    assert abs(kept.mean()) < 0.03 and abs(kept.std() - 1) < 0.03


def test_embedding():
    layer = nn.Embedding(5, 3, padding_idx=-1)
    assert layer.padding_idx == 4 and array(layer.weight)[4].tolist() == [0, 0, 0]
    where = lamina.tensor([[0, 4], [0, 1]])
    y = layer(where)
    close(y, array(layer.weight)[array(where)])
    y.sum().backward()
    assert array(layer.weight.grad)[:, 0].tolist() == [2, 1, 0, 0, 0]  # the padding row gets none
    table = lamina.randn(4, 2)
    frozen = nn.Embedding.from_pretrained(table)
    assert not frozen.weight.requires_grad and frozen(lamina.tensor(2)).tolist() == table[2].tolist()


def test_pools_and_shapes():
    x = lamina.arange(16, dtype=lamina.float32).reshape(1, 1, 4, 4)
    assert nn.MaxPool2d(2)(x).reshape(-1).tolist() == [5, 7, 13, 15]
    assert nn.AvgPool2d(2)(x).reshape(-1).tolist() == [2.5, 4.5, 10.5, 12.5]
    _, where = nn.MaxPool2d(2, return_indices=True)(x)
    assert where.reshape(-1).tolist() == [5, 7, 13, 15]
    assert nn.AdaptiveAvgPool2d(1)(x).item() == 7.5
    assert nn.AdaptiveMaxPool2d((1, 2))(x).reshape(-1).tolist() == [13, 15]
    assert tuple(nn.Flatten()(x).shape) == (1, 16) and tuple(nn.Unflatten(1, (1, 1))(x).shape) == (1, 1, 1, 4, 4)
    assert tuple(nn.Upsample(scale_factor=2)(x).shape) == (1, 1, 8, 8)
    assert tuple(nn.Upsample(size=(3, 5), mode="bilinear")(x).shape) == (1, 1, 3, 5)
    shuffled = nn.PixelShuffle(2)(lamina.randn(1, 8, 3, 2))
    assert tuple(shuffled.shape) == (1, 2, 6, 4)
    assert tuple(nn.PixelUnshuffle(2)(shuffled).shape) == (1, 8, 3, 2)
    assert tuple(nn.ZeroPad2d((1, 0, 2, 0))(x).shape) == (1, 1, 6, 5)
    assert nn.ConstantPad1d(1, 7.0)(lamina.zeros(1, 2)).tolist() == [[7, 0, 0, 7]]


def softplus(x):
    return np.log1p(np.exp(-abs(x))) + np.maximum(x, 0)


ACTIVATIONS = {
    "ReLU6": lambda x: np.clip(x, 0, 6),
    "Hardtanh": lambda x: np.clip(x, -1, 1),
    "Hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "CELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "LogSigmoid": lambda x: -softplus(-x),
    "Tanhshrink": lambda x: x - np.tanh(x),
    "Softshrink": lambda x: np.sign(x) * np.maximum(abs(x) - 0.5, 0),
    "Hardshrink": lambda x: np.where(abs(x) > 0.5, x, 0),
    "ReLU": lambda x: np.maximum(x, 0),
    "LeakyReLU": lambda x: np.where(x > 0, x, 0.01 * x),
    "SiLU": lambda x: x / (1 + np.exp(-x)),
    "Mish": lambda x: x * np.tanh(softplus(x)),
    "Hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "Softplus": softplus,
    "PReLU": lambda x: np.where(x > 0, x, 0.25 * x),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    layer = getattr(nn, name)()
    x = lamina.linspace(-4.1, 4.3, 40, dtype=lamina.float64)
    close(layer.double()(x), ACTIVATIONS[name](array(x)), 1e-9)
    assert gradcheck(layer, x.clone().requires_grad_())


INPLACE = "ReLU ReLU6 SELU SiLU Mish Hardswish Hardsigmoid LeakyReLU ELU CELU Hardtanh".split()


@pytest.mark.parametrize("name", INPLACE)
def test_inplace(name):
    x = lamina.linspace(-2, 2, 9)
    expected = getattr(nn, name)()(x).tolist()
    y = x.clone()
    assert getattr(nn, name)(inplace=True)(y).tolist() == expected == y.tolist()
    leaf = lamina.linspace(-2, 2, 9, requires_grad=True)
    getattr(nn, name)(inplace=True)(leaf * 1).sum().backward()
    other = lamina.linspace(-2, 2, 9, requires_grad=True)
    getattr(nn, name)()(other * 1).sum().backward()
    assert leaf.grad.tolist() == other.grad.tolist()


def test_other_activations():
    x = lamina.randn(3, 6)
    a = array(x)
    close(nn.GLU()(x), a[:, :3] / (1 + np.exp(-a[:, 3:])))
    close(nn.Softmin(1)(x), np.exp(-a) / np.exp(-a).sum(1, keepdims=True))
    close(nn.Threshold(0.1, 9.0)(x), np.where(a > 0.1, a, 9))
    image = lamina.randn(2, 3, 4, 4)
    np.testing.assert_allclose(array(nn.Softmax2d()(image)).sum(1), 1, rtol=1e-5)
    random = nn.RReLU(0.1, 0.3)
    slopes = array(random(-lamina.ones(1000)))
    assert -0.3 <= slopes.min() < -0.28 and -0.12 < slopes.max() <= -0.1
    close(random.eval()(-lamina.ones(3)), -0.2)
    hard = array(F.gumbel_softmax(lamina.randn(50, 4), hard=True))
    np.testing.assert_allclose(hard.sum(1), 1, rtol=1e-6)
    assert ((abs(hard) < 1e-6) | (abs(hard - 1) < 1e-6)).all()


def test_losses():
    a, b = lamina.randn(4, 3), lamina.randn(4, 3)
    d = array(a) - array(b)
    close(nn.MSELoss()(a, b), (d**2).mean())
    close(nn.L1Loss(reduction="sum")(a, b), abs(d).sum(), 1e-4)
    close(nn.HuberLoss(delta=0.5)(a, b), np.where(abs(d) < 0.5, d * d / 2, 0.5 * (abs(d) - 0.25)).mean())
    close(nn.SmoothL1Loss(reduction="none")(a, b), np.where(abs(d) < 1, d * d / 2, abs(d) - 0.5))
    classes = lamina.tensor([0, 2, 1, 2])
    log_p = array(a) - np.log(np.exp(array(a)).sum(1, keepdims=True))
    picked = log_p[range(4), array(classes)]
    close(nn.CrossEntropyLoss()(a, classes), -picked.mean())
    weights = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    w = weights[array(classes)]
    close(nn.CrossEntropyLoss(lamina.tensor(weights.tolist()))(a, classes), -(picked * w).sum() / w.sum())
    close(nn.NLLLoss()(F.log_softmax(a, 1), classes), -picked.mean())
    p, t = lamina.rand(4, 3), lamina.rand(4, 3)
    bce = -(array(t) * np.log(array(p)) + (1 - array(t)) * np.log(1 - array(p)))
    close(nn.BCELoss()(p, t), bce.mean(), 1e-4)
    close(nn.BCEWithLogitsLoss()(lamina.log(p / (1 - p)), t), bce.mean(), 1e-3)
    assert nn.BCELoss()(lamina.tensor([1.0, 0.0]), lamina.tensor([1.0, 0.0])).item() == 0.0
    assert nn.BCELoss()(lamina.tensor([0.0]), lamina.tensor([1.0])).item() == 100.0
    zero = lamina.tensor([[0.0, 1.0]])
    assert nn.KLDivLoss(reduction="sum")(lamina.log(lamina.tensor([[0.5, 0.5]])), zero).item() == pytest.approx(
        math.log(2)
    )


PAIRS = ["SmoothL1Loss", "HuberLoss", "BCELoss", "KLDivLoss", "PoissonNLLLoss", "SoftMarginLoss"]
TRIPLES = ["CosineEmbeddingLoss", "TripletMarginLoss", "GaussianNLLLoss", "MarginRankingLoss"]


@pytest.mark.parametrize(("name", "n_inputs"), [(name, 2) for name in PAIRS] + [(name, 3) for name in TRIPLES])
def test_loss_gradients(name, n_inputs):
    lamina.manual_seed(3)
    inputs = [(lamina.rand(5, 4, dtype=lamina.float64) * 0.8 + 0.1) for _ in range(n_inputs)]
    if name in ("CosineEmbeddingLoss", "MarginRankingLoss"):
        inputs[2] = lamina.tensor([1.0, -1, 1, -1, 1], dtype=lamina.float64)
        inputs = [*inputs[:2], inputs[2] if name.startswith("Cos") else inputs[2].unsqueeze(1)]
    for x in inputs[: 3 if name in ("TripletMarginLoss", "GaussianNLLLoss") else 1]:
        x.requires_grad_()
    assert gradcheck(getattr(nn, name)(), inputs)


def test_functions():
    a, b = lamina.randn(4, 3), lamina.randn(4, 3)
    x, y = array(a), array(b)
    close(F.normalize(a), x / np.linalg.norm(x, axis=1, keepdims=True))
    close(F.cosine_similarity(a, b), (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1))
    close(F.pairwise_distance(a, b), np.linalg.norm(x - y + 1e-6, axis=1))
    assert F.one_hot(lamina.tensor([1, 0]), 3).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert tuple(F.one_hot(lamina.zeros(0, dtype=lamina.int64), 3).shape) == (0, 3)


def test_gradient_clipping():
    def parameters():
        ps = [nn.Parameter(lamina.zeros(2)), nn.Parameter(lamina.zeros(1)), nn.Parameter(lamina.zeros(1))]
        ps[0].grad, ps[1].grad = lamina.tensor([2.0, -3.0]), lamina.tensor([6.0])
        return ps

    ps = parameters()
    assert nn.utils.clip_grad_norm_(ps, 3.5).item() == pytest.approx(7.0)
    np.testing.assert_allclose(ps[0].grad.tolist() + ps[1].grad.tolist(), [1.0, -1.5, 3.0], rtol=1e-5)
    ps = parameters()
    assert nn.utils.clip_grad_norm_(iter(ps), 100.0, norm_type=math.inf).item() == 6.0
    assert ps[1].grad.tolist() == [6.0]
    nn.utils.clip_grad_value_(ps, 2.5)
    assert ps[0].grad.tolist() == [2.0, -2.5] and ps[1].grad.tolist() == [2.5]
    assert nn.utils.clip_grad_norm_([], 1.0).item() == 0.0
    ps[0].grad = lamina.tensor([math.nan, 0.0])
    with pytest.raises(RuntimeError, match=r"total norm of order 2\.0 is nan; need it finite"):
        nn.utils.clip_grad_norm_(ps, 1.0, error_if_nonfinite=True)
    with pytest.raises(ValueError, match="norm_type is 0; need a number other than 0"):
        nn.utils.get_total_norm([lamina.ones(2)], 0)
    with pytest.raises(TypeError, match="tensor 1 is int64; need a floating-point dtype"):
        nn.utils.get_total_norm([lamina.ones(2), lamina.ones(2, dtype=lamina.int64)])
    with pytest.raises(ValueError, match=r"total_norm is float32 of shape \(2,\); need one floating-point number"):
        nn.utils.clip_grads_with_norm_(ps, 1.0, lamina.ones(2))


def test_gradients_of_all_kinds_are_clipped_as_one():
    """Orders, dtypes, layouts, sizes; on all devices, and the same for any number of threads."""
    rng = np.random.default_rng(1)
    for device in ("cpu", "cuda") if lamina.cuda.is_available() else ("cpu",):

        def parameters(dtypes, device=device):
            shapes, out = [(3,), (40, 500), (), (0, 2), (7, 11), (70000,)], []
            for i, shape in enumerate(shapes):
                p = nn.Parameter(lamina.zeros(shape, dtype=dtypes[i % len(dtypes)], device=device))
                g = lamina.tensor(0.1 * rng.standard_normal(shape)).to(device, p.dtype)
                p.grad = lamina.stack([g, g], -1)[..., 0] if i == 4 else g.t().contiguous().t() if i == 1 else g
                out.append(p)
            return out

        for dtypes in [(lamina.float32,), (lamina.float64,), (lamina.bfloat16, lamina.float32), (lamina.float16,)]:
            for p in (2.0, 1.0, 3.0, math.inf, -math.inf):
                ps = parameters(dtypes)
                before = [wide(q.grad).copy() for q in ps]
                flat = np.concatenate([b.ravel() for b in before])
                half = dtypes[0] in (lamina.float16, lamina.bfloat16)
                total = nn.utils.clip_grad_norm_(ps, 0.5, p)
                assert total.dtype == lamina.promote_types(dtypes[0], dtypes[-1]) and total.device == ps[0].device
                want = np.linalg.norm(flat, p)
                np.testing.assert_allclose(total.item(), want, rtol=1e-2 if half else 1e-5)
                factor = min(1.0, 0.5 / (want + 1e-6))
                for q, b in zip(ps, before, strict=True):
                    np.testing.assert_allclose(wide(q.grad), b * factor, rtol=2e-2 if half else 1e-5, atol=1e-7)
        ps = parameters((lamina.float32, lamina.float64))
        want = np.linalg.norm(np.concatenate([wide(q.grad).ravel() for q in ps]))
        versions = [q.grad._version for q in ps]
        total = nn.utils.clip_grad_norm_(ps, 2.0)
        assert total.dtype == lamina.float64 and total.item() == pytest.approx(want, rel=1e-5)
        assert nn.utils.get_total_norm([q.grad for q in ps]).item() == pytest.approx(2.0, rel=1e-4)
        assert all(q.grad._version > v for q, v in zip(ps, versions, strict=True))


def test_clipping_does_not_depend_on_threads():
    grads = [lamina.randn(n) for n in (5, 100_000, 33_333, 1, 70_000)]
    before, results = lamina.get_num_threads(), []
    try:
        for n in (1, 2, 5):
            lamina.set_num_threads(n)
            ps = [nn.Parameter(lamina.zeros_like(g)) for g in grads]
            for p, g in zip(ps, grads, strict=True):
                p.grad = g.clone()
            total = nn.utils.clip_grad_norm_(ps, 1.0)
            results.append([total.numpy().tobytes(), *(p.grad.numpy().tobytes() for p in ps)])
    finally:
        lamina.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.skipif(not lamina.cuda.is_available(), reason=lamina.cuda.why_unavailable())
def test_gradients_on_two_devices_are_clipped_as_one():
    ps = [nn.Parameter(lamina.zeros(1)), nn.Parameter(lamina.zeros(1, device="cuda"))]
    ps[0].grad, ps[1].grad = lamina.tensor([3.0]), lamina.tensor([4.0], device="cuda")
    total = nn.utils.clip_grad_norm_(ps, 1.0)
    assert total.item() == pytest.approx(5.0) and not total.is_cuda
    assert ps[1].grad.item() == pytest.approx(0.8) and ps[1].grad.is_cuda


def test_parameters_as_a_vector():
    net = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert tuple(vector.shape) == (9,)
    nn.utils.vector_to_parameters(lamina.arange(9, dtype=lamina.float32), net.parameters())
    assert net.bias.tolist() == [6, 7, 8] and net.weight.requires_grad
    with pytest.raises(ValueError, match="vec has 8 elements, the parameters 9"):
        nn.utils.vector_to_parameters(lamina.zeros(8), net.parameters())


def test_softmax_needs_a_dim():
    for layer in (nn.Softmax(), nn.LogSoftmax(), nn.Softmin()):
        with pytest.raises(TypeError, match="argument 'dim' must be int, not NoneType"):
            layer(lamina.zeros(2))


def test_sparse_embedding_says_so():
    with pytest.raises(NotImplementedError, match="sparse is True"):
        nn.Embedding(3, 2, sparse=True)
    with pytest.raises(NotImplementedError, match="sparse is True"):
        F.embedding(lamina.tensor([0]), lamina.zeros(3, 2), sparse=True)


def test_embedding_max_norm_changes_the_rows_read():
    for p in (1.0, 2.0, float("inf")):
        table = np.array([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0], [1.0, 0.0]], np.float32)
        layer = nn.Embedding(4, 2, max_norm=1.5, norm_type=p, _weight=lamina.tensor(table))
        version = layer.weight._version
        read = layer(lamina.tensor([[0, 1], [0, 3]]))
        norms = np.linalg.norm(table, p, axis=1, keepdims=True)
        want = np.where(norms > 1.5, table * 1.5 / norms, table)
        close(read, want[[[0, 1], [0, 3]]], 1e-6)
        close(layer.weight, np.concatenate([want[:2], table[2:3], want[3:]]), 1e-6)  # row 2 was not read
        assert layer.weight._version == version + 1
        layer(lamina.tensor([1]))
        assert layer.weight._version == version + 1  # nothing to scale
        read.sum().backward()
        assert layer.weight.grad.tolist() == [[2, 2], [1, 1], [0, 0], [1, 1]]
    assert repr(layer) == "Embedding(4, 2, max_norm=1.5, norm_type=inf)"


def test_embedding_gradient_by_frequency():
    layer = nn.Embedding(4, 2, padding_idx=3, scale_grad_by_freq=True)
    seed = lamina.randn(5, 2, requires_grad=True)
    y = layer(lamina.tensor([0, 1, 0, 0, 3]))
    (grad,) = lamina.autograd.grad(y, layer.weight, seed, create_graph=True)
    s = array(seed)
    close(grad, np.stack([s[[0, 2, 3]].mean(0), s[1], 0 * s[0], 0 * s[0]]), 1e-6)
    (back,) = lamina.autograd.grad(grad.sum(), seed)
    close(back, np.array([[1 / 3], [1], [1 / 3], [1 / 3], [0]]) + np.zeros((5, 2)), 1e-6)
