"""Writes _core.pyi, the typed interface of the native module, from the operator table of the module just built.

usage: stubs.py PATH_OF_MODULE OUTPUT
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import keyword
import pathlib
import re
import sys

HEADER = '''"""Lamina's native engine: tensors, operators, autograd. Derived from csrc/ops.def; do not edit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, overload

# Tensors have methods, and the module dtypes, of these names.
from builtins import bool as _bool, float as _float, int as _int, str as _str

Number = int | float | bool

class dtype:
    @property
    def is_floating_point(self) -> bool: ...
    @property
    def is_signed(self) -> bool: ...
    @property
    def is_complex(self) -> bool: ...
    @property
    def itemsize(self) -> int: ...
    @property
    def name(self) -> str: ...

class device:
    def __init__(self, device: str | device) -> None: ...
    @property
    def type(self) -> str: ...
    @property
    def index(self) -> int | None: ...
    def __enter__(self) -> _Device: ...
    def __exit__(self, *error: object) -> None: ...

_DType: TypeAlias = "dtype"
_Device: TypeAlias = "device"

class CudaStream:
    def __init__(self, device: Any = None, priority: int = 0) -> None: ...
    device: device
    device_index: int
    cuda_stream: int
    def record_event(self, event: CudaEvent | None = None) -> CudaEvent: ...
    def query(self) -> bool: ...
    def synchronize(self) -> None: ...
    def wait_stream(self, other: CudaStream) -> None: ...
    def wait_event(self, event: CudaEvent) -> None: ...

class CudaEvent:
    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None: ...
    def record(self, stream: CudaStream | None = None) -> None: ...
    def wait(self, stream: CudaStream | None = None) -> None: ...
    def query(self) -> bool: ...
    def synchronize(self) -> None: ...
    def elapsed_time(self, end: CudaEvent) -> float: ...

class CudaGraph:
    def __init__(self, stream: CudaStream) -> None: ...
    def end(self) -> None: ...
    def abandon(self) -> None: ...
    def launch(self, stream: CudaStream) -> None: ...

class Node:
    def name(self) -> str: ...
    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]: ...

class Generator:
    def __init__(self, device: Any = None) -> None: ...
    def manual_seed(self, seed: int) -> Generator: ...
    def seed(self) -> int: ...
    def initial_seed(self) -> int: ...
    def get_state(self) -> tuple[int, int]: ...
    def set_state(self, state: tuple[int, int]) -> None: ...

class Tensor:
    requires_grad: bool
    grad: Tensor | None
    data: Tensor
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> dtype: ...
    @property
    def device(self) -> device: ...
    @property
    def ndim(self) -> int: ...
    @property
    def itemsize(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def is_cuda(self) -> bool: ...
    @property
    def is_leaf(self) -> bool: ...
    @property
    def output_nr(self) -> int: ...
    @property
    def grad_fn(self) -> Node | None: ...
    @property
    def T(self) -> Tensor: ...
    @property
    def mT(self) -> Tensor: ...
    @property
    def _version(self) -> int: ...
    @property
    def _base(self) -> Tensor | None: ...
    @staticmethod
    def _make_subclass(cls: type, data: Tensor, requires_grad: bool = False) -> Any: ...
    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None: ...
    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Any: ...
    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> Any: ...
'''

NUMBER_SLOTS = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
PYTHON_TYPES = {
    "size": "int | tuple[int, ...]",
    "stride": "int | tuple[int, ...]",
    "dim": "int",
    "ndimension": "int",
    "numel": "int",
    "nelement": "int",
    "element_size": "int",
    "data_ptr": "int",
    "storage_offset": "int",
    "is_contiguous": "bool",
    "is_floating_point": "bool",
    "item": "Number",
    "tolist": "Any",
    "numpy": "Any",
    "retain_grad": "None",
    "is_inference": "bool",
    "is_pinned": "bool",
    "record_stream": "None",
}


def parameters(row: dict, method: bool) -> str:
    texts, types = [], iter(row["types"])
    for i, part in enumerate(p.strip() for p in row["signature"].split("->")[0].split(",") if p.strip()):
        if part == "*":
            texts += [] if any(t.startswith("*") for t in texts) else ["*"]  # f(*size, *, dtype) is f(*size, dtype)
            continue
        name, _, default = part.partition("=")
        name += "_" * keyword.iskeyword(name)  # uniform_(from, to): by position only, for a type checker
        kind = next(types)
        if method and i == 0:
            texts.append("self")
        elif (
            kind.startswith(("int | Sequence[int]", "Tensor | Sequence[Tensor]"))
            and row["varargs"] == i
            and not default
        ):
            texts.append(f"*{name}: Any")
        else:
            texts.append(f"{name}: {kind}" + (f" = {'...' if 'inf' in default else default}" if default else ""))
    if row["creates"]:
        texts += ([] if any(t.startswith("*") for t in texts) else ["*"]) + [
            "requires_grad: bool = False",
            "pin_memory: bool = False",
        ]
    return ", ".join(texts)


def functions(rows: list[dict], method: bool, suffix: str = "") -> list[str]:
    """One stub per name; several rows of a name become overloads."""
    lines = []
    names = dict.fromkeys(r["name"] for r in rows)
    for name in names:
        same = [r for r in rows if r["name"] == name]
        for row in same:
            if len(same) > 1:
                lines.append("@overload")
            lines.append(f"def {name}{suffix}({parameters(row, method)}) -> {row['result']}: ...")
    return lines


def unshadowed(text: str) -> str:
    """Types by names that no method and no dtype has: `def int(self) -> int` would refer to itself."""
    other = {"int": "_int", "float": "_float", "bool": "_bool", "str": "_str", "dtype": "_DType", "device": "_Device"}
    types = re.compile(rf"(?<![\w.])({'|'.join(other)})(?= \||[,\])]| =|: \.\.\.|$)", re.MULTILINE)
    return types.sub(lambda match: other[match[1]], text)


def main(module_path: str, output: str) -> None:
    loader = importlib.machinery.ExtensionFileLoader("_core", module_path)
    core = importlib.util.module_from_spec(importlib.util.spec_from_loader("_core", loader))
    loader.exec_module(core)
    rows = core.op_table()
    lines = [HEADER.rstrip()]
    methods = functions([r for r in rows if r["method"]], method=True)
    methods += functions([r for r in rows if r["inplace"]], method=True, suffix="_")
    for slot in NUMBER_SLOTS:
        methods += [f"def __{p}{slot}__(self, other: Any) -> Tensor: ..." for p in ("", "r", "i")]
    for slot in ("eq", "ne"):
        methods.append(f"def __{slot}__(self, other: object) -> Tensor: ...  # type: ignore[override]")
    methods += [f"def __{slot}__(self, other: Any) -> Tensor: ..." for slot in ("lt", "le", "gt", "ge")]
    methods += [f"def __{slot}__(self) -> Tensor: ..." for slot in ("neg", "abs", "invert")]
    methods += [
        "def __getitem__(self, key: Any) -> Tensor: ...",
        "def __setitem__(self, key: Any, value: Any) -> None: ...",
        "def __len__(self) -> int: ...",
        "def __iter__(self) -> Iterator[Tensor]: ...",
        "def __bool__(self) -> bool: ...",
        "def __float__(self) -> float: ...",
        "def __int__(self) -> int: ...",
        "def __index__(self) -> int: ...",
        "def __hash__(self) -> int: ...",
        "def __buffer__(self, flags: int, /) -> memoryview: ...",
    ]
    known = HEADER[HEADER.index("class Tensor") :] + "\n".join(methods)
    for name in sorted(vars(core.Tensor)):
        if not name.startswith("__") and f" {name}(" not in known and f"    {name}:" not in known and name[0] != "_":
            methods.append(f"def {name}(self, *args: Any, **kwargs: Any) -> {PYTHON_TYPES.get(name, 'Tensor')}: ...")
    lines += ["    " + m for m in methods]
    lines.append("")
    lines += functions([r for r in rows if r["function"]], method=False)
    known = "\n".join(lines)
    for name in sorted(vars(core)):
        value = getattr(core, name)
        if isinstance(value, core.dtype):
            lines.append(f"{name}: dtype")
        elif name == "default_generator":
            lines.append("default_generator: Generator")
        elif (
            callable(value)
            and not name.startswith("__")
            and not isinstance(value, type)
            and f"\ndef {name}(" not in known  # a method of that name is another thing
        ):
            lines.append(f"def {name}(*args: Any, **kwargs: Any) -> Any: ...")
    pathlib.Path(output).write_text(unshadowed("\n".join(lines) + "\n"))


if __name__ == "__main__":
    main(*sys.argv[1:])
