"""gradcheck, gradgradcheck and checkpoint: they accept right gradients, find wrong ones, and save memory."""

import lamina
import pytest
from lamina import nn
from lamina.autograd import Function
from lamina.autograd.check import GradcheckError, gradcheck, gradgradcheck
from lamina.utils.checkpoint import checkpoint, checkpoint_sequential


def float64(*shape):
    return lamina.randn(*shape, dtype=lamina.float64).requires_grad_()


class Wrong(Function):
    """y = x^2 with the gradient of x^2 / 2."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return x * grad


class WrongSecond(Function):
    """y = x^3 with a right gradient that forgets that it depends on x."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 3 * (x * x).detach() * grad


def test_accepts_right_gradients():
    a, b = float64(3, 2), float64(2, 4)
    assert gradcheck(lambda x, y: x @ y, (a, b))
    assert gradcheck(lambda x, y: ((x @ y).tanh(), x.sum()), (a, b))  # several outputs
    assert gradcheck(lambda x, n, y: x * n + y.sum(), [a, 3, b])  # other arguments pass through
    assert gradcheck(lambda x: x.T, a)  # a view
    assert gradgradcheck(lambda x, y: (x @ y).exp(), (a, b))
    assert gradgradcheck(lambda x: x * x * x, a)


def test_finds_wrong_gradients():
    x = float64(3)
    with pytest.raises(
        GradcheckError, match=r"element 0 of output 0 with respect to element 0 of input 0 is .* on the"
    ):
        gradcheck(Wrong.apply, x)
    assert gradcheck(Wrong.apply, x, raise_exception=False) is False
    assert gradcheck(WrongSecond.apply, x)
    assert gradgradcheck(WrongSecond.apply, x, raise_exception=False) is False
    # an output that the tape lost, although it depends on the input
    assert gradcheck(lambda t: (t * 2, (t * 3).detach()), x, raise_exception=False) is False


def test_errors():
    with pytest.raises(ValueError, match="gradcheck: no input requires a gradient"):
        gradcheck(lambda x: x, lamina.ones(1))
    with pytest.raises(ValueError, match=r"gradcheck: input 0 has dtype .*float32; need float64"):
        gradcheck(lambda x: x, lamina.ones(1, requires_grad=True))


def test_checkpoint_gives_the_same_gradients():
    lamina.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))
    x, other = lamina.randn(5, 4, requires_grad=True), lamina.randn(5, 4)

    def run(call):
        lamina.manual_seed(7)
        net.zero_grad()
        x.grad = None
        call().square().sum().backward()
        return [x.grad.tolist(), *[p.grad.tolist() for p in net.parameters()]]

    plain = run(lambda: net(x + other))
    assert run(lambda: checkpoint(lambda a, b: net(a + b), x, other, use_reentrant=False)) == plain
    assert run(lambda: checkpoint_sequential(net, 2, x + other)) == plain


def test_checkpoint_runs_forward_again():
    calls = []

    def function(x, scale):
        calls.append(lamina.is_grad_enabled())
        return x * x * scale, x + 1

    x = lamina.ones(2, requires_grad=True)
    y, z = checkpoint(function, x, 3.0)
    assert calls == [False]
    (y.sum() + z.sum()).backward()
    assert calls == [False, True] and x.grad.tolist() == [7.0, 7.0]
    with pytest.raises(ValueError, match="3 segments for 2 functions"):
        checkpoint_sequential([nn.ReLU(), nn.ReLU()], 3, x)
