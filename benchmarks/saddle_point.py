"""The saddle-point solver against nested adaptive quadrature under a warm-started generic root finder.

The baseline is what one writes first: the published equations, scipy's `quad` / `dblquad` at their defaults,
`scipy.optimize.root` started from the previous point of the curve (started cold it returns wrong roots).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import dblquad, quad
from scipy.optimize import root
from scipy.special import ndtr, ndtri

from theory import solve
from theory.judges.published import solve_published

PHI_0 = 1.0 / math.sqrt(2.0 * math.pi)


def _phi(x: float) -> float:
    return PHI_0 * math.exp(-0.5 * x * x)


def _perfect_by_quad(x: np.ndarray, alpha: float, f: float) -> list[float]:
    """The two published equations, keep hard, theta = 0, each with one adaptive integral."""
    R, kappa = x
    q = math.sqrt(max(1.0 - R * R, 1e-300))
    gamma = ndtri((1.0 + f) / 2.0)

    def first(t: float) -> float:
        whole = math.exp(-0.5 * (R * t / q) ** 2) * (
            1.0 - math.exp(min(-gamma * (gamma - 2 * R * t) / (2 * q * q), 700))
        )
        return _phi(t) * whole * (kappa - t)

    def second(t: float) -> float:
        return _phi(t) * (ndtr(R * t / q) - ndtr((R * t - gamma) / q)) * (kappa - t) ** 2

    return [
        R - 2 * alpha / (f * math.sqrt(2 * math.pi) * q) * quad(first, -12.0 * q, kappa)[0],
        1 - R * R - 2 * alpha / f * quad(second, -12.0, kappa)[0],
    ]


def _imperfect_by_dblquad(x: np.ndarray, alpha: float, f: float, theta: float) -> list[float]:
    """The three published equations, keep hard, each with one nested adaptive integral."""
    R, rho, kappa = x
    sin, cos = math.sin(theta), math.cos(theta)
    gamma = ndtri((1.0 + f) / 2.0)
    Lambda = math.sqrt(max(sin**2 - R**2 - rho**2 + 2 * rho * R * cos, 1e-300))
    spread = math.sqrt(max(1 - rho * rho, 1e-300))

    def edge(t: float, z: float) -> float:
        Delta = z * z * (rho**2 + cos**2 - 2 * rho * R * cos) + 2 * t * z * (R * cos - rho) + t * t * sin**2
        return math.exp(min(-Delta / (2 * Lambda**2), 700.0))  # a trial step may leave the unit ball

    def bulk(t: float, z: float) -> float:
        Gamma = z * (rho * R - cos) - t * (R - rho * cos)
        return _phi((t - rho * z) / spread) / spread * 0.5 * math.erfc(Gamma / (spread * Lambda) / math.sqrt(2))

    def inner(t: float, z: float) -> float:
        boundary = edge(t, z) / (2 * math.pi * Lambda) * (rho * R - cos) / spread**2
        return bulk(t, z) * (z - rho * t) / spread**2 + boundary

    def average(function: Callable[[float, float], float]) -> float:
        return dblquad(lambda t, z: _phi(z) / f * function(t, z), -gamma, gamma, -12.0, kappa)[0]

    return [
        (R - rho * cos) / sin**2 - alpha / (math.pi * Lambda) * average(lambda t, z: edge(t, z) * (kappa - t)),
        1
        - (rho**2 + R**2 - 2 * rho * R * cos) / sin**2
        - 2 * alpha * average(lambda t, z: bulk(t, z) * (kappa - t) ** 2),
        (rho - R * cos) / sin**2 - 2 * alpha * average(lambda t, z: inner(t, z) * (kappa - t)),
    ]


@dataclass(frozen=True)
class Row:
    """Milliseconds a point of either way, their ratio, and the largest relative error of the test error."""

    case: str
    ours_ms: float
    baseline_ms: float
    ours_error: float
    baseline_error: float

    @property
    def ratio(self) -> float:
        """How many times faster."""
        return self.baseline_ms / self.ours_ms


def _walk(residuals: Callable[..., Any], alphas: np.ndarray, start: np.ndarray, args: tuple[Any, ...]) -> list[float]:
    """Test error along a curve, each root search started from the previous root."""
    errors, x = [], start
    for alpha in alphas:
        # A short first step: the default leaves the unit ball, and with it the root.
        x = root(residuals, x, args=(alpha, *args), options={"factor": 0.1}).x
        errors.append(math.acos(min(max(x[0], -1.0), 1.0)) / math.pi)
    return errors


def _compare(
    case: str,
    alphas: np.ndarray,
    fraction: float,
    theta: float,
    baseline_alphas: np.ndarray,
    residuals: Callable[..., Any],
) -> Row:
    solve(alphas, fraction, "hard", theta)  # compiled before it is timed
    repeats = 20
    begin = time.process_time()
    for _ in range(repeats):
        solve(alphas, fraction, "hard", theta)
    ours = (time.process_time() - begin) / repeats / alphas.size

    exact = solve(baseline_alphas, fraction, "hard", theta)
    first = solve(0.98 * baseline_alphas[0], fraction, "hard", theta)
    start = np.array([first.R, first.kappa] if theta == 0.0 else [first.R, first.rho, first.kappa])
    args = (fraction,) if theta == 0.0 else (fraction, theta)
    begin = time.process_time()
    found = _walk(residuals, baseline_alphas, start, args)
    baseline = (time.process_time() - begin) / baseline_alphas.size

    # The published equations by converged quadrature: shares no code with either.
    truth = []
    for k, alpha in enumerate(baseline_alphas):
        near = (float(exact.R[k]), float(exact.rho[k]), float(exact.kappa[k]))
        truth.append(math.acos(solve_published(float(alpha), fraction, "hard", theta, start=near)[0]) / math.pi)
    ours_error = np.max(np.abs(exact.test_error / truth - 1.0))
    return Row(
        case, 1e3 * ours, 1e3 * baseline, float(ours_error), float(np.max(np.abs(np.array(found) / truth - 1.0)))
    )


def run() -> list[Row]:
    """Both comparisons; about a minute."""
    theta = math.radians(20.0)
    perfect = np.geomspace(0.1, 100.0, 50)
    imperfect = np.geomspace(0.1, 10.0, 50)
    return [
        _compare("perfect probe, f 0.3, alpha 0.1..100", perfect, 0.3, 0.0, perfect, _perfect_by_quad),
        # Neighbours on the same grid of 50, so that the baseline's warm start is as good as on the whole curve.
        _compare(
            "probe at 20 degrees, f 0.3, alpha 0.1..10", imperfect, 0.3, theta, imperfect[30:36], _imperfect_by_dblquad
        ),
    ]
