"""CUDA devices: whether there are any, streams, events, memory, captured graphs. PyTorch's ``torch.cuda``.

Operators do not wait for the device. What only the elements of a tensor can tell, such as an index out of range, is
therefore raised by whatever waits next: ``x.item()``, ``x.cpu()``, ``synchronize()``.

Example:
    >>> import lamina
    >>> device = "cuda" if lamina.cuda.is_available() else "cpu"
    >>> lamina.ones(2, device=device).sum().item()
    2.0
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from lamina import _core
from lamina._core import CudaEvent as Event
from lamina._core import CudaStream as Stream

__all__ = [
    "Event",
    "Graph",
    "Stream",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "graph",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "providers",
    "reset_peak_memory_stats",
    "set_device",
    "set_stream",
    "stream",
    "synchronize",
    "why_unavailable",
]

Device = Any  # lamina.device, 'cuda', 'cuda:1', an index or None for the current one


def device_count() -> int:
    """Number of CUDA devices; 0 without a driver or in a build without CUDA."""
    return _core._cuda_device_count()


def is_available() -> bool:
    """Whether tensors can be put on a CUDA device."""
    return device_count() > 0


def why_unavailable() -> str:
    """Why ``is_available()`` is False; an empty string where it is True."""
    return _core._cuda_why_unavailable()


def is_initialized() -> bool:
    """Whether CUDA can be used. There is nothing to initialize by hand: the same as ``is_available()``."""
    return is_available()


def current_device() -> int:
    """Index of the device that ``"cuda"`` means to this thread."""
    return _core._cuda_current_device().index


def set_device(device: Device) -> None:
    """Makes ``device`` what ``"cuda"`` means to this thread from now on."""
    _core._cuda_set_device(device)


class device:
    """Makes a device what ``"cuda"`` means inside a ``with`` block. Tensors that name no device stay on the CPU.

    Args:
        device: an index, ``"cuda:1"``, a ``lamina.device``, or None for no change.
    """

    def __init__(self, device: Device) -> None:
        self.device = device

    def __enter__(self) -> device:
        self.before = current_device()
        set_device(self.device)
        return self

    def __exit__(self, *error: object) -> None:
        set_device(self.before)


def providers() -> dict[str, str]:
    """NVIDIA's libraries that may compute instead of Lamina's kernels: the version in use, or why there is none.

    ``cublaslt`` multiplies matrices, ``cudnn`` convolves, ``nvrtc`` compiles. They are looked for when first needed and
    used for the shapes where they are faster; ``LAMINA_PROVIDERS=none`` in the environment turns them off. Empty in a
    build without CUDA.
    """
    return dict(_core._cuda_providers())


def get_device_name(device: Device = None) -> str:
    """The name its maker gave it, such as 'NVIDIA H200'."""
    return _core._cuda_device_name(device)


def get_device_properties(device: Device = None) -> SimpleNamespace:
    """What the device is like: ``name``, ``total_memory``, ``multi_processor_count``, ``major``, ``minor`` and more."""
    return SimpleNamespace(name=get_device_name(device), **_core._cuda_device_properties(device))


def get_device_capability(device: Device = None) -> tuple[int, int]:
    """The compute capability, such as (9, 0)."""
    properties = get_device_properties(device)
    return properties.major, properties.minor


def is_bf16_supported() -> bool:
    """Whether the current device computes products of bfloat16 by itself."""
    return is_available() and get_device_capability() >= (8, 0)


def mem_get_info(device: Device = None) -> tuple[int, int]:
    """Bytes that are free on the device, whoever has the others, and bytes in all."""
    return _core._cuda_memory_info(device)


def manual_seed(seed: int) -> None:
    """Seeds the random numbers of tensors on CUDA devices; nothing happens without one.

    There is one default generator for all devices, so this is ``lamina.manual_seed``.
    """
    if is_available():
        _core.manual_seed(seed)


manual_seed_all = manual_seed


def synchronize(device: Device = None) -> None:
    """Waits for everything queued on the device."""
    _core._cuda_synchronize(device)


def current_stream(device: Device = None) -> Stream:
    """The stream that this thread's operators run in."""
    return _core._cuda_current_stream(device)


def default_stream(device: Device = None) -> Stream:
    """The stream that operators run in where no other was chosen."""
    return _core._cuda_default_stream(device)


def set_stream(stream: Stream | None) -> None:
    """Makes this thread's operators run in ``stream`` from now on; None for no change."""
    if stream is not None:
        _core._cuda_set_stream(stream)


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
    return _core._cuda_memory_stats(device)


def memory_allocated(device: Device = None) -> int:
    """Bytes in tensors, rounded up to blocks."""
    return memory_stats(device)["allocated_bytes"]


def max_memory_allocated(device: Device = None) -> int:
    """The most that ``memory_allocated`` has been since ``reset_peak_memory_stats``."""
    return memory_stats(device)["allocated_bytes_peak"]


def memory_reserved(device: Device = None) -> int:
    """Bytes taken from the device, in use or kept for reuse."""
    return memory_stats(device)["reserved_bytes"]


def max_memory_reserved(device: Device = None) -> int:
    """The most that ``memory_reserved`` has been since ``reset_peak_memory_stats``."""
    return memory_stats(device)["reserved_bytes_peak"]


def memory_summary(device: Device = None, abbreviated: bool = False) -> str:
    """``memory_stats`` as a table, bytes in MiB; ``abbreviated`` shows what tensors use and what is held only."""
    stats = memory_stats(device)
    names = [n for n in stats if not abbreviated or n.startswith(("allocated", "reserved"))]
    lines = [f"memory of {get_device_name(device)}"]
    for name in names:
        in_bytes = "bytes" in name or name == "largest_free"
        lines.append(f"  {name:24s} " + (f"{stats[name] / 2**20:12.2f} MiB" if in_bytes else f"{stats[name]:12d}"))
    return "\n".join(lines)


def reset_peak_memory_stats(device: Device = None) -> None:
    """Starts the peaks of ``memory_stats`` anew."""
    _core._cuda_reset_peaks(device)


def empty_cache(device: Device = None) -> None:
    """Returns to the device, and to the system, the memory that no tensor uses, pinned memory included."""
    _core._cuda_empty_cache(device)


class Graph:
    """Everything a function gave to the device, recorded once and replayed by one call.

    Args:
        step: a function without arguments that reads and writes tensors made outside: a training step on fixed input
            tensors, into which new data is copied before each call.
        warmup: calls before the capture. They happen for real.

    Calling it replays the step and returns what ``step`` returned: the same tensors, with new elements. Random numbers
    are new in every replay. Numbers that Python gave to the step are recorded as they were: a learning rate that a
    schedule changes must be a tensor on the device, ``SGD(params, lr=lamina.tensor(0.1, device="cuda"))``.

    Raises:
        RuntimeError: an operator of the step cannot be captured, as it reads from the device.
    """

    def __init__(self, step: Callable[[], Any], warmup: int = 2, device: Device = None) -> None:
        self._stream = Stream(device)
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
