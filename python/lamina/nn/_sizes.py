"""Sizes that may be given once for all dimensions or one per dimension."""

from __future__ import annotations

from collections.abc import Sequence

Size = int | Sequence[int]


def as_tuple(value: Size, dims: int, what: str) -> tuple[int, ...]:
    """`value` as `dims` integers.

    Example:
        >>> as_tuple(3, 2, "kernel_size")
        (3, 3)
    """
    if isinstance(value, int):
        return (value,) * dims
    values = tuple(value)
    if len(values) != dims:
        raise ValueError(f"{what} has {len(values)} entries {values}; need 1 or {dims}")
    return values
