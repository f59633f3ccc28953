"""Exact draws of the kept samples, without drawing the discarded ones.

Coordinates are rotated so that the probe is J = e_1 and the teacher T = cos(theta) e_1 + sin(theta) e_2:
nothing is lost, because the inputs are isotropic. A selection looks at (J.x, label) only, so just the first
two coordinates of a kept sample differ from a plain Gaussian; the other D - 2 are drawn for the kept
samples alone and the cost does not depend on the fraction kept.

Three laws of those two coordinates:

* `LargestOrSmallest`: the n of a pool of N samples with the smallest (hard) or largest (easy) |J.x|, label
  not looked at. Given the (n+1)-th ranked |J.x|, the n before it are independent beyond it, and its tail
  mass is a Beta order statistic. So with b ~ Beta(n + 1, N - n) and independent uniform u_i, the kept tail
  masses are p_i = b u_i, |z_i| the quantile. Exact at any n and N: cutting at the population's quantile
  instead would make the threshold five times too sharp, an O(1/n) error.
* `RankedBySignedMargin`: the same by m = y J.x. The pool's (J.x, T_perp.x) are drawn, in blocks, and the
  best n kept.
* `KeptLaw`: independent draws with density proportional to W(m) times the pool's 2 phi(m) Phi(m cot theta),
  for windows, tilts, any weight or density, and given samples of the margin (`theory.saddle_point.kept`): m by
  inversion of its tabulated distribution function, the other coordinate from the Gaussian cut at U = |T.x| > 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfinv, log_ndtr, ndtri, ndtri_exp

from theory.saddle_point.gaussian import CUT
from theory.saddle_point.kept import (
    SAMPLES,
    SMALLEST_FRACTION,
    WINDOWS,
    Ranked,
    Resolved,
    Rule,
    check_margin,
    make_rule,
)
from theory.vocabulary import brief

LARGEST = 500_000_000  # numbers in the data of one trial: 4 GB
LARGEST_POOL = 1_000_000_000  # samples drawn one by one for a trial, where the pool cannot be left out
_BLOCK = 1 << 18  # pool samples drawn at a time
_CELL = 0.005  # width of the cells of a tabulated margin density, in standard deviations

Array = NDArray[np.float64]


@dataclass(frozen=True)
class KeptSamples:
    """Kept samples, the probe being the first axis and the teacher in the plane of the first two.

    Attributes:
        X: [n, D], the samples.
        y: [n], their true labels sign(T.x), -1 or +1.
        T: [D], the teacher, unit norm.
        J: [D], the probe, unit norm, at angle theta to T.
    """

    X: Array
    y: Array
    T: Array
    J: Array


class PlaneLaw(Protocol):
    """The law of a kept sample's coordinates in the plane of probe and teacher."""

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Array, Array | None]:
        """J.x [count] and J_perp.x [count] of kept samples; None for the latter if it is a plain Gaussian."""
        ...


@dataclass(frozen=True)
class Unselected:
    """No selection."""

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Array, Array | None]:
        """See `PlaneLaw`."""
        return rng.standard_normal(count), None


@dataclass(frozen=True)
class LargestOrSmallest:
    """The smallest (`hardest`) or largest |J.x| of a pool of `pool` samples."""

    pool: int
    hardest: bool

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Array, Array | None]:
        """See `PlaneLaw`."""
        mass = rng.beta(count + 1, self.pool - count) * rng.random(count)
        # erfinv keeps the relative accuracy of a small |z|, ndtri that of a small tail.
        size = math.sqrt(2.0) * erfinv(mass) if self.hardest else -ndtri(0.5 * mass)
        return np.where(rng.random(count) < 0.5, -size, size), None


@dataclass(frozen=True)
class RankedBySignedMargin:
    """The smallest (`hardest`) or largest margin y J.x of a pool of `pool` samples."""

    pool: int
    hardest: bool
    theta: float

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Array, Array | None]:
        """See `PlaneLaw`."""
        best = np.empty((0, 3))  # margin to rank by, J.x, J_perp.x
        sign = 1.0 if self.hardest else -1.0
        for start in range(0, self.pool, _BLOCK):
            along, across = rng.standard_normal((2, min(_BLOCK, self.pool - start)))
            margin = sign * along * _labels(along, across, self.theta)
            best = np.vstack([best, np.column_stack([margin, along, across])])
            if best.shape[0] > count:
                best = best[np.argpartition(best[:, 0], count - 1)[:count]]
        return best[:, 1], best[:, 2]


@dataclass(frozen=True, eq=False)
class KeptLaw:
    """Independent draws from a weighted pool, by the tabulated law of the label-signed margin m.

    The density is linear in each cell [left, left + width], and a cell of width 0 is an atom.
    `cumulative`: probability (not normalised) up to the right end of each cell; `slope`: (g_right -
    g_left) / (g_right + g_left) of the density g at its ends.
    """

    theta: float
    cumulative: Array
    left: Array
    width: Array
    slope: Array

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Array, Array | None]:
        """See `PlaneLaw`."""
        cell = np.searchsorted(self.cumulative, rng.random(count) * self.cumulative[-1], side="right")
        cell = np.minimum(cell, self.cumulative.size - 1)
        # Density 1 + s (2 x - 1) on 0 < x < 1 has distribution (1 - s) x + s x^2.
        s, u = self.slope[cell], 1.0 - rng.random(count)
        x = 2.0 * u / ((1.0 - s) + np.sqrt((1.0 - s) ** 2 + 4.0 * s * u))
        margin = self.left[cell] + self.width[cell] * x

        sign = np.where(rng.random(count) < 0.5, -1.0, 1.0)
        if self.theta == 0.0:
            return sign * margin, None
        # U = m cos(theta) + n sin(theta) > 0 with n = y J_perp.x
        room = log_ndtr(margin / math.tan(self.theta))
        across = -ndtri_exp(np.log1p(-rng.random(count)) + room)
        return sign * margin, sign * across


def _labels(along: Array, across: Array, theta: float) -> Array:
    """sign(T.x) of samples with J.x = along and J_perp.x = across."""
    projection = along if theta == 0.0 else math.cos(theta) * along + math.sin(theta) * across
    return np.where(projection >= 0.0, 1.0, -1.0)


def _kept_law(rule: Resolved, theta: float) -> KeptLaw:
    """Tabulate the law of m for a rule of `theory.saddle_point.kept`."""
    if rule.kind == SAMPLES:
        weight = rule.table[0] * np.exp(_log_share(rule.ends, theta))
        zeros = np.zeros_like(weight)
        return KeptLaw(theta, np.cumsum(weight), rule.ends, zeros, zeros)
    if rule.kind == WINDOWS:
        panels, series = np.clip(rule.table, -CUT, CUT), np.ones((rule.table.shape[0], 1))
    else:
        panels, series = np.column_stack([rule.ends[:-1], rule.ends[1:]]), rule.table
    cells = [
        _cells(lo, hi, coefficients, theta)
        for (lo, hi), coefficients in zip(panels, series, strict=True)
        if lo < hi and (theta > 0.0 or lo >= 0.0)  # a perfect probe has no margin below 0; panels break there
    ]
    left, width, mass, slope = (np.concatenate(parts) for parts in zip(*cells, strict=True))
    return KeptLaw(theta, np.cumsum(mass), left, width, slope)


def _cells(lo: float, hi: float, coefficients: Array, theta: float) -> tuple[Array, Array, Array, Array]:
    """Left ends, widths, masses and slopes of the cells of a panel; W is a Chebyshev series on [lo, hi]."""
    edges = np.linspace(lo, hi, math.ceil((hi - lo) / _CELL) + 1)
    layer = math.tan(theta) * np.linspace(-6.0, 6.0, 241)  # Phi(m cot theta) rises within a few tan(theta)
    edges = np.unique(np.concatenate([edges, layer[(layer > lo) & (layer < hi)]]))

    def density(m: Array) -> Array:
        weight = np.polynomial.chebyshev.chebval((2.0 * m - lo - hi) / (hi - lo), coefficients)
        return np.maximum(weight, 0.0) * np.exp(-0.5 * m * m + _log_share(m, theta))

    ends, width = density(edges), np.diff(edges)
    a, b, c = ends[:-1], density(edges[:-1] + 0.5 * width), ends[1:]
    slope = np.divide(c - a, c + a, out=np.zeros_like(a), where=c + a > 0.0)
    return edges[:-1], width, width * (a + 4.0 * b + c) / 6.0, slope  # Simpson's rule


def _log_share(m: Array, theta: float) -> Array:
    """Logarithm of P(U > 0 | m), U = y T.x: log Phi(m cot theta)."""
    if theta == 0.0:
        return np.where(m >= 0.0, 0.0, -np.inf)
    return log_ndtr(m / math.tan(theta))


def plane_law(rule: Rule, count: int, theta: float, margin: str) -> PlaneLaw:
    """The law of the first two coordinates of `count` kept samples."""
    if not isinstance(rule, Ranked):
        return _kept_law(rule.resolve(theta, margin), theta)
    pool = pool_size(count, rule.fraction)
    if pool == count:
        return Unselected()
    if margin == "unsigned" or theta == 0.0:
        return LargestOrSmallest(pool, rule.hardest)
    if pool > LARGEST_POOL:
        raise ValueError(
            f"fraction = {rule.fraction:g} of the signed margin means drawing a pool of {pool:.3g} samples for every "
            f"trial, at most {LARGEST_POOL:.0e} are drawn: raise the fraction, or lower alpha or the dimension"
        )
    return RankedBySignedMargin(pool, rule.hardest, theta)


def sample_count(alpha: float, dimension: int) -> int:
    """Number of kept samples at alpha kept samples a dimension: round(alpha D), at least 1."""
    return max(1, round(alpha * dimension))


def pool_size(count: int, fraction: float) -> int:
    """Size of the pool of which `count` samples are the kept fraction: round(count / fraction)."""
    return max(count, round(count / fraction))


def draw_in_plane_law(rng: np.random.Generator, law: PlaneLaw, count: int, dimension: int, theta: float) -> KeptSamples:
    """Draw `count` kept samples of a given law; see `draw_kept`."""
    T, J = np.zeros(dimension), np.zeros(dimension)
    J[0] = 1.0
    T[0] = math.cos(theta)
    if theta > 0.0:
        T[1] = math.sin(theta)
    X = rng.standard_normal((count, dimension))
    along, across = law.draw(rng, count)
    X[:, 0] = along
    if across is not None:
        X[:, 1] = across
    second = X[:, 1] if dimension > 1 else np.zeros(count)
    return KeptSamples(X, _labels(X[:, 0], second, theta), T, J)


def draw_kept(
    rng: np.random.Generator,
    count: int,
    dimension: int,
    fraction: float = 1.0,
    keep: str | Rule = "hard",
    theta: float = 0.0,
    margin: str = "unsigned",
) -> KeptSamples:
    """Draw the samples that a probe keeps, and their labels.

    Args:
        rng: the generator to draw from.
        count: number n of kept samples.
        dimension: D, at least 1 (2 for an imperfect probe).
        fraction: n / N, with N the size of the pool (rounded to a whole number of samples).
        keep: "hard" (smallest margins), "easy", "random", or a rule of `theory.saddle_point.kept` (drawn from the
            weighted population: no pool).
        theta: angle between probe and teacher in radians, 0 to pi/2.
        margin: "unsigned" (|J.x|) or "signed" (y J.x).

    Raises:
        ValueError: a value out of its range.
    """
    check_margin(margin)
    check_point(1.0, fraction, theta, dimension)
    if count < 1:
        raise ValueError(f"count is {count}, must be at least 1")
    law = plane_law(make_rule(keep, fraction), count, theta, margin)
    return draw_in_plane_law(rng, law, count, dimension, theta)


def check_point(alpha: float, fraction: float, theta: float, dimension: int) -> None:
    """ValueError, in one sentence, if a setting is out of its range."""
    if not (math.isfinite(alpha) and alpha > 0.0):
        raise ValueError(f"alpha is {alpha:g}, must be positive: kept samples per dimension")
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"fraction is {fraction:g}, must lie in (0, 1]: the share of the pool that is kept")
    if fraction < SMALLEST_FRACTION:
        raise ValueError(f"fraction is {fraction:g}, must be at least {SMALLEST_FRACTION:g} (tested range 1e-3 to 1)")
    if not 0.0 <= theta <= math.pi / 2:
        hint = f" ({theta:g} degrees are {math.radians(theta):.4g})" if 1.0 < theta <= 90.0 else ""
        raise ValueError(f"theta is {theta:g}, must lie in [0, pi/2], radians from probe to teacher{hint}")
    if dimension < 1 or (dimension < 2 and theta > 0.0):
        raise ValueError(f"dimension is {dimension}, must be at least 1, or 2 for a probe at an angle")
    if dimension > LARGEST or max(1.0, alpha * dimension) * dimension > LARGEST:
        count = f"{max(1.0, alpha * dimension):.3g}" if dimension <= LARGEST else "any number of"
        raise ValueError(
            f"alpha = {alpha:g} at dimension {brief(dimension)} means {count} samples; the data of a trial may have "
            f"{LARGEST:.1g} numbers at most"
        )
