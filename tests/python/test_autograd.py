"""The tape and the engine: accumulation, higher orders, in-place rules, hooks, Function, deep graphs, fork."""

import math
import os

import lamina
import numpy as np
import pytest


def leaf(value):
    return lamina.tensor(value, dtype=lamina.float64, requires_grad=True)


def test_products_and_sums_to_the_last_bit():
    apple, count, tax = leaf(100), leaf(2), leaf(1.1)
    price = apple * count
    price.retain_grad()
    total = price * tax
    total.backward()
    assert total.item() == 220.00000000000003
    assert [x.grad.item() for x in (price, apple, count, tax)] == [1.1, 2.2, 110.00000000000001, 200.0]
    apple, apples, orange, oranges, tax = leaf(100), leaf(2), leaf(150), leaf(3), leaf(1.1)
    total = (apple * apples + orange * oranges) * tax
    total.backward()
    assert total.item() == 715.0000000000001
    grads = [x.grad.item() for x in (apples, apple, orange, oranges, tax)]
    assert grads == [110.00000000000001, 2.2, 3.3000000000000003, 165.0, 650.0]


def test_both_paths_accumulate():
    x = leaf(3.0)
    (x * x + x * 3).backward()
    assert x.grad.item() == 9.0
    x = leaf(2.0)
    a = x * x
    (a * 3 + a * a).backward()  # a diamond: d/dx (3 x^2 + x^4)
    assert x.grad.item() == 12.0 + 32.0


def test_any_order():
    x = leaf(2.0)
    y, order = x**4, []
    for _ in range(4):
        (y,) = lamina.autograd.grad(y, x, create_graph=True)
        order.append(y.item())
    assert order == pytest.approx([32.0, 48.0, 48.0, 24.0])


def test_deep_chain_is_walked_and_freed():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0
    del y


def test_freed_graph():
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8.0
    with pytest.raises(RuntimeError, match=r"mul: backward through the graph a second time.*retain_graph=True"):
        y.backward()


def test_saved_tensor_changed_in_place():
    x = leaf([1.0, 2.0])
    a = x * 1.0
    y = a * a
    a.add_(1.0)
    with pytest.raises(RuntimeError, match=r"changed in place: it is at version 1, saved at version 0"):
        y.sum().backward()


def test_operators_in_place_keep_what_their_gradient_reads():
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    x = a * 2.0
    x.mul_(b)  # the gradient of b is x as it was
    x.sin_()
    x.sum().backward()
    expected = np.cos(np.array([6.0, 16.0]))
    assert np.allclose(b.grad.numpy(), expected * [2.0, 4.0])
    assert np.allclose(a.grad.numpy(), expected * 2.0 * np.array([3.0, 4.0]))

    def square_in_place(t):
        y = t * 1.0
        y *= t
        return y.exp_()

    assert lamina.autograd.gradcheck(square_in_place, leaf([0.3, -0.7]))
    assert lamina.autograd.gradgradcheck(square_in_place, leaf([0.3, -0.7]))


def test_leaf_cannot_change_in_place():
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match="leaf tensor that requires grad"):
        x.mul_(2.0)
    with lamina.no_grad():
        x.mul_(2.0)
    assert x.tolist() == [2.0, 4.0]


def test_writing_through_a_view_reaches_the_base():
    w = leaf([1.0, 2.0])
    base = lamina.zeros(4, dtype=lamina.float64)
    base[1:3] = w * 3
    base[0:2].mul_(2.0)
    (base * lamina.tensor([1.0, 10.0, 100.0, 1000.0], dtype=lamina.float64)).sum().backward()
    assert base.tolist() == [0.0, 6.0, 6.0, 0.0]
    assert w.grad.tolist() == [60.0, 300.0]


def test_hooks_and_retained_gradients():
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    seen = []
    handle = x.register_hook(lambda g: seen.append(g.item()) or g * 10)
    (y * y).backward()
    assert seen == [36.0] and x.grad.item() == 360.0 and y.grad.item() == 12.0
    handle.remove()
    x.grad = None
    (x * 1).backward()
    assert x.grad.item() == 1.0 and len(seen) == 1


def test_function():
    class Cube(lamina.autograd.Function):
        @staticmethod
        def forward(ctx, x, scale):
            ctx.save_for_backward(x)
            ctx.scale = scale
            return x * x * x * scale

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return 3 * x * x * ctx.scale * grad, None

    x = leaf([1.0, -2.0])
    assert lamina.autograd.gradcheck(lambda v: Cube.apply(v, 2.0), [x])
    assert lamina.autograd.gradgradcheck(lambda v: Cube.apply(v, 2.0), [x])


def test_anomaly_names_the_forward_line():
    x = leaf(-1.0)
    with lamina.autograd.detect_anomaly():
        y = x.sqrt()  # the line to be named
        with pytest.raises(RuntimeError, match=r"(?s)sqrt: its backward gave NaN.*the line to be named"):
            y.backward()


def test_inference_mode():
    with lamina.inference_mode():
        x = lamina.ones(2) * 2
    assert x.is_inference()
    with pytest.raises(RuntimeError, match="clone"):
        leaf([1.0, 2.0]) * x
    assert (leaf([1.0, 2.0]) * x.clone()).requires_grad
    assert (leaf([1.0, 2.0]) + x).requires_grad  # nothing of x is kept for backward
    with pytest.raises(RuntimeError, match="clone"):
        x += leaf([1.0, 2.0])
    with pytest.raises(TypeError, match="only floating-point tensors"):
        lamina.ones(2, dtype=lamina.int64, requires_grad=True)
    with pytest.raises(RuntimeError, match="inference_mode"):
        x.requires_grad = True


def test_every_new_tensor_in_inference_mode_is_an_inference_tensor():
    w, array = leaf([1.0, 2.0]), np.ones(2)
    outside = lamina.ones(2)
    with lamina.inference_mode():
        new = [lamina.zeros(2), lamina.randn(2), lamina.arange(3), lamina.eye(2), lamina.tensor([1.0]), outside.clone()]
        new += [
            lamina.zeros_like(outside),
            outside.new_ones(2),
            lamina.from_numpy(array),
            lamina.randperm(3),
            outside * 2,
        ]
        new += [new[0][1:], new[0].detach(), new[0].view(2, 1)]
        with lamina.enable_grad():
            assert not (w * 2).requires_grad
            new.append(w * 2)
        old = [outside[1:], outside.view(2, 1), outside.detach(), outside.contiguous()]
        model = lamina.nn.Linear(2, 2)
        assert model(outside).shape == (2,)
        with lamina.inference_mode(False):
            assert (w * 2).requires_grad
            old.append(lamina.ones(2))
    assert all(x.is_inference() for x in new + list(model.parameters()))
    assert not any(x.is_inference() for x in old)
    assert not new[0].clone().is_inference()
    with pytest.raises(RuntimeError, match="inference_mode"):
        model(outside).sum()
    with pytest.raises(RuntimeError, match="inference_mode"):
        new[0].requires_grad_()
    (w * old[-1]).sum().backward()
    assert w.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", ["floor", "ceil", "round", "trunc", "sign"])
def test_a_gradient_that_is_zero_everywhere_stops_infinities(name):
    x = leaf([0.5, -1.5, 2.5])
    getattr(x, name)().backward(lamina.tensor([math.inf, math.nan, 1.0]))
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


def test_a_gradient_of_two_operands_that_is_zero_everywhere_stops_infinities():
    a, b = leaf([3.0, -5.0]), leaf([2.0, 0.5])
    lamina.floor_divide(a, b).backward(lamina.tensor([math.inf, 1.0]))
    assert a.grad.tolist() == b.grad.tolist() == [0.0, 0.0]
    b.grad = None
    lamina.copysign(a, b).backward(lamina.tensor([math.inf, 1.0]))
    assert b.grad.tolist() == [0.0, 0.0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes():
    lamina.set_num_threads(2)
    x = lamina.ones(300, 300)
    (x @ x).sum()
    pid = os.fork()
    if pid == 0:
        ok = (x @ x).sum().item() == 300.0**3
        os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0
