"""Pooling in plain NumPy loops: what the table's oracles call."""

import itertools
import math

import numpy as np


def _sizes(value, rank):
    return [int(v) for v in np.broadcast_to(np.asarray(value), (rank,))]


def _over_windows(input, rank, starts, taps, reduce):
    """reduce(elements, their positions, output index) for every window; starts and taps per dimension."""
    lead, spatial = input.shape[:-rank], input.shape[-rank:]
    out = np.zeros((*lead, *map(len, starts)))
    where = np.zeros(out.shape, dtype=np.int64)
    for index in itertools.product(*(range(len(s)) for s in starts)):
        axes = [[s[i] + t for t in taps(d, i)] for d, (s, i) in enumerate(zip(starts, index, strict=True))]
        inside = [p for p in itertools.product(*axes) if all(0 <= a < n for a, n in zip(p, spatial, strict=True))]
        values = np.stack([input[(..., *p)] for p in inside], -1)
        positions = np.array([np.ravel_multi_index(p, spatial) for p in inside])
        out[(..., *index)] = reduce(values, index)
        if values.size:
            where[(..., *index)] = positions[np.argmax(values, -1)]
    return out, where


def _window_starts(spatial, kernel, stride, padding, dilation, ceil_mode):
    starts = []
    for n, k, s, p, d in zip(spatial, kernel, stride, padding, dilation, strict=True):
        steps = (n + 2 * p - d * (k - 1) - 1) / s
        out = (math.ceil(steps) if ceil_mode else math.floor(steps)) + 1
        if ceil_mode and (out - 1) * s >= n + p:
            out -= 1
        starts.append([o * s - p for o in range(out)])
    return starts


def max_pool(input, rank, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, with_indices=False):
    """(N, C, ...) or (C, ...)"""
    kernel = _sizes(kernel_size, rank)
    stride = kernel if stride is None else _sizes(stride, rank)
    padding, dilation = _sizes(padding, rank), _sizes(dilation, rank)
    starts = _window_starts(input.shape[-rank:], kernel, stride, padding, dilation, ceil_mode)
    taps = lambda d, i: range(0, kernel[d] * dilation[d], dilation[d])  # noqa: E731
    out = _over_windows(input, rank, starts, taps, lambda values, index: values.max(-1))
    return out if with_indices else out[0]


def avg_pool(
    input, rank, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    """(N, C, ...) or (C, ...)"""
    kernel = _sizes(kernel_size, rank)
    stride = kernel if stride is None else _sizes(stride, rank)
    padding = _sizes(padding, rank)
    spatial = input.shape[-rank:]
    starts = _window_starts(spatial, kernel, stride, padding, [1] * rank, ceil_mode)

    def reduce(values, index):
        divisor = values.shape[-1]
        if count_include_pad:
            ends = [min(starts[d][i] + kernel[d], spatial[d] + padding[d]) for d, i in enumerate(index)]
            divisor = math.prod(e - starts[d][i] for d, (i, e) in enumerate(zip(index, ends, strict=True)))
        return values.sum(-1) / (divisor_override or divisor)

    return _over_windows(input, rank, starts, lambda d, i: range(kernel[d]), reduce)[0]


def _adaptive(input, rank, output_size, reduce):
    spatial, out = input.shape[-rank:], _sizes(output_size, rank)
    starts = [[o * n // m for o in range(m)] for n, m in zip(spatial, out, strict=True)]
    taps = lambda d, i: range(math.ceil((i + 1) * spatial[d] / out[d]) - starts[d][i])  # noqa: E731
    return _over_windows(input, rank, starts, taps, lambda values, index: reduce(values, -1))


def adaptive_pool(input, rank, output_size, reduce):
    """(N, C, ...) or (C, ...); reduce is np.mean or np.max"""
    return _adaptive(input, rank, output_size, reduce)[0]


def adaptive_max_with_indices(input, rank, output_size):
    """The maxima and their positions."""
    return _adaptive(input, rank, output_size, np.max)
