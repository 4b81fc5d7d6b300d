"""Printing of tensors: every notation, summaries, suffixes, and set_printoptions."""

from __future__ import annotations

import lamina
import pytest
from lamina._repr import printoptions


def text(values, **kwargs):
    return repr(lamina.tensor(values, **kwargs))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (1.5, "tensor(1.5000)"),
        (2, "tensor(2)"),
        (True, "tensor(True)"),
        ([1.0, 2.0], "tensor([1., 2.])"),
        ([[1.0, 2.0], [3.0, 4.5]], "tensor([[1.0000, 2.0000],\n        [3.0000, 4.5000]])"),
        ([1, -20, 300], "tensor([  1, -20, 300])"),
        ([True, False], "tensor([ True, False])"),
        ([0.0, float("inf"), -float("inf"), float("nan")], "tensor([0., inf, -inf, nan])"),
        ([1.0, float("nan"), 0.25], "tensor([1.0000,    nan, 0.2500])"),
        ([1e-8, 1.0], "tensor([1.0000e-08, 1.0000e+00])"),
        ([1e9], "tensor([1.0000e+09])"),
        ([123456.0, 5000.0], "tensor([123456.,   5000.])"),
        ([], "tensor([])"),
        ([[], []], "tensor([], size=(2, 0))"),
    ],
)
def test_numbers(values, expected):
    assert text(values) == expected


def test_three_dimensions_are_separated_by_a_blank_line():
    assert text([[[1, 2]], [[3, 4]]]) == "tensor([[[1, 2]],\n\n        [[3, 4]]])"


def test_dtype_is_shown_unless_the_numbers_imply_it():
    assert text([1.0], dtype=lamina.float64) == "tensor([1.], dtype=lamina.float64)"
    assert text([0.5], dtype=lamina.bfloat16) == "tensor([0.5000], dtype=lamina.bfloat16)"
    assert text([1], dtype=lamina.uint8) == "tensor([1], dtype=lamina.uint8)"
    assert text([], dtype=lamina.int64) == "tensor([], dtype=lamina.int64)"


def test_tape_suffix():
    x = lamina.tensor([1.0, 2.0], requires_grad=True)
    assert repr(x) == "tensor([1., 2.], requires_grad=True)"
    assert repr(x + 1) == "tensor([2., 3.], grad_fn=<AddBackward>)"


def test_long_lines_wrap_and_long_tensors_are_summarized():
    assert text(list(range(30))).splitlines()[1].startswith("        18, 19")
    x = lamina.arange(10000.0)
    assert repr(x) == (
        "tensor([0.0000e+00, 1.0000e+00, 2.0000e+00,  ..., 9.9970e+03, 9.9980e+03,\n        9.9990e+03])"
    )
    rows = repr(x.reshape(100, 100).to(lamina.int64)).splitlines()
    assert len(rows) == 7
    assert rows[3] == "        ...,"
    assert rows[0] == "tensor([[   0,    1,    2,  ...,   97,   98,   99],"


def test_set_printoptions():
    with printoptions(precision=2, sci_mode=False):
        assert text([1e-8, 1 / 3]) == "tensor([0.00, 0.33])"
    with printoptions(threshold=3, edgeitems=1):
        assert text([1, 2, 3, 4]) == "tensor([1,  ..., 4])"
    assert text([1 / 3]) == "tensor([0.3333])"
    with pytest.raises(ValueError, match=r"'tiny'.*'short'"):
        lamina.set_printoptions(profile="tiny")
    with pytest.raises(ValueError, match="precision is -1"):
        lamina.set_printoptions(precision=-1)
