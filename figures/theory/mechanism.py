"""Learnt sets, two explanations: the floor at few points, and what the correction does to a point of a given margin."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from figures.desk import Desk
from figures.registry import figure
from figures.style import BLACK, BLUE, CYCLE, GREEN, MARKERS, ORANGE, PAGE, RED, look, save
from figures.theory.synthesis import RESULTS
from shared.terminal.progress import Report
from theory import Matched, simulate, solve
from theory.distillation.dynamics import real_averages
from theory.distillation.mechanism import pull, turning_margin
from theory.errors import NotConverged
from theory.synthesis.minimum_norm import minimum_norm

BETA = 2.0
ARROW = {"arrowstyle": "-", "linewidth": 0.5}
RATIOS = (0.3, 0.1, 0.03)  # c = s^2 / alpha: 1 / (real samples per dimension)
MATCHED = (1.6, 0.8, 0.4, 0.2, 0.1, 0.05)
DOTS = (0.04, 0.08, 0.16, 0.32, 0.64, 1.28)


@figure("synthesis-floor", group="theory")
def draw_synthesis_floor(desk: Desk) -> list[Path]:
    """Test error at few points: to a floor where the noise that is left shrinks with them, to 1/2 where it does not."""
    with desk.progress("synthesis-floor") as report:
        return floor(desk.out, desk.pick(10, 300), desk.pick(2, len(MATCHED)), report)


def floor(folder: Path, trials: int, matched: int, report: Report) -> list[Path]:
    """Random samples of noise s^2 = c alpha along h (`trials` a dot), and exactly matching sets at `matched` alphas."""
    signal, square, _ = real_averages(BETA, 1.0)
    fine = np.geomspace(2e-3, 1.5, 40)
    rows: list[dict[str, Any]] = []
    with look():
        drawing, (left, right) = plt.subplots(1, 2, figsize=(PAGE, 2.9), sharey=True)
        left.plot(fine, np.asarray(solve(fine, keep="random").test_error), color=BLACK, label="s = 1")
        fixed = np.asarray(solve(fine, keep="random", noise=Matched(0.3)).test_error)
        left.plot(fine, fixed, color="0.5", label="s = 0.3 at every alpha")
        for k, c in enumerate(RATIOS):
            limit = math.atan(math.sqrt(c * square) / signal[0]) / math.pi
            lines = [float(solve(a, keep="random", noise=Matched(math.sqrt(c * a))).test_error) for a in fine]
            left.plot(fine, lines, color=CYCLE[k], label=rf"$s^2 = {c:g}\,\alpha$")
            left.axhline(limit, color=CYCLE[k], linewidth=0.7, linestyle=":")
            for a in DOTS:
                noise = Matched(math.sqrt(c * a))
                found = simulate(a, 1.0, "random", 0.0, 200, trials, noise=noise, progress=None)
                left.errorbar(a, found.test_error, found.test_error_se, fmt=MARKERS[k], color=CYCLE[k], markersize=3.5)
                rows.append(
                    {"c": c, "alpha": a, "theory": float(solve(found.alpha, keep="random", noise=noise).test_error),
                     "floor": limit, "simulated": found.test_error, "standard_error": found.test_error_se}
                )  # fmt: skip
                report(len(rows), len(RATIOS) * len(DOTS))
        left.set_title("random samples, noise along h cancelled to s")
        left.set_ylabel(r"test error $\epsilon$")
        for k, real in enumerate((3.0, 10.0, 30.0)):
            solved = [(a, error) for a in MATCHED[:matched] if math.isfinite(error := _matched(a, real))]
            alphas, errors = zip(*solved, strict=True)
            right.plot(
                alphas,
                errors,
                marker=MARKERS[k],
                markersize=3,
                color=CYCLE[k],
                label=f"{real:g} real samples per dimension",
            )
            limit = math.atan(math.sqrt(square / real) / signal[0]) / math.pi
            right.axhline(limit, color=CYCLE[k], linewidth=0.7, linestyle=":")
            rows += [
                {"c": 1.0 / real, "alpha": float(a), "matched": e, "floor": limit}
                for a, e in zip(alphas, errors, strict=True)
            ]
        right.plot(fine, np.asarray(solve(fine, keep="random").test_error), color=BLACK, label="random samples")
        right.set_title("nearest sets that match exactly (squared distance)")
        for panel in (left, right):
            panel.set_xscale("log")
            panel.set_xlabel(r"points per dimension $\alpha$")
            panel.set_ylim(0.0, 0.5)
            panel.legend(fontsize=6, loc="lower left", ncols=2 if panel is left else 1)
        words = rf"dots: D = 200, {trials} trials, mean ± standard error; dotted: "
        words += r"the floor $\arctan(\sqrt{c}/E[\hat h U])/\pi$, c = 1 / real samples per dimension"
        drawing.text(0.995, -0.02, words, ha="right", va="top", fontsize=6)
        return save(drawing, folder, "synthesis_floor", rows)


def _matched(alpha: float, real: float) -> float:
    """Error of the nearest matching set; NaN where its points jump between two minima and no root is found."""
    try:
        return minimum_norm(alpha, real=real).test_error
    except NotConverged:
        return math.nan


@figure("synthesis-mechanism", group="theory")
def draw_synthesis_mechanism(desk: Desk) -> list[Path]:
    """The correction is no tilt: its pull by margin, on learnt sets, and what that does to the test error."""
    return mechanism(desk.out)


def mechanism(folder: Path) -> list[Path]:
    """The pull at a perfect probe; one pull on recorded learnt sets (`python -m theory synthesis kick`)."""
    with (RESULTS / "synthesis_kick.csv").open(encoding="utf-8", newline="") as file:
        table = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    alpha = np.array([row["alpha"] for row in table])
    with look():
        drawing, (law, moved, error) = plt.subplots(1, 3, figsize=(PAGE, 2.6))
        U = np.linspace(0.0, 3.0, 301)
        turn = turning_margin(BETA)
        law.plot(U, U / (1.0 + np.exp(BETA * U)), color=BLUE, label=r"$U\,h(\beta U)$")
        law.plot(U, pull(U, BETA), color=RED, label=r"$dU/d\lambda$")
        law.axhline(0.0, color="0.6", linewidth=0.6)
        law.axvline(turn, color="0.6", linewidth=0.6, linestyle=":")
        law.annotate(f"U = {turn:.2f}", (turn, 0.18), xytext=(3, 0), textcoords="offset points", fontsize=6)
        law.annotate("to the\nboundary", (0.4, -0.12), xytext=(0.85, -0.28), fontsize=6, arrowprops=ARROW)
        law.annotate("outwards", (1.5, 0.09), xytext=(1.7, 0.15), fontsize=6, arrowprops=ARROW)
        law.set_xlabel("margin along the teacher U")
        law.set_title("pull at a perfect probe")
        law.legend(fontsize=6, loc="lower right")
        groups = (
            (moved, (("lowest_fifth", "lowest fifth of U", BLUE), ("highest_fifth", "highest fifth", RED))),
            (error, (("direct", "trained on", BLACK), ("theory_b", "theory (B)", BLUE),
                     ("only_margins", "only U moved", ORANGE), ("only_rest", "only the rest", GREEN))),
        )  # fmt: skip
        for panel, shown in groups:
            for k, (name, words, colour) in enumerate(shown):
                values, errors = (np.array([row[n] for row in table]) for n in (name, f"{name}_se"))
                panel.errorbar(
                    alpha, values, errors, marker=MARKERS[k], color=colour, label=words, markersize=3.5, capsize=1.5
                )
            panel.axhline(0.0, color="0.6", linewidth=0.6)
            panel.set_xscale("log")
            panel.set_xlabel(r"points per dimension $\alpha$")
            panel.legend(fontsize=6)
        moved.set_title("one pull on learnt sets: change of U")
        error.set_title("the same: change of test error")
        drawing.text(
            0.995, -0.02, f"D = 200, {table[0]['sets']:.0f} sets an alpha, mean ± standard error, pull of size "
            f"{table[0]['size']:g}", ha="right", va="top", fontsize=6,
        )  # fmt: skip
        return save(drawing, folder, "synthesis_mechanism", table)
