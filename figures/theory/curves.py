"""Test error against alpha, theory as lines and simulation as dots: perfect probe, and imperfect probes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from figures.desk import Desk
from figures.registry import figure
from figures.style import BLACK, CYCLE, MARKERS, PAGE, look, save
from figures.theory.deviation import agreement, remarks
from figures.theory.simulated import Curves, SimulatedCurve, Strategy, simulated_curves
from theory import solve

FRACTIONS = (0.1, 0.2, 0.4, 0.7)
ANGLES = (10.0, 20.0, 40.0)
ANGLE_FRACTION = 0.3
RANDOM = Strategy("hard", 1.0)

PERFECT = [RANDOM, *(Strategy(keep, f) for keep in ("hard", "easy") for f in FRACTIONS)]
IMPERFECT = [Strategy(keep, ANGLE_FRACTION, degrees) for keep in ("hard", "easy") for degrees in (0.0, *ANGLES)]
STRATEGIES = list(dict.fromkeys([*PERFECT, *IMPERFECT]))


@figure("perfect-probe", group="theory")
def draw_perfect_probe(desk: Desk) -> list[Path]:
    """Test error over kept samples per dimension, perfect probe: kept fractions 0.1 to 1, hard and easy."""
    return perfect_probe(simulated_for(desk), desk.out, note_of(desk))


@figure("imperfect-probe", group="theory")
def draw_imperfect_probe(desk: Desk) -> list[Path]:
    """The same at one kept fraction, for probes at several angles to the teacher."""
    return imperfect_probe(simulated_for(desk), desk.out, note_of(desk))


def simulated_for(desk: Desk) -> Curves:
    """The simulations behind these figures and their agreement with theory, run once a command."""

    def run() -> Curves:
        with desk.progress(f"simulating {len(STRATEGIES)} curves") as report:
            curves = simulated_curves(STRATEGIES, desk.effort, desk.out / "simulations", report)
        desk.remarks.extend(remarks(agreement(curves), desk.effort.dimension))
        return curves

    return desk.once("simulations", run)


def note_of(desk: Desk) -> str:
    """What the dots are, for the foot of a figure."""
    return f"dots: D = {desk.effort.dimension}, {desk.effort.trials} trials, mean ± standard error; lines: theory"


def plain_log_axis(axes: Axes) -> None:
    """0.1, 1, 10 and 0.01, 0.02, 0.05 instead of powers of ten: errors are read, not only compared."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.yaxis.set_major_locator(LogLocator(10.0, (1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw(axes: Axes, curve: SimulatedCurve, colour: str, marker: str, label: str) -> None:
    s = curve.strategy
    alpha = np.geomspace(0.08, 12.0, 120)
    line = "--" if s == RANDOM else "-"
    axes.plot(alpha, solve(alpha, s.fraction, s.keep, s.theta).test_error, line, color=colour)
    axes.errorbar(
        curve.alpha, curve.at_size["test_error"], curve.at_size["test_error_se"], fmt=marker, color=colour,
        elinewidth=0.7, capsize=1.2, capthick=0.5, label=label,
    )  # fmt: skip


def _rows(curves: Curves, strategies: list[Strategy]) -> list[dict[str, Any]]:
    rows = []
    for s in strategies:
        curve = curves[s]
        exact = solve(curve.alpha, s.fraction, s.keep, s.theta)
        for k, alpha in enumerate(curve.alpha):
            row = {
                "keep": "random" if s == RANDOM else s.keep, "fraction": s.fraction, "theta_deg": s.degrees,
                "margin": "unsigned", "alpha": alpha, "dimension": curve.dimension,
            }  # fmt: skip
            for q in ("test_error", "R", "rho", "kappa"):
                row |= {f"{q}_theory": getattr(exact, q)[k], f"{q}_simulated": curve.at_size[q][k],
                        f"{q}_standard_error": curve.at_size[f"{q}_se"][k]}  # fmt: skip
            rows.append(row)
    return rows


def perfect_probe(curves: Curves, folder: Path, note: str) -> list[Path]:
    """Figure (i): kept fractions 0.1 to 1, hard and easy, perfect probe."""
    with look():
        figure, panels = plt.subplots(1, 2, figsize=(PAGE, 2.7), sharey=True)
        for axes, keep in zip(panels, ("hard", "easy"), strict=True):
            for f, colour, marker in zip(FRACTIONS, CYCLE, MARKERS, strict=False):
                _draw(axes, curves[Strategy(keep, f)], colour, marker, f"f = {f:g}")
            _draw(axes, curves[RANDOM], BLACK, "x", "f = 1 (random)")
            plain_log_axis(axes)
            axes.set_xlabel(r"kept samples per dimension $\alpha$")
            axes.set_title(f"keep {'hardest' if keep == 'hard' else 'easiest'}, perfect probe")
            axes.legend(title="kept fraction", title_fontsize=6.5, loc="lower left")
        panels[0].set_ylabel(r"test error $\epsilon$")
        figure.text(0.995, -0.02, note, ha="right", va="top", fontsize=6)
        return save(figure, folder, "perfect_probe", _rows(curves, PERFECT))


def imperfect_probe(curves: Curves, folder: Path, note: str) -> list[Path]:
    """Figure (ii): the same at one fraction for several probe angles."""
    with look():
        figure, panels = plt.subplots(1, 2, figsize=(PAGE, 2.7), sharey=True)
        for axes, keep in zip(panels, ("hard", "easy"), strict=True):
            for degrees, colour, marker in zip((0.0, *ANGLES), CYCLE, MARKERS, strict=False):
                curve = curves[Strategy(keep, ANGLE_FRACTION, degrees)]
                _draw(axes, curve, colour, marker, rf"$\theta = {degrees:g}°$")
            _draw(axes, curves[RANDOM], BLACK, "x", "random")
            plain_log_axis(axes)
            axes.set_xlabel(r"kept samples per dimension $\alpha$")
            kind = "hardest" if keep == "hard" else "easiest"
            axes.set_title(f"keep {kind} {ANGLE_FRACTION:.0%}, unsigned margin")
            axes.legend(title="probe angle", title_fontsize=6.5, loc="lower left")
        panels[0].set_ylabel(r"test error $\epsilon$")
        figure.text(0.995, -0.02, note, ha="right", va="top", fontsize=6)
        return save(figure, folder, "imperfect_probe", _rows(curves, [RANDOM, *IMPERFECT]))
