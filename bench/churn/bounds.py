"""How sure is a share that was counted? Exact bounds at 95 % (Clopper and Pearson, 1934). Pure."""

from __future__ import annotations

from math import exp, lgamma, log, log1p

__all__ = ["bounds"]

_MISS = 0.05
_STEPS = 100
_TERMS = 10_000
_TINY = 1e-300
_CLOSE = 1e-12


def bounds(good: int, total: int) -> tuple[float, float]:
    """The bounds of a share, each from 0 to 1.

    Where all or none are good, there is only one side to be wrong on: the bound is one-sided then, which is about 3
    of ``total`` away (the rule of three).

    Args:
        good: how many were.
        total: of how many.
    """
    if total == 0:
        return 0.0, 1.0
    if good == total:
        return _MISS ** (1 / total), 1.0
    if good == 0:
        return 0.0, 1 - _MISS ** (1 / total)
    low = _quantile(_MISS / 2, good, total - good + 1)
    high = _quantile(1 - _MISS / 2, good + 1, total - good)
    return low, high


def _quantile(share: float, left: int, right: int) -> float:
    """Where the beta distribution with these two parameters has so much behind it, by halving."""
    low, high = 0.0, 1.0
    for _step in range(_STEPS):
        middle = (low + high) / 2
        if _beta(middle, left, right) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta(place: float, left: int, right: int) -> float:
    """The regularised incomplete beta function (DLMF 8.17.22: a continued fraction, by Lentz's method)."""
    if place in {0.0, 1.0}:
        return place
    if place > (left + 1) / (left + right + 2):
        return 1 - _beta(1 - place, right, left)
    front = lgamma(left + right) - lgamma(left) - lgamma(right) + left * log(place) + right * log1p(-place)
    upper, lower = 1.0, 1 / _solid(1 - (left + right) * place / (left + 1))
    fraction = lower
    for term in range(1, _TERMS):
        even = term * (right - term) * place / ((left + 2 * term - 1) * (left + 2 * term))
        odd = -(left + term) * (left + right + term) * place / ((left + 2 * term) * (left + 2 * term + 1))
        step = 1.0
        for factor in (even, odd):
            lower = 1 / _solid(1 + factor * lower)
            upper = _solid(1 + factor / upper)
            step = lower * upper
            fraction *= step
        if abs(step - 1) < _CLOSE:
            break
    return exp(front) * fraction / left


def _solid(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
