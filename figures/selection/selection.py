"""``python -m figures selection TABLES...``: easy, hard and random subsets at equal size, measured beside the theory.

TABLES are files of ``python -m empirical.selection``; by default those of ``docs/results/selection``. Draws, for each,
the error over kept samples per dimension (dots: mean and standard error over seeds; lines: the theory at the probe's
angle), and where hard images become better than easy ones, measured and predicted. N_eff is fitted on random subsets
alone.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from figures.registry import command
from figures.selection.measured import EASIEST, HARDEST, RANDOM, Selection, read
from figures.style import BLACK, PAGE, look, look_of, save, wrapped
from figures.theory.scaling import fit
from shared.terminal.command import refuse_folder
from theory import solve

COMMITTED = Path("docs/results/selection")
_PREDICTED = ("predicted", "predicted_low", "predicted_high")
KEEP = {EASIEST: "easy", HARDEST: "hard"}


@command("selection")
@dataclass(frozen=True)
class Draw:
    """Easy, hard and random subsets of real images beside the theory: selection.pdf, crossovers.pdf."""

    tables: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Tables of python -m empirical.selection; by default those of docs/results/selection."""
    out: Path = Path("output/selection")
    """Folder to write to."""

    def run(self) -> None:
        """Draw both figures; ValueError if a table cannot be read."""
        tables = self.tables or tuple(sorted(COMMITTED.glob("*.csv")))
        if not tables:
            raise ValueError("nothing to draw: name tables of python -m empirical.selection")
        refuse_folder(self.out)
        found = sorted(map(read, tables), key=_simplest_first) if not self.tables else [read(path) for path in tables]
        self.out.mkdir(parents=True, exist_ok=True)
        files = [*errors_figure(found, self.out), *crossovers_figure(found, self.out)]
        for selection in found:
            print(told(selection))
        print("wrote " + ", ".join(str(f) for f in files))


def _simplest_first(selection: Selection) -> tuple[bool, bool, bool, str]:
    """The perceptron, then what leaves it step by step, then networks."""
    name = selection.name
    return not selection.dimension, "-labels" in name, "-inputs" in name, name


def told(selection: Selection) -> str:
    """The numbers of a table in a sentence."""
    law = fit(selection.random_law())
    exponent = f"random error falls as size^-{law.b.value:.2f} [{law.b.low:.2f}, {law.b.high:.2f}]" if law else "no law"
    axis = f"{selection.dimension} features"
    if not selection.dimension:
        found = selection.map
        axis = f"N_eff {found.n_eff:.3g} [{found.low:.3g}, {found.high:.3g}]"
        axis += "" if found.valid else f" (map invalid: {'; '.join(found.problems)})"
    return f"{selection.name}: {axis}; probe at {math.degrees(selection.angle):.0f} degrees; {exponent}"


def errors_figure(found: Sequence[Selection], folder: Path) -> list[Path]:
    """A row a table: hardest and easiest, every fraction, and random subsets in both."""
    rows: list[dict[str, Any]] = []
    with look():
        figure, panels = plt.subplots(
            len(found), 2, figsize=(PAGE, 0.5 + 1.75 * len(found)), sharey="row", squeeze=False
        )
        for axes, selection in zip(panels, found, strict=True):
            for place, strategy in zip(axes, (HARDEST, EASIEST), strict=True):
                rows += _panel(place, selection, strategy)
            _heights(axes[0], selection)
            axes[0].set_ylabel("error (chance = 0.5)")
            axes[0].set_title(_wrapped(selection.name), fontsize=6.5, loc="left")
            place.set_title(f"probe at {math.degrees(selection.angle):.0f}°", fontsize=6.5, loc="right")
        for place, strategy in zip(panels[0], (HARDEST, EASIEST), strict=True):
            place.text(0.5, 1.24, f"keep the {strategy}", transform=place.transAxes, ha="center", fontweight="bold")
        for place in panels[-1]:
            place.set_xlabel(r"kept samples per dimension $\alpha$")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=6, title="kept fraction of the pool")
        return save(figure, folder, "selection", rows)


def _panel(axes: Axes, selection: Selection, strategy: str) -> list[dict[str, Any]]:
    rows = []
    curves = [(strategy, fraction) for fraction in selection.fractions] + [(RANDOM, 1.0)]
    for k, (kept, fraction) in enumerate(curves):
        colour, marker = (BLACK, "x") if kept == RANDOM else look_of(k)
        size, mean, se = selection.curve(kept, fraction)
        alpha = selection.alpha(size)
        label = "1 (random)" if kept == RANDOM else f"{fraction:g}"
        axes.errorbar(alpha, mean, se, fmt=marker, color=colour, label=label)
        fine = np.geomspace(float(alpha.min()), float(alpha.max()), 40)
        theory = _predicted(fine, kept, fraction, selection)
        axes.plot(fine, theory, "-" if kept != RANDOM else "--", color=colour, linewidth=0.9)
        at = _predicted(alpha, kept, fraction, selection)
        rows += [
            {
                "table": selection.name, "strategy": kept, "fraction": fraction, "size": s, "alpha": a, "error": m,
                "se": e, "theory": t,
            }
            for s, a, m, e, t in zip(size, alpha, mean, se, at, strict=True)
        ]  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return rows


def _heights(axes: Axes, selection: Selection) -> None:
    """Room for all that was measured: hard samples of labels that a student cannot learn are worse than chance."""
    errors = np.concatenate([selection.curve(*kept)[1] for kept in selection.errors])
    bottom = max(0.003, 0.7 * float(errors[errors > 0.0].min()))
    axes.set_ylim(bottom, max(0.65, min(1.0, 1.15 * float(errors.max()))))
    axes.set_yticks([tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if tick >= bottom])


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.wrap(name, 60))


def _predicted(alpha: np.ndarray, strategy: str, fraction: float, selection: Selection) -> np.ndarray:
    at = np.clip(alpha, 1e-3, 1e3)
    if strategy == RANDOM:
        return np.asarray(solve(at, keep="random").test_error)
    found = solve(at, fraction, KEEP[strategy], selection.angle, selection.margin, raise_on_failure=False)
    return np.asarray(found.test_error)


def crossovers_figure(found: Sequence[Selection], folder: Path) -> list[Path]:
    """Where hard becomes better than easy: measured with intervals, and predicted, over the kept fraction."""
    rows: list[dict[str, Any]] = []
    with look():
        lines, columns = wrapped(len(found))
        figure, panels = plt.subplots(lines, columns, figsize=(PAGE, 0.4 + 1.9 * lines), squeeze=False, sharey=False)
        for k, (axes, selection) in enumerate(zip(panels.flat, found, strict=False)):
            rows += _crossovers(axes, selection)
            axes.set_xlabel("kept fraction")
            if k % columns == 0:
                axes.set_ylabel("size where hard overtakes easy\n(images a class, or samples)")
        for axes in panels.flat[len(found) :]:
            axes.axis("off")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3)
        return save(figure, folder, "crossovers", rows)


def _crossovers(axes: Axes, selection: Selection) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    sizes = sorted(selection.errors[RANDOM, 1.0])
    bottom, top = 0.6 * sizes[0], 1.6 * sizes[-1]
    for fraction in selection.fractions:
        value, low, high = selection.crossover(fraction)
        predicted, least, most = selection.predicted_crossover(fraction)
        rows.append({
            "table": selection.name, "fraction": fraction, "measured": value, "low": low, "high": high,
            "predicted": predicted, "predicted_low": least, "predicted_high": most,
            "random_error": selection.random_error(value),
            "predicted_random_error": selection.predicted_random_error(fraction),
        })  # fmt: skip
    x = np.array([row["fraction"] for row in rows])
    value, low, high = (np.clip([row[n] for row in rows], bottom, top) for n in ("measured", "low", "high"))
    axes.errorbar(x, value, [value - low, high - value], fmt="o", color=look_of(0)[0], label="measured (95 %)")
    guess, least, most = (np.clip([row[n] for row in rows], bottom, top) for n in _PREDICTED)
    off = [guess - least, most - guess]
    axes.errorbar(x, guess, off, fmt="_", markersize=9, color=look_of(1)[0], label="theory (bar: 95 % of N_eff)")
    axes.axhline(bottom, color="0.7", linewidth=0.6, linestyle=":")
    axes.axhline(top, color="0.7", linewidth=0.6, linestyle=":", label="beyond what was measured")
    axes.set_yscale("log")
    axes.set_ylim(0.8 * bottom, 1.25 * top)
    axes.set_title("\n".join(textwrap.wrap(selection.name, 26)), fontsize=5.5)
    return rows
