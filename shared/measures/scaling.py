"""Scaling curves: error against the number of samples, from theory, simulation or experiment, in one type.

    ScalingCurve      size, error, standard error, what was kept, where it comes from
    fit_power_law     error = a size^-b + floor, by exact profiling: for a given b the rest is linear
    crossover         the size at which two curves meet, with an interval

Sizes are kept samples per dimension (alpha) or images per class; a curve says which. Nothing here knows how a curve
was made: `figures.theory.scaling_curves` turns the theory's solutions, simulations and measured grids into curves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.optimize import brentq

from shared.measures.tabular import Tabular, draw_curve, spread

Array = NDArray[np.float64]
SOURCES = ("theory", "simulation", "experiment")
EXPONENTS = (0.01, 10.0)
"""Range in which an exponent b is looked for."""


@dataclass(frozen=True, eq=False, repr=False)
class ScalingCurve(Tabular):
    """Error against size.

    Attributes:
        size: [n], positive, increasing.
        error: [n], in [0, 1].
        uncertainty: [n], standard errors of `error`; zeros where it is exact.
        strategy: what the samples are: "hard", "easy", "random", a method's name.
        source: "theory", "simulation" or "experiment".
        unit: what size counts: "alpha" (kept samples per dimension) or "ipc" (images per class).

    Raises:
        ValueError: lengths differ, sizes not positive and increasing, or a value is not finite or out of range.

    """

    size: ArrayLike
    error: ArrayLike
    uncertainty: ArrayLike
    strategy: str
    source: str
    unit: Literal["alpha", "ipc"] = "alpha"

    def __post_init__(self) -> None:
        size, error = np.asarray(self.size, float), np.asarray(self.error, float)
        spread = np.broadcast_to(np.asarray(self.uncertainty, float), error.shape).copy()
        if size.ndim != 1 or size.shape != error.shape or not size.size:
            raise ValueError(f"a curve needs as many errors as sizes, at least one; got {size.shape} and {error.shape}")
        if not (np.all(np.isfinite(size)) and np.all(size > 0.0) and np.all(np.diff(size) > 0.0)):
            raise ValueError("the sizes of a curve must be positive, finite and increasing")
        if not (np.all(error >= 0.0) and np.all(error <= 1.0)):
            raise ValueError("the errors of a curve must lie in [0, 1]")
        if not (np.all(np.isfinite(spread)) and np.all(spread >= 0.0)):
            raise ValueError("the uncertainties of a curve must be finite standard errors, zero where exact")
        if self.source not in SOURCES:
            raise ValueError(f"source is {self.source!r}, must be one of {SOURCES}")
        for name, values in (("size", size), ("error", error), ("uncertainty", spread)):
            object.__setattr__(self, name, values)

    def above(self, size: float) -> ScalingCurve:
        """The part at sizes of at least `size`."""
        x, y, s = (np.asarray(v) for v in (self.size, self.error, self.uncertainty))
        keep = x >= size
        return ScalingCurve(x[keep], y[keep], s[keep], self.strategy, self.source, self.unit)

    def __repr__(self) -> str:
        told = f"{self.unit} {spread(self.size)}, error {spread(self.error)}, standard error {spread(self.uncertainty)}"
        return f"ScalingCurve({self.strategy}, {self.source}: {told})"

    def plot(self, axes: Any, **line: Any) -> Any:
        """Draw it on a matplotlib axis; see `shared.measures.tabular.draw_curve`."""
        return draw_curve(self, axes, line)


@dataclass(frozen=True)
class Estimate:
    """A number with its interval [`low`, `high`]; an end on the edge of what is possible is that edge."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PowerLaw:
    """error = a size^-b + floor, as fitted.

    Attributes:
        a, b, floor: with intervals at `confidence`.
        chi2: sum of squared residuals over squared standard errors (over the mean squared residual's own unit, 1,
            when the curve is exact).
        degrees: points minus fitted parameters.
        scale: factor by which the standard errors were enlarged because the curve is no exact power law, at least 1
            (for an exact curve: the standard deviation of the relative residuals).

    """

    a: Estimate
    b: Estimate
    floor: Estimate
    confidence: float
    chi2: float
    degrees: int
    scale: float

    def __call__(self, size: ArrayLike) -> Array:
        """The fitted error at sizes of any shape."""
        return np.asarray(self.a.value * np.asarray(size, float) ** -self.b.value + self.floor.value)


@dataclass(frozen=True)
class _Problem:
    """Weighted least squares for one curve; `weight` [n] is 1 / standard error. Exponents b [k] go in together."""

    size: Array
    error: Array
    weight: Array
    fixed_floor: float | None

    def powers(self, b: Array) -> Array:
        """size^-b, [k, n]."""
        return self.size ** -b[:, None]

    def given_b(self, b: Array) -> tuple[Array, Array, Array]:
        """(chi2, a, floor), each [k], at the best a and floor, both >= 0, for each exponent."""
        power = self.powers(b)
        w = self.weight**2
        none = np.zeros(b.size)
        if self.fixed_floor is not None:
            candidates = [(self._best_a(power, none + self.fixed_floor), none + self.fixed_floor)]
        else:
            # The free minimum by the normal equations around the weighted means; then both edges.
            mean_power, mean_error = power @ w / w.sum(), float(self.error @ w / w.sum())
            centred = power - mean_power[:, None]
            a = (centred @ (w * (self.error - mean_error))) / np.maximum(centred**2 @ w, 1e-300)
            floor = mean_error - a * mean_power
            outside = (a < 0.0) | (floor < 0.0)
            edge = self._best_a(power, none)
            candidates = [
                (np.where(outside, edge, a), np.where(outside, 0.0, floor)),
                (edge, none),
                (none, self._best_floor(none, power)),
            ]
        chi2 = np.array([self.chi2(x, power, f) for x, f in candidates])
        best = np.argmin(chi2, axis=0)
        a, floor = (np.choose(best, [c[i] for c in candidates]) for i in (0, 1))
        return chi2.min(axis=0), a, floor

    def _best_a(self, power: Array, floor: Array) -> Array:
        w = self.weight**2
        return np.maximum(0.0, np.sum(w * power * (self.error - floor[:, None]), axis=1) / (power**2 @ w))

    def _best_floor(self, a: Array, power: Array) -> Array:
        w = self.weight**2
        return np.maximum(0.0, (self.error - a[:, None] * power) @ w / w.sum())

    def chi2(self, a: Array, power: Array, floor: Array) -> Array:
        """Weighted sum of squares, [k]."""
        return np.sum((self.weight * (self.error - a[:, None] * power - floor[:, None])) ** 2, axis=1)

    def profile(self, name: str, value: float) -> float:
        """Least chi2 when one parameter is held at a value."""
        if name == "b":
            return float(self.given_b(np.array([value]))[0][0])

        def at(b: Array) -> Array:
            power, held = self.powers(b), np.full(b.size, value)
            if name == "floor":
                return self.chi2(self._best_a(power, held), power, held)
            fixed = self.fixed_floor
            return self.chi2(held, power, self._best_floor(held, power) if fixed is None else held * 0.0 + fixed)

        return _least(at)[0]


def _least(function: Callable[[Array], Array]) -> tuple[float, float]:
    """(minimum, place) over exponents: a logarithmic grid, and finer ones around its best point, to 1e-9."""
    low, high = math.log(EXPONENTS[0]), math.log(EXPONENTS[1])
    points = 60
    while True:
        grid = np.linspace(low, high, points)
        values = function(np.exp(grid))
        k = int(np.argmin(values))
        if high - low < 1e-8:
            return float(values[k]), math.exp(grid[k])
        low, high, points = grid[max(k - 1, 0)], grid[min(k + 1, points - 1)], 16


def fit_power_law(curve: ScalingCurve, *, floor: float | None = None, confidence: float = 0.95) -> PowerLaw:
    """Fit error = a size^-b + floor with a, b > 0 and floor >= 0.

    The minimum is global: at a given b the problem is linear in (a, floor), and b is searched on a grid and refined.
    Intervals are profile intervals: all values of a parameter for which the others can be chosen such that chi2 rises
    by no more than t^2 scale^2, with t the Student quantile. Where standard errors are known, `scale` is at least 1
    and enlarges them when the curve scatters more than they say; for an exact curve all points count with equal
    relative weight, and the interval says how far it is from a power law.

    Args:
        curve: at least as many points as parameters plus one.
        floor: hold the floor at this value (0: a pure power law) instead of fitting it.
        confidence: of the intervals, in (0, 1).

    Raises:
        ValueError: too few points, some but not all points exact, or a value out of range.

    """
    size, error, spread = (np.asarray(v, float) for v in (curve.size, curve.error, curve.uncertainty))
    parameters = 2 if floor is not None else 3
    if size.size <= parameters:
        raise ValueError(f"a power law with {parameters} parameters needs {parameters + 1} points, got {size.size}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence:g}, must lie in (0, 1)")
    if floor is not None and not floor >= 0.0:
        raise ValueError(f"floor is {floor:g}, must not be negative")
    exact = spread == 0.0
    if np.any(exact) and not np.all(exact):
        raise ValueError("some points have a standard error and some none: give all of them, or none")
    if np.all(exact) and np.any(error == 0.0):
        raise ValueError("an exact curve is fitted with relative weights: its errors must be positive")
    # Scaled so that both parameters are of order 1 whatever the units of size.
    unit = float(np.exp(np.mean(np.log(size))))
    problem = _Problem(size / unit, error, 1.0 / (error if np.all(exact) else spread), floor)
    chi2, b = _least(lambda values: problem.given_b(values)[0])
    a, found_floor = (float(v[0]) for v in problem.given_b(np.array([b]))[1:])
    degrees = size.size - parameters
    variance = chi2 / degrees
    scale = math.sqrt(variance) if np.all(exact) else math.sqrt(max(1.0, variance))
    # Standard errors that are known and not enlarged leave normal, not Student, deviations.
    quantile = stats.t.ppf(0.5 + confidence / 2, degrees) if scale != 1.0 else stats.norm.ppf(0.5 + confidence / 2)
    limit = chi2 + float(quantile * scale) ** 2 + 1e-12
    b_range = _interval(problem, "b", b, limit, EXPONENTS)
    floor_range = (found_floor, found_floor)
    if floor is None:
        # Noise may have put every point below the floor; above 1 no error is.
        floor_range = _interval(problem, "floor", found_floor, limit, (0.0, 1.0))
    largest = max(a, float((error + spread).max()))
    a_range = _interval(problem, "a", a, limit, (0.0, 1e3 * largest))
    # Back to the curve's own unit. The interval of a moves with b: it is refitted at unit size 1.
    if unit != 1.0:
        own = _Problem(size, error, problem.weight, floor)
        a = float(own.given_b(np.array([b]))[1][0])
        a_range = _interval(own, "a", a, limit, (0.0, 1e6 * max(a, largest)))
    return PowerLaw(
        Estimate(a, *a_range), Estimate(b, *b_range), Estimate(found_floor, *floor_range),
        confidence, chi2, degrees, scale,
    )  # fmt: skip


def _interval(
    problem: _Problem, name: str, best: float, limit: float, bounds: tuple[float, float]
) -> tuple[float, float]:
    """Ends of the connected set around `best` where the profile stays below `limit`."""

    def excess(value: float) -> float:
        return problem.profile(name, value) - limit

    ends = []
    for bound, direction in zip(bounds, (-1.0, 1.0), strict=True):
        inside, step = best, 0.02 * max(abs(best), 1e-3)
        end = bound
        while direction * (bound - inside) > 0.0:
            outside = inside + direction * min(step, direction * (bound - inside))
            if excess(outside) > 0.0:
                end = float(brentq(excess, inside, outside, rtol=1e-8)) if excess(inside) < 0.0 else inside
                break
            inside, step = outside, 1.6 * step
        ends.append(end)
    return ends[0], ends[1]


def _chi2_of_b(problem: _Problem, b: Array) -> Array:
    return problem.given_b(b)[0]


def bootstrap_power_law(
    curve: ScalingCurve,
    *,
    floor: float | None = None,
    confidence: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> PowerLaw:
    """As `fit_power_law`, with intervals by parametric bootstrap: refits of the fitted curve plus noise.

    The noise is normal with the curve's standard errors times `scale`. It is an independent check of the profile
    intervals, and the one to use where a parameter is up against its bound.
    """
    fit = fit_power_law(curve, floor=floor, confidence=confidence)
    size, error, spread = (np.asarray(v, float) for v in (curve.size, curve.error, curve.uncertainty))
    deviation = (spread if np.any(spread) else error) * fit.scale
    weight = 1.0 / (spread if np.any(spread) else error)
    rng = np.random.default_rng(seed)
    found = np.empty((resamples, 3))
    for row in found:
        drawn = _Problem(size, fit(size) + deviation * rng.standard_normal(size.size), weight, floor)
        b = _least(partial(_chi2_of_b, drawn))[1]
        _, a, f = drawn.given_b(np.array([b]))
        row[:] = a[0], b, f[0]
    tail = (1.0 - confidence) / 2.0
    ends = np.quantile(found, [tail, 1.0 - tail], axis=0)
    intervals = [
        Estimate(best.value, float(low), float(high))
        for best, low, high in zip((fit.a, fit.b, fit.floor), *ends, strict=True)
    ]
    return PowerLaw(intervals[0], intervals[1], intervals[2], confidence, fit.chi2, fit.degrees, fit.scale)


@dataclass(frozen=True)
class Crossing:
    """Where two curves meet.

    Attributes:
        size: of the first crossing; NaN if there is none.
        low, high: interval at `confidence`; 0 or inf where an end is beyond the sizes that both curves cover.
        crossings: how many there are in the curves as they stand.
        seen: share of the resampled pairs of curves that cross at all.
        first, second: strategies; `first` has the smaller error below the crossing.

    """

    size: float
    low: float
    high: float
    crossings: int
    seen: float
    confidence: float
    first: str
    second: str


def crossover(
    one: ScalingCurve, two: ScalingCurve, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Crossing:
    """The smallest size at which two curves have the same error, by interpolation of log error in log size.

    The interval resamples both curves within their standard errors (normal, independent). A resampled pair that does
    not cross counts as a crossing beyond the covered sizes: below them if the curve that is better at large sizes is
    better already at the smallest, above them otherwise; so an interval may be open (0 or inf).

    Raises:
        ValueError: the curves count different things, or have fewer than two sizes of overlap.

    """
    if one.unit != two.unit:
        raise ValueError(f"the curves count different things: {one.unit} and {two.unit}")
    sizes = np.unique(np.concatenate([np.asarray(one.size), np.asarray(two.size)]))
    lowest, highest = (f([np.asarray(c.size)[k] for c in (one, two)]) for f, k in ((max, 0), (min, -1)))
    sizes = sizes[(sizes >= lowest) & (sizes <= highest)]
    if sizes.size < 2:
        raise ValueError("the curves overlap in fewer than two sizes")
    at = np.log(sizes)

    def log_error(curve: ScalingCurve, errors: Array) -> Array:
        return np.interp(at, np.log(np.asarray(curve.size)), np.log(np.maximum(errors, 1e-12)))

    gap = log_error(one, np.asarray(one.error)) - log_error(two, np.asarray(two.error))
    places = _sign_changes(at, gap)
    apart = gap[gap != 0.0]
    below, above = (one, two) if not apart.size or apart[0] < 0.0 else (two, one)
    rng = np.random.default_rng(seed)
    found = np.empty(resamples)
    seen = 0
    for k in range(resamples):
        drawn = [
            log_error(c, np.asarray(c.error) + np.asarray(c.uncertainty) * rng.standard_normal(len(np.asarray(c.size))))
            for c in (above, below)
        ]
        there = _sign_changes(at, drawn[1] - drawn[0])
        seen += bool(there.size)
        side = float(np.sum(drawn[1] - drawn[0]))
        # The same curve twice, without noise, crosses everywhere and nowhere: half of the draws to each side.
        beyond = 0.0 if side > 0.0 or (side == 0.0 and k % 2) else math.inf
        found[k] = np.exp(there[0]) if there.size else beyond
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(found, [tail, 1.0 - tail], method="nearest")
    size = float(np.exp(places[0])) if places.size else math.nan
    return Crossing(
        size, float(low), float(high), places.size, seen / resamples, confidence, below.strategy, above.strategy
    )


def _sign_changes(at: Array, gap: Array) -> Array:
    """Places where a piecewise linear function changes sign."""
    keep = gap != 0.0
    x, g = at[keep], gap[keep]
    k = np.flatnonzero(g[:-1] * g[1:] < 0.0)
    return x[k] - g[k] * (x[k + 1] - x[k]) / (g[k + 1] - g[k])
