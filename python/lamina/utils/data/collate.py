"""default_collate: a list of samples becomes one batch, keeping the samples' structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lamina import _core
from lamina._core import Tensor


def default_collate(batch: list[Any]) -> Any:
    """Stack what the samples hold: tensors and arrays along a new first dimension, numbers into a vector.

    Tuples, lists and dictionaries are collated entry by entry; strings stay a list.

    Example:
        >>> x, y = default_collate([(lamina.zeros(2), 0), (lamina.ones(2), 1)])
        >>> x.shape, y.tolist()
        ((2, 2), [0, 1])
    """
    if not batch:
        raise ValueError("default_collate: got no samples; need at least one")
    first = batch[0]
    if isinstance(first, Tensor):
        for i, sample in enumerate(batch):
            if not isinstance(sample, Tensor):
                kind = type(sample).__name__
                raise TypeError(f"default_collate: sample 0 is a Tensor, sample {i} a {kind}; need one type")
        shapes = [tuple(sample.shape) for sample in batch]
        if any(shape != shapes[0] for shape in shapes):
            other = next(i for i, shape in enumerate(shapes) if shape != shapes[0])
            raise ValueError(
                f"default_collate: sample 0 has shape {shapes[0]}, sample {other} has {shapes[other]}; need equal"
            )
        return _core.stack(batch)
    if isinstance(first, (bool, int)):
        return _core.tensor(batch)
    if isinstance(first, float):
        return _core.tensor(batch, dtype=_core.float64)
    if isinstance(first, (str, bytes)):
        return batch
    if hasattr(first, "__array__"):
        return default_collate([_core.as_tensor(sample) for sample in batch])
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            sizes = [len(sample) for sample in batch]
            raise ValueError(f"default_collate: samples have {sizes} entries; need equal numbers")
        columns = [default_collate(list(column)) for column in zip(*batch, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    raise TypeError(
        f"default_collate: a sample holds a {type(first).__name__}; need tensors, arrays, numbers, strings, "
        "tuples, lists or dictionaries, or a collate_fn of your own"
    )
