"""Functions whose number of results depends on their arguments: ``unique``, ``unique_consecutive``, ``nonzero``.

The engine's rows (``unique_all`` ...) always give everything; here the asked-for part is chosen.
Next: csrc/ops/sort.cpp.
"""

from __future__ import annotations

from lamina import _core
from lamina._core import Tensor

Results = Tensor | tuple[Tensor, ...]


def _chosen(values: Tensor, inverse: Tensor, counts: Tensor, return_inverse: bool, return_counts: bool) -> Results:
    if not return_inverse and not return_counts:
        return values
    return (values, *([inverse] if return_inverse else []), *([counts] if return_counts else []))


def _runs_of_slices(input: Tensor, dim: int, sort: bool) -> tuple[Tensor, Tensor, Tensor]:
    """unique over the slices along ``dim``: sorted column by column, from the least significant one."""
    slices = input.detach().movedim(dim, 0)
    rows = slices.reshape(slices.shape[0], -1)
    order = _core.arange(rows.shape[0])
    if sort:
        for column in range(rows.shape[1] - 1, -1, -1):
            order = order[rows[order, column].argsort(stable=True)]
    rows = rows[order]
    begins = _core.cat([_core.ones(1, dtype=_core.bool), (rows[1:] != rows[:-1]).any(1)])[: len(rows)]
    group = begins.cumsum(0) - 1
    inverse = _core.empty_like(group)
    inverse[order] = group
    return slices[order[begins]].movedim(0, dim), inverse, _core.bincount(group)


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Results:
    """The different elements (or slices along ``dim``) of ``input``, in order.

    Args:
        input: any shape.
        sorted: kept for PyTorch's signature; the result is always sorted.
        return_inverse: also give where each element of ``input`` is in the result.
        return_counts: also give how often each element of the result occurs.
        dim: compare slices along this dimension instead of elements.

    Example::

        >>> import lamina
        >>> lamina.unique(lamina.tensor([3, 1, 3]), return_counts=True)
        (tensor([1, 3]), tensor([1, 2]))

    Reference: ``torch.unique``.
    """
    parts = _core.unique_all(input) if dim is None else _runs_of_slices(input, dim, True)
    return _chosen(*parts, return_inverse, return_counts)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Results:
    """One element (or slice along ``dim``) for each run of equal ones.

    Args:
        input: any shape.
        return_inverse: also give where each element of ``input`` is in the result.
        return_counts: also give the length of each run.
        dim: compare slices along this dimension instead of elements.

    Example::

        >>> import lamina
        >>> lamina.unique_consecutive(lamina.tensor([1, 1, 2, 1]))
        tensor([1, 2, 1])

    Reference: ``torch.unique_consecutive``.
    """
    parts = _core.unique_consecutive_all(input) if dim is None else _runs_of_slices(input, dim, False)
    return _chosen(*parts, return_inverse, return_counts)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Results:
    """The indices of the elements that are not zero.

    Args:
        input: any shape.
        as_tuple: one tensor per dimension, fit for indexing, instead of one of shape (n, input.ndim).

    Example::

        >>> import lamina
        >>> lamina.nonzero(lamina.tensor([0.0, 2.0, 0.0, 1.0]), as_tuple=True)
        (tensor([1, 3]),)

    Reference: ``torch.nonzero``.
    """
    found = _core.nonzero(input)
    return _core.unbind(found, 1) if as_tuple else found
