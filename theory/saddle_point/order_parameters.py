"""Order parameters and test error of a max-margin perceptron trained on kept samples, exactly.

The model (Sorscher et al. 2022, arXiv 2206.14486; here derived for any selection weight and any probe): teacher T,
probe J at angle theta, P = alpha D kept samples with their true labels, hard-margin student w through the origin,
D -> infinity. The problem is convex, so the replica-symmetric saddle point is exact and unique.

With the unnormalised student `w = q (R' T + S' n + e)`, `kappa = q kappa'`, `q = 1 / sqrt(1 + R'^2 + S'^2)`:

    alpha E_kept[Psi_2(a)] = 1,                                   a = kappa' - R' U - S' S
    R' = alpha { E_kept[U Psi_1(a)] + R' E_kept[Phi(a)] }
    S' = alpha { E_kept[S Psi_1(a)] + S' E_kept[Phi(a)] }

`theory.judges.published` holds the same conditions in the form in which they were published; the tests hold the two
together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared.measures.tabular import Tabular, label_axes, spread
from theory._threads import interruptible
from theory.errors import NotConverged
from theory.saddle_point.continuation import RESIDUAL_TOLERANCE, Curve, solve_curve, stages_of, tolerance
from theory.saddle_point.forms import Drawn, Kept
from theory.saddle_point.kept import SMALLEST_FRACTION, Rule, check_margin, make_rule

CONVERGED = "converged"
# Seconds that a point may take, generously, and one sample of it: what decides whether work is done in a thread.
_BY_WINDOWS, _BY_PANELS, _BY_SAMPLE = 3e-4, 3e-2, 1e-4
_LONG = 0.1
_ready: set[type] = set()  # forms whose kernels are compiled


@dataclass(frozen=True, repr=False)
class Solution(Tabular):
    """A solved saddle point, or an array of them (fields are floats for scalar input, arrays otherwise).

    Attributes:
        alpha, fraction, theta, keep, margin: the settings; `fraction` is what the rule really keeps of the pool.
        R: overlap of student and teacher.
        rho: overlap of student and probe.
        kappa: margin of the student, |w| = 1.
        test_error: arccos(R) / pi.
        residual: largest scaled residual of the three equations.
        status: "converged" or why not.
        R_prime, S_prime, kappa_prime: the unnormalised solution, from which 1 - R is had without cancellation.
        support: support vectors per dimension, alpha E_kept[Phi].
        identity: alpha {kappa' q^2 E[Psi_1] + E[Phi]}, equal to one at a solution although no equation says so.
        local_exponent: -d log(test_error) / d log(alpha) at fixed rule.
        beta_prime: [..., K], what the columns of correlated noise add to the field; None for independent noise.

    Measured `theory.Atoms` have no probe (rho is NaN); their S_prime is the length of the student's signal outside the
    teacher.
    """

    alpha: Any
    fraction: Any
    theta: Any
    keep: str | Rule
    margin: str
    R: Any
    rho: Any
    kappa: Any
    test_error: Any
    residual: Any
    status: Any
    R_prime: Any
    S_prime: Any
    kappa_prime: Any
    support: Any
    identity: Any
    local_exponent: Any
    beta_prime: Any = None

    @property
    def one_minus_R(self) -> Any:
        """1 - R to full relative precision."""
        S2 = 1.0 + np.square(self.S_prime)
        return S2 / (S2 + np.square(self.R_prime)) / (1.0 + self.R)

    def __repr__(self) -> str:
        shown = ("alpha", "fraction", "theta", "test_error", "R", "rho", "kappa")
        numbers = ", ".join(f"{name} {spread(getattr(self, name))}" for name in shown)
        failed = int(np.sum(np.asarray(self.status) != CONVERGED))
        ended = CONVERGED if not failed else f"{failed} of {np.size(self.status)} not converged"
        return f"Solution(keep {self.keep!r}, {self.margin} margin: {numbers}; {ended})"

    def plot(self, axes: Any, **line: Any) -> Any:
        """Draw test error against alpha on a matplotlib axis, both logarithmic.

        Args:
            axes: a `matplotlib.axes.Axes`; axes without labels get the names of what is drawn.
            line: what `axes.plot` takes; `label` is the strategy by default.

        Returns:
            The `matplotlib.lines.Line2D`.

        Raises:
            ValueError: the solution is not a curve in alpha.
        """
        alpha = np.asarray(self.alpha)
        if alpha.ndim != 1 or np.unique(self.fraction).size > 1 or np.unique(self.theta).size > 1:
            raise ValueError("a solution draws itself where alpha is a sequence, at one fraction and one theta")
        order = np.argsort(alpha)
        line.setdefault("label", self.keep if isinstance(self.keep, str) else repr(self.keep))
        (drawn,) = axes.loglog(alpha[order], np.asarray(self.test_error)[order], **line)
        label_axes(axes, r"kept samples per dimension $\alpha$", r"test error $\epsilon$")
        return drawn


def check_alpha(alpha: ArrayLike) -> NDArray[np.float64]:
    """Kept samples per dimension as an array; ValueError unless all are positive and finite."""
    values = np.asarray(alpha, dtype=float)
    bad = ~(np.isfinite(values) & (values > 0.0))
    if np.any(bad):
        raise ValueError(f"alpha is {values[bad].flat[0]:g}, must be positive and finite (tested range 1e-3 to 1e3)")
    return values


def check_fraction(fraction: ArrayLike) -> NDArray[np.float64]:
    """Kept fraction as an array; ValueError unless all lie in (0, 1]."""
    values = np.asarray(fraction, dtype=float)
    bad = ~((values > 0.0) & (values <= 1.0))
    if np.any(bad):
        raise ValueError(f"fraction is {values[bad].flat[0]:g}, must lie in (0, 1] (tested range 1e-3 to 1)")
    if np.any(values < SMALLEST_FRACTION):
        raise ValueError(
            f"fraction is {values.min():g}, must be at least {SMALLEST_FRACTION:g} (tested range 1e-3 to 1)"
        )
    return values


def check_theta(theta: ArrayLike) -> NDArray[np.float64]:
    """Probe angle in radians as an array; ValueError unless all lie in [0, pi/2]."""
    values = np.asarray(theta, dtype=float)
    bad = ~((values >= 0.0) & (values <= math.pi / 2))
    if np.any(bad):
        raise ValueError(
            f"theta is {values[bad].flat[0]:g}, must lie in [0, pi/2] radians (0 to 90 degrees); "
            "use numpy.deg2rad for degrees"
        )
    return values + 0.0  # -0 is 0


def solve(
    alpha: ArrayLike,
    fraction: ArrayLike = 1.0,
    keep: str | Rule = "hard",
    theta: ArrayLike = 0.0,
    margin: str = "unsigned",
    *,
    raise_on_failure: bool = True,
) -> Solution:
    """Solve the saddle point of independent samples; `alpha`, `fraction` and `theta` broadcast against each other.

    `theory.solve` is this, and takes correlated noise besides.

    Args:
        alpha: KEPT samples per dimension, P / D > 0 (not the pool's).
        fraction: kept fraction f of the pool, in (0, 1]; for `keep` "hard" and "easy".
        keep: `"hard"` (smallest margins), `"easy"` (largest), `"random"`, or a rule of `theory.saddle_point.kept`.
        theta: angle between probe and teacher in radians, [0, pi/2].
        margin: `"unsigned"` ranks by |z| (published convention), `"signed"` by y z (another model for theta > 0).
        raise_on_failure: raise `NotConverged` if any point has not converged; otherwise its fields are NaN and its
            `status` says why.

    Returns:
        `Solution`, of floats when all three inputs are scalars, else of arrays of the broadcast shape.

    Raises:
        ValueError: a value out of range or an unknown name.
        NotConverged: see `raise_on_failure`.

    >>> from theory import solve
    >>> round(solve(2.0, 0.3, "easy").test_error, 6)
    0.095205
    """
    check_margin(margin)
    alphas, fractions, thetas = np.broadcast_arrays(check_alpha(alpha), check_fraction(fraction), check_theta(theta))
    shape = alphas.shape
    alphas, fractions, thetas = alphas.ravel(), fractions.ravel(), thetas.ravel()
    n = alphas.size
    found = _nowhere(n)
    kept = np.full(n, np.nan)
    for f, angle in sorted(set(zip(fractions.tolist(), thetas.tolist(), strict=True))):
        where = np.flatnonzero((fractions == f) & (thetas == angle))
        rule = make_rule(keep, f).resolve(angle, margin)
        increasing, back = np.unique(alphas[where], return_inverse=True)
        for target, values in zip(found, _curve(increasing, rule.seen_at(angle)), strict=True):
            target[where] = values[back]
        kept[where] = rule.fraction if not isinstance(keep, str) else (1.0 if keep == "random" else f)
    failed = ~(found.residual < [tolerance.py_func(value) for value in found.y[:, 0]])
    if raise_on_failure and np.any(failed):
        k = int(np.flatnonzero(failed)[0])
        raise NotConverged(
            f"{int(failed.sum())} of {failed.size} points did not converge, first at alpha {alphas[k]:g}, "
            f"fraction {fractions[k]:g}, theta {thetas[k]:g}, keep {keep!r}: residual {found.residual[k]:.1e}, "
            f"wanted below {RESIDUAL_TOLERANCE:g}; the tested domain is alpha in [1e-3, 1e3], fraction in [1e-3, 1]"
        )
    status = np.where(failed, "continuation in alpha stopped before this point", CONVERGED)
    return _observables(_Points(alphas, kept, thetas, shape), keep, margin, found, status)


def _nowhere(n: int) -> Curve:
    """A curve of n alphas of which none has been solved."""
    return Curve(np.full((n, 3), np.nan), np.full((n, 3), np.nan), np.full(n, np.nan), np.full((n, 2), np.nan))


def _curve(alphas: NDArray[np.float64], kept: Kept) -> Curve:
    """`solve_curve`, which Ctrl-C can end."""
    each = _BY_WINDOWS
    if kept.panels is not None and kept.drawn is not None:
        each = _BY_PANELS if kept.panels.ends.size else _BY_SAMPLE * kept.drawn.margins.size
    on_the_way = 10  # points that lead from small alpha to the first
    long = each * (alphas.size + on_the_way) > _LONG
    curve = _nowhere(alphas.size)
    return interruptible(lambda stop: solve_curve(alphas, stages_of(kept), stop, curve), long, lambda: _compile(kept))


def _compile(kept: Kept) -> None:
    """Compile, or load from the cache, in this thread what `solve` needs for a form of rule."""
    if type(kept.panels) in _ready:
        return
    form = type(kept.panels)
    if kept.drawn is not None:
        kept = kept._replace(drawn=Drawn(kept.drawn.margins[:1], kept.drawn.masses[:1]))
    solve_curve(np.ones(1), stages_of(kept), np.ones(1, np.bool_), _nowhere(1))
    _ready.add(form)


class _Points(NamedTuple):
    """The points of a call in one row [n]: alpha, kept fraction, angle; and the shape to give back."""

    alpha: NDArray[np.float64]
    fraction: NDArray[np.float64]
    theta: NDArray[np.float64]
    shape: tuple[int, ...]


def _observables(points: _Points, keep: str | Rule, margin: str, found: Curve, status: NDArray[np.str_]) -> Solution:
    """Order parameters from the unnormalised solution y = (log kappa', log R', S')."""
    y, tangent, residual, means = found
    alphas, thetas = points.alpha, points.theta
    kappa_prime, R_prime, S_prime = np.exp(y[:, 0]), np.exp(y[:, 1]), y[:, 2]
    length = np.sqrt(1.0 + S_prime**2)
    q = 1.0 / np.hypot(length, R_prime)
    error = np.arctan2(length, R_prime) / np.pi
    # d error / d log(alpha), through R' and the orthogonal length.
    dR, dlength = R_prime * tangent[:, 1], S_prime * tangent[:, 2] / length
    slope = (R_prime * dlength - length * dR) * q**2 / np.pi

    def shaped(values: NDArray[Any]) -> Any:
        return values.reshape(points.shape) if points.shape else values[0].item()

    return Solution(
        alpha=shaped(alphas),
        fraction=shaped(points.fraction),
        theta=shaped(thetas),
        keep=keep,
        margin=margin,
        R=shaped(q * R_prime),
        rho=shaped(q * (R_prime * np.cos(thetas) + S_prime * np.sin(thetas))),
        kappa=shaped(q * kappa_prime),
        test_error=shaped(error),
        residual=shaped(residual),
        status=shaped(status),
        R_prime=shaped(R_prime),
        S_prime=shaped(S_prime),
        kappa_prime=shaped(kappa_prime),
        support=shaped(alphas * means[:, 1]),
        identity=shaped(alphas * (kappa_prime * q**2 * means[:, 0] + means[:, 1])),
        local_exponent=shaped(-slope / error),
    )
