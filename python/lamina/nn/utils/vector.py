"""All parameters as one flat vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from lamina import _core
from lamina._core import Tensor
from lamina.autograd import no_grad


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters flattened and concatenated."""
    return _core.cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Cut `vec` and make the pieces the new values of the parameters."""
    parameters = list(parameters)
    need = sum(p.numel() for p in parameters)
    if vec.numel() != need:
        raise ValueError(f"vector_to_parameters: vec has {vec.numel()} elements, the parameters {need}; need equal")
    start = 0
    with no_grad():
        for p in parameters:
            p.copy_(vec[start : start + p.numel()].reshape(p.shape))
            start += p.numel()
