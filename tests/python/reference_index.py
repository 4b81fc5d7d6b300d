"""Indexing, scattering, sorting and counting in plain NumPy, for the oracles of the operator table."""

import numpy as np


def put_size(x, dim, index):
    """The shape of ``x`` with as many elements along ``dim`` as ``index`` has."""
    size = list(x.shape)
    size[dim] = index.size
    return tuple(size)


def index_put(x, dim, index, values, join):
    """Slices along ``dim`` replaced (join None) or joined with ``values``, in order."""
    out = np.moveaxis(x.copy(), dim, 0)
    rows = (
        np.broadcast_to(values, (index.size, *out.shape[1:])) if np.ndim(values) == 0 else np.moveaxis(values, dim, 0)
    )
    for k, at in enumerate(index):
        out[at] = rows[k] if join is None else join(out[at], rows[k])
    return np.moveaxis(out, 0, dim)


def index_put_tuple(x, indices, values, accumulate):
    out = x.copy()
    if accumulate:
        np.add.at(out, tuple(indices), values)
    else:
        out[tuple(indices)] = values
    return out


def _places(index, dim):
    """Positions in the index, and where each one points to."""
    for here in np.ndindex(*index.shape):
        there = list(here)
        if there:
            there[dim] = index[here]
        yield here, tuple(there)


def gather(x, dim, index):
    out = np.empty(index.shape, dtype=x.dtype)
    for here, there in _places(index, dim):
        out[here] = x[there]
    return out


def scatter(x, dim, index, src, join):
    out = x.copy()
    for here, there in _places(index, dim):
        value = src if np.ndim(src) == 0 else src[here]
        out[there] = value if join is None else join(out[there], value)
    return out


def scatter_reduce(x, dim, index, src, reduce, include_self):
    groups = {}
    for here, there in _places(index, dim):
        groups.setdefault(there, [x[there]] if include_self else []).append(src[here])
    out = x.copy()
    join = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}[reduce]
    for there, values in groups.items():
        out[there] = join(values)
    return out


def put(x, index, source, accumulate):
    out = x.ravel().copy()
    for at, value in zip(index.ravel(), source.ravel(), strict=True):
        out[at] = out[at] + value if accumulate else value
    return out.reshape(x.shape)


def masked_scatter(x, mask, source):
    shape = np.broadcast_shapes(x.shape, mask.shape)
    out, mask = np.broadcast_to(x, shape).copy(), np.broadcast_to(mask, shape)
    out[mask] = source.ravel()[: mask.sum()]
    return out


def sort(x, dim, descending):
    """Stable in both directions: values and positions."""
    if x.ndim == 0:
        return x, np.asarray(0)
    at = np.argsort(-x if descending else x, axis=dim, kind="stable")
    return np.take_along_axis(x, at, dim), at


def topk(x, k, dim, largest):
    values, at = sort(x, dim, largest)
    if x.ndim == 0:
        return values, at
    first = np.arange(k)
    return np.take(values, first, axis=dim), np.take(at, first, axis=dim)


def kthvalue(x, k, dim, keepdim):
    values, at = sort(x, dim, False)
    if x.ndim == 0:
        return values, at
    pick = [k - 1] if keepdim else k - 1
    return np.take(values, pick, axis=dim), np.take(at, pick, axis=dim)


def unique_consecutive(x):
    flat = x.ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    counts = np.diff(np.append(starts, flat.size))
    return flat[starts], np.repeat(np.arange(starts.size), counts).reshape(x.shape), counts


def searchsorted(rows, values, right, side):
    side = "right" if right or side == "right" else "left"
    if rows.ndim == 1:
        return np.searchsorted(rows, values, side)
    out = np.empty(values.shape, dtype=np.int64)
    for k in np.ndindex(*rows.shape[:-1]):
        out[k] = np.searchsorted(rows[k], values[k], side)
    return out


def histc(x, bins, low, high):
    if low == high:
        low, high = x.min(), x.max()
    return np.histogram(x, bins, (low, high))[0].astype(np.float64)
