"""Convolution in plain NumPy loops: what the table's oracles call."""

import itertools

import numpy as np


def _each(value, rank):
    return [int(v) for v in np.broadcast_to(np.asarray(value), (rank,))]


def _conv_pads(padding, kernel, dilation):
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return [(t // 2, t - t // 2) for t in totals]
    return [(p, p) for p in _each(padding, len(kernel))]


def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """(N, C, ...) or (C, ...) with (out, C / groups, kernel...)."""
    rank = weight.ndim - 2
    if input.ndim == rank + 1:
        return conv(input[None], weight, bias, stride, padding, dilation, groups)[0]
    kernel, stride, dilation = weight.shape[2:], _each(stride, rank), _each(dilation, rank)
    x = np.pad(input, [(0, 0), (0, 0), *_conv_pads(padding, kernel, dilation)])
    out = [(x.shape[2 + i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(rank)]
    y = np.zeros((x.shape[0], weight.shape[0], *out))
    c_in, c_out = weight.shape[1], weight.shape[0] // groups
    for g in range(groups):
        for tap in itertools.product(*map(range, kernel)):
            window = tuple(
                slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in zip(tap, dilation, out, stride, strict=True)
            )
            seen = x[(slice(None), slice(g * c_in, (g + 1) * c_in), *window)]
            w = weight[(slice(g * c_out, (g + 1) * c_out), slice(None), *tap)]
            y[:, g * c_out : (g + 1) * c_out] += np.einsum("nc...,oc->no...", seen, w)
    return y if bias is None else y + np.reshape(bias, (-1,) + (1,) * rank)


def conv_transpose(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Every input position adds its value times the kernel to the result, which is then cropped by the padding."""
    rank = weight.ndim - 2
    if input.ndim == rank + 1:
        return conv_transpose(input[None], weight, bias, stride, padding, output_padding, groups, dilation)[0]
    kernel, stride, dilation = weight.shape[2:], _each(stride, rank), _each(dilation, rank)
    padding, extra, size = _each(padding, rank), _each(output_padding, rank), input.shape[2:]
    full = [(size[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 + extra[i] for i in range(rank)]
    c_in, c_out = weight.shape[0] // groups, weight.shape[1]
    y = np.zeros((input.shape[0], c_out * groups, *full))
    for g in range(groups):
        for tap in itertools.product(*map(range, kernel)):
            place = tuple(
                slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in zip(tap, dilation, size, stride, strict=True)
            )
            x = input[:, g * c_in : (g + 1) * c_in]
            w = weight[(slice(g * c_in, (g + 1) * c_in), slice(None), *tap)]
            y[(slice(None), slice(g * c_out, (g + 1) * c_out), *place)] += np.einsum("nc...,co->no...", x, w)
    crop = tuple(slice(p, n - p) for p, n in zip(padding, full, strict=True))
    y = y[(slice(None), slice(None), *crop)]
    return y if bias is None else y + np.reshape(bias, (-1,) + (1,) * rank)
