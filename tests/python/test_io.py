"""save and load: round trips, the safetensors format, atomic writing, and files that lie."""

import json
import math
import os
import struct

import lamina
import numpy as np
import pytest
from lamina import nn

DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def same(a, b):
    return a.dtype == b.dtype and tuple(a.shape) == tuple(b.shape) and a.tolist() == b.tolist()


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 3), (2, 3, 2)], ids=str)
def test_dtypes_and_shapes(tmp_path, name, shape):
    dtype = getattr(lamina, name)
    t = lamina.arange(math.prod(shape)) % 2 if name in ("bool", "uint8") else lamina.arange(math.prod(shape)) - 3
    t = t.reshape(shape).to(dtype)
    lamina.save({"t": t, "u": t}, tmp_path / "f")
    loaded = lamina.load(str(tmp_path / "f"))
    assert list(loaded) == ["t", "u"] and same(loaded["t"], t) and same(loaded["u"], t)


def test_views_and_special_values(tmp_path):
    base = lamina.arange(12, dtype=lamina.float32).reshape(3, 4)
    values = lamina.tensor([math.inf, -math.inf, math.nan, -0.0, 5e-324, 1.7e308], dtype=lamina.float64)
    lamina.save({"t": base.T, "s": base[1:, ::2], "e": base[:1].expand(2, 4), "v": values}, tmp_path / "f")
    loaded = lamina.load(tmp_path / "f")
    assert same(loaded["t"], base.T.contiguous()) and loaded["s"].tolist() == [[4, 6], [8, 10]]
    assert loaded["e"].tolist() == [[0, 1, 2, 3]] * 2
    assert loaded["v"].numpy().tobytes() == values.numpy().tobytes()
    loaded["v"].add_(1)  # owns its memory
    assert lamina.load(tmp_path / "f")["v"].tolist()[3] == 0


def test_module_round_trip(tmp_path):
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    lamina.save(net.state_dict(), tmp_path / "net.safetensors")
    state = lamina.load(tmp_path / "net.safetensors")
    assert list(state) == list(net.state_dict())
    other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    other.load_state_dict(state)
    x = lamina.randn(4, 3)
    assert net(x).tolist() == other(x).tolist()


def test_nested_state(tmp_path):
    t = lamina.arange(3)
    state = {
        "epoch": 3,
        "lr": 0.1,
        "name": "ünï\n",
        "flags": [True, None, False],
        "big": 2**70,
        "nan": math.nan,
        "inf": (math.inf, -math.inf),
        "nested": {"a.b": t, "a": {"b": t + 1}, 7: {"x": [t, {"y": (t, 1)}]}},
        "$odd": {"$tensor": "no"},
        "empty": [{}, [], ()],
        -1: "negative",
    }
    lamina.save(state, tmp_path / "f")
    loaded = lamina.load(tmp_path / "f")
    assert loaded.keys() == state.keys() and list(loaded) == list(state)
    assert math.isnan(loaded["nan"]) and loaded["inf"] == state["inf"] and loaded["big"] == 2**70
    assert loaded["flags"] == [True, None, False] and loaded["lr"] == 0.1 and loaded["name"] == state["name"]
    assert loaded["nested"]["a.b"].tolist() == [0, 1, 2] and loaded["nested"]["a"]["b"].tolist() == [1, 2, 3]
    assert loaded["nested"][7]["x"][1]["y"][0].tolist() == [0, 1, 2] and loaded["nested"][7]["x"][1]["y"][1] == 1
    assert loaded["$odd"] == {"$tensor": "no"} and loaded["empty"] == [{}, [], ()]


def test_other_top_levels(tmp_path):
    for state in ([1, 2], (3,), 5, None, "text"):
        lamina.save(state, tmp_path / "f")
        assert lamina.load(tmp_path / "f") == state
    lamina.save(lamina.ones(2), tmp_path / "f")
    assert lamina.load(tmp_path / "f").tolist() == [1, 1]
    lamina.save({}, tmp_path / "f")
    assert lamina.load(tmp_path / "f") == {}
    lamina.save({"__metadata__": lamina.ones(1)}, tmp_path / "f")
    assert lamina.load(tmp_path / "f")["__metadata__"].item() == 1


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": object()}, "save: a is a object; need tensors, numbers"),
        ({"a": [1, {"b": {1}}]}, "save: a.1.b is a set"),
        ({"a": {1.5: 2}}, r"save: a has a key 1.5 \(float\); need str or int"),
        ({True: 2}, r"has a key True \(bool\)"),
        (lambda: 1, "save: state is a function"),
    ],
)
def test_save_refuses_what_it_cannot_write(tmp_path, state, message):
    with pytest.raises(TypeError, match=message):
        lamina.save(state, tmp_path / "f")
    assert os.listdir(tmp_path) == []


def test_saving_is_atomic(tmp_path, monkeypatch):
    path = tmp_path / "f"
    lamina.save({"a": lamina.ones(1)}, path)
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError("disk is full")))
    with pytest.raises(OSError, match="disk is full"):
        lamina.save({"a": lamina.zeros(1)}, path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["f"] and lamina.load(path)["a"].item() == 1
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_format_on_disk(tmp_path):
    """The bytes as the format describes them, read without our code."""
    lamina.save({"small": lamina.ones(3, dtype=lamina.uint8), "wide": lamina.arange(2)}, tmp_path / "f")
    raw = (tmp_path / "f").read_bytes()
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n])
    assert (8 + n) % 8 == 0
    assert header["wide"] == {"dtype": "I64", "shape": [2], "data_offsets": [0, 16]}
    assert header["small"] == {"dtype": "U8", "shape": [3], "data_offsets": [16, 19]}
    assert raw[8 + n :] == struct.pack("<2q", 0, 1) + b"\1\1\1"


def test_exchange_with_the_safetensors_library(tmp_path):
    safe = pytest.importorskip("safetensors.numpy", reason="the safetensors library is not installed")
    ours = {"a": lamina.arange(6).reshape(2, 3), "b": lamina.ones(3, dtype=lamina.float16), "c": lamina.tensor(True)}
    lamina.save(ours, tmp_path / "ours")
    theirs = safe.load_file(tmp_path / "ours")
    assert {k: (v.dtype.name, v.tolist()) for k, v in theirs.items()} == {
        k: (v.numpy().dtype.name, v.tolist()) for k, v in ours.items()
    }
    arrays = {"x": np.arange(5, dtype=np.int16), "y": np.zeros((0, 2), np.float64), "z": np.float32(3)[...]}
    arrays["z"] = np.array(3, dtype=np.float32)
    safe.save_file(arrays, tmp_path / "theirs", metadata={"format": "np"})
    loaded = lamina.load(tmp_path / "theirs")
    assert {k: (v.numpy().dtype, v.tolist()) for k, v in loaded.items()} == {
        k: (v.dtype, v.tolist()) for k, v in arrays.items()
    }


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


def file_of(header, data=b"", length=None):
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(head) if length is None else length).to_bytes(8, "little") + head + data


EIGHT = bytes(8)
TREE = "lamina.tree"
HOSTILE = [
    (b"", "has 0 bytes; a safetensors file needs at least 8"),
    (b"\1\2\3", "has 3 bytes; a safetensors file needs at least 8"),
    (file_of(b"{}", length=3), "header of 3 bytes; the file has 2 after its first 8"),
    (file_of(b"", length=100_000_001), "header of 100000001 bytes; need at most 100000000"),
    (b"\xff" * 8, "header of 18446744073709551615 bytes; need at most"),
    (file_of(b""), "the header is not valid JSON"),
    (file_of(b"{]"), "the header is not valid JSON"),
    (file_of(b'{"a": NaN}'), "the header is not valid JSON: NaN is not JSON"),
    (file_of(b'{"\xff": 1}'), "the header is not valid JSON: 'utf-8' codec"),
    (file_of(b"[" * 200_000), "the header is nested too deeply|not valid JSON"),
    (file_of([]), "the header is a JSON list; need an object"),
    (file_of(3), "the header is a JSON int; need an object"),
    (file_of(b'{"a": {}, "a": {}}'), "the key 'a' appears twice"),
    (file_of(b'{"a": {"dtype": "F32", "dtype": "F64", "shape": [], "data_offsets": [0, 4]}}'), "'dtype' appears twice"),
    (file_of({"__metadata__": 3}), "__metadata__ is 3; need an object of strings"),
    (file_of({"__metadata__": {"a": 1}}), "__metadata__ is {'a': 1}; need an object of strings"),
    (file_of({"a": 3}), "tensor 'a' is 3; need an object of dtype, shape and data_offsets"),
    (file_of({"a": {"dtype": "F32", "shape": []}}), "need an object of dtype, shape and data_offsets"),
    (file_of({"a": entry(more=1)}, EIGHT), "need an object of dtype, shape and data_offsets"),
    (file_of({"a": entry("F8")}, EIGHT), "has dtype 'F8'; need one of F64, F32"),
    (file_of({"a": entry(7)}, EIGHT), "has dtype '7'; need one of"),
    (file_of({"a": entry(["F32"])}, EIGHT), "has dtype .*; need one of"),
    (file_of({"a": entry(shape=[-2])}, EIGHT), r"has shape \[-2\]; need a list of integers"),
    (file_of({"a": entry(shape=[2.0])}, EIGHT), r"has shape \[2.0\]"),
    (file_of({"a": entry(shape=[True, 2])}, EIGHT), r"has shape \[True, 2\]"),
    (file_of({"a": {"dtype": "F32", "shape": "2", "data_offsets": [0, 8]}}, EIGHT), "has shape 2"),
    (file_of({"a": entry(shape=[2**63])}, EIGHT), r"has shape \[9223372036854775808\]"),
    (file_of({"a": entry(shape=[2**40, 2**40, 0, 2**40], offsets=[0, 8])}, EIGHT), "has 8 bytes; shape .* needs 0"),
    (file_of({"a": entry(shape=[2**62, 4])}, EIGHT), "needs 73786976294838206464"),
    (file_of({"a": entry(shape=[3])}, EIGHT), r"has 8 bytes; shape \[3\] of F32 needs 12"),
    (file_of({"a": entry(shape=[1])}, EIGHT), r"has 8 bytes; shape \[1\] of F32 needs 4"),
    (file_of({"a": entry(offsets=[8, 0])}, EIGHT), r"has data_offsets \[8, 0\]; need \[begin, end\]"),
    (file_of({"a": entry(offsets=[0])}, EIGHT), r"has data_offsets \[0\]"),
    (file_of({"a": entry(offsets=[0, 8, 16])}, EIGHT), r"has data_offsets \[0, 8, 16\]"),
    (file_of({"a": entry(offsets=[-8, 0])}, EIGHT), r"has data_offsets \[-8, 0\]"),
    (file_of({"a": entry(offsets=[0.0, 8.0])}, EIGHT), r"has data_offsets \[0.0, 8.0\]"),
    (file_of({"a": entry(offsets=[4, 12])}, bytes(12)), "'a' begins at 4 and leaves a hole before it; need 0"),
    (file_of({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12)), "'b' begins at 4 and overlaps .*; need 8"),
    (file_of({"a": entry(), "b": entry()}, EIGHT), "'b' begins at 0 and overlaps"),
    (file_of({"a": entry(), "b": entry(offsets=[16, 24])}, bytes(24)), "'b' begins at 16 and leaves a hole .*; need 8"),
    (file_of({"a": entry()}, bytes(7)), "the tensors end at 8, the file has 7 bytes of data"),
    (file_of({"a": entry()}, bytes(9)), "the tensors end at 8, the file has 9 bytes of data"),
    (file_of({}, bytes(1)), "the tensors end at 0, the file has 1 bytes of data"),
    (file_of(b"\xff\xfe{\0}\0"), "the header is not valid JSON: 'utf-8' codec"),
    (file_of(b"\xef\xbb\xbf{}"), "the header is not valid JSON"),
    (file_of(b'{"a": 1e999}'), "tensor 'a' is inf; need an object"),
    (file_of(b'{"a": ' + b"9" * 5000 + b"}"), "the header is not valid JSON: .*digits"),
    (file_of(b'{"a":' * 50_000), "the header is nested too deeply|not valid JSON"),
    (file_of(b"{}\0\0garbage"), "the header is not valid JSON"),
    (file_of({"a": entry(shape=[2**31] * 5)}, EIGHT), f"needs {2**157}"),
    (file_of({"a": entry(shape=[1] * 17, offsets=[0, 4])}, bytes(4)), "17 .*at most 16"),
    (file_of({"a": entry(shape=[None])}, EIGHT), r"has shape \[None\]; need a list of integers"),
    (file_of({"a": entry(shape=[[2]])}, EIGHT), r"has shape \[\[2\]\]; need a list of integers"),
    (file_of({"a": entry(offsets=[0, 2**70])}, EIGHT), r"\[0, 1180591620717411303424\]; need .* 2\^63 - 1"),
    (file_of({"a": entry(offsets=[2**63, 2**63 + 8])}, EIGHT), r"\[9223372036854775808, 9223372036854775816\]; need"),
    (file_of({"a": entry(offsets=[None, 8])}, EIGHT), r"has data_offsets \[None, 8\]"),
    (file_of({"a": entry(offsets=["0", "8"])}, EIGHT), r"has data_offsets \['0', '8'\]"),
    (file_of({"a": entry(offsets=[True, 8])}, EIGHT), r"has data_offsets \[True, 8\]"),
    (file_of({"a": {"dtype": "F32", "shape": {}, "data_offsets": [0, 8]}}, EIGHT), "has shape {}"),
    (file_of({"a": entry("bool")}, EIGHT), "has dtype 'bool'; need one of"),
    (file_of({"a": entry(None)}, EIGHT), "has dtype .*None.*; need one of"),
    (file_of({"a": entry("C64", [1])}, EIGHT), "has dtype 'C64'; need one of"),
    (file_of({"a": entry("BOOL", [8])}, b"\1\0\2\0\0\0\0\0"), "2 .*; need 0 or 1"),
    (file_of({"__metadata__": []}), "__metadata__ is \\[\\]; need an object of strings"),
    (file_of({"__metadata__": {TREE: "{"}}), "the tree in the metadata is not valid JSON"),
    (file_of({"__metadata__": {TREE: '{"$tensor": "gone"}'}}), "an entry '\\$tensor': 'gone' that means nothing"),
    (file_of({"__metadata__": {TREE: '{"$tensor": [1]}'}}), "means nothing"),
    (file_of({"__metadata__": {TREE: '{"$python": "os.system"}'}}), "the tree has an entry '\\$python'"),
    (file_of({"__metadata__": {TREE: '{"$dict": [[[], 1]]}'}}), "the tree has an entry '\\$dict'"),
    (file_of({"__metadata__": {TREE: '{"$tuple": [], "b": 1}'}}), "the tree has an entry '\\$tuple'"),
    (file_of({"__metadata__": {TREE: '{"$float": "1e5"}'}}), "the tree has an entry '\\$float'"),
    (file_of({"__metadata__": {TREE: "[" * 100_000}}), "nested too deeply|not valid JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "message"), HOSTILE, ids=[f"{i}: {m}" for i, (_, m) in enumerate(HOSTILE)])
def test_damaged_and_hostile_files(tmp_path, raw, message):
    path = tmp_path / "bad"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=message):
        lamina.load(path)


def test_every_truncation_is_an_error(tmp_path):
    path = tmp_path / "f"
    lamina.save({"a": lamina.arange(3), "n": 1}, path)
    raw = path.read_bytes()
    for n in range(len(raw)):
        path.write_bytes(raw[:n])
        with pytest.raises(ValueError):
            lamina.load(path)


def test_random_damage_never_crashes(tmp_path):
    path = tmp_path / "f"
    lamina.save({"a": lamina.arange(3), "n": (1, {"b": lamina.ones(2)})}, path)
    raw = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(raw)
        for _ in range(random.integers(1, 4)):
            damaged[random.integers(0, len(raw))] = random.integers(0, 256)
        path.write_bytes(bytes(damaged))
        try:
            lamina.load(path)
        except ValueError:
            pass


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        lamina.load(tmp_path)
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        lamina.save({}, tmp_path)
    assert os.listdir(tmp_path) == []


def test_missing_files():
    with pytest.raises(FileNotFoundError):
        lamina.load("/nonexistent/file")
    with pytest.raises(FileNotFoundError):
        lamina.save({}, "/nonexistent/folder/file")
