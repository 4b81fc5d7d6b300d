"""Every row of the operator table: value, dtype, layout, gradient, extremes, in-place form, errors, docs, threads.

All of it is read from the row; an operator cannot be added without these tests.
"""

from __future__ import annotations

import doctest
import zlib

import lamina
import numpy as np
import pytest
from lamina import _core
from lamina.autograd import gradcheck, gradgradcheck
from table import ROWS, Case, cases, draw, flatten, row_id, strided, to_numpy, to_tensor, transposed

VALUED = [r for r in ROWS if r["oracle"]]
DIFFERENTIABLE = [r for r in ROWS if r["differentiable"]]
ELEMENTWISE = [r for r in ROWS if r["kind"] in ("unary", "binary")]
each = lambda rows: pytest.mark.parametrize("row", rows, ids=row_id)  # noqa: E731

# The derived tests run once for every kind of device there is; operands are made where `device` says.
DEVICES = ["cpu", "cuda"] if lamina.cuda.is_available() else ["cpu"]


@pytest.fixture(params=DEVICES)
def device(request):
    with lamina.device(request.param):
        yield request.param


@pytest.mark.skipif("cuda" not in DEVICES, reason=lamina.cuda.why_unavailable())
def test_the_operators_run_on_cuda():
    with lamina.device("cuda"):
        assert (lamina.ones(3) + 1).device.type == "cuda"


# Sums kept in float64, as NumPy and PyTorch do.
WIDER = {"bincount": (lamina.float64,)}
# (relative, absolute) error of one rounding of the input and a few of the result.
TOLERANCE = {
    lamina.float64: (1e-9, 1e-10),
    lamina.float32: (2e-4, 2e-5),
    lamina.bfloat16: (6e-2, 6e-2),
    lamina.float16: (1e-2, 1e-2),
}


def assert_matches(case, got, want, dtype=lamina.float64):
    got, want = flatten(got), flatten(want)
    assert len(got) == len(want), f"{case}: {len(got)} results, the oracle has {len(want)}"
    rtol, atol = TOLERANCE[dtype]
    for g, w in zip(got, want, strict=True):
        w = np.asarray(w)
        assert tuple(g.shape) == w.shape, f"{case}: shape {tuple(g.shape)}, the oracle has {w.shape}"
        np.testing.assert_allclose(to_numpy(g), w, rtol=rtol, atol=atol, err_msg=repr(case))


def test_every_row_has_samples_and_doc():
    for row in ROWS:
        assert row["doc"].strip(), row["name"]
        assert row["samples"].strip(), row["name"]
        assert row["oracle"] or row["random"], f"{row['name']}: no oracle"
        if row["kind"] != "op" and not row["oracle"].startswith("ref."):
            assert "Formula" in getattr(_core, row["name"]).__doc__


@each(VALUED)
def test_forward(row, device):
    for case in cases(row):
        assert_matches(case, case.call(), case.expected())


@each(VALUED)
@pytest.mark.parametrize("layout", [transposed, strided], ids=["transposed", "strided"])
def test_layouts(row, layout, device):
    for case in cases(row):
        assert_matches(case, case.call(layout=layout), case.expected())


@each(VALUED)
@pytest.mark.parametrize("dtype", [lamina.float32, lamina.bfloat16, lamina.float16], ids=str)
def test_dtypes(row, dtype, device):
    """Low precision in, low precision out, close to the float64 oracle of the rounded input."""
    for case in cases(row):
        if not case.float_positions:
            continue
        for i in case.float_positions:
            case.args[i] = to_numpy(to_tensor(case.args[i], dtype))
        want = case.expected()
        got = case.call(dtype=dtype)
        if row["kind"] == "op" and any(not np.issubdtype(np.asarray(w).dtype, np.floating) for w in flatten(want)):
            continue  # positions may differ where rounding made a tie
        if row["kind"] != "op" and not _core.promote_types(flatten(got)[0].dtype, lamina.bool).is_floating_point:
            assert_matches(case, got, want)
            continue
        for g in flatten(got):
            assert g.dtype in (dtype, *WIDER.get(row["name"], ()), lamina.bool, lamina.int64), (
                f"{case}: dtype {g.dtype}"
            )
        assert_matches(case, got, want, dtype)


def on_integers(row) -> bool:
    return row["samples"].startswith("INTEGERS")


@each(ELEMENTWISE)
def test_integers(row, device):
    """Integer input: an integer result where the formula keeps integers, the default float otherwise."""
    for dtype in (lamina.int64, lamina.int32, lamina.uint8):
        values = [to_tensor(np.asarray([1, 2, 3]), None).to(dtype) for _ in range(1 + (row["kind"] == "binary"))]
        try:
            got = getattr(_core, row["name"])(*values)
        except TypeError as error:
            assert str(dtype).removeprefix("lamina.") in str(error) or row["name"] in str(error)
            continue
        assert got.shape == (3,)
        names = {"unary": ["x"], "binary": ["a", "b"]}[row["kind"]]
        arrays = {n: np.asarray([1.0, 2.0, 3.0]) for n in names}
        if on_integers(row):
            arrays = {n: np.asarray([1, 2, 3], dtype=str(dtype).removeprefix("lamina.")) for n in names}
        want = Case(row, list(arrays.values())).expected()
        if not got.is_floating_point() and got.dtype != lamina.bool and dtype == lamina.uint8:
            want = np.asarray(want).astype(np.int64) & 0xFF
        np.testing.assert_allclose(to_numpy(got), want, rtol=1e-5, atol=1e-6, err_msg=f"{row['name']} {dtype}")


def differentiable_inputs(case):
    """A function of the float inputs alone, and those inputs."""
    positions = case.float_positions
    lists = [i for i, a in enumerate(case.args) if isinstance(a, (list, tuple)) and a and isinstance(a[0], np.ndarray)]
    inputs = [to_tensor(case.args[i], lamina.float64, requires_grad=True) for i in positions]
    for i in lists:
        inputs += to_tensor(case.args[i], lamina.float64, requires_grad=True)
    fixed = [to_tensor(a, lamina.float64) for a in case.args]
    kwargs = {k: to_tensor(v, lamina.float64) for k, v in case.kwargs.items()}

    def outputs(values):
        args = list(fixed)
        rest = list(values)
        for i in positions:
            args[i] = rest.pop(0)
        for i in lists:
            args[i] = [rest.pop(0) for _ in case.args[i]]
        return flatten(case.function(*args, **kwargs))

    # Chosen once: finite differences call the function outside the tape.
    taped = [i for i, o in enumerate(outputs(inputs)) if o.requires_grad] if inputs else []

    def function(*values):
        out = outputs(values)
        return tuple(out[i] for i in taped)

    return function, inputs


@each(ELEMENTWISE)
def test_bools(row, device):
    """Bool input: what NumPy says, in bytes of 0 and 1 where the result is bool; or an error that says bool."""
    p, q = np.asarray([True, True, False, False]), np.asarray([True, False, True, False])
    arrays = [p] if row["kind"] == "unary" else [p, q]
    try:
        got = getattr(_core, row["name"])(*[lamina.tensor(a) for a in arrays])
        values = to_numpy(got)  # a GPU finds a division by zero while it runs
    except (TypeError, RuntimeError) as error:
        assert "bool" in str(error) or "division by zero" in str(error), row["name"]
        return
    if got.dtype == lamina.bool:
        assert set(got.view(lamina.uint8).tolist()) <= {0, 1}
    want = np.asarray(Case(row, arrays if on_integers(row) else [a.astype(np.float64) for a in arrays]).expected())
    want = want.astype(bool) if got.dtype == lamina.bool else want
    np.testing.assert_allclose(values, want, rtol=1e-6, atol=1e-6)


def finite(outputs) -> bool:
    return all(bool(lamina.isfinite(o).all()) for o in outputs)


@each(DIFFERENTIABLE)
def test_gradient(row, device):
    checked = 0
    for case in cases(row):
        function, inputs = differentiable_inputs(case)
        if not inputs or not function(*inputs) or not finite(function(*inputs)):
            continue  # differences of infinities say nothing
        assert gradcheck(function, inputs), repr(case)
        checked += 1
    if row["kind"] != "op" and flatten(cases(row)[1].call())[0].is_floating_point():
        assert checked or not differentiates(row), f"{row['name']}: no case is differentiable"


def differentiates(row) -> bool:
    return any(g.requires_grad for g in flatten(cases(row)[1].call(requires_grad=True)))


@each(DIFFERENTIABLE)
def test_second_gradient(row, device):
    for case in cases(row):
        function, inputs = differentiable_inputs(case)
        if not inputs or sum(x.numel() for x in inputs) > 64:
            continue
        outputs = function(*inputs)
        if outputs and any(o.numel() for o in outputs) and finite(outputs):
            assert gradgradcheck(function, inputs), repr(case)


# Results that depend on the number format itself: the oracle is evaluated in that format.
OF_THE_FORMAT = ("nan_to_num", "nextafter")
EXTREMES = [0.0, -0.0, 1.0, -1.0, 300.0, -300.0, 0.5, float("inf"), float("-inf"), float("nan")]


@each([r for r in ELEMENTWISE if not on_integers(r)])
@pytest.mark.parametrize("dtype", [lamina.float64, lamina.float32], ids=str)
def test_extremes(row, dtype, device):
    """Zeros of both signs, infinities, NaN, large values: no wrong finite number, NaN exactly where NumPy has it."""
    if row["kind"] == "unary":
        args = [np.asarray(EXTREMES)]
    else:
        grid = np.meshgrid(EXTREMES, EXTREMES)
        args = [grid[0].ravel(), grid[1].ravel()]
    if row["name"] in OF_THE_FORMAT and dtype == lamina.float32:
        args = [a.astype(np.float32) for a in args]
    case = Case(row, args)
    got = to_numpy(case.call(dtype=dtype)).astype(np.float64)
    with np.errstate(all="ignore"):
        want = np.asarray(case.expected(), dtype=np.float64)
        if dtype == lamina.float32:
            want = want.astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want), err_msg=f"NaN pattern at {args}")
    np.testing.assert_array_equal(np.isinf(got), np.isinf(want), err_msg=f"infinities at {args}")
    finite = np.isfinite(want)
    tolerance = 1e-9 if dtype == lamina.float64 else 3e-5
    np.testing.assert_allclose(
        got[finite], want[finite], rtol=tolerance, atol=1e-14 if dtype == lamina.float64 else 1e-7, err_msg=repr(case)
    )


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [("float16", 65504.0), ("bfloat16", 3.3895313892515355e38), ("float32", 3.4028234663852886e38)],
)
def test_nan_to_num_uses_the_largest_number_of_the_dtype(dtype, largest):
    x = lamina.tensor([float("inf"), float("-inf"), float("nan"), 1.5], dtype=getattr(lamina, dtype))
    assert lamina.nan_to_num(x).tolist() == [largest, -largest, 0.0, 1.5]
    assert lamina.nan_to_num(x, nan=2.0, posinf=3.0, neginf=-4.0).tolist() == [3.0, -4.0, 2.0, 1.5]


@each([r for r in ROWS if r["inplace"] and not r["random"]])
def test_inplace(row, device):
    """``x.name_(...)`` gives the values of ``name(x, ...)`` in x's own memory."""
    compared = 0
    for case in cases(row):
        args = [to_tensor(a, lamina.float64) for a in case.args]
        kwargs = {k: to_tensor(v, lamina.float64) for k, v in case.kwargs.items()}
        want = case.function(*args, **kwargs)
        x = args[0].clone()
        if want.shape != x.shape or (x.dtype != want.dtype and not x.is_floating_point()):
            with pytest.raises((ValueError, TypeError)):
                getattr(x, row["name"] + "_")(*args[1:], **kwargs)
            continue
        pointer = x.data_ptr()
        y = getattr(x, row["name"] + "_")(*args[1:], **kwargs)
        assert y is x and x.data_ptr() == pointer
        np.testing.assert_array_equal(to_numpy(x), to_numpy(want.to(x.dtype)), err_msg=repr(case))
        compared += 1
    assert compared or row["kind"] == "op" or flatten(cases(row)[1].call())[0].dtype == lamina.bool


@each(ROWS)
def test_errors(row):
    """Wrong types, unknown keywords, too many and too few arguments: a TypeError that names the operator."""
    target = getattr(_core, row["name"]) if row["function"] else getattr(lamina.ones(2), row["name"])
    with pytest.raises(TypeError, match=row["name"]):
        target(no_such_keyword=1)
    with pytest.raises(TypeError):
        target(*[object()] * 20)
    if row["types"] and row["types"][0].startswith("Tensor") and row["function"]:
        with pytest.raises(TypeError):
            target("not a tensor")
        with pytest.raises(TypeError):
            target()


def documented(row):
    """(what has a docstring, the name it shows) for every form of the row: function, method, in-place method."""
    name = row["name"]
    forms = [(getattr(_core, name), name)] if row["function"] else []
    forms += [(getattr(lamina.Tensor, name), name)] if row["method"] else []
    return forms + ([(getattr(lamina.Tensor, name + "_"), name + "_")] if row["inplace"] else [])


@each(ROWS)
def test_docs(row):
    """The docstring shows the call and the row's text, and help() can read it."""
    for target, name in documented(row):
        doc = target.__doc__
        assert doc.startswith(f"{name}("), doc
        assert row["doc"].split("\n")[0] in doc
    assert row["doc"].strip()[-1] in ".)`:", f"{row['name']}: the doc is not a sentence"


# Their sizes follow from the values; the examples draw their own.
SIZED_BY_VALUES = "nonzero argwhere masked_select unique unique_consecutive bincount repeat_interleave".split()


@each(ROWS)
def test_docstring_example_runs(row):
    """The example is the row's first sample: it runs, and gives the results that the row declares, of its shapes."""
    overload = [r for r in ROWS if r["name"] == row["name"]].index(row)
    names = [n.strip() for n in row["signature"].partition("->")[2].split(",") if n] or ["y"]
    for target, name in documented(row):
        before, heading, text = target.__doc__.partition("\nExample::\n\n")
        assert heading and before, f"{name}: no example"
        example = doctest.DocTestParser().get_examples(text)[overload]
        scope = {"lamina": lamina}
        exec(example.source, scope)
        results = [scope[n] for n in names]
        kinds = {"Tensor": lamina.Tensor, "bool": bool, "Any": (lamina.Tensor, tuple)}
        kind = lamina.Tensor if len(names) > 1 else kinds.get(row["result"], tuple)
        assert all(isinstance(r, kind) for r in results), example.source
        if row["kind"] == "op" and row["name"] not in SIZED_BY_VALUES:
            want = [x.shape for x in flatten(cases(row)[0].call())]
            assert [x.shape for x in flatten(results)] == want, example.source


@each([r for r in ROWS if not r["random"]])
def test_threads(row):
    """Bitwise the same with 1, 2 and 5 threads, also for sizes that are cut into chunks."""
    before = lamina.get_num_threads()
    try:
        results = []
        for n in (1, 2, 5):
            lamina.set_num_threads(n)
            leaves = []
            for case in cases(row):
                leaves += [to_numpy(x).tobytes() for x in flatten(case.call(dtype=lamina.float32))]
            if row["kind"] != "op":
                leaves += [to_numpy(large_call(row)).tobytes()]
            results.append(leaves)
        assert results[0] == results[1] == results[2]
    finally:
        lamina.set_num_threads(before)


def large_call(row):
    """100,003 elements: several chunks and a partial register."""
    rng = np.random.default_rng(zlib.crc32(row["name"].encode()))
    parts = row["samples"].split(";")
    args = [to_tensor(draw(rng, p.strip(), (100_003,)), lamina.float32) for p in parts]
    return getattr(_core, row["name"])(*args)
