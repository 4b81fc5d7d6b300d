"""utils.data: datasets, samplers, collating, the DataLoader with and without workers, idx files."""

import gzip
import struct
import threading
import time
from collections import Counter, namedtuple

import lamina
import numpy as np
import pytest
from lamina.utils import data as d


class Squares(d.Dataset):
    def __init__(self, n):
        self.n = n

    def __getitem__(self, i):
        return i * i

    def __len__(self):
        return self.n


class Stream(d.IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter(range(self.n))


def flat(loader):
    return [v for batch in loader for v in batch.tolist()]


def test_datasets():
    a = d.TensorDataset(lamina.arange(6).reshape(3, 2), lamina.arange(3))
    assert len(a) == 3 and [t.tolist() for t in a[-1]] == [[4, 5], 2]
    both = Squares(3) + Squares(2)
    assert [both[i] for i in range(5)] == [0, 1, 4, 0, 1] and both[-1] == 1 and len(both) == 5
    part = d.Subset(Squares(10), [3, 5])
    assert len(part) == 2 and part[1] == 25


def test_random_split():
    lamina.manual_seed(0)
    parts = d.random_split(Squares(10), [6, 3, 1])
    assert [len(p) for p in parts] == [6, 3, 1]
    assert sorted(i for p in parts for i in p.indices) == list(range(10))
    assert [len(p) for p in d.random_split(Squares(10), [0.5, 0.25, 0.25])] == [6, 2, 2]
    g = lambda: lamina.Generator().manual_seed(5)  # noqa: E731
    assert d.random_split(Squares(10), [5, 5], g())[0].indices == d.random_split(Squares(10), [5, 5], g())[0].indices
    with pytest.raises(ValueError, match="sum to 9; the dataset has 10"):
        d.random_split(Squares(10), [5, 4])


def test_samplers():
    lamina.manual_seed(0)
    assert list(d.SequentialSampler(range(3))) == [0, 1, 2]
    order = list(d.RandomSampler(range(50)))
    assert sorted(order) == list(range(50)) and order != list(range(50))
    assert len(list(d.RandomSampler(range(5), num_samples=12))) == 12
    drawn = list(d.RandomSampler(range(3), replacement=True, num_samples=20))
    assert len(drawn) == 20 and set(drawn) <= {0, 1, 2}
    assert sorted(d.SubsetRandomSampler([7, 8, 9])) == [7, 8, 9]
    counts = Counter(d.WeightedRandomSampler([0.0, 1.0, 3.0], 2000))
    assert counts[0] == 0 and 2.3 < counts[2] / counts[1] < 4
    assert sorted(d.WeightedRandomSampler([1.0, 1.0, 1.0], 3, replacement=False)) == [0, 1, 2]
    assert list(d.BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    assert len(d.BatchSampler(range(5), 2, True)) == 2 and len(d.BatchSampler(range(5), 2, False)) == 3


def test_loader_batches():
    assert [b.tolist() for b in d.DataLoader(Squares(5), batch_size=2)] == [[0, 1], [4, 9], [16]]
    loader = d.DataLoader(Squares(5), batch_size=2, drop_last=True)
    assert [b.tolist() for b in loader] == [[0, 1], [4, 9]] and len(loader) == 2
    assert list(d.DataLoader(Squares(3), batch_size=None)) == [0, 1, 4]
    assert list(d.DataLoader(Squares(4), batch_size=2, collate_fn=sum)) == [1, 13]
    assert flat(d.DataLoader(Squares(5), sampler=[4, 0])) == [16, 0]
    loader = d.DataLoader(Squares(5), batch_sampler=[[1], [2, 3]])
    assert [b.tolist() for b in loader] == [[1], [4, 9]] and len(loader) == 2


def test_loader_shuffles_every_epoch():
    lamina.manual_seed(0)
    loader = d.DataLoader(Squares(40), batch_size=8, shuffle=True)
    first, second = flat(loader), flat(loader)
    assert sorted(first) == sorted(second) == [i * i for i in range(40)] and first != second
    seeded = lambda: flat(d.DataLoader(Squares(40), shuffle=True, generator=lamina.Generator().manual_seed(1)))  # noqa: E731
    assert seeded() == seeded()


def test_tensor_datasets_are_indexed_at_once():
    x, y = lamina.arange(20).reshape(10, 2), lamina.arange(10)
    dataset = d.TensorDataset(x, y)
    for source, rows in ((dataset, range(10)), (d.Subset(dataset, [9, 7, 5]), [9, 7, 5])):
        batches = list(d.DataLoader(source, batch_size=4))
        assert [v for _, b in batches for v in b.tolist()] == list(rows)
        assert all(a.tolist() == x[b].tolist() for a, b in batches)

    class Doubled(d.TensorDataset):  # a __getitem__ of its own must be called
        def __getitem__(self, i):
            return super().__getitem__(i)[0] * 2

    assert next(iter(d.DataLoader(Doubled(x), batch_size=2))).tolist() == [[0, 2], [4, 6]]

    class Fetches(Squares):
        def __getitems__(self, indices):
            return [-i for i in indices]

    assert flat(d.DataLoader(Fetches(3), batch_size=2)) == [0, -1, -2]


def test_iterable_datasets():
    loader = d.DataLoader(Stream(5), batch_size=2)
    assert [b.tolist() for b in loader] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in d.DataLoader(Stream(5), batch_size=2, drop_last=True)] == [[0, 1], [2, 3]]
    assert list(d.DataLoader(Stream(3), batch_size=None)) == [0, 1, 2]
    assert flat(d.DataLoader(Stream(9), batch_size=2, num_workers=2)) == list(range(9))


class Slow(Squares):
    """Early entries take longest, so that workers finish out of order."""

    threads: set

    def __getitem__(self, i):
        self.threads.add(threading.get_ident())
        time.sleep(0.02 if i < 4 else 0.001)
        return i


def test_workers_keep_the_order():
    dataset = Slow(20)
    dataset.threads = set()
    numbers = []
    loader = d.DataLoader(dataset, batch_size=2, num_workers=3, worker_init_fn=numbers.append)
    assert flat(loader) == list(range(20)) == flat(loader)
    assert threading.get_ident() not in dataset.threads and len(dataset.threads) > 1
    assert set(numbers) == {0, 1, 2}


def test_worker_exceptions_and_early_exit():
    class Broken(Squares):
        def __getitem__(self, i):
            if i == 5:
                raise KeyError("entry 5")
            return i

    got = []
    with pytest.raises(KeyError, match="entry 5"):
        for batch in d.DataLoader(Broken(10), batch_size=2, num_workers=2):
            got += batch.tolist()
    assert got == [0, 1, 2, 3]
    before = threading.active_count()
    for _ in d.DataLoader(Squares(100), num_workers=2):
        break
    for _ in range(100):
        if threading.active_count() <= before:
            break
        time.sleep(0.01)
    assert threading.active_count() <= before
    with pytest.raises(TimeoutError):
        sleepy = Squares(1)
        sleepy.__class__ = type("Sleepy", (Squares,), {"__getitem__": lambda self, i: time.sleep(0.3)})
        list(d.DataLoader(sleepy, num_workers=1, timeout=0.01))


def test_collate():
    Point = namedtuple("Point", "x y")
    batch = d.default_collate([{"a": lamina.ones(2), "b": ["s", 1]}, {"a": lamina.zeros(2), "b": ["t", 2]}])
    assert batch["a"].tolist() == [[1, 1], [0, 0]] and batch["b"][0] == ["s", "t"] and batch["b"][1].tolist() == [1, 2]
    point = d.default_collate([Point(1.0, True), Point(2.0, False)])
    assert point.x.dtype == lamina.float64 and point.y.tolist() == [True, False]
    arrays = d.default_collate([np.float32([1, 2]), np.float32([3, 4])])
    assert arrays.dtype == lamina.float32 and arrays.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match=r"sample 0 has shape \(2,\), sample 1 has \(3,\)"):
        d.default_collate([lamina.ones(2), lamina.ones(3)])
    with pytest.raises(ValueError, match=r"samples have \[1, 2\] entries"):
        d.default_collate([(1,), (1, 2)])
    with pytest.raises(TypeError, match="a sample holds a object"):
        d.default_collate([object()])


def test_concatenation_needs_indices():
    with pytest.raises(TypeError, match="dataset 0 is a Stream"):
        d.ConcatDataset([Stream(2)])


def idx(code, shape, payload):
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + payload


@pytest.mark.parametrize(
    ("code", "numpy_type"), [(8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]
)
def test_idx_types(tmp_path, code, numpy_type):
    values = np.arange(-6 if code != 8 else 0, 6 if code != 8 else 12).reshape(3, 4).astype(numpy_type)
    path = tmp_path / "a.idx"
    path.write_bytes(idx(code, (3, 4), values.tobytes()))
    t = d.read_idx(path)
    assert t.tolist() == values.tolist() and t.numpy().dtype == values.dtype.newbyteorder("=")
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert d.read_idx(str(path)).tolist() == values.tolist()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "begins with ; need two zero bytes"),
        (b"\x00\x01\x08\x01", "begins with 00010801"),
        (b"\x00\x00\x07\x01\x00\x00\x00\x00", "type code 0x07; need one of 0x08, 0x09"),
        (b"\x00\x00\x08\x03\x00\x00", "has 6 bytes; its header of 3 dimensions needs 16"),
        (idx(8, (2, 3), b"12345"), r"has 17 bytes; shape \(2, 3\) of .*uint8 needs 18"),
        (idx(8, (2, 3), b"1234567"), "has 19 bytes"),
        (idx(14, (2**32 - 1,) * 8, b""), r"needs \d{70}"),
        (gzip.compress(idx(8, (1000,), bytes(1000)))[:-9], "damaged gzip"),
    ],
)
def test_idx_errors(tmp_path, raw, message):
    path = tmp_path / "bad.idx"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=message):
        d.read_idx(path)
    if raw[:2] != b"\x1f\x8b":
        path.write_bytes(gzip.compress(raw))
        with pytest.raises(ValueError):
            d.read_idx(path)


def test_idx_empty(tmp_path):
    path = tmp_path / "empty.idx"
    path.write_bytes(idx(8, (0, 28), b""))
    assert tuple(d.read_idx(path).shape) == (0, 28)


@pytest.mark.skipif(lamina.cuda.is_available(), reason="there is a CUDA device")
def test_pinning_without_a_device_warns_and_goes_on():
    loader = d.DataLoader([1, 2, 3], batch_size=2, pin_memory=True)
    with pytest.warns(UserWarning, match="DataLoader: pin_memory=True has no effect: device: 'cuda:0' cannot be used"):
        assert [x.tolist() for x in loader] == [[1, 2], [3]]
