"""Which samples are kept: every selection used here is a weight W on the label-signed probe margin m.

Margins. `unsigned` (default, the published convention): a sample is ranked by `|z|`, z = J.x, the label is not looked
at; W is even in m. `signed`: ranked by `m = y z`, so a probe's mistakes come first. The two
coincide for a perfect probe and are different models otherwise.

A rule is resolved, for given (fraction, theta, margin), into numbers that the compiled equations understand
(`Resolved`). Rules:

* `"hard"` / `"easy"`: the fraction of smallest / largest margin; `"random"`: no selection.
* `Window`: margins (or quantiles of the margin) between two values.
* `Tilt`: W = exp(-tau h(m)), h = 1 / (1 + exp(beta m)) the gradient norm of a logistic loss at margin m; this is what
  Sample Difficulty Correction does to the kept density, if it does what its authors say.
* `Weight`: any W(m) >= 0 against the pool. `Density`: any density of the margin itself. `Samples`: drawn margins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfinv, log_ndtr, ndtr, ndtri, owens_t

from shared.measures.perceptron import gradient_factor
from theory.errors import ImpossibleMargin
from theory.saddle_point.chebyshev import chebyshev_panels, spans
from theory.saddle_point.double_integrals import LONGEST
from theory.saddle_point.forms import FINE, P0, Drawn, Kept, Panels, Student
from theory.saddle_point.gaussian import CUT
from theory.saddle_point.moments import averages
from theory.vocabulary import KEEP_NAMES, MARGINS, nearest

WINDOWS, WEIGHT, SAMPLES = 0, 1, 2  # kinds of a resolved rule
SMALLEST_FRACTION = 1e-25  # below, so little of a pool is left before CUT that nothing can be resolved
SMALLEST_SHARE = 1e-28  # of a pool's samples with a margin that have U > 0: below, the cut at CUT shows
RESOLVED_FRACTION = 1e-8  # largest relative error of a kept fraction by its margins


class Resolved(NamedTuple):
    """A rule as the compiled equations take it.

    `kind` 0: `table` [windows, 2] of label-signed margins. 1: `ends` [panels + 1], `table` [panels, ORDER],
    Chebyshev panels of W. 2: `ends` [samples] margins, `table` [1, samples] masses. `fraction` = E_pool[W].
    """

    kind: int
    ends: NDArray[np.float64]
    table: NDArray[np.float64]
    fraction: float

    def seen_at(self, theta: float) -> Kept:
        """The same with the probe's angle, in radians."""
        windows, panels, drawn = np.zeros((0, 2)), None, None
        if self.kind == WINDOWS:
            windows = self.table
        elif self.kind == WEIGHT:
            panels, drawn = _panels(self.ends, self.table, theta), Drawn(np.zeros(0), np.zeros(0))
        else:
            panels, drawn = _panels(np.zeros(0), np.zeros((0, 0)), theta), Drawn(self.ends, self.table[0])
        return Kept(windows, panels, drawn, float(self.fraction), math.sin(theta), math.cos(theta))

    def mass(self, theta: float) -> float:
        """E_pool[W] / `fraction`: the average of Phi(a) where every field a is huge."""
        return float(averages(Student(1e6, 1e-9, 0.0), self.seen_at(theta))[P0])


def _panels(ends: NDArray[np.float64], table: NDArray[np.float64], theta: float) -> Panels:
    """A tabulated weight with a bound of what each span holds of half the pool: W at its largest, U > 0 at its end."""
    if not table.size:
        nowhere = np.zeros(0, np.int64)
        return Panels(ends, table, nowhere, np.zeros(0), nowhere, FINE)
    edges = spans(ends, table, LONGEST)
    below, above = ends[edges[:-1]], ends[edges[1:]]
    gaussian = np.where(below > 0.0, ndtr(-below) - ndtr(-above), ndtr(above) - ndtr(below))
    share = np.where(above > 0.0, 1.0, 0.0) if theta == 0.0 else ndtr(above / math.tan(theta))
    bounds = np.maximum.reduceat(np.abs(table).sum(axis=1), edges[:-1]) * gaussian * share
    return Panels(ends, table, edges, bounds, np.argsort(-bounds), FINE)


class Rule(Protocol):
    """A selection rule: says what is kept once the probe's angle and the margin convention are known."""

    def resolve(self, theta: float, margin: str) -> Resolved:
        """The rule in numbers, theta in radians."""
        ...


def check_margin(margin: str) -> str:
    """Return the convention or raise ValueError naming the valid ones."""
    if margin not in MARGINS:
        raise ValueError(f"margin is {margin!r}, must be one of {MARGINS}{nearest(str(margin), MARGINS)}")
    return margin


def margin_quantile(probability: float, theta: float, margin: str, upper: bool = False) -> float:
    """The margin t with P(margin < t) = probability in the pool (`upper`: P(margin > t) = probability).

    unsigned: |z| is half-normal. signed: m has density 2 phi(m) Phi(m cot theta), skew-normal, distribution function
    Phi(t) - 2 T(t, cot theta) with Owen's T.
    """
    if probability <= 0.0:
        edge = 0.0 if margin == "unsigned" or theta == 0.0 else -math.inf
        return math.inf if upper else edge
    if probability >= 1.0:
        return margin_quantile(0.0, theta, margin, not upper)
    if margin == "unsigned" or theta == 0.0:
        if upper:
            return float(-ndtri(probability / 2.0))
        if probability < 1e-3:  # a small margin has digits that its distance from one half has not
            return math.sqrt(2.0) * float(erfinv(probability))
        return float(ndtri(0.5 + probability / 2.0))
    from scipy.optimize import brentq  # half a second, for this margin only

    cot = 1.0 / math.tan(theta)

    def excess(t: float) -> float:
        tail = ndtr(-t) + 2.0 * owens_t(t, cot) if upper else ndtr(t) - 2.0 * owens_t(t, cot)
        return float(tail) - probability

    return float(brentq(excess, -CUT, CUT, xtol=1e-15, rtol=1e-15))


def _windows(lower: float, upper: float, theta: float, margin: str) -> NDArray[np.float64]:
    """Windows of the label-signed margin for margins in (lower, upper)."""
    if theta == 0.0:
        return np.array([[max(lower, 0.0), upper]])
    if margin == "signed":
        return np.array([[lower, upper]])
    if lower <= 0.0:
        return np.array([[-upper, upper]])
    return np.array([[-upper, -lower], [lower, upper]])


def _without_minus_zero(rule: object, *names: str) -> None:
    """Make -0 plain 0: equal rules are simulated with equal seeds, and those hold the digits."""
    for name in names:
        if getattr(rule, name) == 0.0:
            object.__setattr__(rule, name, abs(getattr(rule, name)))


@dataclass(frozen=True)
class Ranked:
    """The fraction of smallest (`hardest`) or largest margin."""

    fraction: float
    hardest: bool

    def resolve(self, theta: float, margin: str) -> Resolved:
        """See `Rule`."""
        if self.fraction == 1.0:
            windows = _windows(-math.inf, math.inf, theta, margin)
        elif self.hardest:
            lowest = -math.inf if margin == "signed" else 0.0
            windows = _windows(lowest, margin_quantile(self.fraction, theta, margin), theta, margin)
        else:
            windows = _windows(margin_quantile(self.fraction, theta, margin, True), math.inf, theta, margin)
        resolved = Resolved(WINDOWS, np.zeros(1), windows, self.fraction)
        if self.fraction < 1e-3:  # the tested domain needs no check
            mass = resolved._replace(fraction=1.0).mass(theta)
            if not abs(mass / self.fraction - 1.0) < RESOLVED_FRACTION:
                raise ValueError(
                    f"fraction is {self.fraction:g}, too small to be resolved in double precision at theta = {theta:g} "
                    f"(its margins hold {mass:.3g} of the pool); the tested range is 1e-3 to 1"
                )
        return resolved


@dataclass(frozen=True)
class Window:
    """Keep `lower < margin < upper`; with `quantiles` both are ranks in [0, 1] instead of margins."""

    lower: float = -math.inf
    upper: float = math.inf
    quantiles: bool = False

    def __post_init__(self) -> None:
        if not self.lower < self.upper:
            raise ValueError(f"the window ({self.lower}, {self.upper}) is empty: lower must be below upper")
        if self.quantiles and not (self.lower >= 0.0 and self.upper <= 1.0):
            raise ValueError(f"quantiles ({self.lower}, {self.upper}) must lie in [0, 1]")
        _without_minus_zero(self, "lower", "upper")

    def resolve(self, theta: float, margin: str) -> Resolved:
        """See `Rule`; ValueError when the pool has nothing in the window."""
        lower, upper = self.lower, self.upper
        if self.quantiles:
            lower = margin_quantile(lower, theta, margin)
            upper = margin_quantile(1.0 - self.upper, theta, margin, upper=True)
        if upper <= 0.0 and (margin == "unsigned" or theta == 0.0):
            raise ValueError(f"no sample has a margin in ({lower:g}, {upper:g}): margins are positive here")
        windows = _windows(lower, upper, theta, margin)
        mass = Resolved(WINDOWS, np.zeros(1), windows, 1.0).mass(theta)
        if not mass > 1e-30:
            raise ValueError(f"the window ({lower:g}, {upper:g}) keeps a fraction {mass:.1g} of the pool, too few")
        return Resolved(WINDOWS, np.zeros(1), windows, mass)


def _resolve_weight(
    weight: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    breaks: Sequence[float],
    theta: float,
    margin: str,
    description: str,
) -> Resolved:
    """Tabulate a weight given as a function of the margin (absolute or label-signed)."""
    if margin == "unsigned" or theta == 0.0:
        # Even in m: one table for |m|, with a panel edge where |m| has its cusp.
        breaks = [0.0, *breaks, *(-b for b in breaks)]
        ends, table = chebyshev_panels(lambda m: weight(np.abs(m)), breaks, description)
    else:
        ends, table = chebyshev_panels(weight, breaks, description)
    mass = Resolved(WEIGHT, ends, table, 1.0).mass(theta)
    if not mass > 0.0:
        raise ValueError(f"the {description} keeps nothing of the pool")
    return Resolved(WEIGHT, ends, table, mass)


@dataclass(frozen=True)
class Weight:
    """Any weight W(margin) >= 0 against the pool (need not be normalised); `breaks`: where it is not smooth.

    `function` maps an array of margins to an array of weights: of absolute margins >= 0 under `unsigned`, of
    label-signed ones under `signed`.
    """

    function: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    breaks: tuple[float, ...] = ()

    def resolve(self, theta: float, margin: str) -> Resolved:
        """See `Rule`."""
        return _resolve_weight(self.function, self.breaks, theta, margin, "weight")


@dataclass(frozen=True)
class Tilt:
    """W = exp(-coefficient h(m)), h = 1 / (1 + exp(beta m)); with `gradient_weighted` times h (gradient matching).

    Positive coefficients prefer easy samples: |x| h is the norm of the sample's gradient, and h falls with the margin.
    """

    coefficient: float
    beta: float = 1.0
    gradient_weighted: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.coefficient) and math.isfinite(self.beta) and self.beta > 0.0):
            raise ValueError(f"tilt ({self.coefficient}, beta {self.beta}) must be finite, with beta > 0")
        _without_minus_zero(self, "coefficient")

    def weight(self, m: NDArray[np.float64]) -> NDArray[np.float64]:
        """W at margins m, scaled to stay within double range."""
        h = gradient_factor(m, self.beta)
        tilt = np.exp(-self.coefficient * (h - (1.0 if self.coefficient < 0.0 else 0.0)))
        return h * tilt if self.gradient_weighted else tilt

    def resolve(self, theta: float, margin: str) -> Resolved:
        """See `Rule`."""
        return _resolve_weight(self.weight, (), theta, margin, "tilt")


def pool_density(m: NDArray[np.float64], theta: float, margin: str) -> NDArray[np.float64]:
    """Density of the margin in the pool."""
    density = np.sqrt(2.0 / np.pi) * np.exp(-0.5 * m * m)
    if margin == "unsigned" or theta == 0.0:
        return density
    return density * np.exp(log_ndtr(m / math.tan(theta)))


def _share(m: NDArray[np.float64], theta: float) -> NDArray[np.float64]:
    """Share of the pairs +-x with J.x = +-m, m label-signed, of which the pool holds the one with that margin."""
    return np.where(m >= 0.0, 1.0, 0.0) if theta == 0.0 else ndtr(m / math.tan(theta))


@dataclass(frozen=True)
class Density:
    """Any density of the margin itself (need not be normalised): absolute margins >= 0, or label-signed ones.

    `breaks`: where it is not smooth. Must vanish where the pool has no samples (a perfect probe makes no mistakes).
    """

    function: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    breaks: tuple[float, ...] = ()

    def resolve(self, theta: float, margin: str) -> Resolved:
        """See `Rule`; ValueError where the density has mass that the pool has not."""

        def weight(m: NDArray[np.float64]) -> NDArray[np.float64]:
            values = np.asarray(self.function(m), dtype=float)
            pool = pool_density(m, theta, margin)
            empty = pool < 1e-250
            if np.any(values[empty] > 1e-12):
                raise ValueError(
                    f"the density gives mass to margins near {m[empty][0]:.3g}, which no sample of the pool has"
                )
            return np.divide(values, pool, out=np.zeros_like(values), where=~empty)

        if theta == 0.0:
            negative = np.linspace(-CUT, -1e-9, 200)
            if margin == "signed" and np.any(np.asarray(self.function(negative)) > 1e-12):
                raise ValueError("the density gives mass to negative margins, which a perfect probe never sees")
        resolved = _resolve_weight(weight, self.breaks, theta, margin, "density")
        if margin == "signed" and theta > 0.0:
            m = np.linspace(-CUT, CUT, 5201)
            values = np.asarray(self.function(m), dtype=float)
            rare = _share(m, theta) < SMALLEST_SHARE
            if values[rare].sum() > 1e-9 * values.sum():
                raise ImpossibleMargin(
                    f"the density gives mass to margins below {m[~rare][0]:.3g}: none occur at theta = {theta:g}"
                )
        return resolved


@dataclass(frozen=True, eq=False)
class Samples:
    """The kept density given by drawn margins (absolute under `unsigned`), optionally weighted.

    Cost: an inner integral a sample and evaluation for theta > 0 (about 5 us), one term for theta = 0.
    """

    values: ArrayLike
    weights: ArrayLike | None = None

    def resolve(self, theta: float, margin: str) -> Resolved:
        """See `Rule`."""
        values = np.asarray(self.values, dtype=float).ravel()
        weights = np.ones_like(values) if self.weights is None else np.asarray(self.weights, dtype=float).ravel()
        if values.size == 0 or weights.shape != values.shape:
            raise ValueError(
                f"{values.size} margins with {weights.size} weights: one weight a margin, at least one margin"
            )
        if not np.all(np.isfinite(values)) or not np.all(weights >= 0.0) or not 0.0 < weights.sum() < np.inf:
            raise ValueError("margins must be finite and weights finite, non-negative and not all zero")
        weights = weights / weights.sum()
        if (margin == "unsigned" or theta == 0.0) and np.any(values < 0.0):
            raise ImpossibleMargin(
                f"a margin is {values.min():.3g}, must be >= 0 for the {margin} margin at theta = {theta:g}"
            )
        if theta == 0.0:
            margins, masses = values, weights
        elif margin == "unsigned":
            margins, masses = np.concatenate([values, -values]), np.concatenate([weights, weights])
        else:
            share = _share(values, theta)
            rare = share < SMALLEST_SHARE
            if np.any(rare):
                raise ImpossibleMargin(f"a margin of {values[rare][0]:.3g} does not occur at theta = {theta:g}")
            margins, masses = values, weights / share
        order = np.argsort(margins)
        return Resolved(SAMPLES, margins[order].copy(), masses[order][None, :].copy(), 1.0)


def make_rule(keep: str | Rule, fraction: float) -> Rule:
    """The rule a user named; ValueError when the name is unknown or a fraction is given to a rule that has its own."""
    if isinstance(keep, str):
        if keep not in KEEP_NAMES:
            raise ValueError(f"keep is {keep!r}, must be one of {KEEP_NAMES} or a rule{nearest(keep, KEEP_NAMES)}")
        if keep == "random":
            return Ranked(1.0, True)
        return Ranked(fraction, keep == "hard")
    if not hasattr(keep, "resolve"):
        raise ValueError(
            f"keep is {keep!r}, must be one of {KEEP_NAMES} or a rule such as Window, Tilt, Density, Samples"
        )
    if fraction != 1.0:
        raise ValueError(
            f"fraction {fraction:g} goes with keep = 'hard' or 'easy'; {type(keep).__name__} fixes its own"
        )
    return keep
