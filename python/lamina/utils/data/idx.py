"""read_idx: the file format of MNIST (https://yann.lecun.com/exdb/mnist), plain or gzipped.

Big-endian: two zero bytes, a type code, the number of dimensions, the sizes as 32-bit integers, then the data.
"""

from __future__ import annotations

import gzip
import math
import os
import struct

from lamina import _core
from lamina._core import Tensor

# code: (dtype, bytes per element)
_TYPES = {
    0x08: (_core.uint8, 1),
    0x09: (_core.int8, 1),
    0x0B: (_core.int16, 2),
    0x0C: (_core.int32, 4),
    0x0D: (_core.float32, 4),
    0x0E: (_core.float64, 8),
}


def read_idx(path: str | os.PathLike[str]) -> Tensor:
    """The tensor in an idx file; a damaged file raises ValueError.

    Args:
        path: the file, gzipped if its first bytes say so.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        raw = file.read()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError) as error:
            raise ValueError(f"read_idx: {name} is a damaged gzip file: {error}") from error
    if len(raw) < 4 or raw[0] or raw[1]:
        raise ValueError(f"read_idx: {name} begins with {raw[:4].hex()}; need two zero bytes, a type and a rank")
    code, rank = raw[2], raw[3]
    if code not in _TYPES:
        known = ", ".join(f"{c:#04x}" for c in _TYPES)
        raise ValueError(f"read_idx: {name} has type code {code:#04x}; need one of {known}")
    start = 4 + 4 * rank
    if len(raw) < start:
        raise ValueError(f"read_idx: {name} has {len(raw)} bytes; its header of {rank} dimensions needs {start}")
    shape = struct.unpack(f">{rank}I", raw[4:start])
    dtype, width = _TYPES[code]
    need = start + math.prod(shape) * width
    if len(raw) != need:
        raise ValueError(f"read_idx: {name} has {len(raw)} bytes; shape {shape} of {dtype} needs {need}")
    if need == start:
        return _core.empty(*shape, dtype=dtype)
    data = bytearray(raw[start:])
    for i in range(width // 2):  # to little-endian: swap byte i with its mirror in every element
        low, high = data[i::width], data[width - 1 - i :: width]
        data[i::width], data[width - 1 - i :: width] = high, low
    return _core.frombuffer(data, dtype=dtype).reshape(shape)
