"""Accuracy over the coefficient: lambda sensitivity, lambda against images a class, ASDC against SDC."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.patches import Rectangle

from figures.names import PANEL, shown, stem, stems
from figures.runs.recorded import PLAIN, Cells, Correction, Variants, accuracy, distilled
from figures.runs.tables import Measured, paired_gain
from figures.style import BLACK, BLUE, COLUMN, GREEN, PAGE, RED, look, look_of, save, wrapped
from shared.comparison.grid import Grid
from shared.comparison.order_check import best_cells
from shared.records.roles import OTHER

PALE = 0.3
"""Opacity of a gain that its interval does not tell from 0."""


def constant(variants: Variants) -> list[Correction]:
    """The plain method and every constant coefficient, increasing; none that was given as a pull, another axis."""
    return [c for c in variants if not c.adaptive and not c.pull]


def gain(variants: Variants, correction: Correction) -> tuple[float, float, int] | None:
    """(mean paired gain over the plain method in points, half of its 95 % interval, pairs); None without a pair."""
    plain, other = ({seed: r.percent for seed, r in variants.get(c, {}).items()} for c in (PLAIN, correction))
    return paired_gain(Measured(plain, other, str(correction)))


def sensitivity_figures(cells: Cells, folder: Path) -> list[Path]:
    """Accuracy against lambda: a figure a data set, a panel a method, a line for each IPC with three coefficients."""
    pages: dict[str, dict[str, dict[int, Variants]]] = {}
    for (dataset, method, ipc), variants in distilled(cells).items():
        if len(constant(variants)) >= 3:
            pages.setdefault(dataset, {}).setdefault(method, {})[ipc] = variants
    named = stems(pages)
    paths: list[Path] = []
    for dataset, methods in pages.items():
        paths += _sensitivity_figure(dataset, methods, folder, f"sensitivity-{named[dataset]}")
    return paths


def _sensitivity_figure(dataset: str, methods: dict[str, dict[int, Variants]], folder: Path, name: str) -> list[Path]:
    rows: list[dict[str, Any]] = []
    sizes = sorted({ipc for lines in methods.values() for ipc in lines})
    seeds = max(len(s) for lines in methods.values() for v in lines.values() for s in v.values())
    with look():
        width = COLUMN if len(methods) == 1 else PAGE
        rows_of_panels, columns = wrapped(len(methods))
        size = (width, 2.6 * rows_of_panels)
        figure, panels = plt.subplots(rows_of_panels, columns, figsize=size, sharey=True, squeeze=False)
        for axes in panels.flat[len(methods) :]:
            axes.set_visible(False)
        for axes, (method, lines) in zip(panels.flat, methods.items(), strict=False):
            coefficients = sorted({c.start for v in lines.values() for c in constant(v)})
            for ipc, variants in lines.items():
                named = {"method": method, "ipc": ipc}
                rows += _line(axes, variants, named, coefficients, look_of(sizes.index(ipc)))
            _equal_steps(axes, coefficients)
            # above the axes: error bars leave no free corner
            axes.legend(
                title=f"{shown(method.upper(), PANEL)}, IPC", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=6,
                columnspacing=1.0, title_fontsize=7,
            )  # fmt: skip
        for axes in panels[:, 0]:
            axes.set_ylabel("test accuracy (%)")
        spread = f"mean ± s.e. over up to {seeds} seeds" if seeds > 1 else "one seed, no error bars"
        figure.suptitle(f"{shown(dataset)}; {spread}", fontsize=7)
        return save(figure, folder, name, rows)


def _line(
    axes: Axes, variants: Variants, named: dict[str, Any], coefficients: list[float], style: tuple[str, str]
) -> list[dict[str, Any]]:
    rows, (colour, marker) = [], style
    for correction in constant(variants):
        mean, error, seeds = accuracy(variants[correction])
        paired = gain(variants, correction) if correction != PLAIN else None
        difference, half, pairs = paired or (math.nan, math.nan, 0)
        rows.append(
            {
                **named, "lambda": correction.start, "accuracy": mean, "se": error, "seeds": seeds,
                "paired_gain": difference, "half_width_95": half, "pairs": pairs,
            }
        )  # fmt: skip
    x = [coefficients.index(r["lambda"]) for r in rows]
    y, e = (np.array([r[name] for r in rows]) for name in ("accuracy", "se"))
    axes.errorbar(x, y, np.nan_to_num(e), fmt=marker + "-", color=colour, capsize=1.5, label=str(named["ipc"]))
    return rows


def _equal_steps(axes: Axes, coefficients: list[float]) -> None:
    """One step a coefficient: any scale would spend its width between coefficients, where nothing was measured."""
    crowded = len(coefficients) > 8 or max(len(f"{c:g}") for c in coefficients) > 5
    axes.set_xticks(range(len(coefficients)), [f"{c:g}" for c in coefficients], rotation=40 if crowded else 0)
    axes.set_xlim(-0.4, len(coefficients) - 0.6)
    if 0.0 in coefficients:
        axes.axvline(coefficients.index(0.0), color="0.85", linewidth=0.8, zorder=0)
    axes.set_xlabel(r"coefficient $\lambda$ (equal steps)")


def ipc_figures(cells: Cells, folder: Path) -> list[Path]:
    """Gain of each coefficient at each IPC, a figure for each method with two IPC of two coefficients or more."""
    pages: dict[tuple[str, str], dict[int, Variants]] = {}
    for (dataset, method, ipc), variants in distilled(cells).items():
        if PLAIN in variants and len(constant(variants)) >= 3:
            pages.setdefault((dataset, method), {})[ipc] = variants
    paths: list[Path] = []
    named = stems(dataset for dataset, _ in pages)
    for (dataset, method), by_ipc in pages.items():
        if len(by_ipc) >= 2:
            title = f"{shown(method)} on {shown(dataset)}"
            paths += _ipc_figure(title, by_ipc, folder, f"lambda-ipc-{named[dataset]}-{stem(method)}")
    return paths


def best_told(by_ipc: Mapping[int, Variants], coefficients: Sequence[float]) -> dict[int, float]:
    """IPC -> its best lambda, where the order check tells that from 0 (`shared.comparison.order_check`)."""
    every = sorted({0.0, *coefficients})
    variants = [[v.get(Correction(c), {}) for c in every] for v in by_ipc.values()]
    found = [r for row in variants for seeds in row for r in seeds.values()]
    seeds = sorted({r.seed for r in found})
    networks = max(r.percent.size for r in found)
    accuracy = np.full((len(by_ipc), len(every), len(seeds), networks), np.nan)
    for (i, row), (k, seed) in product(enumerate(variants), enumerate(seeds)):
        for j, runs in enumerate(row):
            if seed in runs:
                accuracy[i, j, k, : runs[seed].percent.size] = runs[seed].percent / 100.0
    grid = Grid("", "", OTHER, 2, np.array(list(by_ipc)), np.array(every), accuracy)
    return {cell.ipc: cell.best for cell in best_cells(grid) if cell.identifiable}


def _ipc_figure(title: str, by_ipc: dict[int, Variants], folder: Path, name: str) -> list[Path]:
    coefficients = sorted({c.start for v in by_ipc.values() for c in constant(v) if c != PLAIN})
    table = np.full((len(by_ipc), len(coefficients), 2), np.nan)
    rows = []
    for i, (ipc, variants) in enumerate(by_ipc.items()):
        for k, coefficient in enumerate(coefficients):
            found = gain(variants, Correction(coefficient))
            if found is not None:
                table[i, k] = found[:2]
                rows.append(
                    {
                        "ipc": ipc, "lambda": coefficient, "paired_gain": found[0], "half_width_95": found[1],
                        "pairs": found[2],
                    }
                )  # fmt: skip
    if not rows:
        return []
    most = max(1e-6, float(np.nanmax(np.abs(table[..., 0]))))
    with look():
        width = COLUMN if len(coefficients) <= 5 else PAGE
        figure, axes = plt.subplots(figsize=(width, 0.9 + 0.42 * len(by_ipc)))
        told_cells = np.abs(table[..., 0]) > table[..., 1]  # false without an interval
        norm = TwoSlopeNorm(0.0, -most, most)
        image = axes.imshow(
            table[..., 0], cmap="PuOr", norm=norm, aspect="auto", alpha=np.where(told_cells, 1.0, PALE)
        )
        for i, k in np.argwhere(np.isfinite(table[..., 0])):
            value, half = table[i, k]
            words = "0.0" if abs(value) < 0.05 else f"{value:+.1f}"
            words += f"\n± {half:.1f}" if np.isfinite(half) else ""
            colour = "white" if told_cells[i, k] and abs(value) > 0.6 * most else BLACK
            axes.text(k, i, words, ha="center", va="center", fontsize=6, color=colour)
        told = best_told(by_ipc, coefficients)
        for i, ipc in enumerate(by_ipc):
            if ipc in told:
                best = coefficients.index(told[ipc])
                axes.add_patch(
                    Rectangle((best - 0.48, i - 0.48), 0.96, 0.96, fill=False, edgecolor=RED, linewidth=1.2)
                )
        axes.set_xticks(range(len(coefficients)), [f"{c:g}" for c in coefficients])
        axes.set_yticks(range(len(by_ipc)), [str(ipc) for ipc in by_ipc])
        axes.set_xlabel(r"coefficient $\lambda$")
        axes.set_ylabel("images per class")
        pairs = max(r["pairs"] for r in rows)
        half = ", ± 95 %" if pairs > 1 else ""
        boxed = "boxed: a best λ that is told from 0" if told else "no best λ is told from 0"
        axes.set_title(
            f"{title}; up to {pairs} paired seeds{half}\npale: not told from 0; {boxed}", fontsize=7
        )
        bar = figure.colorbar(ScalarMappable(norm, image.cmap), ax=axes, label="gain (points)")
        bar.minorticks_off()
        return save(figure, folder, name, rows)


def adaptive_figures(cells: Cells, folder: Path) -> list[Path]:
    """Accuracy without correction, with SDC and with ASDC; a figure a data set, a panel for each method and IPC."""
    pages: dict[str, Cells] = {}
    for cell, variants in distilled(cells).items():
        kinds = {c.adaptive for c in variants if c != PLAIN}
        if kinds == {True, False}:
            pages.setdefault(cell[0], {})[cell] = variants
    paths: list[Path] = []
    named = stems(pages)
    for dataset, panels in pages.items():
        columns = min(3, len(panels))
        lines = -(-len(panels) // columns)
        rows: list[dict[str, Any]] = []
        with look():
            size = (COLUMN if columns == 1 else PAGE, 2.2 * lines)
            figure, grid = plt.subplots(lines, columns, figsize=size, squeeze=False)
            for axes in grid.flat[len(panels) :]:
                axes.set_visible(False)
            for axes, ((_, method, ipc), variants) in zip(grid.flat, panels.items(), strict=False):
                rows += _adaptive(axes, variants, {"method": method, "ipc": ipc})
                axes.set_title(f"{shown(method, PANEL)}, IPC {ipc}")
            for axes in grid[:, 0]:
                axes.set_ylabel("test accuracy (%)")
            figure.suptitle(f"{shown(dataset)}; mean ± s.e. over n seeds; gain: paired, ± 95 %", fontsize=7)
            paths += save(figure, folder, f"asdc-{named[dataset]}", rows)
    return paths


def _adaptive(axes: Axes, variants: Variants, named: dict[str, Any]) -> list[dict[str, Any]]:
    rows, labels = [], []
    for k, correction in enumerate(variants):
        mean, error, seeds = accuracy(variants[correction])
        colour = GREEN if correction.adaptive else BLUE if correction == PLAIN else RED
        marker = "D" if correction.adaptive else "o" if correction == PLAIN else "s"
        axes.errorbar(k, mean, np.nan_to_num(error), fmt=marker, color=colour, capsize=2, markersize=4)
        kind = "ASDC" if correction.adaptive else "plain" if correction == PLAIN else "SDC"
        value = f"{correction.start:g}–{correction.end:g}" if correction.adaptive else f"{correction.start:g}"
        value = f"pull {value}" if correction.pull else value
        paired = gain(variants, correction) if kind != "plain" else None
        difference, half, pairs = paired or (math.nan, math.nan, 0)
        words = f"gain {difference:+.1f} ± {half:.1f}" if pairs > 1 else f"gain {difference:+.1f}" if pairs else ""
        labels.append("\n".join((kind, value if kind != "plain" else "", words, f"(n = {seeds})")))
        rows.append(
            {
                **named, "correction": str(correction), "accuracy": mean, "se": error, "seeds": seeds,
                "paired_gain": difference, "half_width_95": half, "pairs": pairs,
            }
        )  # fmt: skip
    axes.set_xticks(range(len(labels)), labels, fontsize=5.5)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.margins(y=0.2)
    return rows
