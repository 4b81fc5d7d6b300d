"""In-place changes through views, and views of views, in the tape: values as NumPy's views, gradients by differences.

Each program runs on a tensor and, unchanged, on a NumPy array, and returns everything that it made.
"""

from __future__ import annotations

import lamina
import numpy as np
import pytest
from lamina.autograd import gradcheck, gradgradcheck


def through_a_view_of_a_view(leaf):
    x = leaf * 1
    v = x[0]
    w = v[1:]
    w *= 2
    w += leaf[1, 1:] ** 2
    return x, v, w


def through_the_middle(leaf):
    x = leaf * 1
    v = x[0]
    w = v[1:]
    v *= 3
    v -= leaf[1] ** 2
    return x, v, w


def through_the_base(leaf):
    x = leaf * 1
    v = x[0]
    w = v[1:]
    x *= -2
    x += leaf**2
    return x, v, w


def one_after_the_other(leaf):
    x = leaf * 1
    v = x[0]
    w = v[1:]
    z = w[0:1]
    z *= 5
    w += leaf[1, :2]
    v *= -1
    x += leaf**2
    return x, v, w, z


def beside_another_view(leaf):
    x = leaf * 1
    v, same, other = x[0], x[0], x[1]
    v *= 3
    v += leaf[1] ** 2
    return x, v, same, other


def read_between(leaf):
    x = leaf * 1
    v = x[0]
    before = v + 1
    v[1:] *= 2
    after = v + x[1]
    return before, after, v


def transposed(leaf):
    x = leaf * 1
    v = x.T
    w = v[1]
    w *= 2
    w += leaf[:, 0] ** 2
    return x, v, w


def reshaped(leaf):
    x = leaf * 1
    v = x.reshape(6)
    v[2:4] = 0
    v[4:] = leaf[0, :2]
    return x, v


def of_a_transposed_copy(leaf):
    x = leaf.T * leaf.T
    v = x[0]
    v *= 2
    return x, v


def of_a_base_that_joins_the_tape(leaf):
    x = (lamina if isinstance(leaf, lamina.Tensor) else np).zeros((2, 3))
    if isinstance(leaf, lamina.Tensor):
        x = x.double()
    v = x[0]
    w = v[1:]
    w += leaf[1, 1:]
    return x, v, w


PROGRAMS = [through_a_view_of_a_view, through_the_middle, through_the_base, one_after_the_other, beside_another_view]
PROGRAMS += [read_between, transposed, reshaped, of_a_transposed_copy, of_a_base_that_joins_the_tape]
VALUES = np.array([[1.0, 2.0, 3.0], [0.5, -1.5, 2.5]])


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_program(program):
    leaf = lamina.tensor(VALUES).requires_grad_()
    for mine, want in zip(program(leaf), program(VALUES), strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), want)
    assert gradcheck(program, [leaf])
    assert gradgradcheck(program, [leaf])


def test_a_view_that_joins_the_tape_says_so():
    x, leaf = lamina.zeros(3), lamina.ones(2, requires_grad=True)
    v = x[1:]
    assert v.is_leaf and not v.requires_grad
    x[1:] = leaf * 2
    assert v.requires_grad and not v.is_leaf and v.grad_fn is not None
    v.retain_grad()
    (v * v).sum().backward()
    assert leaf.grad.tolist() == [8, 8] and v.grad.tolist() == [4, 4]


def test_a_view_made_under_no_grad_stays_out():
    x = lamina.ones(3, requires_grad=True) * 1
    with lamina.no_grad():
        v = x[1:]
    x *= 2
    assert not v.requires_grad and v.tolist() == [2, 2]
    with pytest.raises(RuntimeError, match="made under no_grad"):
        v *= 2


def test_hooks_stay_with_the_view():
    leaf = lamina.ones(3, requires_grad=True)
    x = leaf * 1
    v, seen = x[1:], []
    v.register_hook(lambda g: seen.append(g.tolist()))
    x *= 3
    (v * v).sum().backward()
    assert seen == [[6, 6]] and leaf.grad.tolist() == [0, 18, 18]


def test_a_saved_view_that_changed_is_refused():
    x = lamina.ones(3, requires_grad=True) * 1
    v = x[1:]
    y = v * v
    x *= 2
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_an_update_outside_the_tape_is_seen_by_views():
    p = lamina.ones(3, requires_grad=True)
    v = p[1:]
    with lamina.no_grad():
        p *= 2
    (v * v).sum().backward()
    assert v.tolist() == [2, 2] and p.grad.tolist() == [0, 4, 4]
