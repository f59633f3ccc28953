"""GraDN, misclassification rate and loss of real samples against each other, of all classes and class by class."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from empirical.evaluation.difficulty_ensemble import Scores
from figures.names import shown
from figures.style import BLUE, PAGE, look, save, wrapped
from shared.measures.correlation import Correlation, spearman

Array = NDArray[np.float64]
WORDS = {"gradn": "GraDN", "misclassified": "misclassification rate (%)", "loss": "loss"}
SCALE = {"gradn": 1.0, "misclassified": 100.0, "loss": 1.0}
LOGARITHMIC = "loss"


def pairs_figure(scores: Scores, title: str, folder: Path, name: str, resamples: int, seed: int) -> list[Path]:
    """Each two measures against each other, with Spearman's correlation; a row a sample in the CSV."""
    values = {measure: scores.mean(measure) for measure in WORDS}
    kept = np.asarray(np.isfinite(np.stack(list(values.values()))).all(axis=0), bool)
    with look():
        figure, panels = plt.subplots(1, 3, figsize=(PAGE, 2.4))
        for axes, (one, two) in zip(panels, combinations(WORDS, 2), strict=True):
            found = spearman(values[one][kept], values[two][kept], resamples=resamples, seed=seed)
            _cloud(axes, values[one][kept], values[two][kept], one, two)
            axes.set_title(f"Spearman {found.value:.2f} [{found.low:.2f}, {found.high:.2f}]", fontsize=7)
        head = "\n".join(shown(part) for part in title.split(": ", 1))
        figure.suptitle(f"{head} (95 % over samples; these networks)", fontsize=7)
        rows = [
            {"sample": int(i), "label": int(k), **{m: float(values[m][j]) for m in WORDS}}
            for j, (i, k) in enumerate(zip(scores.indices, scores.labels, strict=True))
            if kept[j]
        ]
        return save(figure, folder, f"pairs-{name}", rows)


def classes_figure(
    scores: Scores, title: str, folder: Path, name: str, resamples: int, seed: int, words: dict[int, str]
) -> list[Path]:
    """GraDN against misclassification rate, a panel a class; a row a class in the CSV."""
    gradn, rate = scores.mean("gradn"), scores.mean("misclassified")
    kept = np.isfinite(gradn) & np.isfinite(rate)
    labels = np.unique(scores.labels)
    lines, columns = wrapped(len(labels))
    rows: list[dict[str, Any]] = []
    with look():
        figure, panels = plt.subplots(
            lines, columns, figsize=(PAGE, 0.6 + 1.35 * lines), sharex=True, sharey=True, squeeze=False
        )
        for axes, label in zip(panels.flat, labels, strict=False):
            here = kept & (scores.labels == label)
            found = class_correlation(gradn[here], rate[here], resamples, seed)
            _cloud(axes, rate[here], gradn[here], "misclassified", "gradn")
            axes.set_xlabel("")
            axes.set_ylabel("")
            axes.set_title(f"{shown(words.get(int(label), str(label)))}: {found.value:.2f}", fontsize=6.5)
            rows.append({
                "label": int(label), "samples": int(here.sum()), "spearman": found.value, "low": found.low,
                "high": found.high, "mean_rate": float(rate[here].mean()), "mean_gradn": float(gradn[here].mean()),
            })  # fmt: skip
        for axes in panels.flat[len(labels) :]:
            axes.axis("off")
        figure.supxlabel(WORDS["misclassified"], fontsize=8)
        figure.supylabel(WORDS["gradn"], fontsize=8)
        figure.suptitle(f"{shown(title)}: Spearman within each class", fontsize=7)
        return save(figure, folder, f"classes-{name}", rows)


def class_correlation(gradn: Array, rate: Array, resamples: int, seed: int) -> Correlation:
    """Within one class; NaN where every network agrees on all of its samples."""
    if len(rate) < 3 or np.ptp(rate) == 0.0:
        return Correlation(math.nan, math.nan, math.nan, 0.95, len(rate))
    return spearman(gradn, rate, resamples=resamples, seed=seed)


def _cloud(axes: Axes, x: Array, y: Array, one: str, two: str) -> None:
    """Samples as dots; rates are folded at 0 and 1 after the jitter that tells equal ones apart."""
    rng = np.random.default_rng(0)
    placed = []
    for values, name in ((x, one), (y, two)):
        spread = 0.35 * float(min(np.diff(np.unique(values)), default=0.0)) if name == "misclassified" else 0.0
        moved = values + rng.uniform(-spread, spread, len(values))
        placed.append(SCALE[name] * (1.0 - np.abs(1.0 - np.abs(moved)) if name == "misclassified" else moved))
    axes.plot(*placed, ".", color=BLUE, markersize=1.4, alpha=0.35, rasterized=True)
    axes.set_xlabel(WORDS[one])
    axes.set_ylabel(WORDS[two])
    if LOGARITHMIC in (one, two) and float((x if one == LOGARITHMIC else y).min()) > 0.0:
        (axes.set_xscale if one == LOGARITHMIC else axes.set_yscale)("log")
        axis = axes.xaxis if one == LOGARITHMIC else axes.yaxis
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:g}"[-1] in "25" else ""))
