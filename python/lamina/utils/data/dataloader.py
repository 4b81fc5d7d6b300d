"""DataLoader: batches of a dataset, in order or shuffled, optionally prepared ahead by threads.

Workers are threads: the heavy parts (NumPy, image decoding, tensor operators) release the interpreter lock,
nothing has to be pickled, and results come back in order because the futures are kept in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from lamina._core import Generator
from lamina.utils.data.collate import default_collate
from lamina.utils.data.dataset import Dataset, IterableDataset, rows_at_once
from lamina.utils.data.pinning import can_pin, pin_memory
from lamina.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler


def _single(sample: Any) -> Any:
    return sample


def _pinned(work: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda job: pin_memory(work(job))


class DataLoader:
    """Iterates over a dataset in batches.

    Args:
        dataset: indexed (`__getitem__`, `__len__`) or iterable (IterableDataset).
        batch_size: samples per batch; None yields single samples.
        shuffle: a new random order each epoch, drawn from `generator`.
        sampler: an order of one's own; batch_sampler: lists of indices of one's own.
        num_workers: threads that prepare batches ahead; 0 prepares them when asked.
        collate_fn: makes a batch of a list of samples (default: `default_collate`).
        pin_memory: batches in page-locked memory, for `batch.to('cuda', non_blocking=True)`. Without a CUDA device
            it has no effect, and iterating warns.
        drop_last: leave out an incomplete last batch.
        prefetch_factor: batches prepared ahead per worker (default 2).
        worker_init_fn: called in each worker thread with the worker's number.

    Example:
        >>> data = TensorDataset(lamina.arange(5))
        >>> [x.tolist() for (x,) in DataLoader(data, batch_size=2)]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[list[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        *,
        generator: Generator | None = None,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
    ) -> None:
        if not isinstance(num_workers, int) or num_workers < 0:
            raise ValueError(f"DataLoader: num_workers is {num_workers!r}; need an int >= 0")
        if collate_fn is not None and not callable(collate_fn):
            raise TypeError(f"DataLoader: collate_fn is a {type(collate_fn).__name__}; need a callable or None")
        if timeout < 0:
            raise ValueError(f"DataLoader: timeout is {timeout}; need a number >= 0")
        if prefetch_factor is not None and (num_workers == 0 or prefetch_factor < 1):
            raise ValueError(
                f"DataLoader: prefetch_factor is {prefetch_factor} with {num_workers} workers; need >= 1 and a worker"
            )
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: got a sampler and shuffle=True; the sampler decides the order")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ValueError("DataLoader: batch_sampler excludes batch_size, shuffle, sampler and drop_last")
        if batch_sampler is None and batch_size is None and drop_last:
            raise ValueError("DataLoader: drop_last=True needs a batch_size; got None")
        self.iterable = isinstance(dataset, IterableDataset)
        if self.iterable and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError("DataLoader: an IterableDataset has no order to choose; shuffle and samplers exclude it")
        self.dataset = dataset
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.generator = generator
        self.prefetch_factor = 2 if prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self.batch_size = None if batch_sampler is not None else batch_size
        self.drop_last = drop_last
        if sampler is None and not self.iterable:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        self.sampler = sampler
        if batch_sampler is None and batch_size is not None and sampler is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_sampler = batch_sampler
        self.batched = batch_sampler is not None or (self.iterable and batch_size is not None)
        self._rows = rows_at_once(dataset) if collate_fn is None and self.batched else None
        self.collate_fn = collate_fn or (default_collate if self.batched else _single)

    def __len__(self) -> int:
        if self.iterable:
            n = len(self.dataset)
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self.batch_sampler if self.batched else self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        order = self.batch_sampler if self.batched else self.sampler
        jobs, work = (self._raw_batches(), self.collate_fn) if order is None else (iter(order), self._fetch)
        if self.pin_memory and can_pin():
            work = _pinned(work)
        if self.num_workers == 0:
            return map(work, jobs)
        return self._ahead(jobs, work)

    def _fetch(self, indices: Any) -> Any:
        if not self.batched:
            return self.collate_fn(self.dataset[indices])
        if self._rows is not None:
            return self._rows(indices)
        if hasattr(self.dataset, "__getitems__"):  # PyTorch's protocol for datasets that fetch many at once
            return self.collate_fn(self.dataset.__getitems__(indices))
        return self.collate_fn([self.dataset[i] for i in indices])

    def _raw_batches(self) -> Iterator[Any]:
        """The uncollated batches (or single samples) of an iterable dataset."""
        samples = iter(self.dataset)
        if self.batch_size is None:
            yield from samples
            return
        while batch := list(islice(samples, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def _ahead(self, jobs: Iterator[Any], work: Callable[[Any], Any]) -> Iterator[Any]:
        """`map(work, jobs)` with `prefetch_factor` jobs per worker under way; a worker's exception is raised here."""
        numbers = iter(range(self.num_workers))

        def start() -> None:
            if self.worker_init_fn is not None:
                self.worker_init_fn(next(numbers))

        pool = ThreadPoolExecutor(self.num_workers, "lamina-data", start)
        waiting: deque[Future] = deque()
        try:
            while True:
                ahead = self.num_workers * self.prefetch_factor - len(waiting)
                waiting.extend(pool.submit(work, job) for job in islice(jobs, ahead))
                if not waiting:
                    return
                yield waiting.popleft().result(self.timeout or None)
        finally:  # also when the consumer stops early
            pool.shutdown(wait=False, cancel_futures=True)
