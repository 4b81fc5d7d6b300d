"""save and load: tensors in safetensors files, and any nesting of plain values around them. No pickle, no code.

A dictionary of tensors becomes an ordinary safetensors file. Anything else (an optimizer's state, say) is written
as a JSON tree in the file's metadata, in which {"$tensor": name} stands for a tensor of the file.
Format: 8 bytes length n (little-endian), n bytes JSON header, then the data (https://github.com/huggingface/safetensors).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from typing import Any

from lamina import _core
from lamina._core import Tensor

# safetensors' name: (dtype, bytes per element)
_DTYPES = {
    "F64": (_core.float64, 8),
    "F32": (_core.float32, 4),
    "F16": (_core.float16, 2),
    "BF16": (_core.bfloat16, 2),
    "I64": (_core.int64, 8),
    "I32": (_core.int32, 4),
    "I16": (_core.int16, 2),
    "I8": (_core.int8, 1),
    "U8": (_core.uint8, 1),
    "BOOL": (_core.bool, 1),
}
_NAMES = {dtype: name for name, (dtype, _) in _DTYPES.items()}
_WIDTHS = dict(_DTYPES.values())
_TREE = "lamina.tree"  # the metadata entry that holds the JSON tree
_MAX_HEADER = 100_000_000  # as the reference implementation: a larger one is an attack or a mistake

Path = str | os.PathLike[str]


def save(state: Any, path: Path) -> None:
    """Write tensors, and plain values around them, to a safetensors file.

    Args:
        state: a dictionary of tensors such as `module.state_dict()`, or any nesting of dictionaries (keys: str or
            int), lists, tuples, tensors, numbers, strings, True, False and None.
        path: the file; it is replaced only when all is written, so a crash leaves the old one.

    Example:
        >>> lamina.save({"w": lamina.ones(2), "epoch": 3}, "/tmp/example.safetensors")
        >>> lamina.load("/tmp/example.safetensors")["epoch"]
        3
    """
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    flat = isinstance(state, Mapping) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    if flat and "__metadata__" not in state:
        tensors.update(state)
    else:
        metadata[_TREE] = json.dumps(_pack(state, "", tensors))
    _write(os.fspath(path), tensors, metadata)


def load(path: Path) -> Any:
    """Read what `save`, or any other safetensors writer, wrote. A damaged or hostile file raises ValueError.

    Args:
        path: the file.
    """
    name = os.fspath(path)
    tensors, metadata = _read(name)
    if _TREE not in metadata:
        return tensors
    tree = _json(metadata[_TREE], f"load: {name}: the tree in the metadata")
    return _unpack(tree, tensors, name)


# ---- the tree of plain values ------------------------------------------------------------------------------------


def _pack(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON; its tensors are collected under their paths. What JSON lacks is {"$kind": ...}."""
    if isinstance(value, Tensor):
        name = path if path not in ("", "__metadata__") else "tensor"
        while name in tensors:  # the paths {"a.b": t} and {"a": {"b": t}} are the same
            name += "_"
        tensors[name] = value
        return {"$tensor": name}
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    below = f"{path}." if path else ""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, (str, int)) or isinstance(key, bool):
                raise TypeError(f"save: {path or 'state'} has a key {key!r} ({type(key).__name__}); need str or int")
        packed = {k: _pack(v, f"{below}{k}", tensors) for k, v in value.items()}
        if all(isinstance(k, str) and not k.startswith("$") for k in packed):
            return packed
        return {"$dict": [[k, v] for k, v in packed.items()]}
    if isinstance(value, (list, tuple)):
        items = [_pack(v, f"{below}{i}", tensors) for i, v in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    raise TypeError(
        f"save: {path or 'state'} is a {type(value).__name__}; need tensors, numbers, strings, None, "
        "lists, tuples or dictionaries"
    )


def _unpack(node: Any, tensors: dict[str, Tensor], name: str) -> Any:
    if isinstance(node, list):
        return [_unpack(item, tensors, name) for item in node]
    if not isinstance(node, dict):
        return node
    kind, content = next(iter(node.items()), ("", None))
    if not kind.startswith("$"):
        return {key: _unpack(item, tensors, name) for key, item in node.items()}
    if len(node) == 1:
        if kind == "$tensor" and isinstance(content, str) and content in tensors:
            return tensors[content]
        if kind == "$tuple" and isinstance(content, list):
            return tuple(_unpack(item, tensors, name) for item in content)
        if kind == "$float" and content in ("inf", "-inf", "nan"):
            return float(content)
        if kind == "$dict" and isinstance(content, list) and all(_is_entry(entry) for entry in content):
            return {key: _unpack(item, tensors, name) for key, item in content}
    raise ValueError(f"load: {name}: the tree has an entry {kind!r}: {str(content)[:80]!r} that means nothing")


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], (str, int))


# ---- the file ----------------------------------------------------------------------------------------------------


def _write(path: str, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    # The widest elements first, so that every tensor begins at a multiple of its element size.
    order = sorted(tensors, key=lambda key: -_width(key, tensors[key]))
    end = 0
    offsets = {}
    for key in order:
        begin, end = end, end + tensors[key].numel() * _width(key, tensors[key])
        offsets[key] = [begin, end]
    for key, t in tensors.items():  # the header keeps the caller's order
        header[key] = {"dtype": _NAMES[t.dtype], "shape": list(t.shape), "data_offsets": offsets[key]}
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    folder = os.path.dirname(path) or "."
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=os.path.basename(path) + ".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(len(head).to_bytes(8, "little"))
            file.write(head)
            for key in order:
                file.write(_bytes(tensors[key]))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _width(key: str, t: Tensor) -> int:
    if t.dtype not in _WIDTHS:
        raise TypeError(f"save: {key!r} has dtype {t.dtype}; need one of {', '.join(map(str, _WIDTHS))}")
    return _WIDTHS[t.dtype]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _bytes(t: Tensor) -> Any:
    """The elements in row-major order, as something `file.write` takes."""
    t = t.detach().cpu().contiguous().reshape(-1)
    return memoryview(t.view(_core.uint8)) if t.numel() else b""


def _read(name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    size = os.path.getsize(name)
    with open(name, "rb") as file:
        first = file.read(8)
        if len(first) < 8:
            raise ValueError(f"load: {name} has {size} bytes; a safetensors file needs at least 8")
        length = int.from_bytes(first, "little")
        if length > _MAX_HEADER:
            raise ValueError(f"load: {name}: header of {length} bytes; need at most {_MAX_HEADER}")
        if length > size - 8:
            raise ValueError(f"load: {name}: header of {length} bytes; the file has {size - 8} after its first 8")
        raw = file.read(length)
        entries, metadata = _check_header(raw, size - 8 - length, name)
        data = bytearray(size - 8 - length)
        if file.readinto(data) != len(data):
            raise ValueError(f"load: {name} became shorter while it was read; need {size} bytes")
    tensors = {}
    for key, (dtype, shape, begin, end) in entries.items():
        if begin == end:
            tensors[key] = _core.empty(*shape, dtype=dtype)
        else:
            # A buffer per tensor: aligned, and one tensor does not keep the whole file in memory.
            piece = data[begin:end]
            tensors[key] = _core.frombuffer(piece, dtype=dtype).reshape(shape)
    return tensors, metadata


def _check_header(raw: bytes, n_data: int, name: str) -> tuple[dict[str, tuple], dict[str, str]]:
    """Entries {name: (dtype, shape, begin, end)} and metadata; every way a file can lie is a ValueError."""
    header = _json(raw, f"load: {name}: the header")
    if not isinstance(header, dict):
        raise ValueError(f"load: {name}: the header is a JSON {type(header).__name__}; need an object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError(f"load: {name}: __metadata__ is {str(metadata)[:80]}; need an object of strings")
    entries = {key: _check_entry(entry, f"load: {name}: tensor {key!r}") for key, entry in header.items()}
    position = 0
    for key, (_, _, begin, end) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if begin != position:
            what = "overlaps the tensor before it" if begin < position else "leaves a hole before it"
            raise ValueError(f"load: {name}: tensor {key!r} begins at {begin} and {what}; need {position}")
        position = end
    if position != n_data:
        raise ValueError(
            f"load: {name}: the tensors end at {position}, the file has {n_data} bytes of data; need equal"
        )
    return entries, metadata


def _check_entry(entry: Any, what: str) -> tuple[Any, list[int], int, int]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{what} is {str(entry)[:80]}; need an object of dtype, shape and data_offsets")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in _DTYPES:
        raise ValueError(f"{what} has dtype {str(entry['dtype'])[:80]!r}; need one of {', '.join(_DTYPES)}")
    dtype, width = _DTYPES[entry["dtype"]]
    shape, offsets = entry["shape"], entry["data_offsets"]
    for field, value in (("shape", shape), ("data_offsets", offsets)):
        # A bool is an int in Python, and sizes beyond 2^63 would overflow in the engine.
        if not isinstance(value, list) or not all(type(v) is int and 0 <= v < 2**63 for v in value):
            raise ValueError(f"{what} has {field} {str(value)[:80]}; need a list of integers from 0 to 2^63 - 1")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"{what} has data_offsets {str(offsets)[:80]}; need [begin, end] with begin <= end")
    need = math.prod(shape) * width
    if offsets[1] - offsets[0] != need:
        raise ValueError(f"{what} has {offsets[1] - offsets[0]} bytes; shape {shape} of {entry['dtype']} needs {need}")
    return dtype, shape, offsets[0], offsets[1]


def _json(text: bytes | str, what: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"the key {twice!r} appears twice")
        return out

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError(f"{what} is nested too deeply") from error
    except ValueError as error:  # also UnicodeDecodeError and JSONDecodeError
        raise ValueError(f"{what} is not valid JSON: {error}") from error
