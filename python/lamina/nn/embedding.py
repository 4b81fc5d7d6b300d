"""Embedding: a table of vectors looked up by integer indices."""

from __future__ import annotations

from typing import Any

from lamina import _core
from lamina._core import Tensor
from lamina.autograd import no_grad
from lamina.nn import init
from lamina.nn.module import Module
from lamina.nn.parameter import Parameter


class Embedding(Module):
    """y[...] = weight[indices[...]].

    Args:
        num_embeddings, embedding_dim: weight is (num_embeddings, embedding_dim).
        padding_idx: this row starts as zeros and gets no gradient.
        max_norm: rows that are read are first scaled down to this norm_type-norm, in place.
        scale_grad_by_freq: divide a row's gradient by how often the row is read.

    Example:
        >>> nn.Embedding(10, 3)(lamina.tensor([[1, 2], [3, 4]])).shape
        (2, 2, 3)
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if sparse:
            raise NotImplementedError("Embedding: sparse is True; gradients are dense here")
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"Embedding: padding_idx is {padding_idx}; need less than num_embeddings={num_embeddings}")
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx if padding_idx is None else padding_idx % num_embeddings
        self.max_norm, self.norm_type, self.scale_grad_by_freq = max_norm, norm_type, scale_grad_by_freq
        if _weight is None:
            _weight = _core.empty(num_embeddings, embedding_dim, device=device, dtype=dtype)
            self.weight = Parameter(_weight, requires_grad=not _freeze)
            self.reset_parameters()
        elif tuple(_weight.shape) != (num_embeddings, embedding_dim):
            raise ValueError(
                f"Embedding: weight has shape {tuple(_weight.shape)}; need {(num_embeddings, embedding_dim)}"
            )
        else:
            self.weight = Parameter(_weight, requires_grad=not _freeze)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """An embedding over an existing table (num, dim)."""
        if embeddings.dim() != 2:
            raise ValueError(f"from_pretrained: embeddings has {embeddings.dim()} dimensions; need 2")
        n, dim = embeddings.shape
        options = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
        return cls(n, dim, *options, _weight=embeddings, _freeze=freeze)

    def reset_parameters(self) -> None:
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0.0

    def forward(self, input: Tensor) -> Tensor:
        return _core.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq
        )

    def extra_repr(self) -> str:
        plain = {"padding_idx": None, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False}
        options = {name: getattr(self, name) for name, usual in plain.items() if getattr(self, name) != usual}
        return ", ".join([f"{self.num_embeddings}, {self.embedding_dim}", *(f"{k}={v}" for k, v in options.items())])
