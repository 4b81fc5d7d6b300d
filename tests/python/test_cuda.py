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
        lambda: lamina.tensor([1], device="cuda"),
        lambda: lamina.ones(2).cuda(),
        lambda: lamina.cuda.Stream(),
        lambda: lamina.cuda.synchronize(),
        lambda: lamina.cuda.memory_stats(),
        lambda: lamina.cuda.graph(lambda: None),
        lambda: lamina.set_default_device("cuda"),
        lambda: lamina.cuda.set_device(0),
        lambda: lamina.ones(2).pin_memory(),
        lambda: lamina.zeros(2, pin_memory=True),
        lambda: lamina.tensor([1.0], pin_memory=True),
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


@pytest.mark.skipif(lamina.cuda.is_available(), reason="there is a CUDA device")
def test_what_a_script_may_call_without_a_device():
    state = lamina.default_generator.get_state()
    lamina.cuda.manual_seed(1)
    lamina.cuda.manual_seed_all(1)
    assert lamina.default_generator.get_state() == state
    assert not lamina.cuda.is_initialized() and not lamina.cuda.is_bf16_supported() and not lamina.ones(2).is_pinned()
    assert lamina.ones(2).to("cpu", non_blocking=True).tolist() == [1.0, 1.0]
    assert lamina.zeros(2).copy_(lamina.ones(2), non_blocking=True).tolist() == [1.0, 1.0]
    assert lamina.ones(3, pin_memory=False).tolist() == [1.0, 1.0, 1.0]


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
    assert done.query()  # nothing recorded: nothing to wait for
    done.wait(), done.synchronize()
    with pytest.raises(RuntimeError, match="never recorded"):
        lamina.cuda.Event(enable_timing=True).elapsed_time(lamina.cuda.Event(enable_timing=True))
    with lamina.cuda.stream(side):
        assert lamina.cuda.current_stream() == side
        y = lamina.ones(1000, device="cuda") * 2
        done.record(side)
    assert lamina.cuda.current_stream() == outer
    outer.wait_event(done)
    assert y.sum().item() == 2000.0 and done.query()
    with pytest.raises(RuntimeError, match="made without timing"):
        done.elapsed_time(_core.CudaEvent(True))


@with_cuda
def test_events_of_a_stream():
    side = lamina.cuda.Stream()
    event = side.record_event()
    assert side.record_event(event) is event
    lamina.cuda.current_stream().wait_event(event)
    event.wait()
    event.synchronize()
    assert event.query() and side == side and hash(side) == hash(side) and "cuda:0" in repr(side)
    outer = lamina.cuda.current_stream()
    lamina.cuda.set_stream(side)
    assert lamina.cuda.current_stream() == side and lamina.cuda.default_stream() == outer
    lamina.cuda.set_stream(outer)
    lamina.cuda.set_stream(None)
    assert lamina.cuda.current_stream() == outer


@with_cuda
def test_current_device():
    assert lamina.cuda.is_initialized() and lamina.cuda.current_device() == 0
    with lamina.cuda.device("cuda:0") as chosen, lamina.cuda.device(None):
        assert chosen.device == "cuda:0" and lamina.ones(1, device="cuda").device.index == 0
    lamina.cuda.set_device(0)
    count = lamina.cuda.device_count()
    with pytest.raises(RuntimeError, match=f"there are {count} CUDA devices; need an index below that"):
        lamina.cuda.set_device(count)
    assert lamina.cuda.current_device() == 0
    lamina.cuda.manual_seed(5)
    first = lamina.rand(3, device="cuda")
    lamina.cuda.manual_seed_all(5)
    assert first.tolist() == lamina.rand(3, device="cuda").tolist()


@with_cuda
def test_normal_draws_where_its_tensor_is():
    """One of mean and std may be a number."""
    ones = lamina.ones(3, device="cuda")
    assert lamina.normal(0.0, ones).is_cuda and lamina.normal(ones, 0.5).is_cuda and lamina.normal(ones, ones).is_cuda


@with_cuda
def test_pinned_memory():
    x = lamina.arange(6.0).reshape(2, 3).pin_memory()
    assert x.is_pinned() and x[1:].is_pinned() and x.pin_memory() is x and not x.is_cuda
    assert x.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] and (x + 1).sum().item() == 21.0
    assert lamina.from_numpy(x.numpy()).is_pinned() and not (x + 1).is_pinned()
    assert not lamina.zeros(0).is_pinned() and lamina.zeros(0).pin_memory().shape == (0,)
    turned = x.t().pin_memory()
    assert turned.stride() == (1, 3) and turned.tolist() == x.t().tolist()
    for made in (
        lamina.tensor([1.0, 2.0], pin_memory=True, requires_grad=True),
        lamina.zeros(2, pin_memory=True),
        lamina.empty(2, pin_memory=True),
        lamina.randn(2, pin_memory=True, requires_grad=True),
    ):
        assert made.is_pinned() and made.shape == (2,)
    assert lamina.tensor([1.0], pin_memory=True, requires_grad=True).requires_grad
    with pytest.raises(RuntimeError, match="pin_memory: the tensor is on cuda:0; need one on the cpu"):
        lamina.ones(2, device="cuda").pin_memory()
    with pytest.raises(RuntimeError, match="need one on the cpu"):
        lamina.ones(2, device="cuda", pin_memory=True)
    w = lamina.ones(2, requires_grad=True)
    (w.pin_memory() * 3).sum().backward()
    assert w.grad.tolist() == [3.0, 3.0]


@with_cuda
def test_copies_without_waiting():
    """A pinned source may go right after the call; its memory is reused only when the copy has happened."""
    side = lamina.cuda.Stream()
    with lamina.cuda.stream(side):
        on_device = []
        for i in range(8):
            source = lamina.full((3000,), float(i), pin_memory=True)
            on_device.append(source.to("cuda", non_blocking=True))
            del source
        kept = lamina.full((3000,), 9.0).pin_memory()
        filled = lamina.zeros(3000, device="cuda").copy_(kept, non_blocking=True)
        back = [x.to("cpu", non_blocking=True) for x in on_device]
        into = lamina.zeros(3000).pin_memory().copy_(filled, non_blocking=True)
        waited = filled.to("cpu")
    assert not waited.is_pinned() and waited.tolist() == [9.0] * 3000
    assert all(x.is_pinned() for x in back)
    side.synchronize()
    assert [x.unique().tolist() for x in back] == [[float(i)] for i in range(8)]
    assert into.unique().tolist() == [9.0]


@with_cuda
def test_copies_that_wait_may_be_followed_by_changes():
    x = lamina.ones(5000).pin_memory()
    y = x.to("cuda")
    x.fill_(2.0)
    z = lamina.zeros(5000, device="cuda").copy_(x)
    x.fill_(3.0)
    assert y.cpu().unique().tolist() == [1.0] and z.cpu().unique().tolist() == [2.0]
    x.copy_(y)
    assert x.unique().tolist() == [1.0]
    # Spread out, or of another dtype: brought in order first.
    square = lamina.arange(12.0).reshape(3, 4).pin_memory()
    assert square.t().to("cuda", non_blocking=True).tolist() == square.t().tolist()
    whole = square.cuda(non_blocking=True).to("cpu", lamina.int32, True)
    images = lamina.arange(24.0).reshape(1, 2, 3, 4).cuda().to("cpu", None, True, memory_format="channels_last")
    columns = lamina.zeros(4, 3).pin_memory().t()
    columns.copy_(square.cuda(), non_blocking=True)
    lamina.cuda.synchronize()
    assert whole.is_pinned() and whole.tolist() == square.to(lamina.int32).tolist()
    assert images.stride() == (24, 1, 8, 2) and images.flatten().tolist() == list(range(24))
    assert columns.tolist() == square.tolist()
    rows = lamina.zeros(3, 4, device="cuda")
    rows.copy_(lamina.ones(4, dtype=lamina.int64).pin_memory(), non_blocking=True)
    assert rows.tolist() == [[1.0] * 4] * 3


@with_cuda
def test_moving_modules():
    net = lamina.nn.Linear(2, 3)
    weight = net.weight.tolist()
    assert net.to("cuda", non_blocking=True) is net and net.weight.is_cuda
    assert net.cpu().cuda().weight.tolist() == weight and net.cuda(0).bias.is_cuda
    assert net.to("cpu", lamina.float64, True).weight.dtype == lamina.float64 and not net.weight.is_cuda


@with_cuda
def test_gradient_through_a_copy_between_devices():
    x = lamina.tensor([1.0, 2.0], requires_grad=True)
    y = lamina.zeros(2, device="cuda").copy_(x.pin_memory(), non_blocking=True)
    (y * lamina.tensor([3.0, 4.0], device="cuda")).sum().backward()
    assert x.grad.tolist() == [3.0, 4.0] and not x.grad.is_cuda


@with_cuda
def test_record_stream():
    side = lamina.cuda.Stream()
    x = lamina.ones(1000, device="cuda")
    side.wait_stream(lamina.cuda.current_stream())
    with lamina.cuda.stream(side):
        y = x * 2
    x.record_stream(side)
    del x
    z = lamina.zeros(1000, device="cuda")
    side.synchronize()
    assert y.sum().item() == 2000.0 and z.sum().item() == 0.0
    with pytest.raises(
        RuntimeError, match="record_stream: the tensor is on cpu, the stream on cuda:0; need one device"
    ):
        lamina.ones(2).record_stream(side)


@with_cuda
def test_what_the_device_is_like():
    properties = lamina.cuda.get_device_properties()
    assert properties.name == lamina.cuda.get_device_name() and properties.warp_size == 32
    assert lamina.cuda.get_device_capability("cuda:0") == (properties.major, properties.minor)
    assert lamina.cuda.is_bf16_supported() == (properties.major >= 8)
    free, total = lamina.cuda.mem_get_info()
    assert 0 < free <= total and abs(total - properties.total_memory) < total // 8
    with pytest.raises(ValueError, match="Event: interprocess=True, but events of several processes are not supported"):
        lamina.cuda.Event(interprocess=True)
    event = lamina.cuda.Event(blocking=True)
    event.record()
    event.synchronize()
    assert event.query()


@with_cuda
def test_streams_outlive_their_objects():
    """Memory may be freed after the stream that used it was given up; the next stream is the same queue."""
    side = lamina.cuda.Stream()
    handle = side.cuda_stream
    x = lamina.ones(1000, device="cuda")
    source = lamina.ones(1000, pin_memory=True)
    with lamina.cuda.stream(side):
        y = x + source.to("cuda", non_blocking=True)
    x.record_stream(side)
    del side
    del x, source
    again, other = lamina.cuda.Stream(), lamina.cuda.Stream()
    assert again.cuda_stream == handle != other.cuda_stream
    again.synchronize()
    assert y.sum().item() == 2000.0


@with_cuda
def test_a_graph_reads_pinned_memory_in_every_replay():
    """Also after the tensor is gone: its memory is given to nobody else."""
    x = lamina.zeros(3000, device="cuda")
    holder = [lamina.ones(3000, pin_memory=True)]
    step = lamina.cuda.graph(lambda: x.copy_(holder[0], non_blocking=True) + 1)
    holder[0].fill_(2.0)
    assert step().unique().tolist() == [3.0]
    holder.clear()
    others = [lamina.full((3000,), 9.0, pin_memory=True) for _ in range(4)]
    assert step().unique().tolist() == [3.0] and others[0].is_pinned()
    with pytest.raises(RuntimeError, match="while a graph is captured, nothing on the host can be copied to cuda:0"):
        lamina.cuda.graph(lambda: x.copy_(lamina.ones(3000)))


@with_cuda
def test_memory_reports():
    x = lamina.ones(1000, device="cuda")
    summary = lamina.cuda.memory_summary()
    assert summary.startswith(f"memory of {lamina.cuda.get_device_name()}") and "allocations" in summary
    assert len(lamina.cuda.memory_summary(abbreviated=True)) < len(summary)
    del x


@with_cuda
def test_data_loader_pins_batches():
    from lamina.utils.data import DataLoader

    class Pair:
        def __init__(self, x):
            self.x = x

        def pin_memory(self):
            return Pair(self.x.pin_memory())

    samples = [{"x": lamina.ones(2) * i, "name": str(i), "pair": (i, lamina.zeros(1))} for i in range(4)]
    for workers in (0, 2):
        batches = list(DataLoader(samples, batch_size=2, pin_memory=True, num_workers=workers))
        assert [b["x"].tolist() for b in batches] == [[[0.0, 0.0], [1.0, 1.0]], [[2.0, 2.0], [3.0, 3.0]]]
        assert all(b["x"].is_pinned() and b["pair"][0].is_pinned() for b in batches) and batches[0]["name"] == [
            "0",
            "1",
        ]
    (pair,) = DataLoader([1], collate_fn=lambda samples: Pair(lamina.tensor(samples)), pin_memory=True)
    assert pair.x.is_pinned()
