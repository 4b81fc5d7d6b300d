"""Convolutions against PyTorch: values and gradients in every layout, and errors."""

from __future__ import annotations

import lamina
import numpy as np
import pytest
import torch

F = torch.nn.functional
rng = np.random.default_rng(0)

# input, weight, arguments of conv2d
CALLS = [
    ((4, 16, 14, 15), (32, 16, 3, 3), {"padding": 1}),
    ((3, 17, 9, 11), (19, 17, 3, 2), {"stride": 2, "padding": 1}),
    ((2, 6, 20, 20), (8, 6, 3, 3), {"dilation": 2}),
    ((2, 12, 9, 8), (8, 3, 3, 3), {"groups": 4, "padding": (2, 0)}),
    ((2, 32, 9, 8), (32, 1, 5, 3), {"groups": 32, "stride": 2, "padding": 2}),
    ((2, 4, 9, 8), (8, 1, 3, 3), {"groups": 4, "padding": 1}),
    ((2, 3, 30, 30), (16, 3, 7, 7), {"stride": 2, "padding": 3}),
    ((9, 1, 28, 28), (16, 1, 3, 3), {}),
    ((2, 32, 8, 8), (16, 32, 1, 1), {"stride": 2}),
    ((3, 5, 7), (4, 3, 2, 2), {"padding": "same"}),
    ((2, 3, 5, 7), (4, 3, 4, 3), {"padding": "same", "dilation": (1, 2)}),
    ((0, 3, 5, 7), (4, 3, 3, 3), {}),
    ((5, 130, 6, 6), (70, 130, 3, 3), {"padding": 1}),
]
TRANSPOSED = [
    ((2, 4, 5, 6), (4, 3, 3, 3), {}),
    ((2, 4, 5, 6), (4, 3, 3, 2), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((2, 4, 5, 6), (4, 3, 2, 2), {"stride": 3, "groups": 2}),
    ((2, 4, 5, 6), (4, 1, 3, 3), {"groups": 4, "dilation": 2, "stride": (1, 2)}),
    ((4, 5, 6), (4, 16, 1, 1), {"stride": 2}),
]


def channels_last(array):
    """The same values, with the channels adjacent in memory."""
    x = lamina.tensor(np.ascontiguousarray(np.moveaxis(array, -3, -1)))
    return x.movedim(-1, -3)


def both(name, x, w, bias, kwargs, place=lamina.tensor):
    results = []
    for module, make in ((lamina, place), (F, torch.tensor)):
        library = lamina if module is lamina else torch
        inputs = [make(x).detach().requires_grad_(), library.tensor(w, requires_grad=True)]
        inputs.append(library.tensor(bias, requires_grad=True))
        y = getattr(module, name)(*inputs, **kwargs)
        seed = np.random.default_rng(1).normal(size=tuple(y.shape)).astype(x.dtype)
        grads = library.autograd.grad(y, inputs, library.tensor(seed))
        results.append([t.detach().numpy() for t in (y, *grads)])
    return results


def assert_same(results, tolerance):
    for ours, theirs in zip(*results, strict=True):
        assert ours.shape == theirs.shape
        scale = max(1.0, float(np.abs(theirs).max(initial=0.0)))
        np.testing.assert_allclose(ours / scale, theirs / scale, atol=tolerance)


@pytest.mark.parametrize("place", [lamina.tensor, channels_last], ids=["rows", "channels_last"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize(("x", "w", "kwargs"), CALLS)
def test_conv2d(x, w, kwargs, dtype, tolerance, place):
    arrays = [rng.normal(size=s).astype(dtype) for s in (x, w, (w[0],))]
    assert_same(both("conv2d", *arrays, kwargs, place), tolerance)


@pytest.mark.parametrize(("x", "w", "kwargs"), TRANSPOSED)
def test_conv_transpose2d(x, w, kwargs):
    arrays = [rng.normal(size=s) for s in (x, w, (w[1] * kwargs.get("groups", 1),))]
    assert_same(both("conv_transpose2d", *arrays, kwargs), 1e-12)


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("kwargs", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 2}])
def test_other_ranks(rank, kwargs):
    x, w = rng.normal(size=(2, 4) + (6, 7, 5)[:rank]), rng.normal(size=(4, 4) + (3, 2, 3)[:rank])
    assert_same(both(f"conv{rank}d", x, w, rng.normal(size=4), kwargs), 1e-12)
    assert_same(both(f"conv_transpose{rank}d", x, w, rng.normal(size=4), kwargs), 1e-12)


def test_results_can_be_viewed():
    """They lie channels-last in memory; scripts still flatten them with view()."""
    x, w = rng.normal(size=(2, 3, 6, 5)), rng.normal(size=(4, 3, 3, 3))
    results = []
    for module, library in ((lamina, lamina), (F, torch)):
        x_, w_ = library.tensor(x, requires_grad=True), library.tensor(w)
        y = module.conv2d(x_, w_).view(2, -1)
        y.square().sum().backward()
        results.append([y.detach().numpy(), x_.grad.numpy()])
    assert_same(results, 1e-12)


WRONG = [
    (lambda m, f: f.conv2d(m.ones(1, 3, 5, 5), m.ones(4, 2, 3, 3)), ValueError, "3 channels.*4, 2, 3, 3"),
    (lambda m, f: f.conv2d(m.ones(1, 2, 3, 3), m.ones(4, 2, 5, 5)), ValueError, "spans 5.*3"),
    (lambda m, f: f.conv2d(m.ones(1, 4, 5, 5), m.ones(3, 2, 3, 3), groups=2), ValueError, "3 output.*groups is 2"),
    (lambda m, f: f.conv2d(m.ones(5, 5), m.ones(4, 2, 3, 3)), ValueError, "2 dimensions"),
    (lambda m, f: f.conv2d(m.ones(1, 2, 5, 5), m.ones(4, 2, 3)), ValueError, "weight has 3 dimensions"),
    (lambda m, f: f.conv2d(m.ones(1, 2, 5, 5), m.ones(4, 2, 3, 3), m.ones(3)), ValueError, r"\(3,\).*4 channels"),
    (lambda m, f: f.conv2d(m.ones(1, 2, 5, 5), m.ones(4, 2, 3, 3), stride=0), ValueError, "stride"),
    (lambda m, f: f.conv2d(m.ones(1, 2, 5, 5), m.ones(4, 2, 3, 3), padding=-1), ValueError, "padding"),
    (lambda m, f: f.conv2d(m.ones(1, 2, 5, 5), m.ones(4, 2, 3, 3), dilation=0), ValueError, "dilation"),
    (lambda m, f: f.conv2d(m.ones(1, 2, 5, 5), m.ones(4, 2, 3, 3), padding="full"), ValueError, "'full'"),
    (lambda m, f: f.conv2d(m.ones(1, 2, 5, 5), m.ones(4, 2, 3, 3), stride=2, padding="same"), ValueError, "'same'"),
    (lambda m, f: f.conv2d(m.ones(1, 2, 5, 5), m.ones(4, 2, 3, 3), stride=(1, 2, 3)), ValueError, "2 ints"),
    (lambda m, f: f.conv2d(m.ones(1, 2, 5, 5), m.ones(4, 2, 3, 3), groups=0), ValueError, "groups is 0"),
    (lambda m, f: f.conv2d(m.ones(1, 2, 5, 5), m.ones(4, 2, 3, 3).double()), TypeError, "float32.*float64"),
    (lambda m, f: f.conv_transpose2d(m.ones(1, 3, 5, 5), m.ones(4, 2, 3, 3)), ValueError, "3 channels.*4, 2, 3, 3"),
    (
        lambda m, f: f.conv_transpose2d(m.ones(1, 4, 5, 5), m.ones(4, 2, 3, 3), output_padding=1),
        ValueError,
        "output_padding",
    ),
    (lambda m, f: f.conv_transpose2d(m.ones(1, 4, 1, 1), m.ones(4, 2, 3, 3), padding=2), ValueError, "would be -1"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG)
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message):
        call(lamina, lamina)
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        call(torch, F)
