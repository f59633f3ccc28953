"""Theory, simulation and experiment become curves of one type."""

import numpy as np
import pytest

import theory
from figures.theory.scaling_curves import of_grid, of_random, of_simulation, of_solution
from shared.comparison.grid import Measurement, grids
from shared.measures.scaling import crossover, fit_power_law


def test_theory_and_simulation_agree_as_curves() -> None:
    alphas = np.array([0.5, 1.0, 2.0, 4.0])
    exact = of_solution(theory.solve(alphas, 0.3, "easy"))
    found = of_simulation(theory.simulate(alphas, 0.3, "easy", dimension=40, trials=30, seed=0))
    assert (exact.strategy, exact.source, found.source, found.unit) == ("easy", "theory", "simulation", "alpha")
    z = (np.asarray(found.error) - np.asarray(exact.error)) / (np.asarray(found.uncertainty) + 1 / 40)
    assert np.max(np.abs(z)) < 4


def test_crossover_of_solved_curves_is_the_theorys() -> None:
    alphas = np.geomspace(1.5, 3.0, 60)
    hard, easy = (of_solution(theory.solve(alphas, 0.3, keep)) for keep in ("hard", "easy"))
    assert crossover(hard, easy, resamples=10).size == pytest.approx(theory.scaling.crossover(0.3), rel=2e-4)


def test_measured_grids() -> None:
    rng = np.random.default_rng(0)
    rows = [
        Measurement(method, "digits", 10, ipc, 0.0, seed, f"n/{n}", {"accuracy": 1 - 0.5 / ipc + rng.normal(0, 0.002)})
        for method in ("dsa", "random") for ipc in (1, 2, 5, 10, 20) for seed in range(4) for n in range(2)
    ]  # fmt: skip
    (grid,) = grids(rows)
    for curve in (of_grid(grid), of_random(grid)):
        assert curve.unit == "ipc" and curve.source == "experiment"
        fit = fit_power_law(curve)
        assert fit.b.low < 1.0 < fit.b.high and fit.b.value == pytest.approx(1.0, abs=0.05)
    with pytest.raises(ValueError, match=r"not measured at lambda = 0\.1"):
        of_grid(grid, 0.1)
    (single,) = grids([r for r in rows if r.seed == 0])
    with pytest.raises(ValueError, match="two seeds"):
        of_grid(single)
