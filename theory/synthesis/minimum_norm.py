"""The nearest points to the start that match exactly: a closed theory, and what descent does not do.

One perfect probe. Among all sets whose class gradients equal the real ones (squared distance), or point along them
(cosine, g the ratio of their lengths), take the one nearest to the real samples where the points start. Per class,
with U0 half-normal and x normal, h0 = h(U0), ht = h(U) - g f h0, f = alpha / alpha_real, a point's margin is

    U = argmin  (U - U0)^2 / 2 + nu h U + sigma x h + V ht^2 / 2 - sigma^2 h^2 / 2,       h = 1 / (1 + exp(beta U)),

    n = E h^2 - E[ht x] / sigma,   V = 1 / (alpha_c n),   sigma^2 = (E ht^2 / alpha_c + g^2 Xi) / n^2,
    Xi = (1 - f) E h0^2 / alpha_r,   E[h U] = g E[h0 U0],     and for the cosine  nu E[h0 U0] = g Xi / n - f V E[h0 ht].

The student then sees the margins (U, (X + x') / sqrt 2), X = x + (V ht - sigma^2 h) / sigma, x' normal (the other
class), and noise of which s^2 = alpha_c g^2 (Xi - xi^2) / E ht^2, xi = -g Xi / (sigma n), is left along ht. Gradient
descent ends elsewhere (`theory.distillation.dynamics`): the path decides, this is how little points need to move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import root
from scipy.special import expit

from theory.errors import NotConverged
from theory.saddle_point.order_parameters import check_alpha
from theory.synthesis.laws import Atoms
from theory.synthesis.noise import LowRank
from theory.synthesis.observables import solve_correlated as solve

Array = NDArray[np.float64]

_SEARCH = np.linspace(-4.0, 14.0, 721)
_RESIDUAL = 1e-4


@dataclass(frozen=True, eq=False)
class MinimumNorm:
    """The nearest exactly matching set.

    Attributes:
        alpha, real, beta, distance: the settings.
        test_error: of the max-margin perceptron on it.
        residual: s_h, what is left of the noise along h: s_h^2 = g^2 alpha_c E h0^2 / (alpha_r E h^2).
        margin: mean U.
        ratio: g, length of the learnt gradient over that of the real one.
        moved: root mean square change of U.
        mismatch: residual of the equations; a minimiser U that jumps from one valley to another leaves up to 1e-4.
    """

    alpha: float
    real: float
    beta: float
    distance: str
    test_error: float
    residual: float
    margin: float
    ratio: float
    moved: float
    mismatch: float


def _grid() -> tuple[Array, Array, Array]:
    """U0, x and their masses."""
    t, w = np.polynomial.legendre.leggauss(60)
    U0 = 4.0 * (t + 1.0)
    wU = w * np.exp(-0.5 * U0**2)
    x, wx = np.polynomial.hermite_e.hermegauss(40)
    mass = np.outer(wU / wU.sum(), wx / wx.sum()).ravel()
    return np.repeat(U0, x.size), np.tile(x, U0.size), mass


def _margins(U0: Array, x: Array, h0: Array, beta: float, nu: float, sigma: float, V: float, back: float) -> Array:
    """The minimisers U: the best of a fine grid, then Newton."""
    h = expit(-beta * _SEARCH)
    # (U - U0)^2 / 2 + h (nu U + sigma x - V old) + terms of U alone, on a grid.
    alone = 0.5 * _SEARCH**2 + nu * h * _SEARCH + 0.5 * (V - sigma**2) * h**2
    energy = alone - np.outer(U0, _SEARCH) + np.outer(sigma * x - V * back * h0, h)
    U = _SEARCH[energy.argmin(axis=1)]
    for _ in range(30):
        h = expit(-beta * U)
        h1 = -beta * h * (1.0 - h)
        h2 = -beta * h1 * (1.0 - 2.0 * h)
        slope = nu * U + sigma * x + V * (h - back * h0) - sigma**2 * h
        first = U - U0 + nu * h + h1 * slope
        second = 1.0 + 2.0 * nu * h1 + h2 * slope + h1 * h1 * (V - sigma**2)
        step = np.clip(first / np.where(second > 1e-3, second, 1.0), -0.1, 0.1)
        U = U - step
        if np.abs(step).max() < 1e-14:
            break
    return np.asarray(U)


class _Problem:
    """The equations at one alpha; unknowns y = (nu, log sigma, log V, and log g for the cosine)."""

    def __init__(self, alpha: float, real: float, beta: float, cosine: bool) -> None:
        self.alpha, self.real, self.beta, self.cosine = alpha, real, beta, cosine
        self.U0, self.x, self.mass = _grid()
        self.h0 = expit(-beta * self.U0)
        self.ac, self.ar, self.f = 0.5 * alpha, 0.5 * real, alpha / real
        self.Xi = (1.0 - self.f) * float(self.mass @ self.h0**2) / self.ar
        self.along = float(self.mass @ (self.h0 * self.U0))

    def unpack(self, y: Array) -> tuple[float, float, float, float]:
        """(nu, sigma, V, g)."""
        sigma, V = (math.exp(min(max(value, -30.0), 30.0)) for value in y[1:3])
        return float(y[0]), sigma, V, math.exp(min(max(y[3], -5.0), 5.0)) if self.cosine else 1.0

    def state(self, y: Array) -> tuple[Array, Array, Array, float]:
        """(U, h, ht, n)."""
        nu, sigma, V, g = self.unpack(y)
        U = _margins(self.U0, self.x, self.h0, self.beta, nu, sigma, V, g * self.f)
        h = expit(-self.beta * U)
        ht = h - g * self.f * self.h0
        return U, h, ht, float(self.mass @ h**2 - self.mass @ (ht * self.x) / sigma)

    def equations(self, y: Array) -> Array:
        """What vanishes at the solution."""
        nu, sigma, V, g = self.unpack(y)
        U, h, ht, n = self.state(y)
        out = [
            float(self.mass @ (h * U)) / self.along - g,
            sigma**2 * n**2 / (float(self.mass @ ht**2) / self.ac + g * g * self.Xi) - 1.0,
            V * self.ac * n - 1.0,
        ]
        if self.cosine:
            out.append(nu * self.along - g * self.Xi / n + self.f * V * float(self.mass @ (self.h0 * ht)))
        return np.array(out)

    def from_guess(self, y: Array) -> tuple[Array, float]:
        """A root sought from y, and its largest residual."""
        with np.errstate(all="ignore"):  # where a search strays; what it ends with is looked at
            found = root(self.equations, y, method="hybr", options={"xtol": 1e-12})
        size = float(np.abs(found.fun).max())
        return np.asarray(found.x), size if math.isfinite(size) else math.inf


def _root(problem: _Problem) -> tuple[Array, float]:
    """The root from a few guesses; where they fail (few points, often), continued from more points."""
    y = np.zeros(4 if problem.cosine else 3)
    best, mismatch = y, math.inf
    for guess in ((0.3, 0.5, 1.0), (0.0, 0.0, 0.5), (0.5, 1.0, 2.0), (1.0, 1.5, 3.0)):
        y[:3] = guess[0], guess[1], guess[2] - math.log(problem.ac)
        found, size = problem.from_guess(y.copy())
        if size < mismatch:
            best, mismatch = found, size
        if mismatch < 1e-9:
            return best, mismatch
    more = 1.5 * problem.alpha
    if more < 0.9 * problem.real:
        start, reached = _root(_Problem(more, problem.real, problem.beta, problem.cosine))
        if reached < 1e-9:
            start = start.copy()
            start[2] += math.log(1.5)
            found, size = problem.from_guess(start)
            if size < mismatch:
                best, mismatch = found, size
    return best, mismatch


def minimum_norm(alpha: float, real: float = 10.0, beta: float = 2.0, distance: str = "squared") -> MinimumNorm:
    """Solve it for `alpha` points and `real` real samples per dimension.

    The cosine's constraint is not convex: of several stationary points this is the branch that begins at g = 1.

    Raises:
        ValueError: alpha not in (0, real), beta not positive, an unknown distance.
        NotConverged: no root was found.
    """
    check_alpha(alpha)
    if not 0.0 < alpha < real < math.inf:
        raise ValueError(f"alpha is {alpha:g} and real {real:g}: must be 0 < alpha < real, samples per dimension")
    if not (math.isfinite(beta) and beta > 0.0):
        raise ValueError(f"beta is {beta:g}, must be positive and finite")
    if distance not in ("squared", "cosine"):
        raise ValueError(f"distance is {distance!r}, must be 'squared' or 'cosine'")
    problem = _Problem(alpha, real, beta, distance == "cosine")
    best, mismatch = _root(problem)
    if not mismatch < _RESIDUAL:
        raise NotConverged(f"no minimum-norm set was found at alpha {alpha:g}, {distance}: residual {mismatch:.1e}")
    x, U0, mass, h0, Xi, ac, ar = (getattr(problem, n) for n in ("x", "U0", "mass", "h0", "Xi", "ac", "ar"))
    _, sigma, V, g = problem.unpack(best)
    U, h, ht, n = problem.state(best)
    X = x + (V * ht - sigma**2 * h) / sigma
    square = float(mass @ ht**2)
    xi = -g * Xi / (sigma * n)
    left = ac * g * g * (Xi - xi * xi) / square
    other, wo = np.polynomial.hermite_e.hermegauss(16)
    count = other.size
    signal = np.column_stack([np.repeat(U, count), (np.repeat(X, count) + np.tile(other, U.size)) / math.sqrt(2.0)])
    column = np.repeat(ht, count) / math.sqrt(square)
    atoms = Atoms(signal, np.outer(mass, wo / wo.sum()).ravel())
    error = float(solve(alpha, keep=atoms, noise=LowRank(column, left - 1.0)).test_error)
    return MinimumNorm(
        alpha, real, beta, distance, error, math.sqrt(g * g * ac * float(mass @ h0**2) / (ar * float(mass @ h**2))),
        float(mass @ U), g, math.sqrt(float(mass @ (U - U0) ** 2)), mismatch,
    )  # fmt: skip
