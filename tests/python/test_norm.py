"""Softmax, normalisations, losses, dropout, embedding: what their rows in the table cannot say."""

import lamina
import numpy as np
import pytest
from lamina.autograd import gradcheck, gradgradcheck

f64 = lamina.float64


def normal(*shape, dtype=lamina.float32):
    return lamina.tensor(np.random.default_rng(len(shape)).standard_normal(shape)).to(dtype)


def channels_last(*shape, dtype=lamina.float32):
    n, c, *rest = shape
    return normal(n, *rest, c, dtype=dtype).movedim(-1, 1)


def test_channels_last_memory_is_kept():
    x = channels_last(2, 6, 4, 5).requires_grad_()
    for y in (
        lamina.batch_norm(x, None, None, training=True),
        lamina.group_norm(x, 3),
        lamina.dropout(x, 0.5),
        lamina.batch_norm(x, lamina.zeros(6), lamina.ones(6)),
    ):
        assert y.stride() == x.stride()
        x.grad = None
        (y * y).sum().backward()
        assert x.grad.stride() == x.stride()


@pytest.mark.parametrize("make", [normal, channels_last])
def test_gradients_in_both_memory_orders(make):
    w, b = normal(4, dtype=f64).requires_grad_(), normal(4, dtype=f64).requires_grad_()
    x = make(2, 4, 2, 1, dtype=f64).requires_grad_()
    mean, var = normal(4, dtype=f64), lamina.ones(4, dtype=f64)
    for function in (
        lambda x, w, b: lamina.batch_norm(x, None, None, w, b, True),
        lambda x, w, b: lamina.batch_norm(x, mean, var, w, b),
        lambda x, w, b: lamina.group_norm(x, 2, w, b),
        lambda x, w, b: lamina.instance_norm(x, None, None, w, b, eps=0.1),
    ):
        assert gradcheck(function, [x, w, b])
        assert gradgradcheck(function, [x, w, b])


def test_attention_row_that_sees_nothing():
    q, k, v = (normal(1, 1, 3, 4, dtype=f64).requires_grad_() for _ in range(3))
    mask = lamina.tensor([[True, False, True], [False, False, False], [True, True, True]])
    y = lamina.scaled_dot_product_attention(q, k, v, mask)
    y.sum().backward()
    assert y[0, 0, 1].tolist() == [0, 0, 0, 0] and q.grad[0, 0, 1].tolist() == [0, 0, 0, 0]
    assert np.isfinite(k.grad.numpy()).all() and np.isfinite(v.grad.numpy()).all()


def test_padding_row_has_no_gradient_of_any_order():
    weight = normal(4, 2, dtype=f64).requires_grad_()
    index = lamina.tensor([1, 0, 1, 3])
    (grad,) = lamina.autograd.grad((lamina.embedding(index, weight, 1) ** 3).sum(), [weight], create_graph=True)
    assert grad[1].tolist() == [0, 0] and grad[3].tolist() != [0, 0]
    (second,) = lamina.autograd.grad(grad.sum(), [weight])
    np.testing.assert_allclose(second[3].numpy(), 6 * weight.detach()[3].numpy())
    assert second[1].tolist() == [0, 0]


def test_running_statistics_use_the_unbiased_variance():
    x = normal(5, 3, 4, dtype=f64)
    mean, var = lamina.zeros(3), lamina.ones(3)
    before = mean
    lamina.batch_norm(x, mean, var, training=True, momentum=0.25)
    values = np.moveaxis(x.numpy(), 1, 0).reshape(3, -1)
    np.testing.assert_allclose(mean.numpy(), 0.25 * values.mean(1), rtol=1e-6)
    np.testing.assert_allclose(var.numpy(), 0.75 + 0.25 * values.var(1, ddof=1), rtol=1e-6)
    assert before is mean


def test_gan_style_second_forward_before_backward():
    """Running statistics change between forward and backward: that is no reason to refuse the gradient."""
    x, mean, var = normal(4, 3).requires_grad_(), lamina.zeros(3), lamina.ones(3)
    y = lamina.batch_norm(x, mean, var, training=False)
    lamina.batch_norm(x, mean, var, training=True)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.ones((4, 3)), rtol=1e-4)


def test_large_mean_keeps_its_variance():
    x = 1e4 + normal(64, 8)
    for y in (lamina.layer_norm(x, (8,)), lamina.batch_norm(x, None, None, training=True), lamina.group_norm(x, 1)):
        assert abs(y.numpy().std() - 1) < 0.01


@pytest.mark.parametrize("large", [1e30, 300.0])
def test_cross_entropy_of_large_logits(large):
    x = lamina.tensor([[large, 0.0, -large]]).requires_grad_()
    loss = lamina.cross_entropy(x, lamina.tensor([0]))
    loss.backward()
    assert loss.item() == 0 and x.grad.tolist() == [[0, 0, 0]]


def test_all_targets_ignored():
    x = normal(2, 3).requires_grad_()
    ignored = lamina.tensor([-100, -100])
    assert np.isnan(lamina.cross_entropy(x, ignored).item())
    assert lamina.cross_entropy(x, ignored, reduction="sum").item() == 0


def test_dropout_stream_does_not_depend_on_threads():
    x, masks, before = lamina.ones(300, 301), [], lamina.get_num_threads()
    try:
        for threads in (1, 2, 5):
            lamina.set_num_threads(threads)
            lamina.manual_seed(7)
            masks.append(lamina.dropout(x, 0.3).numpy())
    finally:
        lamina.set_num_threads(before)
    assert (masks[0] == masks[1]).all() and (masks[0] == masks[2]).all()
    assert not (masks[0] == lamina.dropout(x, 0.3).numpy()).all()


def test_dropout_gradient_of_any_order():
    x = normal(40, dtype=f64).requires_grad_()
    lamina.manual_seed(0)
    y = lamina.dropout(x, 0.5)
    (grad,) = lamina.autograd.grad((y * y).sum(), [x], create_graph=True)
    (second,) = lamina.autograd.grad(grad.sum(), [x])
    mask = (y.detach().numpy() != 0) * 2.0
    np.testing.assert_allclose(second.numpy(), 2 * mask * mask)


def test_training_results_do_not_depend_on_threads():
    outcomes, before = [], lamina.get_num_threads()
    x, w, b, t = normal(64, 32, 6, 6), normal(32), normal(32), lamina.tensor(np.arange(64 * 36).reshape(64, 36) % 32)
    table, index = normal(500, 64), lamina.tensor(np.arange(3000) ** 2 % 500)
    try:
        for threads in (1, 2, 5):
            lamina.set_num_threads(threads)
            leaves = [v.detach().clone().requires_grad_() for v in (x, w, b, table)]
            y = lamina.batch_norm(leaves[0], None, None, leaves[1], leaves[2], True)
            y = lamina.layer_norm(y.flatten(2), (36,))
            loss = lamina.cross_entropy(y, t, label_smoothing=0.1)
            loss = loss + lamina.mse_loss(lamina.embedding(index, leaves[3]), lamina.zeros(3000, 64))
            loss.backward()
            outcomes.append([loss.item(), *(v.grad.numpy().tobytes() for v in leaves)])
    finally:
        lamina.set_num_threads(before)
    assert outcomes[0] == outcomes[1] == outcomes[2]
