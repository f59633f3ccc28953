"""Whether any vector separates measured points: the transition in alpha, and the refusal beyond it.

A separator exists iff some signal direction omega makes the left side of (N) at kappa' = 0 small enough,

    alpha L(omega) < 1,   L = E[Psi_2(a)] + m^T Q m,   a = (at.beta - p.omega) / l,   beta = -Q m,

and L is convex in omega for every covariance. Points on the right side of the teacher are always separable.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from theory.perceptron.max_margin import NotSeparable
from theory.synthesis._newton import averages
from theory.synthesis.laws import Law

Array = NDArray[np.float64]


class Inseparable(NotSeparable):
    """No vector separates points of these margins (in the limit of many dimensions).

    Attributes:
        alpha: points per dimension that were asked for.
        limit: points per dimension up to which such points are separable.
        mislabelled: share of points on the wrong side of the teacher.
    """

    def __init__(self, alpha: float, limit: float, mislabelled: float) -> None:
        self.alpha = alpha
        self.limit = limit
        self.mislabelled = mislabelled
        ValueError.__init__(
            self,
            f"no vector separates points of these margins at alpha = {alpha:g}: a share {mislabelled:.3g} of them is "
            f"on the wrong side of the teacher, and they are separable up to alpha = {limit:.4g} only",
        )


def _least(law: Law, alpha: float) -> float:
    """Smallest L over omega; the search stops early once alpha L < 1 is found."""
    mass, v = law.near(np.zeros(1 + law.d + law.K), alpha)
    n, first = v.shape[0], 1 + law.d
    Q = law.columns.Q0 + alpha * law.columns.Q1
    g, H, f = np.empty(n), np.empty((n, n)), np.empty(n)

    def value(omega: Array) -> tuple[float, Array]:
        x = np.zeros(n)
        x[1:first] = omega
        t, step = (0.0, 1.0) if law.K else (1.0, 1.0)
        P2, _ = averages(mass, v, x, g, H, f)
        while t < 1.0:
            trial, target = x.copy(), min(1.0, t + step)
            for _ in range(40):
                P2, _ = averages(mass, v, trial, g, H, f)
                slack = trial[first:] + target * Q @ g[first:]
                if np.abs(slack).max() < 1e-12 * (1.0 + np.abs(trial).max()):
                    x, t, step = trial, target, 2.0 * step
                    break
                trial[first:] -= np.linalg.solve(np.eye(law.K) + target * Q @ H[first:, first:], slack)
            else:
                step *= 0.4
                if step < 1e-6:
                    return np.inf, np.zeros(law.d)
        m = g[first:]
        return float(P2 + m @ Q @ m), 2.0 * g[1:first]

    best = np.inf
    origin = np.zeros(law.d)
    for size in (0.0, 1.0, 3.0, 10.0):
        guess = origin.copy()
        guess[0] = size
        found = minimize(value, guess, jac=True, method="BFGS", options={"gtol": 1e-10})
        best = min(best, float(found.fun))
        if alpha * best < 1.0:
            break
    return best


def refuse_inseparable(law: Law, alpha: float) -> None:
    """Raise `Inseparable` unless some vector separates the points at alpha."""
    least = _least(law, alpha)
    if not alpha * least < 1.0:
        raise Inseparable(alpha, 1.0 / least, law.mislabelled)
