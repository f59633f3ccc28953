"""The max-margin perceptron by general solvers: slow, and the judge of `theory.max_margin`.

All take X [n, D] and labels y [n] and return the unit vector w [D] and its margin min_i y_i w.x_i, as
found: nothing is certified here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, nnls

Array = NDArray[np.float64]


class Separator(NamedTuple):
    """A unit vector and its margin over all samples (negative if it does not separate them)."""

    w: Array
    margin: float


def by_cvxpy(X: Array, y: Array, solver: str | None = None, tolerance: float | None = None) -> Separator:
    """Minimise |w|^2 / 2 subject to y_i w.x_i >= 1 through cvxpy.

    Args:
        X: [n, D].
        y: [n], -1 or +1.
        solver: a solver's name ("CLARABEL"), or None for cvxpy's default, which is OSQP for a quadratic
            program.
        tolerance: absolute and relative tolerance of CLARABEL (its own default is 1e-8).

    Raises:
        ValueError: a tolerance for another solver, or no solution (as for data that are not separable).
    """
    import cvxpy as cp

    settings: dict[str, Any] = {}
    if tolerance is not None:
        if solver != "CLARABEL":
            raise ValueError(f"a tolerance can be set for CLARABEL only, not for {solver or 'the default solver'}")
        settings = {"tol_gap_abs": tolerance, "tol_gap_rel": tolerance, "tol_feas": tolerance}
    Z = y[:, None] * X
    w = cp.Variable(X.shape[1])
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(w)), [Z @ w >= 1.0])
    problem.solve(solver=solver, **settings)
    if w.value is None:
        raise ValueError(f"cvxpy found no separator: {problem.status}")
    return _separator(Z, w.value)


def by_nnls(X: Array, y: Array) -> Separator:
    """Non-negative least squares (Lawson and Hanson, "Solving Least Squares Problems", chapter 23).

    lam >= 0 that brings [Z^T; 1^T] lam closest to (0, ..., 0, 1) gives w = Z^T lam. Finite and without
    tolerance. Meant for rows of norm near 1 or above.

    Raises:
        ValueError: the data are not separable.
    """
    Z = y[:, None] * X
    n, D = Z.shape
    target = np.zeros(D + 1)
    target[-1] = 1.0
    lam, _ = nnls(np.vstack([Z.T, np.ones(n)]), target, maxiter=100 * n)
    w = lam @ Z
    if not np.linalg.norm(w) > 1e-12 * np.sum(lam * np.linalg.norm(Z, axis=1)):
        raise ValueError("the data are not separable through the origin")
    return _separator(Z, w)


def is_separable(X: Array, y: Array) -> bool:
    """Whether some w has y_i w.x_i >= 1 for all i: a linear program, by HiGHS."""
    Z = y[:, None] * X
    n, D = Z.shape
    program = linprog(np.zeros(D), A_ub=-Z, b_ub=-np.ones(n), bounds=(None, None), method="highs")
    return bool(program.status == 0)


def _separator(Z: Array, w: Array) -> Separator:
    unit = w / np.linalg.norm(w)
    return Separator(unit, float((Z @ unit).min()))
