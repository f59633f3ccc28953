"""Distillation inside the perceptron: the error of what was learnt beside theories of selection and of synthesis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator
from scipy.stats import t as student

from figures.desk import Desk
from figures.registry import figure
from figures.style import BLACK, CYCLE, MARKERS, PAGE, look, look_of, save
from shared.terminal.progress import Report
from theory import solve
from theory.distillation.learning import Distillation
from theory.distillation.study import study

COEFFICIENTS = (-0.03, 0.0, 0.03, 0.1, 0.3)
JUDGED = {
    "theory_probe": "selected, margins along a held-out probe",
    "theory_teacher": "selected, margins along the teacher",
    "theory_d": "synthesised, moments of {1, U, h}",
}
"""Theories of the same points that are laid beside the measured error, and what each takes them for."""
NOTE = (
    "D = 200, cosine matching, probes trained on D samples, signed margin; {cells} distillations a point. (a), (c): "
    "mean ± standard error.\n(b): large markers: λ = 0; small ones: the other λ. (d): paired by seed, ± 95 % (t)."
)


@figure("distilled", group="theory")
def draw_distilled_figure(desk: Desk) -> list[Path]:
    """Distillation inside the perceptron: what was learnt beside theories of it, and what lambda gains."""
    with desk.progress("distilled") as report:
        return distilled_figure(desk.out, desk.pick(1, 5), report)


def distilled_figure(folder: Path, cells: int, report: Report) -> list[Path]:
    """Test error over alpha for several lambda, how far theories miss it, the points' difficulty, what lambda gains.

    ``cells``: distillations a point; the record is kept and resumed in the folder ``distilled``.
    """
    alphas = (0.25, 0.5, 1.0, 2.0, 4.0) if cells > 1 else (0.5, 2.0)
    settings = [Distillation(a, c, s) for a in alphas for c in COEFFICIENTS for s in range(cells)]
    rows = study(settings, folder / "distilled", report)
    with look():
        figure, ((errors, judged), (difficulty, gains)) = plt.subplots(2, 2, figsize=(PAGE, 4.9))
        _errors(errors, rows, alphas)
        _judged(judged, rows, alphas)
        _difficulty(difficulty, rows, alphas)
        _gains(gains, rows, alphas)
        for axes, letter in zip((errors, judged, difficulty, gains), "abcd", strict=True):
            axes.set_xscale("log")
            axes.set_xticks(alphas, [f"{a:g}" for a in alphas])
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel(r"points per dimension $\alpha$")
            axes.set_title(f"({letter}) {axes.get_title()}")
        figure.text(0.005, -0.01, NOTE.format(cells=cells), ha="left", va="top", fontsize=5.5)
        return save(figure, folder, "distilled", rows)


def _errors(axes: Axes, rows: list[dict[str, Any]], alphas: Sequence[float]) -> None:
    fine = np.geomspace(0.8 * min(alphas), 1.25 * max(alphas), 60)
    axes.plot(fine, np.asarray(solve(fine, keep="random").test_error), color=BLACK, label="theory, random samples")
    for k, coefficient in enumerate(COEFFICIENTS):
        colour, marker = look_of(k)
        value, se = _over(rows, alphas, coefficient, "test_error")
        axes.errorbar(alphas, value, se, fmt=f"{marker}-", color=colour, label=rf"learnt, $\lambda$ = {coefficient:g}")
    axes.set_ylabel("test error")
    axes.set_ylim(bottom=0.0)
    axes.set_title("trained on the learnt points")
    axes.legend(fontsize=5.5, loc="lower left", ncols=2)


def _judged(axes: Axes, rows: list[dict[str, Any]], alphas: Sequence[float]) -> None:
    """Theory over measurement for the same points: 1 is right."""
    axes.axhline(1.0, color="0.6", linewidth=0.7)
    for k, (name, words) in enumerate(JUDGED.items()):
        colour, marker = CYCLE[(1, 3, 0)[k]], MARKERS[k]
        for coefficient in COEFFICIENTS:
            measured, _ = _over(rows, alphas, coefficient, "test_error")
            ratio = _over(rows, alphas, coefficient, name)[0] / measured
            if coefficient == 0.0:
                axes.plot(alphas, ratio, f"{marker}-", color=colour, markersize=4.5, label=words)
            else:
                axes.plot(alphas, ratio, marker, color=colour, markersize=2.2, alpha=0.7)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator([0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.75), max(high, 1.5) * 1.5)  # room for the legend
    axes.set_ylabel("theory / measured test error")
    axes.set_title("theories at the realised points")
    axes.legend(fontsize=5.5, loc="upper right")


def _difficulty(axes: Axes, rows: list[dict[str, Any]], alphas: Sequence[float]) -> None:
    for k, coefficient in enumerate(COEFFICIENTS):
        colour, marker = look_of(k)
        axes.errorbar(alphas, *_over(rows, alphas, coefficient, "mean_h"), fmt=f"{marker}-", color=colour)
    starts = [np.mean([r["start_h"] for r in rows if r["alpha"] == a]) for a in alphas]
    axes.plot(alphas, starts, ".:", color=BLACK, label="start: real samples")
    axes.set_yscale("log")
    axes.set_ylabel("mean h along a held-out probe")
    axes.set_title("difficulty of the points")
    axes.legend(fontsize=5.5, loc="lower right")


def _gains(axes: Axes, rows: list[dict[str, Any]], alphas: Sequence[float]) -> None:
    """What lambda takes off the test error, paired by seed: above 0 easier points help."""
    axes.axhline(0.0, color="0.6", linewidth=0.7)
    others = [c for c in COEFFICIENTS if c != 0.0]
    for k, coefficient in enumerate(COEFFICIENTS):
        if coefficient == 0.0:
            continue
        colour, marker = look_of(k)
        gain, half = np.array([paired_gain(rows, a, coefficient) for a in alphas]).T
        aside = np.asarray(alphas) * 1.03 ** (2 * others.index(coefficient) - len(others) + 1)  # bars beside each other
        axes.errorbar(aside, gain, np.nan_to_num(half), fmt=f"{marker}-", color=colour, capsize=1.5)
    axes.set_yscale("symlog", linthresh=0.02)
    axes.yaxis.set_major_locator(FixedLocator([-0.2, -0.1, -0.05, -0.02, -0.01, 0.0, 0.01, 0.02, 0.05]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.set_ylabel(r"$\epsilon(0) - \epsilon(\lambda)$")
    axes.set_title(r"what $\lambda$ gains (above 0: easier helps, if $\lambda > 0$)")


def paired_gain(rows: list[dict[str, Any]], alpha: float, coefficient: float) -> tuple[float, float]:
    """(mean over seeds of the error without lambda minus that with it, half of its 95 % t interval).

    NaN where there is no pair, and no interval of one.
    """
    error = {(r["coefficient"], r["seed"]): r["test_error"] for r in rows if r["alpha"] == alpha}
    pairs = [(error[0.0, s], error[c, s]) for c, s in error if c == coefficient and (0.0, s) in error]
    gains = np.array([plain - other for plain, other in pairs])
    gains = gains[np.isfinite(gains)]
    if gains.size < 2:
        return float(gains[0]) if gains.size else np.nan, np.nan
    half = student.ppf(0.975, gains.size - 1) * gains.std(ddof=1) / np.sqrt(gains.size)
    return float(gains.mean()), float(half)


def _over(
    rows: list[dict[str, Any]], alphas: Sequence[float], coefficient: float, name: str
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
