"""x[key] and x[key] = value against NumPy, with gradients, and what cannot index."""

import lamina
import numpy as np
import pytest

s = np.s_
KEYS = [
    s[1],
    s[-1],
    s[1:],
    s[:2],
    s[::2],
    s[-2:],
    s[5:1],
    s[0:100:2],
    s[1, 2],
    s[1, 2, 3],
    s[..., 1],
    s[1, ..., 2],
    s[None],
    s[:, None, 1],
    s[None, ..., None],
    s[True],
    s[False],
    s[1:, ::2, -3:],
    s[()],
    s[...],
    s[np.int64(1)],
    s[np.int32(1) : np.int64(3)],
    s[np.array(1)],
    s[np.uint8(1)],
    s[[0, 2]],
    s[[0, -1], [1, 2]],
    s[[[0, 1], [1, 0]]],
    s[[]],
    s[:, [1, 0]],
    s[[1, 0], :, [2, 3]],
    s[1, [0, 2]],
    s[..., [0, 3, 3]],
    s[np.array([0, 1, 1])],
    s[np.array([[0], [1]]), np.array([[0, 2]])],
    s[np.array([True, False, True])],
    s[[True, False, True]],
    s[:, np.array([True, False, True, False])[:3]],
    s[None, [0, 1]],
]


def array():
    return np.arange(36.0).reshape(3, 3, 4)


def as_tensors(key):
    """The same key with lamina's tensors in place of arrays."""
    if isinstance(key, tuple):
        return tuple(as_tensors(k) for k in key)
    return lamina.tensor(key) if isinstance(key, np.ndarray) else key


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_get(key):
    a = array()
    t = lamina.tensor(a)
    for k in (key, as_tensors(key)):
        got = t[k]
        assert got.shape == a[key].shape
        np.testing.assert_array_equal(got.numpy(), a[key])


def test_masks_of_several_dimensions():
    a = array()
    t = lamina.tensor(a)
    mask = a % 3 == 0
    np.testing.assert_array_equal(t[mask].numpy(), a[mask])
    np.testing.assert_array_equal(t[t > 10].numpy(), a[a > 10])
    np.testing.assert_array_equal(t[mask[:, :, 0]].numpy(), a[mask[:, :, 0]])
    np.testing.assert_array_equal(t[0, mask[0]].numpy(), a[0, mask[0]])


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_set(key):
    for value in (7, 2.5, lamina.tensor(3.0), np.float32(4)):
        a, t = array(), lamina.tensor(array())
        a[key] = float(value)
        t[as_tensors(key)] = value
        np.testing.assert_array_equal(t.numpy(), a)
    a, t = array(), lamina.tensor(array())
    values = np.arange(float(a[key].size)).reshape(a[key].shape)
    a[key] = values
    t[key] = values
    np.testing.assert_array_equal(t.numpy(), a)
    t[key] = lamina.tensor(values)
    np.testing.assert_array_equal(t.numpy(), a)
    if a[key].size:
        t[key] = values.tolist()
    np.testing.assert_array_equal(t.numpy(), a)


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_gradients(key):
    a = array()
    t = lamina.tensor(a, requires_grad=True)
    weights = np.random.default_rng(0).normal(size=a[key].shape)
    (t[key] * lamina.tensor(weights)).sum().backward()
    want = np.zeros_like(a)
    np.add.at(want, key, weights)
    np.testing.assert_allclose(t.grad.numpy(), want)


def writes_a_place_twice(key):
    count = np.zeros(array().shape)
    np.add.at(count, key, 1)
    return count.max() > 1


# Which of several values written to one place stays is not defined.
@pytest.mark.parametrize("key", [k for k in KEYS if not writes_a_place_twice(k)], ids=repr)
def test_gradients_of_assignment(key):
    a = array()
    t = lamina.tensor(a, requires_grad=True)
    values = np.random.default_rng(0).normal(size=a[key].shape)
    v = lamina.tensor(values, requires_grad=True)
    y = t * 2
    y[key] = v
    weights = np.random.default_rng(1).normal(size=a.shape)
    (y * lamina.tensor(weights)).sum().backward()
    kept = np.ones_like(a)
    kept[key] = 0
    np.testing.assert_allclose(t.grad.numpy(), 2 * weights * kept)
    if len(set(np.arange(a.size).reshape(a.shape)[key].ravel())) == values.size:
        np.testing.assert_allclose(v.grad.numpy(), weights[key])


def test_views_share():
    t = lamina.zeros(3, 4)
    t[1][2] = 5
    t[:, 0][1] = 6
    assert t[1].tolist() == [6, 0, 5, 0]
    t[0] += 2
    t[:, 1] *= 3
    assert t[0].tolist() == [2, 6, 2, 2]


def test_overlapping_assignment():
    for forward in (True, False):
        for grad in (True, False):
            a, t = np.arange(10.0), lamina.tensor(np.arange(10.0), requires_grad=grad) * 1
            if forward:
                a[1:], t[1:] = a[:-1].copy(), t[:-1]
            else:
                a[:-1], t[:-1] = a[1:].copy(), t[1:]
            assert t.tolist() == a.tolist()
    square = lamina.tensor(np.arange(9.0).reshape(3, 3))
    square[:] = square.T
    assert square.tolist() == np.arange(9.0).reshape(3, 3).T.tolist()


def test_iteration():
    t = lamina.tensor([[1, 2], [3, 4]])
    assert [row.tolist() for row in t] == [[1, 2], [3, 4]]
    _, b = t
    assert b.tolist() == [3, 4]


def test_inplace_through_views_on_the_tape():
    x = lamina.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 1
    y[0] += 10
    y[1:] *= 2
    y.sum().backward()
    assert y.tolist() == [11, 4, 6]
    assert x.grad.tolist() == [1, 2, 2]


def test_assigning_a_detached_view_cuts_the_tape():
    x = lamina.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y[0] = y[0].detach()
    y.sum().backward()
    assert x.grad.tolist() == [0, 2]


def test_assignment_converts_and_broadcasts():
    t = lamina.zeros(2, 3)
    t[:] = np.array([1.0, 2.0, 3.0])
    assert t.tolist() == [[1, 2, 3], [1, 2, 3]]
    t[0] = [True, False, True]
    assert t[0].tolist() == [1, 0, 1]
    t[:, :2] = lamina.tensor([[5], [6]], dtype=lamina.int32)
    assert t[:, 0].tolist() == [5, 6]
    t[t > 5] = -1
    assert t[1].tolist() == [-1, -1, 3]


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (3, IndexError, "3"),
        (-4, IndexError, "-4"),
        ((0, 5), IndexError, "5"),
        ((0, 0, 0, 0), IndexError, "4"),
        (2**70, IndexError, "64 bits"),
        ([0, 7], IndexError, "7"),
        ([[0, 1], [-9, 0]], IndexError, "-9"),
        (np.array([0, 3]), IndexError, "3"),
        (s[..., ...], IndexError, "llipsis"),
        ([True, False], IndexError, "2"),
        (([0, 1], [0, 1, 2]), ValueError, "3"),
        (1.5, TypeError, "float, 1.5"),
        ("a", TypeError, "str, 'a'"),
        (b"a", TypeError, "bytes"),
        ({}, TypeError, "dict"),
        ([1.5], TypeError, "float32"),
        (np.array([1.5]), TypeError, "float64"),
        ([0, slice(None)], TypeError, "slice"),
        (np.array([0, 1], dtype=np.uint8), TypeError, r"uint8 tensor of shape \(2,\) could be a mask"),
        (s[::-1], ValueError, "step -1"),
        (s[::0], ValueError, "zero"),
        (s["a":], TypeError, "slice indices"),
    ],
    ids=repr,
)
def test_errors(key, error, message):
    t = lamina.tensor(array())
    with pytest.raises(error, match=message):
        t[key]
    with pytest.raises(error, match=message):
        t[key] = 0


def test_errors_of_assignment():
    t = lamina.zeros(2, 3)
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)|\(3,\).*\(2,\)"):
        t[0] = [1, 2]
    with pytest.raises(TypeError, match="str"):
        t[0] = "a"
    with pytest.raises(TypeError, match="deleted"):
        del t[0]
    with pytest.raises(RuntimeError, match="leaf"):
        lamina.ones(2).requires_grad_()[0] = 1
    with pytest.raises(IndexError, match=r"0-d|\(\)"):
        lamina.tensor(1.0)[0]


def test_empty_and_scalar():
    t = lamina.tensor(5)
    assert t[()].item() == 5
    assert t[None].tolist() == [5]
    assert t[...].item() == 5
    t[()] = 6
    assert t.item() == 6
    e = lamina.zeros(0, 3)
    assert e[:, 1].shape == (0,)
    assert e[e > 0].shape == (0,)
    e[:] = 1


def test_index_put():
    x = lamina.zeros(2, 3)
    rows, columns = lamina.tensor([0, 1, 1]), lamina.tensor([2, 0, 0])
    assert x.index_put((rows, columns), lamina.tensor([1.0, 2.0, 3.0]), accumulate=True).tolist() == [
        [0, 0, 1],
        [5, 0, 0],
    ]
    assert x.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert x.index_put_((None, columns[:1]), lamina.tensor(4.0)) is x
    assert x.tolist() == [[0, 0, 4], [0, 0, 4]]
    w = lamina.ones(2, requires_grad=True)
    x.index_put((rows[:2],), w.reshape(2, 1) * 2).sum().backward()
    assert w.grad.tolist() == [6, 6]
    with pytest.raises(TypeError, match="need a tuple"):
        x.index_put(rows, lamina.tensor(1.0))


def test_reversed():
    assert reversed(lamina.tensor([[1, 2], [3, 4]])).tolist() == [[3, 4], [1, 2]]
