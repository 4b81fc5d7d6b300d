"""Shape operators, creation and errors against PyTorch."""

from __future__ import annotations

import lamina
import numpy as np
import pytest

torch = pytest.importorskip("torch")

CALLS = [
    ("reshape", (2, 3, 4), (((-1, 6),), {})),
    ("permute", (2, 3, 4), (((2, 0, 1),), {})),
    ("transpose", (2, 3, 4), ((0, -1), {})),
    ("movedim", (2, 3, 4), (((0, 1), (-1, 0)), {})),
    ("squeeze", (1, 2, 1), ((), {})),
    ("squeeze", (1, 2, 1), (((0, 2),), {})),
    ("unsqueeze", (2, 3), ((-2,), {})),
    ("flatten", (2, 3, 4), ((1,), {})),
    ("unflatten", (6, 4), ((0, (2, -1)), {})),
    ("narrow", (5, 3), ((0, -3, 2), {})),
    ("select", (5, 3), ((1, -1), {})),
    ("diagonal", (2, 3, 4), ((1, -2, -1), {})),
    ("diag", (3,), ((-1,), {})),
    ("diag", (3, 4), ((1,), {})),
    ("diag_embed", (2, 3), ((1, 0, 2), {})),
    ("unfold", (2, 7), ((1, 3, 2), {})),
    ("expand", (2, 1), ((3, -1, 4), {})),
    ("repeat", (2, 3), ((2, 1, 2), {})),
    ("tile", (2, 3), (((2,),), {})),
    ("repeat_interleave", (2, 3), ((2,), {"dim": 1})),
    ("repeat_interleave", (2, 3), ((3,), {})),
    ("flip", (2, 3), (((0, 1),), {})),
    ("roll", (3, 4), (((1, -5), (0, 1)), {})),
    ("roll", (3, 4), ((5,), {})),
    ("rot90", (3, 4), ((-1,), {})),
    ("tril", (3, 4), ((-1,), {})),
    ("triu", (2, 3, 3), ((1,), {})),
    ("split", (5, 4), ((2,), {"dim": 0})),
    ("split", (5, 4), (([1, 3],), {"dim": 1})),
    ("chunk", (7, 2), ((3,), {})),
    ("tensor_split", (7, 2), ((3,), {})),
    ("tensor_split", (7, 2), (([2, 5],), {})),
    ("unbind", (3, 2), ((1,), {})),
    ("swapaxes", (3, 2), ((0, 1), {})),
    ("broadcast_to", (3, 1), (((2, 3, 4),), {})),
]


def outputs(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


@pytest.mark.parametrize(("name", "shape", "arguments"), CALLS)
def test_method(name, shape, arguments):
    if name == "split" and isinstance(arguments[0][0], list):
        shape = (5, sum(arguments[0][0]))
    data = np.random.default_rng(0).normal(size=shape)
    args, kwargs = arguments
    ours, theirs = lamina.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    ours_out = outputs(getattr(ours, name)(*args, **kwargs))
    theirs_out = outputs(getattr(theirs, name)(*args, **kwargs))
    assert len(ours_out) == len(theirs_out)
    for a, b in zip(ours_out, theirs_out):
        assert tuple(a.shape) == tuple(b.shape)
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    sum((y * y).sum() for y in ours_out).backward()
    sum((y * y).sum() for y in theirs_out).backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy())


@pytest.mark.parametrize(
    ("shape", "pad", "mode"),
    [
        ((2, 3), (1, 2), "constant"),
        ((2, 3), (-1, 1, 0, 2), "constant"),
        ((2, 3, 5), (2, 1), "reflect"),
        ((1, 2, 3, 4), (1, 2, 2, 0), "reflect"),
        ((1, 2, 3, 4), (1, 2, 2, 0), "replicate"),
        ((1, 2, 3, 4), (1, 2, 2, 0), "circular"),
    ],
)
def test_pad(shape, pad, mode):
    data = np.random.default_rng(0).normal(size=shape)
    ours, theirs = lamina.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    a, b = lamina.pad(ours, pad, mode), torch.nn.functional.pad(theirs, pad, mode)
    np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    (a * a).sum().backward()
    (b * b).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy())


JOINS = [
    ("cat", [(2, 3), (4, 3)], {}),
    ("cat", [(2, 3), (0,), (2, 1)], {"dim": 1}),
    ("stack", [(2, 3), (2, 3)], {"dim": -1}),
    ("hstack", [(2,), (3,)], {}),
    ("vstack", [(3,), (2, 3)], {}),
    ("dstack", [(3,), (3,)], {}),
    ("column_stack", [(3,), (3, 2)], {}),
]


@pytest.mark.parametrize(("name", "shapes", "kwargs"), JOINS)
def test_join(name, shapes, kwargs):
    rng = np.random.default_rng(0)
    data = [rng.normal(size=shape) for shape in shapes]
    a = getattr(lamina, name)([lamina.tensor(x) for x in data], **kwargs)
    b = getattr(torch, name)([torch.tensor(x) for x in data], **kwargs)
    np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("indexing", ["ij", "xy"])
def test_meshgrid_of_arguments_or_a_list(indexing):
    ours, theirs = [lamina.arange(3), lamina.arange(2)], [torch.arange(3), torch.arange(2)]
    for a, b in zip(lamina.meshgrid(*ours, indexing=indexing), torch.meshgrid(*theirs, indexing=indexing)):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert len(lamina.meshgrid(ours)) == 2


DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]


@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("target", DTYPES)
def test_conversion(source, target):
    values = [0.0, 1.0, 3.7, 100.0, 127.0] if source == "int8" else [0.0, 1.0, 3.7, 100.0, 200.0]
    ours = lamina.tensor(values).to(getattr(lamina, source)).to(getattr(lamina, target))
    theirs = torch.tensor(values).to(getattr(torch, source)).to(getattr(torch, target))
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize(
    "call",
    [
        "arange(5)",
        "arange(1, 2.5, 0.5)",
        "arange(5, 0, -2)",
        "arange(0, 1, 0.1, dtype=L.float64)",
        "linspace(0, 1, 7)",
        "linspace(0, 10, 5, dtype=L.int64)",
        "logspace(0, 2, 4, base=2.0)",
        "eye(2, 3)",
        "full((2, 2), True)",
        "full((2,), 7)",
        "zeros(2, 3, dtype=L.int32)",
        "ones((2, 3))",
        "tril_indices(3, 4, 1)",
        "triu_indices(3, 3, -1)",
    ],
)
def test_creation(call):
    ours, theirs = eval("L." + call, {"L": lamina}), eval("L." + call, {"L": torch})
    assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


def test_view_of_another_dtype():
    x = lamina.ones(2, 3)
    assert x.view(lamina.int32).tolist() == torch.ones(2, 3).view(torch.int32).tolist()
    assert tuple(x.view(lamina.uint8).shape) == (2, 12)


def test_views_share_memory():
    x = lamina.zeros(3, 4)
    x.t()[1].narrow(0, 1, 2).fill_(1)
    x.unfold(1, 2, 2)[0, 0, 1] = 5
    expected = torch.zeros(3, 4)
    expected.t()[1].narrow(0, 1, 2).fill_(1)
    expected.unfold(1, 2, 2)[0, 0, 1] = 5
    assert x.tolist() == expected.tolist()


def test_random_statistics():
    g = lamina.Generator()
    g.manual_seed(3)
    x = lamina.empty(200_000).normal_(1, 2, generator=g)
    assert abs(x.mean().item() - 1) < 0.02
    assert abs(x.std().item() - 2) < 0.02
    u = lamina.empty(200_000).uniform_(-1, 3, generator=g)
    assert u.min().item() >= -1 and u.max().item() < 3 and abs(u.mean().item() - 1) < 0.02
    e = lamina.empty(200_000).exponential_(2, generator=g)
    assert abs(e.mean().item() - 0.5) < 0.01
    k = lamina.randint(-2, 3, (100_000,), generator=g)
    assert sorted(set(k.tolist())) == [-2, -1, 0, 1, 2]
    assert sorted(lamina.randperm(1000, generator=g).tolist()) == list(range(1000))
    picks = lamina.multinomial(lamina.tensor([0.0, 1.0, 3.0]), 100_000, True, generator=g)
    assert abs((picks == 2).to(lamina.float32).mean().item() - 0.75) < 0.01


ERRORS = [
    ("reshape(L.zeros(6), (4, -1))", ValueError, r"6 elements.*\(4, -1\)"),
    ("L.zeros(2, 3).t().view(6)", ValueError, r"view.*\(3, 2\).*\(1, 3\)"),
    ("L.zeros(2, 3).permute(0, 0)", ValueError, "appears twice"),
    ("L.zeros(2, 3).permute(0)", ValueError, r"\(0,\) has 1 entries"),
    ("L.zeros(2, 3).transpose(0, 2)", IndexError, "dim 2.*-2 <= dim <= 1"),
    ("L.zeros(2, 3).expand(4, 3)", ValueError, r"\(2, 3\).*\(4, 3\)"),
    ("L.zeros(2, 3).select(0, 2)", IndexError, "index 2.*size 2"),
    ("L.zeros(2, 3).narrow(1, 2, 2)", ValueError, "start 2 and length 2.*size 3"),
    ("L.zeros(2, 3).unfold(1, 4, 1)", ValueError, "size 4.*size 3"),
    ("L.zeros(3).as_strided((4,), (1,))", ValueError, "storage of 3"),
    ("L.cat([L.zeros(2, 3), L.zeros(2)])", ValueError, r"\(2, 3\) and \(2,\)"),
    ("L.stack([])", ValueError, "no tensors"),
    ("L.zeros(5).split([2, 2])", ValueError, "4.*5"),
    ("L.zeros(5).chunk(0)", ValueError, "chunks is 0"),
    ("L.zeros(2, 3).flip(0, 0)", ValueError, "appears twice"),
    ("L.pad(L.zeros(3), (3, 0), 'reflect')", ValueError, r"\(3, 0\).*size 3"),
    ("L.pad(L.zeros(3), (1, 1), 'wrap')", ValueError, "'wrap'"),
    ("L.zeros(3).triu()", ValueError, r"\(3,\)"),
    ("L.arange(0, 5, 0)", ValueError, "step is 0"),
    ("L.arange(0, 5, -1)", ValueError, "step -1"),
    ("L.zeros(-1)", ValueError, "negative size"),
    ("L.full((2,), 1000, dtype=L.int8)", ValueError, "1000.*int8"),
    ("L.randint(5, 5, (2,))", ValueError, "low is 5, high is 5"),
    ("L.bernoulli(L.tensor([1.5]))", ValueError, "1.5"),
    ("L.multinomial(L.tensor([1.0, 0.0]), 2)", ValueError, "only 1"),
    ("L.normal(L.zeros(2), -1.0)", ValueError, "std is -1"),
    ("L.zeros(2, dtype=L.int64).uniform_()", TypeError, "int64"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_error(call, error, message):
    with pytest.raises(error, match=message):
        eval(call if call.startswith("L.") else "L." + call, {"L": lamina})
