"""What the curves say: crossovers, best fractions, the price of discarding, and the response to a tilt.

Every function here calls `theory.solve`; nothing is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize_scalar

from theory.saddle_point.kept import Rule, Tilt
from theory.saddle_point.order_parameters import check_alpha, check_fraction, solve
from theory.vocabulary import MOST_POINTS, brief

Array = NDArray[np.float64]
ALPHA_RANGE = (1e-3, 1e3)
SMALLEST_FRACTION = 1e-3


def _error(alpha: ArrayLike, fraction: ArrayLike, keep: str | Rule, theta: float, margin: str) -> Array:
    # A rule brings its own fraction, "random" has none.
    own = not isinstance(keep, str) or keep == "random"
    return np.asarray(solve(alpha, 1.0 if own else fraction, keep, theta, margin).test_error)


def crossovers(
    fraction: float,
    theta: float = 0.0,
    first: str | Rule = "hard",
    second: str | Rule = "easy",
    margin: str = "unsigned",
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    points: int = 90,
) -> Array:
    """All alpha in `alpha_range` at which two strategies have the same test error, increasing.

    `first` and `second` are "hard", "easy", "random" or rules, compared at equal kept alpha. Sign changes are
    looked for on `points` alphas and refined to 1e-12 relative; differences below 1e-11 of the error are not
    resolved and count as none.
    """
    check_fraction(fraction)
    lo, hi = check_alpha(alpha_range)
    if not lo < hi:
        raise ValueError(f"alpha_range is ({lo:g}, {hi:g}), must be increasing")
    if not 2 <= points <= MOST_POINTS:
        raise ValueError(f"points is {brief(points)}, must be at least 2 and at most {MOST_POINTS}")
    log_alpha = np.linspace(math.log(lo), math.log(hi), points)
    error = _error(np.exp(log_alpha), fraction, first, theta, margin)
    gap = error - _error(np.exp(log_alpha), fraction, second, theta, margin)

    def difference(at: float) -> float:
        alpha = math.exp(at)
        gap = _error(alpha, fraction, first, theta, margin) - _error(alpha, fraction, second, theta, margin)
        return float(gap)

    clear = np.flatnonzero(np.abs(gap) > 1e-11 * error)
    found = [
        brentq(difference, log_alpha[left], log_alpha[right], xtol=1e-13, rtol=1e-13)
        for left, right in pairwise(clear)
        if gap[left] * gap[right] < 0.0
    ]
    return np.exp(np.array(found))


def crossover(
    fraction: float,
    theta: float = 0.0,
    first: str | Rule = "hard",
    second: str | Rule = "easy",
    margin: str = "unsigned",
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    points: int = 90,
) -> float:
    """The smallest alpha at which `first` and `second` have the same error; NaN if there is none in the range."""
    found = crossovers(fraction, theta, first, second, margin, alpha_range, points)
    return float(found[0]) if found.size else math.nan


@dataclass(frozen=True)
class BestFraction:
    """A best kept fraction: where, the error there, and whether the search ended on the edge of its interval."""

    fraction: float
    test_error: float
    at_edge: bool


def _minimise(error_of: Callable[[Array], Array], lo: float, hi: float) -> BestFraction:
    """Minimum over fractions in [lo, hi]: a logarithmic grid, then Brent's method in the best bracket."""
    if lo >= hi:
        return BestFraction(hi, float(error_of(np.array([hi]))[0]), True)
    grid = np.unique(np.concatenate([np.geomspace(lo, hi, 40), hi - np.geomspace(1e-4, 1.0, 20) * (hi - lo)]))
    grid = np.clip(grid, lo, hi)
    errors = error_of(grid)
    best = int(np.argmin(errors))
    left, right = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
    found = minimize_scalar(
        lambda f: float(error_of(np.array([f]))[0]),
        bounds=(left, right),
        method="bounded",
        options={"xatol": 1e-9},
    )
    # Ends win ties: near them (and, keeping hard, over a long stretch) errors agree to more digits than are solved.
    for end in (grid.size - 1, 0):
        if errors[end] <= min(found.fun, errors[best]) * (1.0 + 1e-10):
            return BestFraction(float(grid[end]), float(errors[end]), True)
    if errors[best] <= found.fun:
        return BestFraction(float(grid[best]), float(errors[best]), False)
    at_edge = bool(min(found.x / lo - 1.0, hi / found.x - 1.0) < 1e-6)
    return BestFraction(float(found.x), float(found.fun), at_edge)


def best_fraction(
    alpha: float,
    keep: str = "hard",
    theta: float = 0.0,
    margin: str = "unsigned",
    alpha_total: float = math.inf,
) -> BestFraction:
    """The fraction with the least error at a given KEPT alpha, the pool holding at most `alpha_total` per dimension.

    An unlimited pool is searched down to a fraction of 1e-3 (`at_edge` says when the optimum lies there: for a
    perfect probe and alpha > 2 the error vanishes with the fraction, so there is no best one).
    """
    if not alpha_total > 0.0:
        raise ValueError(f"alpha_total is {alpha_total:g}, must be positive")
    lo = max(float(check_alpha(alpha)) / alpha_total, SMALLEST_FRACTION)
    if lo > 1.0:
        raise ValueError(f"alpha {alpha:g} kept samples cannot come from a pool of {alpha_total:g}")
    return _minimise(lambda f: _error(alpha, f, keep, theta, margin), lo, 1.0)


def best_fraction_of_pool(
    alpha_total: float, keep: str = "easy", theta: float = 0.0, margin: str = "unsigned"
) -> BestFraction:
    """The fraction with the least error when a GIVEN pool is all there is (kept alpha = f alpha_total).

    Keeping everything is a fraction of 1, `at_edge`.
    """
    total = float(check_alpha(alpha_total))
    return _minimise(lambda f: _error(f * total, f, keep, theta, margin), SMALLEST_FRACTION, 1.0)


def pareto_front(
    alphas: ArrayLike,
    keep: str = "hard",
    theta: float = 0.0,
    margin: str = "unsigned",
    alpha_total: float = math.inf,
) -> tuple[Array, Array]:
    """Best fraction and its error at each kept alpha (see `best_fraction`): two arrays of the shape of `alphas`."""
    found = [best_fraction(float(a), keep, theta, margin, alpha_total) for a in np.ravel(check_alpha(alphas))]
    shape = np.shape(alphas)
    return (
        np.array([b.fraction for b in found]).reshape(shape),
        np.array([b.test_error for b in found]).reshape(shape),
    )


def excess_over_pool(
    alphas: ArrayLike, alpha_total: float, keep: str = "hard", theta: float = 0.0, margin: str = "unsigned"
) -> Array:
    """error(keeping alpha of a pool) / error(keeping the whole pool) - 1, for kept alphas up to `alpha_total`.

    Keeping the hardest with a perfect probe, this price of discarding falls faster than exponentially in alpha: the
    regime that is "better than a power law".
    """
    values = check_alpha(alphas)
    if np.any(values > alpha_total):
        raise ValueError(f"alpha {values.max():g} kept samples cannot come from a pool of {alpha_total:g}")
    return (
        _error(values, values / alpha_total, keep, theta, margin) / _error(alpha_total, 1.0, "random", theta, margin)
        - 1
    )


def tilt_gain(
    alphas: ArrayLike,
    coefficients: ArrayLike,
    theta: float = 0.0,
    margin: str = "signed",
    beta: float = 1.0,
    gradient_weighted: bool = False,
) -> Array:
    """Predicted gain error(tau = 0) - error(tau), array [coefficients, alphas]; see `theory.saddle_point.kept.Tilt`."""
    alphas, coefficients = (
        np.atleast_1d(check_alpha(alphas)),
        np.atleast_1d(np.asarray(coefficients, dtype=float)),
    )
    plain = _error(alphas, 1.0, Tilt(0.0, beta, gradient_weighted), theta, margin)
    return np.array(
        [
            plain - _error(alphas, 1.0, Tilt(tau, beta, gradient_weighted), theta, margin)
            for tau in coefficients.tolist()
        ]
    )


def tilt_slope(
    alphas: ArrayLike,
    theta: float = 0.0,
    margin: str = "signed",
    beta: float = 1.0,
    gradient_weighted: bool = False,
) -> Array:
    """S = -d error / d tau at tau = 0: positive where easier samples help. Fourth-order central difference."""
    step = 0.05
    near, far, minus_near, minus_far = tilt_gain(
        alphas, [step, 2 * step, -step, -2 * step], theta, margin, beta, gradient_weighted
    )
    slope = (8.0 * (near - minus_near) - (far - minus_far)) / (12.0 * step)
    return slope.reshape(np.shape(alphas))


def tilt_critical_alpha(
    theta: float = 0.0, margin: str = "signed", beta: float = 1.0, gradient_weighted: bool = False
) -> float:
    """The alpha above which a small positive tilt (easier samples) stops helping; NaN if none in [0.01, 100]."""
    grid = np.geomspace(0.01, 100.0, 16)
    slope = tilt_slope(grid, theta, margin, beta, gradient_weighted)
    # Slopes below 1e-9 are the noise of the differences, as where the probe knows nothing of the teacher.
    falls = np.flatnonzero((slope[:-1] > 1e-9) & (slope[1:] < -1e-9))
    if not falls.size:
        return math.nan

    def at(alpha: float) -> float:
        return float(tilt_slope(alpha, theta, margin, beta, gradient_weighted))

    return float(brentq(at, grid[falls[0]], grid[falls[0] + 1], xtol=1e-8))
