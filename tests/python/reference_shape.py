"""NumPy references for shape operators that NumPy has no single call for."""

from __future__ import annotations

import itertools

import numpy as np


def squeeze(input, dim):
    dims = {d % max(input.ndim, 1) for d in np.atleast_1d(dim)}
    return input.reshape([n for d, n in enumerate(input.shape) if d not in dims or n != 1])


def flatten(input, start_dim, end_dim):
    input = np.atleast_1d(input)
    start, end = start_dim % input.ndim, end_dim % input.ndim
    merged = int(np.prod(input.shape[start : end + 1]))
    return input.reshape(*input.shape[:start], merged, *input.shape[end + 1 :])


def unflatten(input, dim, sizes):
    dim %= input.ndim
    return input.reshape(*input.shape[:dim], *sizes, *input.shape[dim + 1 :])


def narrow(input, dim, start, length):
    start %= max(input.shape[dim], 1)
    return np.take(input, range(start, start + length), axis=dim)


def diag_embed(input, offset, dim1, dim2):
    side = input.shape[-1] + abs(offset)
    out = np.zeros((*input.shape[:-1], side, side))
    for i in range(input.shape[-1]):
        out[..., i + max(0, -offset), i + max(0, offset)] = input[..., i]
    return np.moveaxis(out, (-2, -1), (dim1, dim2))


def unfold(input, dimension, size, step):
    starts = range(0, input.shape[dimension] - size + 1, step)
    windows = [np.moveaxis(narrow(input, dimension, s, size), dimension, -1) for s in starts]
    return np.stack(windows, dimension)


def as_strided(input, size, stride, storage_offset):
    flat = input.ravel()
    out = np.empty(size)
    for index in np.ndindex(*size):
        out[index] = flat[(storage_offset or 0) + sum(i * s for i, s in zip(index, stride))]
    return out


def split(tensor, split_size_or_sections, dim):
    n = tensor.shape[dim]
    if isinstance(split_size_or_sections, int):
        points = range(split_size_or_sections, n, split_size_or_sections)
    else:
        points = np.cumsum(split_size_or_sections)[:-1]
    return np.split(tensor, points, dim)


def chunk(input, chunks, dim):
    return split(input, -(-input.shape[dim] // chunks), dim)


def cartesian_prod(tensors):
    rows = np.array(list(itertools.product(*tensors)))
    return rows[:, 0] if len(tensors) == 1 else rows


def pad(input, pad, mode, value):
    before_after = [(0, 0)] * input.ndim
    for i in range(len(pad) // 2):
        before_after[input.ndim - 1 - i] = (pad[2 * i], pad[2 * i + 1])
    # Adding comes first: what is then cut off is the same as when it is cut first.
    added = [(max(b, 0), max(a, 0)) for b, a in before_after]
    if mode == "constant":
        out = np.pad(input, added, constant_values=value or 0)
    else:
        out = np.pad(input, added, mode={"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode])
    cut = tuple(slice(max(-b, 0), n - max(-a, 0)) for (b, a), n in zip(before_after, out.shape))
    return out[cut]


def view_bits(input, dtype):
    return input.view(str(dtype).removeprefix("lamina."))
