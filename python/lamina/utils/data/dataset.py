"""Datasets: anything with `__getitem__` and `__len__`, or (iterable ones) with `__iter__`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from lamina import _core
from lamina._core import Generator, Tensor


class Dataset:
    """Base of datasets that are indexed: subclasses define `__getitem__` and, for a DataLoader, `__len__`."""

    __len__: Callable[[], int]

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: __getitem__ is not defined")

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Base of datasets that can only be walked: subclasses define `__iter__`."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__}: __iter__ is not defined")


class TensorDataset(Dataset):
    """Rows of several tensors of equal first size.

    Example:
        >>> data = TensorDataset(lamina.arange(6).reshape(3, 2), lamina.arange(3))
        >>> [t.tolist() for t in data[1]]
        [[2, 3], 1]
    """

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors:
            raise ValueError("TensorDataset: got no tensors; need at least one")
        for i, t in enumerate(tensors):
            if not hasattr(t, "shape") or not len(t.shape):
                raise TypeError(f"TensorDataset: tensor {i} is {t!r}; need tensors of at least 1 dimension")
        sizes = [t.shape[0] for t in tensors]
        if len(set(sizes)) != 1:
            raise ValueError(f"TensorDataset: first sizes differ: {sizes}; need equal sizes")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].shape[0]


class Subset(Dataset):
    """The entries of a dataset at given indices."""

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset):
    """Several datasets, one after the other."""

    def __init__(self, datasets: Iterable[Dataset]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: got no datasets; need at least one")
        for i, dataset in enumerate(self.datasets):
            if isinstance(dataset, IterableDataset):
                raise TypeError(f"ConcatDataset: dataset {i} is a {type(dataset).__name__}; need indexed datasets")
        self.cumulative_sizes = list(accumulate(len(d) for d in self.datasets))

    def __getitem__(self, index: int) -> Any:
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"ConcatDataset: index {index} is out of range; there are {n} entries")
        index %= n
        which = bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


def random_split(dataset: Dataset, lengths: Sequence[int | float], generator: Generator | None = None) -> list[Subset]:
    """Cut a dataset at random into subsets without overlap.

    Args:
        lengths: sizes that sum to the dataset's, or shares that sum to 1 (remainders go to the first subsets).

    Example:
        >>> a, b = random_split(TensorDataset(lamina.arange(10)), [0.8, 0.2])
        >>> len(a), len(b)
        (8, 2)
    """
    n = len(dataset)
    if all(0 <= share <= 1 for share in lengths) and abs(sum(lengths) - 1) < 1e-6:
        sizes = [int(n * share) for share in lengths]
        for i in range(n - sum(sizes)):
            sizes[i % len(sizes)] += 1
    else:
        sizes = [int(size) for size in lengths]
    if any(size < 0 for size in sizes):
        raise ValueError(f"random_split: lengths {list(lengths)} has a negative one; need sizes >= 0")
    if sum(sizes) != n:
        raise ValueError(f"random_split: lengths {list(lengths)} sum to {sum(lengths)}; the dataset has {n} entries")
    order = _core.randperm(n, generator=generator).tolist()
    ends = list(accumulate(sizes))
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def rows_at_once(dataset: Any) -> Callable[[list[int]], list[Tensor]] | None:
    """For plain TensorDatasets and subsets of them: a whole batch by one indexing per tensor, with no collating."""
    if isinstance(dataset, Subset):
        inner = rows_at_once(dataset.dataset)
        return inner and (lambda positions: inner([dataset.indices[i] for i in positions]))
    if not isinstance(dataset, TensorDataset) or type(dataset).__getitem__ is not TensorDataset.__getitem__:
        return None

    def rows(indices: list[int]) -> list[Tensor]:
        where = _core.tensor(indices, dtype=_core.int64)
        return [t.index_select(0, where) for t in dataset.tensors]

    return rows
