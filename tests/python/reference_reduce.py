"""Reductions and scans in plain NumPy, for the oracles of the operator table."""

import numpy as np


def axes(dim, x):
    """``dim`` as NumPy's ``axis``: None and () mean all; a 0-d array has no axes."""
    if dim is None or np.ndim(x) == 0 or (isinstance(dim, (tuple, list)) and len(dim) == 0):
        return None
    return tuple(dim) if isinstance(dim, (tuple, list)) else dim


def extent(x, dim):
    return x.shape[dim] if x.ndim else 1


def var(x, dim, correction, keepdim):
    axis = axes(dim, x)
    mean = np.mean(x, axis=axis, keepdims=True)
    n = x.size // max(1, mean.size)
    return np.sum((x - mean) ** 2, axis=axis, keepdims=keepdim) / (n - correction)


def norm(x, p, dim, keepdim):
    axis, size = axes(dim, x), np.abs(x)
    if p == np.inf:
        return np.max(size, axis=axis, keepdims=keepdim)
    if p == -np.inf:
        return np.min(size, axis=axis, keepdims=keepdim)
    if p == 0:
        return np.sum(size != 0, axis=axis, keepdims=keepdim).astype(np.float64)
    return np.sum(size**p, axis=axis, keepdims=keepdim) ** (1 / p)


def extreme_at(find, x, dim, keepdim):
    """Values and first positions along ``dim``, found by np.argmax or np.argmin."""
    if x.ndim == 0:
        return x, np.asarray(0)
    at = np.expand_dims(find(x, axis=dim), dim)
    value = np.take_along_axis(x, at, dim)
    return (value, at) if keepdim else (value.squeeze(dim), at.squeeze(dim))


def running_extreme(x, dim, wins):
    """Running extreme along ``dim`` and where it was last met."""
    if x.ndim == 0:
        return x, np.asarray(0)
    lines = np.moveaxis(x, dim, 0)
    values, at = lines.copy(), np.zeros(lines.shape, dtype=np.int64)
    for k in range(1, len(lines)):
        take = wins(lines[k], values[k - 1])
        values[k] = np.where(take, lines[k], values[k - 1])
        at[k] = np.where(take, k, at[k - 1])
    return np.moveaxis(values, 0, dim), np.moveaxis(at, 0, dim)
