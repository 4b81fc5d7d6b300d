"""Distances, similarities and normalization to unit length; one-hot vectors."""

from __future__ import annotations

from lamina import _core
from lamina._core import Tensor

one_hot = _core.one_hot


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(||x||_p, eps) along dim."""
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (||x1|| ||x2||) along dim, each norm held above eps."""
    norm1 = x1.square().sum(dim, keepdim=True).clamp(min=eps * eps).sqrt()
    norm2 = x2.square().sum(dim, keepdim=True).clamp(min=eps * eps).sqrt()
    return ((x1 / norm1) * (x2 / norm2)).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """||x1 - x2 + eps||_p along the last dimension; eps keeps the gradient finite at equal points."""
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)
