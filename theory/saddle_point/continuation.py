"""Newton's method and continuation in log(alpha), compiled.

The root is unique (the problem is convex), so continuation cannot land on a wrong one; what can go wrong is that Newton
wanders where the equations are flat. Hence: start where the answer is known (alpha -> 0), follow the tangent, halve
the step when a corrector fails, and report a residual with every point.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from theory._compiled import compiled
from theory.saddle_point.forms import P0, P1, ROUGH, SP1, UP1, Kept, Student
from theory.saddle_point.moments import Linearised, averages, system

# Newton stops when its step is at rounding level; the residual then sits at a few 1e-15.
STEP_TOLERANCE = 1e-13
# What is accepted as a solution when rounding stops Newton from reaching the step tolerance. The field
# a = kappa' - R' U - S' S has an absolute rounding error of 1e-16 kappa', hence the factor beyond kappa' = 1e3.
RESIDUAL_TOLERANCE = 1e-11
LARGEST_TOLERANCE = 1e-8  # the scaled tolerance of kappa' = 1e6, far beyond what any solution has
# Newton with a rough quadrature ends with a step below this: what is left is its square, or the quadrature's own error.
ROUGH_STEP = 1e-3
# The small-alpha expansion is used at or below this alpha; its corrections are O(alpha).
ALPHA_START = 1e-3
# Newton's steps from the expansion, and from a neighbour (typed: a literal would be a kernel of its own).
_FROM_FAR, _FROM_NEAR = np.int64(60), np.int64(14)


class Curve(NamedTuple):
    """Solutions at n alphas, NaN where none was reached.

    `y` [n, 3] = (log kappa', log R', S'), `tangent` [n, 3] = dy / d log(alpha), `residual` [n], and `means`
    [n, 2], the kept averages of (Psi_1, Phi).
    """

    y: np.ndarray
    tangent: np.ndarray
    residual: np.ndarray
    means: np.ndarray


class Stages(NamedTuple):
    """What is kept, and the same by a rough quadrature, with which Newton does up to `rough_steps` steps first."""

    kept: Kept
    rough: Kept
    rough_steps: int


def stages_of(kept: Kept) -> Stages:
    """The stages for a form of rule: single integrals cost too little to be done roughly first."""
    if kept.panels is None:
        return Stages(kept, kept, 0)
    return Stages(kept, kept._replace(panels=kept.panels._replace(rule=ROUGH)), 14)


class Point(NamedTuple):
    """A point on the way: y [3], its tangent [3], the equations there, and Newton's scratch."""

    y: np.ndarray
    tangent: np.ndarray
    at: Linearised
    step: np.ndarray
    trial: np.ndarray
    A: np.ndarray


@compiled
def _point() -> Point:
    """Room for a point."""
    at = Linearised(np.empty(3), np.empty((3, 3)), np.empty(3))
    return Point(np.empty(3), np.empty(3), at, np.empty(3), np.empty(3), np.empty((3, 3)))


@compiled
def _solve3(J: np.ndarray, G: np.ndarray, x: np.ndarray, A: np.ndarray) -> None:
    """Set x so that J x = G, by Gaussian elimination with partial pivoting in A [3, 3]; NaN when J is singular."""
    for row in range(3):
        x[row] = G[row]
        for k in range(3):
            A[row, k] = J[row, k]
    for column in range(3):
        pivot = column
        for row in range(column + 1, 3):
            if abs(A[row, column]) > abs(A[pivot, column]):
                pivot = row
        if not abs(A[pivot, column]) > 0.0:
            x[0] = x[1] = x[2] = np.nan
            return
        for k in range(3):
            A[column, k], A[pivot, k] = A[pivot, k], A[column, k]
        x[column], x[pivot] = x[pivot], x[column]
        for row in range(column + 1, 3):
            factor = A[row, column] / A[column, column]
            for k in range(column, 3):
                A[row, k] -= factor * A[column, k]
            x[row] -= factor * x[column]
    for row in range(2, -1, -1):
        for k in range(row + 1, 3):
            x[row] -= A[row, k] * x[k]
        x[row] /= A[row, row]


@compiled
def _largest(G: np.ndarray) -> float:
    """Largest |G|, NaN if one is."""
    largest = 0.0
    for value in G:
        if math.isnan(value):
            return value
        largest = max(largest, abs(value))
    return largest


@compiled
def _scaled_size(step: np.ndarray, y: np.ndarray) -> float:
    """Largest relative change a step makes: S' is measured against the length of (1, R', S')."""
    R = math.exp(y[1])
    return max(abs(step[0]), abs(step[1]), abs(step[2]) / math.sqrt(1.0 + R * R + y[2] * y[2]))


@compiled
def _move(y: np.ndarray, by: float, step: np.ndarray, to: np.ndarray) -> None:
    """Set to = y + by * step (array expressions would take seconds to compile)."""
    for k in range(3):
        to[k] = y[k] + by * step[k]


@compiled
def tolerance(log_kappa: float) -> float:
    """Residual below which a point counts as solved; bounded, so that a margin that runs away never does."""
    return min(RESIDUAL_TOLERANCE * max(1.0, 1e-3 * math.exp(log_kappa)), LARGEST_TOLERANCE)


@compiled
def newton(
    point: Point, alpha: float, kept: Kept, iterations: int, enough: float, stop: np.ndarray
) -> tuple[bool, float, float, float]:
    """Damped Newton from point.y, in place, until a step is below `enough`; with point.tangent at the end.

    Returns (converged, residual, E[Psi_1], E[Phi]).
    """
    y, tangent, at, step, trial, A = point
    G, J, dG = at
    E = system(y, alpha, kept, at)
    residual = _largest(G)
    previous = np.inf
    for _ in range(iterations):
        _solve3(J, G, step, A)
        size = _scaled_size(step, y)
        if stop[0] or not math.isfinite(size):
            return False, residual, E[P1], E[P0]
        small = size < enough
        # At the rounding floor the step stops shrinking: take the better point and stop.
        stalled = residual < tolerance(y[0]) and size > 0.25 * previous
        previous = size
        if small or stalled:
            break
        # Steps above a factor of e^2 leave the region where the expansion means anything.
        damping = min(1.0, 2.0 / size)
        _move(y, -damping, step, trial)
        E = system(trial, alpha, kept, at)
        new = _largest(G)
        shrink = 0
        while not new < 2.0 * residual + 1e-12 and shrink < 6 and not stop[0]:
            damping *= 0.3
            _move(y, -damping, step, trial)
            E = system(trial, alpha, kept, at)
            new = _largest(G)
            shrink += 1
        if not math.isfinite(new):
            return False, residual, E[P1], E[P0]
        y[0], y[1], y[2] = trial[0], trial[1], trial[2]
        residual = new
    _solve3(J, dG, tangent, A)
    for k in range(3):
        tangent[k] = -tangent[k]
    return residual < tolerance(y[0]), residual, E[P1], E[P0]


@compiled
def small_alpha_start(alpha: float, kept: Kept, y: np.ndarray) -> None:
    """Leading order as alpha -> 0: kappa' = 1 / sqrt(alpha), R' = sqrt(alpha) E[U], S' = sqrt(alpha) E[S]."""
    # With kappa' huge, Psi_1(a) = a and E[U Psi_1] = kappa' E[U].
    kappa = 1e6
    E = averages(Student(kappa, 1e-9, 0.0), kept)
    root = math.sqrt(alpha)
    norm = E[P1] / kappa
    U, S = E[UP1] / kappa / norm, E[SP1] / kappa / norm
    y[0], y[1], y[2] = -math.log(root), math.log(root * max(U, 1e-300)), root * S


@compiled
def _corrected(
    point: Point, alpha: float, stages: Stages, iterations: int, stop: np.ndarray
) -> tuple[bool, float, float, float]:
    """`newton` by the rough quadrature first, whose steps cost less, then by the one that counts."""
    if stages.rough_steps > 0:
        newton(point, alpha, stages.rough, stages.rough_steps, ROUGH_STEP, stop)
        if _scaled_size(point.step, point.y) < ROUGH_STEP:
            _move(point.y, -1.0, point.step, point.y)
    return newton(point, alpha, stages.kept, iterations, STEP_TOLERANCE, stop)


@compiled(nogil=True)
def solve_curve(alphas: np.ndarray, stages: Stages, stop: np.ndarray, curve: Curve) -> Curve:
    """Solve at increasing `alphas` [n] into `curve`, which is returned; what is left when `stop` [1] is set stays."""
    kept = stages.kept
    at = math.log(min(alphas[0], ALPHA_START))
    here, there = _point(), _point()
    small_alpha_start(math.exp(at), kept, here.y)
    ok, residual, first, zeroth = _corrected(here, math.exp(at), stages, _FROM_FAR, stop)
    if not ok:
        return curve
    step = 2.0
    for k in range(alphas.size):
        target = math.log(alphas[k])
        while at < target:
            stride = min(step, target - at)
            _move(here.y, stride, here.tangent, there.y)
            alpha = alphas[k] if stride == target - at else math.exp(at + stride)
            ok, new_residual, new_first, new_zeroth = _corrected(there, alpha, stages, _FROM_NEAR, stop)
            if ok:
                at = target if stride == target - at else at + stride
                here, there = there, here
                residual, first, zeroth = new_residual, new_first, new_zeroth
                step = min(2.0 * step, 2.5)
            else:
                step = 0.4 * stride
                if stop[0] or step < 1e-9:
                    return curve
        for i in range(3):
            curve.y[k, i] = here.y[i]
            curve.tangent[k, i] = here.tangent[i]
        curve.residual[k] = residual
        curve.means[k, 0], curve.means[k, 1] = first, zeroth
    return curve
