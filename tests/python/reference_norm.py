"""Normalisations and losses in plain NumPy, float64: the oracles of their rows in ops.def."""

import numpy as np


def softmax(x, dim):
    e = np.exp(x - x.max(axis=dim, keepdims=True, initial=-np.inf)) if x.ndim else np.ones_like(x)
    return e / e.sum(axis=dim, keepdims=True) if x.ndim else e


def log_softmax(x, dim):
    if x.ndim == 0:
        return np.zeros_like(x)
    d = x - x.max(axis=dim, keepdims=True, initial=-np.inf)
    return d - np.log(np.exp(d).sum(axis=dim, keepdims=True))


def _standardize(x, axes, eps):
    d = x - x.mean(axis=axes, keepdims=True)
    return d / np.sqrt((d * d).mean(axis=axes, keepdims=True) + eps)


def _affine(h, weight, bias):
    h = h if weight is None else h * weight
    return h if bias is None else h + bias


def _per_channel(p, x):
    return None if p is None else p.reshape(1, -1, *[1] * (x.ndim - 2))


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    return _affine(_standardize(x, axes, eps), weight, bias)


def rms_norm(x, normalized_shape, weight=None, eps=None):
    axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    eps = np.finfo(np.float64).eps if eps is None else eps
    return _affine(x / np.sqrt((x * x).mean(axis=axes, keepdims=True) + eps), weight, None)


def batch_norm(x, running_mean=None, running_var=None, weight=None, bias=None, training=False, eps=1e-5):
    if training:
        h = _standardize(x, (0, *range(2, x.ndim)), eps)
    else:
        h = (x - _per_channel(running_mean, x)) / np.sqrt(_per_channel(running_var, x) + eps)
    return _affine(h, _per_channel(weight, x), _per_channel(bias, x))


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    h = _standardize(x.reshape(x.shape[0], groups, -1), 2, eps).reshape(x.shape)
    return _affine(h, _per_channel(weight, x), _per_channel(bias, x))


def attention(query, key, value, attn_mask=None, is_causal=False, scale=None):
    if key.ndim > 2 and key.shape[-3] != query.shape[-3]:
        key, value = (np.repeat(x, query.shape[-3] // x.shape[-3], axis=-3) for x in (key, value))
    scores = query @ np.swapaxes(key, -1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if attn_mask is not None:
        scores = scores + (np.where(attn_mask, 0, -np.inf) if attn_mask.dtype == bool else attn_mask)
    if is_causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    return softmax(scores, -1) @ value


def reduce(losses, reduction):
    return {"none": lambda x: x, "mean": np.mean, "sum": np.sum}[reduction](losses)


def huber(d, delta):
    return np.where(np.abs(d) < delta, d * d / 2, delta * (np.abs(d) - delta / 2))


def _class_rows(x, target):
    """x (N, C, d...) as rows (N * d..., C), and the targets in the same order."""
    return (np.moveaxis(x, 1, -1) if x.ndim > 1 else x).reshape(-1, x.shape[min(1, x.ndim - 1)]), target.reshape(-1)


def _reduce_classes(losses, counts, shape, reduction):
    if reduction == "none":
        return losses.reshape(shape)
    return losses.sum() / (counts.sum() if reduction == "mean" else 1)


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    axis = min(1, x.ndim - 1)
    classes = x.shape[axis]
    w = np.ones(classes) if weight is None else weight
    y = log_softmax(x, axis)
    if np.issubdtype(target.dtype, np.floating):
        q = (1 - label_smoothing) * target + label_smoothing / classes
        losses = -(np.moveaxis(y * q, axis, -1) * w).sum(-1)
        return reduce(losses, reduction)
    rows, t = _class_rows(y, target)
    losses, counts = np.zeros(len(t)), np.zeros(len(t))
    for i, c in enumerate(t):
        if c != ignore_index:
            hit = -w[c] * rows[i, c]
            losses[i] = (1 - label_smoothing) * hit - label_smoothing / classes * (w * rows[i]).sum()
            counts[i] = w[c]
    return _reduce_classes(losses, counts, target.shape, reduction)


def nll_loss(x, target, weight=None, ignore_index=-100, reduction="mean"):
    rows, t = _class_rows(x, target)
    w = np.ones(rows.shape[1]) if weight is None else weight
    counts = np.array([0.0 if c == ignore_index else w[c] for c in t])
    losses = np.array([0.0 if c == ignore_index else -w[c] * rows[i, c] for i, c in enumerate(t)])
    return _reduce_classes(losses, counts, target.shape, reduction)


def binary_cross_entropy(x, t, weight=None, reduction="mean"):
    with np.errstate(divide="ignore"):
        losses = -(t * np.maximum(np.log(x), -100) + (1 - t) * np.maximum(np.log1p(-x), -100))
    return reduce(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(x, t, weight=None, reduction="mean", pos_weight=None):
    log_p, log_q = -np.logaddexp(0, -x), -np.logaddexp(0, x)
    losses = -((1 if pos_weight is None else pos_weight) * t * log_p + (1 - t) * log_q)
    return reduce(losses if weight is None else losses * weight, reduction)


def kl_div(x, target, reduction="mean", log_target=False):
    if log_target:
        losses = np.exp(target) * (target - x)
    else:
        safe = np.where(target > 0, target, 1)
        losses = np.where(target > 0, target * np.log(safe), 0) - target * x
    return losses.sum() / x.shape[0] if reduction == "batchmean" else reduce(losses, reduction)
