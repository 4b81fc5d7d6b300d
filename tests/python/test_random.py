"""Random rows of the table: the seed decides everything, threads nothing; ranges and errors."""

from __future__ import annotations

import lamina
import pytest
from table import ROWS, cases, flatten, row_id

DRAWN = [r for r in ROWS if r["random"] and "empty" not in r["name"]]
each = pytest.mark.parametrize("row", DRAWN, ids=row_id)
HALVES = [lamina.float16, lamina.bfloat16]


def draw(case, seed, **kwargs):
    lamina.manual_seed(seed)
    return [x.tolist() for x in flatten(case.call(**kwargs))]


@each
def test_seed_decides(row):
    differs = False
    for case in cases(row):
        first = draw(case, 1)
        assert draw(case, 1) == first
        differs |= any(draw(case, seed) != first for seed in range(2, 7))
    assert differs


# The others, dropout and randint_like, draw from the default generator only, as PyTorch's do.
WITH_GENERATOR = [r for r in DRAWN if "generator" in r["signature"]]


@pytest.mark.parametrize("row", WITH_GENERATOR, ids=row_id)
def test_generator_is_its_own_stream(row):
    case = cases(row)[0]
    g = lamina.Generator()

    def drawn():
        case.kwargs["generator"] = g.manual_seed(7)
        return [x.tolist() for x in flatten(case.call())]

    first = drawn()
    lamina.manual_seed(99)
    assert drawn() == first


@pytest.mark.parametrize("dtype", [*HALVES, lamina.float32, lamina.float64], ids=str)
def test_uniform_stays_below_its_end(dtype):
    lamina.manual_seed(0)
    for low, high in ((0.0, 1.0), (1.0, 2.0), (-3.0, -2.0)):
        x = lamina.empty(50_000, dtype=dtype).uniform_(low, high)
        assert x.dtype == dtype
        assert x.min().item() >= low and x.max().item() < high


def test_threads_do_not_matter():
    before = lamina.get_num_threads()
    results = []
    try:
        for n in (1, 2, 5):
            lamina.set_num_threads(n)
            lamina.manual_seed(4)
            x = lamina.randn(100_003)
            y = lamina.empty(100_003).exponential_()
            p = lamina.randperm(5000)
            results.append((x.tolist(), y.tolist(), p.tolist(), lamina.randint(0, 1 << 40, (4097,)).tolist()))
    finally:
        lamina.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_fills_follow_memory_and_the_tape():
    x = lamina.zeros(4, 6)
    x.t()[::2].normal_()
    assert (x[:, ::2] != 0).all().item() and (x[:, 1::2] == 0).all().item()
    leaf = lamina.zeros(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="uniform_"):
        leaf.uniform_()
    with lamina.no_grad():
        assert leaf.uniform_() is leaf
    y = leaf * 2
    saved = (y * y).sum()
    y.normal_()
    with pytest.raises(RuntimeError, match="in place"):
        saved.backward()


def test_integers_cannot_be_drawn_from_a_density():
    for name in ("uniform_", "normal_", "exponential_", "cauchy_"):
        with pytest.raises(TypeError, match="int64"):
            getattr(lamina.zeros(2, dtype=lamina.int64), name)()
