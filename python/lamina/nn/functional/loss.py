"""Losses: native ones with PyTorch's keywords, and composed ones, one function each."""

from __future__ import annotations

import math

from lamina import _core
from lamina._core import Tensor
from lamina.nn.functional.distance import cosine_similarity, pairwise_distance

cross_entropy = _core.cross_entropy
nll_loss = _core.nll_loss
binary_cross_entropy = _core.binary_cross_entropy
kl_div = _core.kl_div
l1_loss = _core.l1_loss
smooth_l1_loss = _core.smooth_l1_loss
huber_loss = _core.huber_loss
binary_cross_entropy_with_logits = _core.binary_cross_entropy_with_logits


def check_reduction(op: str, reduction: str) -> str:
    """`reduction` itself, or ValueError."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{op}: reduction is {reduction!r}; need 'mean', 'sum' or 'none'")
    return reduction


def _reduce(op: str, loss: Tensor, reduction: str) -> Tensor:
    check_reduction(op, reduction)
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


def _same_shape(op: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        raise ValueError(f"{op}: input is {tuple(input.shape)}, target is {tuple(target.shape)}; need equal shapes")


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """(input - target)^2, times weight."""
    if weight is None:
        return _core.mse_loss(input, target, reduction=reduction)
    loss = (input - target).square() * weight
    return loss.sum() / weight.expand_as(loss).sum() if reduction == "mean" else _reduce("mse_loss", loss, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """exp(input) - target * input, or input - target * log(input + eps) with log_input=False."""
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        large = target > 1  # Stirling's approximation of log(target!) holds there only
        safe = _core.where(large, target, _core.ones_like(target))
        stirling = safe * safe.log() - safe + 0.5 * (2 * math.pi * safe).log()
        loss = loss + _core.where(large, stirling, _core.zeros_like(stirling))
    return _reduce("poisson_nll_loss", loss, reduction)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """0.5 (log var + (input - target)^2 / var), var held above eps."""
    if not isinstance(var, Tensor):
        var = _core.full_like(input, var)
    if var.shape != input.shape and tuple(var.shape) == tuple(input.shape[:-1]):
        var = var.unsqueeze(-1)  # one variance for all features
    _core._check_variances(var)
    held = var + (var.detach().clamp(min=eps) - var.detach())  # clamps the value, passes the gradient
    loss = 0.5 * (held.log() + (input - target).square() / held)
    return _reduce("gaussian_nll_loss", loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


def soft_margin_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-target * input)), target 1 or -1."""
    return _reduce("soft_margin_loss", _core.softplus(-target * input), reduction)


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """input where target is 1, max(0, margin - input) where it is -1."""
    loss = _core.where(target == 1, input, (margin - input).clamp(min=0))
    return _reduce("hinge_embedding_loss", loss, reduction)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """max(0, -target (input1 - input2) + margin)"""
    loss = (margin - target * (input1 - input2)).clamp(min=0)
    return _reduce("margin_ranking_loss", loss, reduction)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """1 - cos where target is 1, max(0, cos - margin) where it is -1; the cosine is along the last dimension."""
    _same_shape("cosine_embedding_loss", input1, input2)
    cos = cosine_similarity(input1, input2, dim=-1)
    loss = _core.where(target == 1, 1 - cos, (cos - margin).clamp(min=0))
    return _reduce("cosine_embedding_loss", loss, reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin) with the p-norm distance."""
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    return triplet_hinge(near, far, pairwise_distance(positive, negative, p, eps) if swap else None, margin, reduction)


def triplet_hinge(near: Tensor, far: Tensor, other: Tensor | None, margin: float, reduction: str) -> Tensor:
    """max(0, near - min(far, other) + margin): the triplet loss of given distances."""
    if other is not None:
        far = _core.minimum(far, other)
    return _reduce("triplet_margin_loss", (near - far + margin).clamp(min=0), reduction)
