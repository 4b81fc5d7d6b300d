"""Reductions, scans and sorting against PyTorch: values, gradients, dtypes, special values."""

from __future__ import annotations

import lamina
import numpy as np
import pytest

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4, 5))
TIES = np.round(X)
SPECIAL = np.array([[1.0, np.nan, -np.inf, 2.0], [np.inf, 0.0, -0.0, 1.0], [3.0, 3.0, 3.0, 3.0]])

CALLS = [
    ("sum", {}),
    ("sum", {"dim": (0, 2), "keepdim": True}),
    ("nansum", {"dim": -1}),
    ("mean", {"dim": [1]}),
    ("prod", {}),
    ("prod", {"dim": 1, "keepdim": True}),
    ("amax", {"dim": (0, 1)}),
    ("amin", {"dim": -1, "keepdim": True}),
    ("max", {}),
    ("min", {}),
    ("max", {"dim": 1}),
    ("min", {"dim": 0, "keepdim": True}),
    ("argmax", {}),
    ("argmin", {"dim": 2, "keepdim": True}),
    ("var", {}),
    ("var", {"dim": (0, 2), "correction": 0}),
    ("var", {"dim": 1, "unbiased": False}),
    ("std", {"dim": 1, "keepdim": True}),
    ("logsumexp", {"dim": (0, 1)}),
    ("norm", {}),
    ("norm", {"p": "fro", "dim": (0, 1)}),
    ("norm", {"p": 1, "dim": 1}),
    ("norm", {"p": 3.5, "dim": 1, "keepdim": True}),
    ("norm", {"p": float("inf"), "dim": 0}),
    ("norm", {"p": float("-inf"), "dim": 0}),
    ("norm", {"p": 0, "dim": 2}),
    ("cumsum", {"dim": 1}),
    ("cumprod", {"dim": -1}),
    ("cummax", {"dim": 1}),
    ("cummin", {"dim": 0}),
    ("logcumsumexp", {"dim": 1}),
    ("diff", {"n": 2, "dim": 1}),
    ("median", {}),
    ("median", {"dim": 1, "keepdim": True}),
    ("sort", {"dim": 1, "stable": True}),
    ("sort", {"dim": 0, "descending": True, "stable": True}),
    ("kthvalue", {"k": 2, "dim": 1}),
    ("quantile", {"q": 0.3, "dim": 1}),
    ("quantile", {"q": 0.7, "interpolation": "higher"}),
]


def leaves(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


def both(array):
    return lamina.tensor(array), torch.tensor(array)


def same(ours, theirs, message=""):
    assert tuple(ours.shape) == tuple(theirs.shape), message
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1], message
    np.testing.assert_allclose(
        ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-6, atol=1e-12, equal_nan=True, err_msg=message
    )


@pytest.mark.parametrize(("name", "kwargs"), CALLS, ids=lambda v: str(v))
def test_values_and_gradients(name, kwargs):
    for array in (X, TIES, np.swapaxes(X, 0, 2)):
        positional = name in ("sort", "kthvalue", "quantile", "median", "cummax", "cummin")
        if positional and array is TIES:
            continue  # PyTorch does not say which of equal elements it takes
        a, b = both(array)
        a.requires_grad_(), b.requires_grad_()
        ours, theirs = leaves(getattr(lamina, name)(a, **kwargs)), leaves(getattr(torch, name)(b, **kwargs))
        for mine, other in zip(ours, theirs, strict=True):
            same(mine, other, f"{name} {kwargs}")
        if theirs[0].is_floating_point() and theirs[0].requires_grad and kwargs.get("p") != 0:
            seed = np.random.default_rng(1).standard_normal(tuple(theirs[0].shape))
            ours[0].backward(lamina.tensor(seed))
            theirs[0].backward(torch.tensor(seed))
            same(a.grad, b.grad, f"gradient of {name} {kwargs}")


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("sum", {"dim": 1}),
        ("nansum", {"dim": 1}),
        ("mean", {"dim": 1}),
        ("prod", {"dim": 1}),
        ("amax", {"dim": 1}),
        ("amin", {"dim": 1}),
        ("max", {"dim": 1}),
        ("min", {"dim": 1}),
        ("argmax", {"dim": 1}),
        ("argmin", {}),
        ("var", {"dim": 1}),
        ("logsumexp", {"dim": 1}),
        ("norm", {"p": 2, "dim": 1}),
        ("norm", {"p": float("inf"), "dim": 1}),
        ("cumsum", {"dim": 1}),
        ("cummax", {"dim": 1}),
        ("sort", {"dim": 1, "stable": True}),
        ("sort", {"dim": 1, "stable": True, "descending": True}),
        ("median", {"dim": 1}),
        ("any", {"dim": 1}),
        ("all", {"dim": 1}),
        ("count_nonzero", {"dim": 1}),
    ],
    ids=lambda v: str(v),
)
def test_special_values(name, kwargs):
    a, b = both(SPECIAL)
    for mine, other in zip(
        leaves(getattr(lamina, name)(a, **kwargs)), leaves(getattr(torch, name)(b, **kwargs)), strict=True
    ):
        if name == "median" and not mine.is_floating_point():
            continue  # PyTorch takes any of equal elements
        same(mine, other, f"{name} {kwargs}")


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("sum", {}),
        ("sum", {"dim": 0}),
        ("prod", {"dim": 1}),
        ("amax", {"dim": 0}),
        ("min", {"dim": 1}),
        ("argmax", {"dim": 0}),
        ("any", {}),
        ("all", {"dim": 1}),
        ("count_nonzero", {}),
        ("cumsum", {"dim": 1}),
        ("cumprod", {"dim": 0}),
        ("sort", {"stable": True}),
        ("max", {}),
    ],
    ids=lambda v: str(v),
)
def test_integers(dtype, name, kwargs):
    values = RNG.integers(0, 3, (4, 5)).astype("bool" if dtype == "bool" else dtype)
    if name == "argmax" and dtype == "bool":
        pytest.skip("not in PyTorch")
    a, b = both(values)
    for mine, other in zip(
        leaves(getattr(lamina, name)(a, **kwargs)), leaves(getattr(torch, name)(b, **kwargs)), strict=True
    ):
        if name in ("min", "argmax") and other.dtype == torch.int64 and mine.shape == other.shape and dtype != "int64":
            continue  # positions of ties
        if name in ("any", "all") and dtype == "uint8":
            other = other.bool()  # PyTorch keeps uint8 for its old masks
        same(mine, other, f"{name} {kwargs} {dtype}")


def test_topk_and_counts():
    values = RNG.permutation(60).reshape(3, 20).astype(np.float64)
    a, b = both(values)
    for k, largest in ((1, True), (5, False), (20, True)):
        for mine, other in zip(lamina.topk(a, k, largest=largest), torch.topk(b, k, largest=largest), strict=True):
            same(mine, other)
    counts = RNG.integers(0, 9, 50)
    a, b = both(counts)
    same(lamina.bincount(a, minlength=12), torch.bincount(b, minlength=12))
    x, y = both(RNG.standard_normal(100))
    same(lamina.histc(x, 7, -1, 2), torch.histc(y, 7, -1, 2))
    edges = np.array([1, 3, 5, 7])
    same(lamina.searchsorted(lamina.tensor(edges), a), torch.searchsorted(torch.tensor(edges), b))
    same(lamina.bucketize(a, lamina.tensor(edges), right=True), torch.bucketize(b, torch.tensor(edges), right=True))


def test_long_float32_sums_keep_their_digits():
    x = RNG.random(3_000_000).astype(np.float32)
    exact = x.astype(np.float64).sum()
    assert abs(lamina.tensor(x).sum().item() - exact) <= 2e-7 * exact
    assert abs(lamina.tensor(x).var().item() - x.astype(np.float64).var(ddof=1)) < 1e-7


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: lamina.ones(2, 3).sum(2), IndexError),
        (lambda: lamina.ones(2, 3).sum((0, 0)), ValueError),
        (lambda: lamina.ones(0, 3).amax(0), ValueError),
        (lambda: lamina.ones(0).max(), ValueError),
        (lambda: lamina.ones(0, 3).argmin(0), ValueError),
        (lambda: lamina.arange(3).mean(), TypeError),
        (lambda: lamina.arange(3).var(), TypeError),
        (lambda: lamina.ones(3).norm("nu"), ValueError),
        (lambda: lamina.ones(3).topk(4), ValueError),
        (lambda: lamina.ones(3).kthvalue(0), ValueError),
        (lambda: lamina.ones(3).quantile(1.5), ValueError),
        (lambda: lamina.ones(0).median(), ValueError),
        (lambda: lamina.ones(3).cumsum(1), IndexError),
        (lambda: lamina.bincount(lamina.tensor([-1, 2])), ValueError),
        (lambda: lamina.ones(3).histc(0), ValueError),
    ],
)
def test_errors(call, error):
    with pytest.raises(error, match="need"):
        call()
