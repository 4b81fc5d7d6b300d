"""CUDA devices: whether there are any, streams, events, memory, captured graphs. PyTorch's ``torch.cuda``.

Example:
    >>> import lamina
    >>> device = "cuda" if lamina.cuda.is_available() else "cpu"
    >>> lamina.ones(2, device=device).sum().item()
    2.0
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina import _core
from lamina._core import CudaEvent as Event
from lamina._core import CudaStream as Stream

__all__ = [
    "Event",
    "Graph",
    "Stream",
    "current_stream",
    "device_count",
    "empty_cache",
    "get_device_name",
    "graph",
    "is_available",
    "max_memory_allocated",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_peak_memory_stats",
    "stream",
    "synchronize",
    "why_unavailable",
]

Device = Any  # lamina.device, 'cuda', 'cuda:1', an index or None for the first


def _index(device: Device) -> int:
    if device is None:
        return 0
    if isinstance(device, int):
        return device
    parsed = _core.device(device) if isinstance(device, str) else device
    if parsed.type != "cuda":
        raise ValueError(f"cuda: device is {parsed}; need a CUDA device")
    return parsed.index or 0


def device_count() -> int:
    """Number of CUDA devices; 0 without a driver or in a build without CUDA."""
    return _core._cuda_device_count()


def is_available() -> bool:
    """Whether tensors can be put on a CUDA device."""
    return device_count() > 0


def why_unavailable() -> str:
    """Why ``is_available()`` is False; an empty string where it is True."""
    return _core._cuda_why_unavailable()


def get_device_name(device: Device = None) -> str:
    """The name its maker gave it, such as 'NVIDIA H200'."""
    return _core._cuda_device_name(_index(device))


def synchronize(device: Device = None) -> None:
    """Waits for everything queued on the device."""
    _core._cuda_synchronize(_index(device))


def current_stream(device: Device = None) -> Stream:
    """The stream that this thread's operators run in."""
    return _core._cuda_current_stream(_index(device))


class stream:
    """Runs the operators of a ``with`` block in another stream.

    Args:
        stream: a ``Stream``, or None for no change.
    """

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> Stream | None:
        if self.stream is not None:
            self.before = _core._cuda_current_stream(self.stream.device_index)
            _core._cuda_set_stream(self.stream)
        return self.stream

    def __exit__(self, *error: object) -> None:
        if self.stream is not None:
            _core._cuda_set_stream(self.before)


def memory_stats(device: Device = None) -> dict[str, int]:
    """Bytes and counts of the caching allocator."""
    return _core._cuda_memory_stats(_index(device))


def memory_allocated(device: Device = None) -> int:
    """Bytes in tensors, rounded up to blocks."""
    return memory_stats(device)["allocated_bytes"]


def max_memory_allocated(device: Device = None) -> int:
    """The most that ``memory_allocated`` has been since ``reset_peak_memory_stats``."""
    return memory_stats(device)["allocated_bytes_peak"]


def memory_reserved(device: Device = None) -> int:
    """Bytes taken from the device, in use or kept for reuse."""
    return memory_stats(device)["reserved_bytes"]


def reset_peak_memory_stats(device: Device = None) -> None:
    """Starts the peaks of ``memory_stats`` anew."""
    _core._cuda_reset_peaks(_index(device))


def empty_cache(device: Device = None) -> None:
    """Returns to the device the memory that no tensor uses."""
    _core._cuda_empty_cache(_index(device))


class Graph:
    """Everything a function gave to the device, recorded once and replayed by one call.

    Args:
        step: a function without arguments that reads and writes tensors made outside: a training step on fixed input
            tensors, into which new data is copied before each call.
        warmup: calls before the capture. They happen for real.

    Calling it replays the step and returns what ``step`` returned: the same tensors, with new elements.

    Raises:
        RuntimeError: an operator of the step cannot be captured, as it reads from the device.
    """

    def __init__(self, step: Callable[[], Any], warmup: int = 2, device: Device = None) -> None:
        self._stream = Stream(_index(device))
        self._stream.wait_stream(current_stream(device))
        with stream(self._stream):
            for _ in range(warmup):
                step()
            self._stream.synchronize()
            self._graph = _core.CudaGraph(self._stream)
            try:
                self.result = step()
            except BaseException:
                self._graph.abandon()
                raise
            self._graph.end()
        current_stream(device).wait_stream(self._stream)

    def __call__(self) -> Any:
        self._graph.launch(current_stream(self._stream.device_index))
        return self.result


def graph(step: Callable[[], Any], warmup: int = 2, device: Device = None) -> Graph:
    """Captures ``step``; see :class:`Graph`.

    Example::

        loss = lamina.cuda.graph(lambda: train_step(x, y))
        for batch, target in loader:
            x.copy_(batch), y.copy_(target)
            loss()
    """
    return Graph(step, warmup, device)
