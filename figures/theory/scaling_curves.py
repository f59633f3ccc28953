"""Scaling curves (`shared.measures.scaling`) from the theory's solutions, from simulations, and from measured grids."""

from __future__ import annotations

import math

import numpy as np

from shared.comparison.grid import Grid
from shared.measures.scaling import ScalingCurve
from theory import Simulation, Solution


def of_solution(solution: Solution, strategy: str | None = None) -> ScalingCurve:
    """The curve of a solution over an increasing array of alphas; exact.

    Raises:
        ValueError: the solution is of one alpha, or its alphas do not increase.
    """
    name = strategy or (solution.keep if isinstance(solution.keep, str) else repr(solution.keep))
    return ScalingCurve(np.atleast_1d(solution.alpha), np.atleast_1d(solution.test_error), 0.0, name, "theory")


def of_simulation(simulation: Simulation, strategy: str | None = None) -> ScalingCurve:
    """The curve of a simulation over an increasing array of alphas, with its standard errors."""
    name = strategy or str(simulation.keep)
    size, error, spread = (
        np.atleast_1d(v) for v in (simulation.alpha, simulation.test_error, simulation.test_error_se)
    )
    return ScalingCurve(size, error, spread, name, "simulation")


def of_grid(grid: Grid, coefficient: float = 0.0) -> ScalingCurve:
    """Test error over images per class at one lambda; standard errors over distillation seeds.

    IPC with fewer than two seeds have no standard error and are left out.

    Raises:
        ValueError: the grid has no such lambda, or no IPC with two seeds.
    """
    where = np.flatnonzero(grid.coefficient == coefficient)
    if not where.size:
        known = ", ".join(f"{c:g}" for c in grid.coefficient)
        raise ValueError(f"{grid.name} was not measured at lambda = {coefficient:g}, only at {known}")
    seeds = [
        [float(s[np.isfinite(s)].mean()) for s in runs if np.isfinite(s).any()] for runs in grid.accuracy[:, where[0]]
    ]
    return _of_runs(grid.ipc, seeds, f"{grid.method}, lambda = {coefficient:g}", grid.name)


def of_random(grid: Grid) -> ScalingCurve:
    """Test error of random subsets of the grid's data set over images per class."""
    seeds = [[float(np.mean(s)) for s in grid.random[ipc]] for ipc in sorted(grid.random)]
    return _of_runs(np.array(sorted(grid.random)), seeds, "random", f"random subsets of {grid.dataset}")


def _of_runs(ipc: np.ndarray, seeds: list[list[float]], strategy: str, name: str) -> ScalingCurve:
    kept = [(int(i), np.array(runs)) for i, runs in zip(ipc, seeds, strict=True) if len(runs) > 1]
    if not kept:
        raise ValueError(f"{name}: no number of images per class has two seeds, so nothing has a standard error")
    return ScalingCurve(
        [float(i) for i, _ in kept],
        [1.0 - float(r.mean()) for _, r in kept],
        [float(r.std(ddof=1)) / math.sqrt(r.size) for _, r in kept],
        strategy, "experiment", "ipc",
    )  # fmt: skip
