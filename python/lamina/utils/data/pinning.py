"""pin_memory: the tensors of a batch in page-locked memory, so that copies to a CUDA device need no waiting."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from lamina import cuda
from lamina._core import Tensor


def pin_memory(batch: Any) -> Any:
    """`batch` with every tensor pinned; what else it holds stays, an object with a `pin_memory` method uses that."""
    if isinstance(batch, Tensor):
        return batch if batch.is_cuda else batch.pin_memory()
    if hasattr(batch, "pin_memory"):
        return batch.pin_memory()
    if isinstance(batch, (str, bytes)):
        return batch
    if isinstance(batch, Mapping):
        return {key: pin_memory(value) for key, value in batch.items()}
    if isinstance(batch, Sequence):
        entries = [pin_memory(value) for value in batch]
        if hasattr(batch, "_fields"):
            return type(batch)(*entries)
        return tuple(entries) if isinstance(batch, tuple) else entries
    return batch


def can_pin() -> bool:
    """Whether there is a device to pin memory for; warns where there is none."""
    if not cuda.is_available():
        reason = cuda.why_unavailable()
        warnings.warn(f"DataLoader: pin_memory=True has no effect: {reason}", stacklevel=3)
    return cuda.is_available()
