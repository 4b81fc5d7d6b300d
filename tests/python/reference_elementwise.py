"""Special functions in plain NumPy: the oracles of erfinv, lgamma, digamma and polygamma."""

import math

import numpy as np


def logit(x, eps):
    if eps >= 0:
        x = np.clip(x, eps, 1 - eps)
    return np.log(x / (1 - x))


def _each(fn):
    return np.vectorize(fn, otypes=[float])


def _lgamma(v):
    if math.isnan(v):
        return v
    if math.isinf(v) or (v <= 0 and v == math.floor(v)):
        return math.inf
    return math.lgamma(v)


def lgamma(x):
    return _each(_lgamma)(x)


def _polygamma(v, n):
    """(-1)^(n+1) n! sum over k >= 0 of 1 / (v + k)^(n+1): recurrence up to 20, then the asymptotic series."""
    if math.isnan(v) or v == -math.inf:
        return math.nan
    if v == math.inf:
        return 0.0
    if v <= 0 and v == math.floor(v):
        return math.inf
    bernoulli = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730)
    total = 0.0
    while v < 20:
        total += v ** -(n + 1)
        v += 1
    tail = v**-n / n + v ** -(n + 1) / 2
    for j, b in enumerate(bernoulli, start=1):
        rising = math.prod(range(n + 1, n + 2 * j))
        tail += b * rising / math.factorial(2 * j) * v ** -(n + 2 * j)
    return (-1) ** (n + 1) * math.factorial(n) * (total + tail)


def _digamma(v):
    if math.isnan(v) or v == -math.inf:
        return math.nan
    if v == math.inf:
        return v
    if v == 0:
        return math.copysign(math.inf, -math.copysign(1, v))
    if v < 0:
        if v == math.floor(v):
            return math.nan
        return _digamma(1 - v) - math.pi / math.tan(math.pi * v)
    total = 0.0
    while v < 20:
        total -= 1 / v
        v += 1
    bernoulli = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730)
    series = sum(b / (2 * j * v ** (2 * j)) for j, b in enumerate(bernoulli, start=1))
    return total + math.log(v) - 1 / (2 * v) - series


def digamma(x):
    return _each(_digamma)(x)


def polygamma(x, n):
    n = int(n)
    return digamma(x) if n == 0 else _each(lambda v: _polygamma(v, n))(x)


def _erfinv(y):
    if math.isnan(y) or abs(y) > 1:
        return math.nan
    if abs(y) == 1:
        return math.copysign(math.inf, y)
    low, high = -6.0, 6.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle) < y else (low, middle)
    return math.copysign((low + high) / 2, y) if y else y


def erfinv(x):
    return _each(_erfinv)(x)
