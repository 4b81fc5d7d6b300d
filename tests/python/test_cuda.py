"""Devices: the default one and its scopes; streams and events where there is a CUDA device, the reason where not."""

import lamina
import pytest
from lamina import _core

with_cuda = pytest.mark.skipif(not lamina.cuda.is_available(), reason=lamina.cuda.why_unavailable())


@pytest.mark.skipif(lamina.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_everything_says_why():
    reason = lamina.cuda.why_unavailable()
    assert lamina.cuda.device_count() == 0 and "cannot be used" in reason
    calls = (
        lambda: lamina.ones(2, device="cuda"),
        lambda: lamina.ones(2).cuda(),
        lambda: lamina.cuda.Stream(),
        lambda: lamina.cuda.synchronize(),
        lambda: lamina.cuda.memory_stats(),
        lambda: lamina.cuda.graph(lambda: None),
        lambda: lamina.set_default_device("cuda"),
    )
    for call in calls:
        with pytest.raises(RuntimeError) as caught:
            call()
        assert reason in str(caught.value)


def test_default_device_is_restored_after_an_error():
    assert str(lamina.get_default_device()) == "cpu"
    with pytest.raises(ZeroDivisionError), lamina.device("cpu") as outer, lamina.device("cpu"):
        assert outer == lamina.get_default_device()
        1 / 0  # noqa: B018
    assert str(lamina.get_default_device()) == "cpu"


def test_device_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="device is cpu; need a CUDA device"):
        lamina.cuda.synchronize("cpu")
    with pytest.raises(ValueError, match="device index is -1; need 0 to 63"):
        lamina.cuda.get_device_name(-1)


@with_cuda
def test_default_device():
    with lamina.device("cuda"):
        assert lamina.zeros(2).is_cuda and lamina.tensor([1.0]).is_cuda and lamina.randn(2).is_cuda
        with lamina.device("cpu"):
            assert not lamina.zeros(2).is_cuda
        assert lamina.zeros(2).is_cuda
    x = lamina.tensor([1.0, 2.0], device="cuda", requires_grad=True)
    (x.cpu() * 3).sum().backward()
    assert x.grad.is_cuda and x.grad.tolist() == [3.0, 3.0] and "device='cuda:0'" in repr(x)


@with_cuda
def test_streams_and_events():
    side, outer = lamina.cuda.Stream(), lamina.cuda.current_stream()
    done = lamina.cuda.Event()
    with pytest.raises(RuntimeError, match="never recorded"):
        done.query()
    with lamina.cuda.stream(side):
        assert lamina.cuda.current_stream() == side
        y = lamina.ones(1000, device="cuda") * 2
        done.record(side)
    assert lamina.cuda.current_stream() == outer
    outer.wait_event(done)
    assert y.sum().item() == 2000.0 and done.query()
    with pytest.raises(RuntimeError, match="made without timing"):
        done.elapsed_time(_core.CudaEvent(True))
