"""The saddle point at correlated noise, over a curve of alpha: continuation, Newton's method, refinement.

The way: at small alpha independent noise has a known solution; follow it in log(alpha), then switch the columns on by
t Q, t from 0 to 1; later alphas follow the tangent. Steps are taken on a coarse layout of the kept law; each answer is
then polished on a fine one that is laid around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theory.synthesis._newton import START, distance, newton, start, tolerance, unlogged
from theory.synthesis.laws import Law
from theory.synthesis.separability import refuse_inseparable

Array = NDArray[np.float64]

_ROUGH = 1e-8  # residual to which steps are taken
_FINE = 3e-15  # residual at which polishing stops
_MOVED = 0.1  # a layout is laid anew when the solution has moved by more
_LONGEST = 2.3  # step in log(alpha)
_LEVELS = 6  # halvings of the panels for columns of unknown smoothness


@dataclass(frozen=True, eq=False)
class Found:
    """Solutions at n values of alpha; NaN where it was not reached.

    x [n, 1 + d + K] = (kappa', R', beta), its derivative in log(alpha), residual [n], (E[Psi_1 / l], E[Phi]) [n, 2].
    """

    x: Array
    tangent: Array
    residual: Array
    means: Array
    d: int

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Which points have the residual that is promised."""
        limit = np.array([tolerance(math.log(value)) if value > 0.0 else 0.0 for value in self.x[:, 0]])
        return np.asarray(self.residual < limit)


def solve_curve(alphas: Array, law: Law) -> Found:
    """Solve at increasing `alphas` [n].

    Raises:
        NotSeparable: no vector separates the points (measured points with mistakes only).
        ValueError: the covariance is not positive.
    """
    n, size = alphas.size, 1 + law.d + law.K
    found = Found(
        np.full((n, size), np.nan), np.full((n, size), np.nan), np.full(n, np.nan), np.full((n, 2), np.nan), law.d
    )
    if law.mislabelled > 0.0:
        refuse_inseparable(law, float(alphas[-1]))
    path = _Path(law)
    for k, alpha in enumerate(alphas):
        solved = path.to(float(alpha))
        if solved is None and not law.fixed:  # where coarse steps lose the way, fine ones may not
            path = _Path(law, coarse=False)
            solved = path.to(float(alpha))
        if solved is None:
            path = _Path(law)
            continue
        found.x[k], found.residual[k] = unlogged(path.y, law.logs), solved[0]
        found.tangent[k] = path.tangent
        found.tangent[k, : law.logs] *= found.x[k, : law.logs]
        found.means[k] = solved[1:]
    return found


class _Path:
    """Where the continuation stands."""

    def __init__(self, law: Law, coarse: bool = True) -> None:
        self.law = law
        self.coarse = coarse
        self.y = np.empty(0)
        self.tangent = np.empty(0)
        self.at = math.nan
        self.Q0, self.Q1 = np.ascontiguousarray(law.columns.Q0), np.ascontiguousarray(law.columns.Q1)

    def to(self, alpha: float) -> tuple[float, float, float] | None:
        """Move to alpha and polish: (residual, E[Psi_1 / l], E[Phi]), or None where the way is lost."""
        reached = not math.isnan(self.at) and self._follow(math.log(alpha), self.Q0, self.Q1)
        if not reached and not self._from_the_start(alpha):
            return None
        answer = self._polish(alpha)
        if answer is None or self.law.checked:
            return answer
        # Columns given as functions: halve the panels until the answer stays.
        for _ in range(_LEVELS):
            before = self.y.copy()
            self.law.refine(self.law.refinement + 1)
            answer = self._polish(alpha)
            if answer is None:
                return None
            if distance(self.y - before, self.y, self.law.d, self.law.logs) < 1e-12:
                return answer
        return None

    def _from_the_start(self, alpha: float) -> bool:
        zero = np.zeros_like(self.Q0)
        first = min(alpha, START)
        guess = np.zeros(1 + self.law.d + self.law.K)
        guess[0] = -0.5 * math.log(first)
        guess[1] = -math.inf if self.law.logs > 1 else 0.0
        mass, v = self.law.near(guess, first, coarse=self.coarse)
        self.y = start(mass, v, self.law.d, self.law.logs, first)
        mass, v = self.law.near(self.y, first, coarse=self.coarse)
        ok, _, self.tangent, _, _ = newton(mass, v, self.law.d, self.law.logs, self.y, first, zero, zero, 60, _ROUGH)
        self.at = math.log(first)
        if not ok or not self._follow(math.log(alpha), zero, zero):
            self.at = math.nan
            return False
        t, step = 0.0, 1.0
        while t < 1.0 and self.law.K:
            stride = min(step, 1.0 - t)
            trial = self.y.copy()
            if self._correct(trial, alpha, (t + stride) * self.Q0, (t + stride) * self.Q1, 25):
                t = t + stride if stride < 1.0 - t else 1.0
                self.y = trial
                step = 2.0 * stride
            else:
                step = 0.4 * stride
                if step < 1e-14:  # where nearly all noise is cancelled, the last millionth of Q decides
                    self.at = math.nan
                    return False
        return True

    def _correct(self, y: Array, alpha: float, Q0: Array, Q1: Array, iterations: int) -> bool:
        """Newton on a coarse layout, laid again where the solution moved away from it."""
        for _ in range(6):
            before = y.copy()
            mass, v = self.law.near(y, alpha, coarse=self.coarse)
            ok, _, tangent, _, _ = newton(mass, v, self.law.d, self.law.logs, y, alpha, Q0, Q1, iterations, _ROUGH)
            if not ok:
                return False
            if self.law.fixed or distance(y - before, y, self.law.d, self.law.logs) < 3.0 * _MOVED:
                self.tangent = tangent
                return True
        return False

    def _follow(self, target: float, Q0: Array, Q1: Array) -> bool:
        step = _LONGEST
        while self.at != target:
            left = target - self.at
            stride = math.copysign(min(step, abs(left)), left)
            at = target if abs(stride) == abs(left) else self.at + stride
            trial = self.y + stride * self.tangent
            if self._correct(trial, math.exp(at), Q0, Q1, 14):
                self.y, self.at = trial, at
                step = min(2.0 * abs(stride), _LONGEST)
            else:
                step = 0.4 * abs(stride)
                if step < 1e-6:
                    return False
        return True

    def _polish(self, alpha: float) -> tuple[float, float, float] | None:
        """Newton on the fine layout, until the solution stays where the layout was laid."""
        y, d = self.y.copy(), self.law.d
        for _ in range(8):
            before = y.copy()
            mass, v = self.law.near(y, alpha)
            ok, residual, tangent, psi1, F = newton(mass, v, d, self.law.logs, y, alpha, self.Q0, self.Q1, 30, _FINE)
            if not ok:
                return None
            if self.law.fixed or distance(y - before, y, d, self.law.logs) < _MOVED:
                self.y, self.tangent, self.at = y, tangent, math.log(alpha)
                return float(residual), float(psi1), float(F)
        return None
