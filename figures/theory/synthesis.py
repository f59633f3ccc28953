"""Learnt sets: the theory of points whose noise is correlated, drawn beside simulations and beside what was learnt."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from figures.desk import Desk
from figures.registry import figure
from figures.style import BLACK, BLUE, CYCLE, GREEN, MARKERS, ORANGE, PAGE, PURPLE, RED, look, save
from shared.terminal.progress import Report
from theory import Matched, simulate, solve
from theory.distillation import cells

RESULTS = Path(__file__).resolve().parent.parent.parent / "docs" / "results"
RESIDUALS = (1.0, 0.5, 0.3, 0.0)
DOTS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
KINDS = {
    ("cosine", 1.0): "cosine, trained probes",
    ("squared", 1.0): "squared, trained probes",
    ("cosine", 0.0): "cosine, random probes",
}
SLOPES = {
    "measured": ("measured, D = 200", BLACK, "o"),
    "theory_a": ("(A) U, l", ORANGE, ""),
    "theory_d": ("(D) {1, U, h}", BLUE, ""),
    "selection_teacher": ("selection at teacher margins", PURPLE, ""),
    "selection_probe": ("selection at probe margins", GREEN, ""),
    "dynamics": ("nothing measured (D to infinity)", RED, "s"),
}


@figure("synthesis-residual", group="theory")
def draw_synthesis_residual(desk: Desk) -> list[Path]:
    """Test error against alpha as matching cancels noise: theory and simulations."""
    with desk.progress("synthesis-residual") as report:
        return residual_curves(desk.out, desk.pick(6, 60), report)


def residual_curves(folder: Path, trials: int, report: Report) -> list[Path]:
    """Test error against alpha as the noise along h is cancelled; `trials` a dot."""
    fine = np.geomspace(0.08, 5.0, 60)
    rows: list[dict[str, Any]] = []
    with look():
        figure, panels = plt.subplots(1, 2, figsize=(PAGE, 2.9), sharey=True)
        for panel, keep in zip(panels, ("easy", "hard"), strict=True):
            for k, s in enumerate(RESIDUALS):
                lines = np.asarray(solve(fine, 0.5, keep, noise=Matched(s)).test_error)
                panel.plot(fine, lines, color=CYCLE[k], label=f"s = {s:g}")
                found = simulate(DOTS, 0.5, keep, 0.0, 200, trials, noise=Matched(s), progress=False)
                panel.errorbar(
                    found.alpha, found.test_error, found.test_error_se, fmt=MARKERS[k], color=CYCLE[k], markersize=3.5
                )
                rows += [
                    {"keep": keep, "residual": s, "alpha": a, "theory": t, "simulated": e, "standard_error": se}
                    for a, t, e, se in zip(
                        found.alpha, np.asarray(solve(found.alpha, 0.5, keep, noise=Matched(s)).test_error),
                        found.test_error, found.test_error_se, strict=True,
                    )
                ]  # fmt: skip
                report(len(rows), 2 * len(RESIDUALS) * len(DOTS))
            panel.set_xscale("log")
            panel.set_xlabel(r"points per dimension $\alpha$")
            panel.set_title(f"{keep} half, perfect probe")
        panels[0].set_ylabel(r"test error $\epsilon$")
        panels[0].legend()
        note = f"lines: theory; dots: D = 200, {trials} trials, mean ± standard error; s: noise left along h, beta = 2"
        figure.text(0.995, -0.02, note, ha="right", va="top", fontsize=6)
        return save(figure, folder, "synthesis_residual", rows)


@figure("synthesis-parity", group="theory")
def draw_synthesis_parity(desk: Desk) -> list[Path]:
    """Old and new theory against the measured error of learnt sets."""
    with desk.progress("synthesis-parity") as report:
        return parity(desk.out, desk.pick(1, 1), report)


def parity(folder: Path, size: int, report: Report) -> list[Path]:
    """Old and new theory against the measured error of the 54 recorded cells of learnt sets."""
    table = cells.read(RESULTS / "synthesis_cells.csv")
    shown = {
        "theory_probe": "selection at probe margins",
        "theory_teacher": "selection at teacher margins",
        "theory_b": "(B) U, l, s1",
        "theory_d": "(D) U, l, moments of {1, U, h}",
    }
    found = cells.misses(table)
    with look():
        figure, panels = plt.subplots(1, 4, figsize=(PAGE, 2.3), sharey=True, sharex=True)
        for panel, (name, words) in zip(panels, shown.items(), strict=True):
            panel.plot([0.05, 0.45], [0.05, 0.45], color="0.6", linewidth=0.7)
            for k, kind in enumerate(KINDS):
                own = [c for c in table if (c["distance"], c["probe_alpha"]) == kind]
                panel.errorbar(
                    [c[name] for c in own], [c["test_error"] for c in own], [c["test_error_se"] for c in own],
                    fmt=MARKERS[k], color=CYCLE[k], markersize=3, elinewidth=0.7, markerfacecolor="none",
                )  # fmt: skip
            miss = found[name]
            panel.set_title(f"{words}\nmedian miss {miss.median:.1%}, worst {miss.worst:.0%}", fontsize=6.5)
            panel.set_xlabel("theory")
            panel.set_aspect("equal")
        panels[0].set_ylabel("measured test error")
        handles = [
            Line2D([], [], linestyle="", marker=MARKERS[k], color=CYCLE[k], markerfacecolor="none", label=words)
            for k, words in enumerate(KINDS.values())
        ]
        panels[2].legend(handles=handles, fontsize=5, loc="upper left")
        report(1, 1)
        return save(figure, folder, "synthesis_parity", table)


@figure("synthesis-slopes", group="theory")
def draw_synthesis_slopes(desk: Desk) -> list[Path]:
    """How the test error answers to the correction, against alpha: measured, explained, predicted."""
    with desk.progress("synthesis-slopes") as report:
        return slopes(desk.out, desk.pick(1, 1), report)


def slopes(folder: Path, size: int, report: Report) -> list[Path]:
    """How the test error answers to the correction, against alpha: measured, explained, selected, predicted."""
    with (RESULTS / "synthesis_slopes.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    with look():
        figure, panels = plt.subplots(1, 3, figsize=(PAGE, 2.8), sharey=True)
        for panel, (kind, words) in zip(panels, KINDS.items(), strict=True):
            own = [r for r in table if (r["distance"], float(r["probe_alpha"])) == kind]
            for name, (label, colour, marker) in SLOPES.items():
                rows = [r for r in own if r[name] != ""]
                if not rows:
                    continue
                alpha, value = (np.array([float(r[n]) for r in rows]) for n in ("alpha", name))
                error = np.array([float(r.get(f"{name}_se") or 0.0) for r in rows])
                panel.errorbar(
                    alpha, value, error, fmt=f"{marker}-" if marker else "--", color=colour, label=label, markersize=3.5
                )
            large = [r for r in own if r["measured_large"] != ""]
            if large:
                panel.errorbar(
                    [float(r["alpha"]) for r in large], [float(r["measured_large"]) for r in large],
                    [float(r["measured_large_se"]) for r in large], fmt="D", color=BLACK, markerfacecolor="white",
                    markersize=4, label="measured, D = 800",
                )  # fmt: skip
            panel.axhline(0.0, color="0.6", linewidth=0.6)
            panel.set_xscale("log")
            panel.set_yscale("symlog", linthresh=0.5)
            panel.set_xlabel(r"points per dimension $\alpha$")
            panel.set_title(words)
        panels[0].set_ylabel(r"$d\epsilon/d\lambda$: below 0, easier helps")
        panels[1].legend(*panels[0].get_legend_handles_labels(), fontsize=5.5, loc="lower right")
        report(1, 1)
        return save(figure, folder, "synthesis_slopes", table)
