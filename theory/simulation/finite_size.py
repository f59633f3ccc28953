"""From two finite sizes to the limit D -> infinity.

At fixed alpha every observable of a simulation is off its limit by c / D + O(1 / D^2). Two sizes D < D'
remove the first term:

    x_inf = (D' x(D') - D x(D)) / (D' - D),        2 x(2 D) - x(D) for a doubled size,

with errors added in quadrature: the sizes are simulated independently.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from shared.terminal.progress import Report
from theory.simulation.simulate import OBSERVABLES, Simulation, simulate


@dataclass(frozen=True)
class Extrapolation:
    """Estimates at D = infinity with standard errors, and the two simulations behind them."""

    test_error: Any
    R: Any
    rho: Any
    kappa: Any
    test_error_se: Any
    R_se: Any
    rho_se: Any
    kappa_se: Any
    small: Simulation = field(repr=False)
    large: Simulation = field(repr=False)


def extrapolate(small: Simulation, large: Simulation) -> Extrapolation:
    """Estimate the limit D -> infinity from the same points simulated at two sizes.

    Raises:
        ValueError: the sizes are not in order, or the points differ in alpha or theta.
    """
    if not small.dimension < large.dimension:
        raise ValueError(f"the sizes must grow: D = {small.dimension}, then {large.dimension}")
    same = [np.shape(small.alpha) == np.shape(large.alpha)]
    same += [np.allclose(getattr(small, a), getattr(large, a), rtol=1e-12) for a in ("alpha", "theta") if same[0]]
    if not all(same):
        raise ValueError(
            "the two simulations are of different points: alpha (as simulated, n / D) and theta must agree"
        )
    weight = large.dimension / (large.dimension - small.dimension)
    estimates = {}
    for name in OBSERVABLES:
        estimates[name] = weight * getattr(large, name) - (weight - 1.0) * getattr(small, name)
        spread = np.hypot(weight * getattr(large, f"{name}_se"), (weight - 1.0) * getattr(small, f"{name}_se"))
        estimates[f"{name}_se"] = spread if np.shape(spread) else float(spread)
    return Extrapolation(**estimates, small=small, large=large)


def simulate_two_sizes(
    alpha: ArrayLike,
    fraction: ArrayLike = 1.0,
    keep: Any = "hard",
    theta: ArrayLike = 0.0,
    dimension: int = 100,
    trials: int = 100,
    seed: int = 0,
    *,
    margin: str = "unsigned",
    noise: Any = None,
    workers: int | None = None,
    progress: bool | Report | None = None,
) -> Extrapolation:
    """Simulate at D = `dimension` and at twice that, and extrapolate; arguments as in `simulate`.

    The larger size takes exactly the alpha that the smaller one realises with a whole number of samples.
    """
    settings: dict[str, Any] = {
        "fraction": fraction, "keep": keep, "theta": theta, "trials": trials, "seed": seed, "margin": margin,
        "noise": noise, "workers": workers, "progress": progress,
    }  # fmt: skip
    small = simulate(alpha, dimension=dimension, **settings)
    large = simulate(small.alpha, dimension=2 * dimension, **settings)
    return extrapolate(small, large)
