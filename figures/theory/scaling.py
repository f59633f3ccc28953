"""``python -m figures scaling [RUNS...]``: error against size, as power laws, and where curves cross.

Without RUNS the theory alone: hardest, easiest and random samples of a perfect probe, with simulations, over kept
samples per dimension. With RUNS (folders of recorded runs, or CSV files of a grid, as for ``compare``) a panel a data
set beside it: random subsets and every distilled method without the correction, over images per class.

A line is the fit error = a size^-b + floor (`shared.measures.scaling`); its legend gives b with its 95 % interval.
Where two curves cross is marked and printed. Writes scaling.pdf, scaling.png and scaling.csv.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import tyro
from matplotlib.axes import Axes

import theory
from figures.compare.compare import read
from figures.limits import refuse_excess
from figures.names import PANEL, shown
from figures.registry import command
from figures.style import COLUMN, PAGE, look, look_of, make_writable, save
from figures.theory.curves import plain_log_axis
from figures.theory.scaling_curves import of_grid, of_random, of_simulation, of_solution
from shared.comparison.grid import Grid, grids
from shared.measures.scaling import Crossing, PowerLaw, ScalingCurve, bootstrap_power_law, crossover, fit_power_law
from shared.terminal.progress import reporting

ALPHAS = (0.2, 20.0)
FITTED_ABOVE = {"theory": 2.0, "simulation": 2.0, "experiment": 0.0}
"""Sizes from which on a curve is fitted: below alpha = 2 the theory's curves are far from any power law."""
UNITS = {"alpha": r"kept samples per dimension $\alpha$", "ipc": "images per class"}
RESAMPLES = 200
NOTE = "lines: theory, or the fit of error = a size^-b + floor (b with its 95 % interval); dotted: where curves cross"


@command("scaling")
@dataclass(frozen=True)
class Scaling:
    """Error against size as power laws, in theory, simulation and recorded runs, and where curves cross."""

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders of runs, or CSV files of a grid; LABEL=PATH to keep one apart."""
    fraction: float = 0.3
    """Kept fraction of the theory's hard and easy samples."""
    dimension: int = 100
    """Input dimension D of the simulations (even)."""
    trials: int = 20
    """Trials a simulated point."""
    seed: int = 0
    """Of simulations and resampling."""
    out: Path = Path("output/scaling")
    """Folder to write to."""

    def run(self) -> None:
        """Fit and draw; ValueError before any long work if an input is wrong."""
        if not 0.0 < self.fraction < 1.0:
            raise ValueError(f"--fraction is {self.fraction:g}, must lie between 0 and 1")
        if self.dimension < 4 or self.dimension % 2 or self.trials < 2 or self.seed < 0:
            raise ValueError(
                f"--dimension is {self.dimension}, --trials {self.trials}, --seed {self.seed}: must be even and >= 4, "
                ">= 2 and >= 0"
            )
        refuse_excess(dimension=self.dimension, trials=self.trials, seed=self.seed)
        panels = measured(grids(read(self.runs)[0])) if self.runs else {}
        make_writable(self.out)
        with reporting(True, "simulating") as report:
            drawn = {"perceptron, perfect probe": self.of_theory(report), **panels}
        said: list[str] = []
        with look():
            columns = min(3, len(drawn))
            lines = -(-len(drawn) // columns)
            size = (max(COLUMN, PAGE * columns / 3), 2.8 * lines)
            figure, grid = plt.subplots(lines, columns, figsize=size, squeeze=False)
            for axes in grid.flat[len(drawn) :]:
                axes.set_visible(False)
            rows = [row for axes, (title, curves) in zip(grid.flat, drawn.items(), strict=False)
                    for row in panel(axes, title, curves, self.seed, said)]  # fmt: skip
            figure.text(0.995, -0.02, NOTE, ha="right", va="top", fontsize=6)
            paths = save(figure, self.out, "scaling", rows)
        print("\n".join(said))
        print("wrote " + ", ".join(map(str, paths)))

    def of_theory(self, report: Callable[[float, float], None]) -> list[ScalingCurve]:
        """Hard, easy and random samples: solved, and simulated at fewer sizes."""
        solved, simulated = (np.geomspace(*ALPHAS, n) for n in (40, 8))
        curves = []
        for k, (keep, fraction) in enumerate((("hard", self.fraction), ("easy", self.fraction), ("random", 1.0)), 1):
            curves.append(of_solution(theory.solve(solved, fraction, keep), keep))
            found = theory.simulate(
                simulated, fraction, keep, dimension=self.dimension, trials=self.trials, seed=self.seed, progress=False
            )
            curves.append(of_simulation(found, keep))
            report(k, 3)
        return curves


def measured(found: list[Grid]) -> dict[str, list[ScalingCurve]]:
    """Curves of recorded runs by data set and architecture: each method at lambda = 0, and random subsets once.

    Raises:
        ValueError: no number of images per class of a method has two seeds.
    """
    panels: dict[str, list[ScalingCurve]] = {}
    for grid in found:
        title = grid.dataset + (f" ({grid.architecture})" if grid.architecture else "")
        curves = panels.setdefault(title, [])
        if not curves and any(len(seeds) > 1 for seeds in grid.random.values()):
            curves.append(of_random(grid))
        curves.append(of_grid(grid))
    return panels


def fit(curve: ScalingCurve, seed: int = 0) -> PowerLaw | None:
    """The fit of a curve, with a floor where there are points enough; None with fewer than three points.

    Where the floor is at its bound, 0, intervals are those of the parametric bootstrap.
    """
    part = curve.above(FITTED_ABOVE[curve.source])
    points = np.asarray(part.size).size
    if points < 3:
        return None
    floor = None if points > 3 and curve.source == "experiment" else 0.0
    found = fit_power_law(part, floor=floor)
    if floor is None and found.floor.value == 0.0:
        return bootstrap_power_law(part, resamples=RESAMPLES, seed=seed)
    return found


def panel(axes: Axes, title: str, curves: list[ScalingCurve], seed: int, said: list[str]) -> list[dict[str, Any]]:
    """Draws the curves with their fits and crossings; adds what was found to `said`; rows for the CSV."""
    rows: list[dict[str, Any]] = []
    names = list(dict.fromkeys(c.strategy for c in curves))
    looks = {name: look_of(k) for k, name in enumerate(names)}
    plain_log_axis(axes)
    for curve in curves:
        rows += _drawn(axes, title, curve, fit(curve, seed), *looks[curve.strategy], said)
    for source in dict.fromkeys(c.source for c in curves):
        own = [c for c in curves if c.source == source]
        for one, two in combinations(own, 2):
            said += _crossing(axes, title, source, one, two, seed)
    axes.set_title(shown(title))
    axes.set_xlabel(UNITS[curves[0].unit])
    axes.set_ylabel("test error")
    low, high = axes.get_ylim()
    axes.set_ylim(low * (low / high) ** (0.1 * len(names)), high)  # room for the legend
    axes.legend(fontsize=5.5, loc="lower left")
    return rows


def _drawn(
    axes: Axes, title: str, curve: ScalingCurve, law: PowerLaw | None, colour: str, marker: str, said: list[str]
) -> list[dict[str, Any]]:
    size, error, spread = (np.asarray(v, float) for v in (curve.size, curve.error, curve.uncertainty))
    label = shown(curve.strategy, PANEL)
    if law is not None:
        words = f"b = {law.b.value:.2f} [{law.b.low:.2f}, {law.b.high:.2f}]"
        label += f", {words}"
        floor = f", floor {law.floor.value:.3f} [{law.floor.low:.3f}, {law.floor.high:.3f}]"
        said.append(f"{title}, {curve.strategy}, {curve.source}: {words}{floor if law.floor.high > 0.0 else ''}")
    if curve.source == "theory":
        axes.plot(size, error, color=colour, label=label)
    else:
        alone = curve.source == "simulation"  # the theory's line has the label
        axes.errorbar(size, error, spread, fmt=marker, color=colour, elinewidth=0.7, label=None if alone else label)
        if law is not None and not alone:
            fine = np.geomspace(size.min(), size.max(), 60)
            axes.plot(fine, law(fine), color=colour, linewidth=0.8)
    fitted = law(size) if law is not None else np.full(size.size, math.nan)
    common: Mapping[str, Any] = {"panel": title, "curve": curve.strategy, "source": curve.source, "unit": curve.unit}
    return [
        {**common, "size": x, "error": e, "se": s, "fitted": f}
        for x, e, s, f in zip(size, error, spread, fitted, strict=True)
    ]


def _crossing(
    axes: Axes, title: str, source: str, one: ScalingCurve, two: ScalingCurve, seed: int
) -> list[str]:
    """Marks where two curves cross, and says so; nothing where they do not, or overlap in fewer than two sizes."""
    try:
        found: Crossing = crossover(one, two, resamples=RESAMPLES, seed=seed)
    except ValueError:
        return []
    if not math.isfinite(found.size):
        return []
    if source != "simulation":
        axes.axvline(found.size, color="0.6", linewidth=0.6, linestyle=":")
    exact = source == "theory"
    interval = "" if exact else f" [{found.low:.3g}, {found.high:.3g}], in {found.seen:.0%} of the resampled curves"
    better = f"{found.first} is better below, {found.second} above"
    return [f"{title}, {source}: {better} {found.size:.3g}{interval}"]
