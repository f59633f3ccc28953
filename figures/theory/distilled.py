"""Distillation inside the perceptron: the error of what was learnt beside the theory of what was selected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from figures.desk import Desk
from figures.registry import figure
from figures.style import BLACK, CYCLE, MARKERS, PAGE, look, save
from shared.terminal.progress import Report
from theory import solve
from theory.distillation.learning import Distillation
from theory.distillation.study import study

COEFFICIENTS = (-0.03, 0.0, 0.03, 0.1, 0.3)
PREDICTIONS = {"theory_probe": "o", "theory_tilted": "s", "theory_teacher": "D"}
NOTE = (
    "D = 200, cosine matching, probes trained on D samples, mean ± standard error over distillations; signed margin.\n"
    "(a): theory at the realised margins; (b): at the tilt of the same mean difficulty along the held-out probe"
)


@figure("distilled")
def draw_distilled_figure(desk: Desk) -> list[Path]:
    """Distillation inside the perceptron: what was learnt beside the theory of what is selected."""
    with desk.progress("distilled") as report:
        return distilled_figure(desk.out, desk.pick(1, 5), report)


def distilled_figure(folder: Path, cells: int, report: Report) -> list[Path]:
    """Test error over alpha for several lambda, the difficulty that lambda leaves, and the departure from selection.

    ``cells``: distillations a point; the record is kept and resumed in the folder ``distilled``.
    """
    alphas = (0.25, 0.5, 1.0, 2.0, 4.0) if cells > 1 else (0.5, 2.0)
    settings = [Distillation(a, c, s) for a in alphas for c in COEFFICIENTS for s in range(cells)]
    rows = study(settings, folder / "distilled", report)
    with look():
        figure, ((errors, agreement), (difficulty, apart)) = plt.subplots(2, 2, figsize=(PAGE, 4.6))
        fine = np.geomspace(0.8 * min(alphas), 1.25 * max(alphas), 60)
        errors.plot(fine, np.asarray(solve(fine, keep="random").test_error), color=BLACK, label="random samples")
        agreement.plot([0.06, 0.45], [0.06, 0.45], color="0.6", linewidth=0.7)
        for k, coefficient in enumerate(COEFFICIENTS):
            colour, marker = CYCLE[k % len(CYCLE)], MARKERS[k % len(MARKERS)]
            value, se = _over(rows, alphas, coefficient, "test_error")
            label = rf"$\lambda$ = {coefficient:g}"
            errors.errorbar(alphas, value, se, fmt=f"{marker}-", color=colour, label=label)
            for (name, shown), filled in zip(PREDICTIONS.items(), ("none", colour, "0.8"), strict=True):
                agreement.plot(
                    _over(rows, alphas, coefficient, name)[0], value, linestyle="", marker=shown, markersize=4,
                    markeredgecolor=colour, markerfacecolor=filled, markeredgewidth=0.8,
                )  # fmt: skip
            difficulty.errorbar(alphas, *_over(rows, alphas, coefficient, "mean_h"), fmt=f"{marker}-", color=colour)
            apart.errorbar(alphas, *_over(rows, alphas, coefficient, "overlap"), fmt=f"{marker}-", color=colour)
        starts = [np.mean([r["start_h"] for r in rows if r["alpha"] == a]) for a in alphas]
        difficulty.plot(alphas, starts, ".:", color=BLACK, label="start: real samples")
        for axes in (errors, difficulty, apart):
            axes.set_xscale("log")
            axes.set_xticks(alphas, [f"{a:g}" for a in alphas])
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel(r"points per dimension $\alpha$")
        errors.set_ylabel("test error")
        errors.set_ylim(0.0, 0.58)
        errors.set_title("trained on the learnt points")
        errors.legend(fontsize=5.5, ncols=2, loc="upper right")
        handles = [
            Line2D([], [], linestyle="", marker=marker, color="0.3", markerfacecolor=filled, label=words)
            for marker, filled, words in zip(
                PREDICTIONS.values(), ("none", "0.3", "0.8"), ("(a) along a held-out probe", "(b) tilted density",
                "(a) along the teacher"), strict=True,
            )
        ]  # fmt: skip
        agreement.legend(handles=handles, fontsize=5.5, loc="upper left")
        agreement.set_xlabel("theory: error of selected samples")
        agreement.set_ylabel("test error of learnt points")
        agreement.set_title("synthesis against selection")
        difficulty.set_yscale("log")
        difficulty.set_ylabel("mean h along a held-out probe")
        difficulty.set_title("difficulty of the points")
        difficulty.legend(fontsize=5.5, loc="lower right")
        apart.axhline(0.0, color="0.6", linewidth=0.6)
        apart.set_yscale("symlog", linthresh=0.1)
        apart.set_ylabel(r"$(D-2)\,\langle (v_i\cdot v_j)^2\rangle - 1$")
        apart.set_title("departure from isotropy outside teacher and probe")
        figure.text(0.005, -0.02, NOTE, ha="left", va="top", fontsize=5)
        return save(figure, folder, "distilled", rows)


def _over(
    rows: list[dict[str, Any]], alphas: tuple[float, ...], coefficient: float, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error over distillations at each alpha; NaN where none exists, 0 for a single one."""
    found = []
    for alpha in alphas:
        values = np.array([r[name] for r in rows if r["alpha"] == alpha and r["coefficient"] == coefficient], float)
        values = values[np.isfinite(values)]
        spread = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else 0.0
        found.append((values.mean() if values.size else np.nan, spread))
    mean, se = np.array(found).T
    return mean, se
