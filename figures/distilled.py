"""Distillation inside the perceptron: the error of what was learnt beside the theory of what was selected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter

from figures.style import BLACK, CYCLE, MARKERS, PAGE, look, save
from shared.progress import Report
from theory import solve
from theory.distilled import Settings, study

COEFFICIENTS = (-0.03, 0.0, 0.03, 0.1, 0.3)
NOTE = (
    "D = 200, cosine matching, probes trained on D samples, mean ± standard error over distillations; signed margin. "
    "(a): theory at the margins realised along a held-out probe; (b): at the tilt of the same mean difficulty"
)


def distilled_figure(folder: Path, cells: int, report: Report) -> list[Path]:
    """Test error over alpha for several lambda, the difficulty that lambda leaves, and the departure from selection.

    ``cells``: distillations a point; the record is kept and resumed in the folder ``distilled``.
    """
    alphas = (0.25, 0.5, 1.0, 2.0, 4.0) if cells > 1 else (0.5, 2.0)
    settings = [Settings(a, c, s) for a in alphas for c in COEFFICIENTS for s in range(cells)]
    rows = study(settings, folder / "distilled", report)
    with look():
        figure, (errors, difficulty, apart) = plt.subplots(1, 3, figsize=(PAGE, 2.6))
        fine = np.geomspace(0.8 * min(alphas), 1.25 * max(alphas), 60)
        errors.plot(fine, np.asarray(solve(fine, keep="random").test_error), color=BLACK, label="random samples")
        for k, coefficient in enumerate(COEFFICIENTS):
            colour, marker = CYCLE[k % len(CYCLE)], MARKERS[k % len(MARKERS)]
            value, se = _over(rows, alphas, coefficient, "test_error")
            errors.errorbar(alphas, value, se, fmt=marker, color=colour, label=rf"$\lambda$ = {coefficient:g}")
            for name, style in (("theory_probe", ":"), ("theory_tilted", "--"), ("theory_teacher", "-")):
                errors.plot(alphas, _over(rows, alphas, coefficient, name)[0], style, color=colour, linewidth=0.8)
            difficulty.errorbar(alphas, *_over(rows, alphas, coefficient, "mean_h"), fmt=f"{marker}-", color=colour)
            apart.errorbar(alphas, *_over(rows, alphas, coefficient, "overlap"), fmt=f"{marker}-", color=colour)
        starts = [np.mean([r["start_h"] for r in rows if r["alpha"] == a]) for a in alphas]
        difficulty.plot(alphas, starts, ".:", color=BLACK, label="start: real samples")
        for axes in (errors, difficulty, apart):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            axes.set_xlabel(r"points per dimension $\alpha$")
        errors.set_yscale("log")
        errors.set_ylabel("test error")
        errors.set_title("lines: (a) dotted, (b) dashed,\nat the margins along the teacher: solid")
        errors.legend(fontsize=5.5)
        difficulty.set_yscale("log")
        difficulty.set_ylabel("mean h along a held-out probe")
        difficulty.set_title("difficulty of the points")
        difficulty.legend(fontsize=5.5)
        apart.axhline(0.0, color="0.6", linewidth=0.6)
        apart.set_yscale("symlog", linthresh=0.1)
        apart.set_ylabel(r"$(D-2)\,\langle (v_i\cdot v_j)^2\rangle - 1$")
        apart.set_title("departure from isotropy\noutside teacher and probe")
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
