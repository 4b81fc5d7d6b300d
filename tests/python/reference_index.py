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


def chosen(values, inverse, counts, return_inverse, return_counts):
    """`values` alone, or a tuple of what is asked for."""
    if not return_inverse and not return_counts:
        return values
    return (values, *([inverse] if return_inverse else []), *([counts] if return_counts else []))


def unique(x, return_inverse, return_counts, dim):
    values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True, axis=dim)
    return chosen(values, inverse.reshape(x.shape if dim is None else -1), counts, return_inverse, return_counts)


def unique_consecutive(x, return_inverse, return_counts, dim):
    items = x.ravel() if dim is None else np.moveaxis(x, dim, 0)
    differs = (items[1:] != items[:-1]).reshape(len(items) - 1, -1).any(1)
    starts = np.flatnonzero(np.concatenate([[True], differs]))
    counts = np.diff(np.append(starts, len(items)))
    inverse = np.repeat(np.arange(starts.size), counts)
    if dim is None:
        return chosen(items[starts], inverse.reshape(x.shape), counts, return_inverse, return_counts)
    return chosen(np.moveaxis(items[starts], 0, dim), inverse, counts, return_inverse, return_counts)


def mode(x, dim, keepdim):
    """The most frequent value of each row, the smallest of several, and its last position."""
    if x.ndim == 0:
        return x, np.asarray(0)
    rows = np.moveaxis(x, dim, -1)
    values, at = np.empty(rows.shape[:-1], x.dtype), np.empty(rows.shape[:-1], np.int64)
    for k in np.ndindex(*rows.shape[:-1]):
        different, counts = np.unique(rows[k], return_counts=True)
        values[k] = different[counts.argmax()]
        at[k] = np.flatnonzero(rows[k] == values[k])[-1]
    return (np.expand_dims(values, dim), np.expand_dims(at, dim)) if keepdim else (values, at)


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
