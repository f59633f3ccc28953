"""The simulations behind the theory figures: run once, kept in a file a curve, resumed after an interruption.

Numbers of other settings or of an older program, and damaged files, are never drawn (`figures.cache`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figures.cache import Arrays, kept, source_digest
from figures.desk import Effort
from theory import Simulation, simulate

QUANTITIES = ("test_error", "R", "rho", "kappa")


@dataclass(frozen=True)
class Strategy:
    """One curve: what is kept, by which probe."""

    keep: str
    fraction: float
    degrees: float = 0.0

    @property
    def theta(self) -> float:
        """Probe angle in radians."""
        return math.radians(self.degrees)

    def in_corner(self, alpha: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Where finite-size bias is many times 1/D: hard, few, perfect probe, near the transition at alpha = 2."""
        few = self.keep == "hard" and self.fraction <= 0.2 and self.degrees == 0.0
        return few & (alpha > 1.2) & (alpha < 3.2)


def _digest(settings: dict[str, Any]) -> str:
    return source_digest(json.dumps(settings, sort_keys=True).encode())


def _simulated(
    strategy: Strategy, alphas: NDArray[np.float64], dimension: int, effort: Effort, cache: Path
) -> Arrays:
    """Means and standard errors at ``alphas``: from the cache, or simulated and put there."""
    settings = asdict(strategy) | {
        "alphas": [float(a) for a in alphas],
        "dimension": dimension,
        "trials": effort.trials,
        "seed": effort.seed,
    }
    names = (*QUANTITIES, *(f"{q}_se" for q in QUANTITIES), "alpha", "fraction")

    def run() -> Arrays:
        found: Simulation = simulate(
            alphas,
            strategy.fraction,
            strategy.keep,
            strategy.theta,
            dimension,
            effort.trials,
            effort.seed,
            workers=effort.workers,
            progress=False,
        )
        return {name: np.asarray(getattr(found, name), float) for name in names}

    return kept(cache / f"{_digest(settings)}.json", settings, dict.fromkeys(names, alphas.shape), run)


@dataclass(frozen=True)
class SimulatedCurve:
    """A strategy simulated at D and, for the limit D -> infinity, at a second size.

    ``limit`` holds the extrapolation 2 x(2 D') - x(D') of each quantity (D' = D / 2, and D' = D in the corner) with its
    standard error under NAME_se.
    """

    strategy: Strategy
    dimension: int
    at_size: dict[str, NDArray[np.float64]]
    limit: dict[str, NDArray[np.float64]]

    @property
    def alpha(self) -> NDArray[np.float64]:
        """Kept samples per dimension [points]."""
        return self.at_size["alpha"]


Curves = dict[Strategy, SimulatedCurve]


def _extrapolated(small: dict[str, Any], large: dict[str, Any]) -> dict[str, NDArray[np.float64]]:
    """2 x(2D) - x(D), errors in quadrature: the sizes are simulated independently."""
    limit = {q: 2.0 * large[q] - small[q] for q in QUANTITIES}
    return limit | {f"{q}_se": np.hypot(2.0 * large[f"{q}_se"], small[f"{q}_se"]) for q in QUANTITIES}


def simulated_curve(strategy: Strategy, effort: Effort, cache: Path) -> SimulatedCurve:
    """Simulate a strategy on the effort's grid of alphas, at two sizes."""
    alphas = effort.grid()
    at_size = _simulated(strategy, alphas, effort.dimension, effort, cache)
    half = _simulated(strategy, alphas, effort.dimension // 2, effort, cache)
    limit = _extrapolated(half, at_size)
    corner = strategy.in_corner(alphas)
    if corner.any():
        double = _simulated(strategy, alphas[corner], 2 * effort.dimension, effort, cache)
        better = _extrapolated({k: v[corner] for k, v in at_size.items()}, double)
        for name, values in better.items():
            limit[name][corner] = values
    return SimulatedCurve(strategy, effort.dimension, at_size, limit)


def simulated_curves(
    strategies: list[Strategy], effort: Effort, cache: Path, report: Callable[[float, float], None]
) -> dict[Strategy, SimulatedCurve]:
    """All curves; ``report(done, total)`` after each, in units of estimated work."""
    # Small fractions of hard samples need the most steps of the solver.
    costs = [1.0 + (3.0 / math.sqrt(s.fraction) if s.keep == "hard" else 0.0) for s in strategies]
    curves, done = {}, 0.0
    for strategy, cost in zip(strategies, costs, strict=True):
        curves[strategy] = simulated_curve(strategy, effort, cache)
        done += cost
        report(done, sum(costs))
    return curves
