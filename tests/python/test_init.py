"""nn.init: limits, spreads and structures of initial values."""

import math

import lamina
import pytest
from lamina import nn


def numbers(t):
    return t.detach().reshape(-1).tolist()


def mean(values):
    return sum(values) / len(values)


def std(values):
    m = mean(values)
    return math.sqrt(sum((v - m) ** 2 for v in values) / len(values))


def empty(*shape):
    return lamina.zeros(*shape)


def test_constants_and_patterns():
    t = empty(2, 3)
    assert nn.init.constant_(t, 2.5) is t and set(numbers(t)) == {2.5}
    assert set(numbers(nn.init.ones_(t))) == {1.0} and set(numbers(nn.init.zeros_(t))) == {0.0}
    assert nn.init.eye_(t).tolist() == [[1, 0, 0], [0, 1, 0]]
    kernel = nn.init.dirac_(empty(4, 2, 3), groups=2)
    assert sum(numbers(kernel)) == 4 and [kernel[i, i % 2, 1].item() for i in range(4)] == [1, 1, 1, 1]
    x = lamina.randn(1, 3, 5, 5)
    weight = nn.init.dirac_(empty(3, 3, 3, 3))
    assert nn.functional.conv2d(x, weight, padding=1).tolist() == x.tolist()


def test_works_on_parameters_off_the_tape():
    p = nn.Parameter(empty(4))
    nn.init.normal_(p)
    assert p.is_leaf and p.requires_grad and p.grad is None


def test_uniform_and_normal():
    lamina.manual_seed(0)
    values = numbers(nn.init.uniform_(empty(5000), -2.0, 4.0))
    assert -2 <= min(values) < -1.9 and 3.9 < max(values) < 4 and abs(mean(values) - 1) < 0.15
    values = numbers(nn.init.normal_(empty(5000), 3.0, 0.5))
    assert abs(mean(values) - 3) < 0.05 and abs(std(values) - 0.5) < 0.03
    values = numbers(nn.init.trunc_normal_(empty(5000), 0.0, 1.0, -0.5, 1.0))
    assert -0.5 <= min(values) < -0.48 and 0.97 < max(values) <= 1.0
    assert abs(mean(values) - 0.2066) < 0.04  # (phi(-0.5) - phi(1)) / (Phi(1) - Phi(-0.5))


def test_generator_makes_values_repeatable():
    draw = lambda seed: numbers(nn.init.normal_(empty(8), generator=lamina.Generator().manual_seed(seed)))  # noqa: E731
    assert draw(3) == draw(3) != draw(4)


@pytest.mark.parametrize(
    ("fill", "spread"),
    [
        (lambda t: nn.init.xavier_uniform_(t, gain=2.0), 2 * math.sqrt(2 / (8 * 9 + 200 * 9))),
        (lambda t: nn.init.xavier_normal_(t), math.sqrt(2 / (8 * 9 + 200 * 9))),
        (lambda t: nn.init.kaiming_uniform_(t, a=math.sqrt(5)), math.sqrt(1 / 3) / math.sqrt(8 * 9)),
        (lambda t: nn.init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"), math.sqrt(2 / (200 * 9))),
    ],
)
def test_fan_based(fill, spread):
    lamina.manual_seed(0)
    assert abs(std(numbers(fill(empty(200, 8, 3, 3)))) / spread - 1) < 0.03


def test_orthogonal_and_sparse():
    for shape in ((4, 6), (6, 4), (5, 2, 3)):
        q = nn.init.orthogonal_(empty(*shape), gain=2.0).reshape(shape[0], -1)
        small = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
        for i, row in enumerate(small.tolist()):
            assert all(abs(v - 4.0 * (i == j)) < 1e-4 for j, v in enumerate(row))
    columns = nn.init.sparse_(empty(10, 3), 0.3).T.tolist()
    assert [sum(v == 0 for v in column) for column in columns] == [3, 3, 3]


def test_gain():
    assert nn.init.calculate_gain("linear") == nn.init.calculate_gain("conv2d") == 1.0
    assert nn.init.calculate_gain("leaky_relu", 1.0) == 1.0 and nn.init.calculate_gain("tanh") == 5 / 3
