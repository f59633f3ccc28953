"""Mean gradient norm along distillation: what the correction penalises, and difficulty on networks never matched with.

In the loop (upper panels): the norm of the synthetic set's gradient at the step's own networks, mean over classes (for
trajectory matching over inner steps), beside that of the real batch. On probe networks (lower panels): mean GraDN of
the synthetic samples on a fixed ensemble that was trained for a little on real data, beside that of real samples. The
first is what the loss sees; its scale drifts with the networks. The second can be compared along the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from figures.names import PANEL, shown, stems
from figures.runs.recorded import (
    PLAIN,
    Array,
    Cells,
    Correction,
    Recorded,
    Variants,
    distilled,
    mean_and_error,
    spread_out,
)
from figures.style import BLACK, COLUMN, CYCLE, MARKERS, PAGE, look, save, wrapped
from shared.records import metric_names

BLOCKS = 25
"""Most points of a curve: in-loop norms are averaged over blocks of steps."""
PANELS = (
    (metric_names.NORM, metric_names.REAL_NORM, "in the loop:\nnorm of the batch gradient"),
    (
        metric_names.gradn(metric_names.SYNTHETIC, metric_names.TRAINED),
        metric_names.gradn(metric_names.REAL, metric_names.TRAINED),
        "on probe networks:\nmean GraDN",
    ),
)


def norm_figures(cells: Cells, folder: Path) -> list[Path]:
    """One figure for each data set and number of images a class that has recorded norms."""
    paths: list[Path] = []
    pages: dict[tuple[str, int], dict[str, Variants]] = {}
    for (dataset, method, ipc), variants in distilled(cells).items():
        if any(r.run.series(PANELS[0][0])[0].size for seeds in variants.values() for r in seeds.values()):
            pages.setdefault((dataset, ipc), {})[method] = variants
    named = stems(dataset for dataset, _ in pages)
    for (dataset, ipc), methods in pages.items():
        paths += _figure(methods, f"{shown(dataset)}, IPC {ipc}", folder, f"norms-{named[dataset]}-ipc{ipc}")
    return paths


def _figure(methods: Mapping[str, Variants], title: str, folder: Path, name: str) -> list[Path]:
    rows: list[dict[str, Any]] = []
    with look():
        width = COLUMN if len(methods) == 1 else PAGE
        lines, columns = wrapped(len(methods))
        figure, grid = plt.subplots(2 * lines, columns, figsize=(width, 3.8 * lines), squeeze=False)
        for axes in grid[2 * lines - 2 :, len(methods) - (lines - 1) * columns :].flat:
            axes.set_visible(False)
        for k, (method, variants) in enumerate(methods.items()):
            line, column = divmod(k, columns)
            pair = upper, lower = grid[2 * line : 2 * line + 2, column]
            upper.sharex(lower)
            upper.tick_params(labelbottom=False)
            for axes, (metric, reference, label) in zip(pair, PANELS, strict=True):
                rows += _curves(axes, variants, metric, reference, {"method": method})
                axes.set_ylabel(label if column == 0 else "")
                if not axes.lines:
                    axes.text(0.5, 0.5, "not recorded", ha="center", va="center", transform=axes.transAxes, fontsize=6)
                    axes.set_yticks([])
            upper.set_title(shown(method.upper(), PANEL))
            _with_legend(upper, columns <= 2)
            lower.set_xlabel("step")
        most = max(len(s) for v in methods.values() for s in v.values())
        spread = f"mean ± s.e. over up to {most} seeds" if most > 1 else "one seed, no error bars"
        figure.suptitle(f"{shown(title)}; {spread}", fontsize=7)
        return save(figure, folder, name, rows)


def _curves(
    axes: Axes, variants: Variants, metric: str, reference: str, named: Mapping[str, Any]
) -> list[dict[str, Any]]:
    rows = []
    wanted = spread_out(variants)
    # The plain method has the first colour, whether it is there or not.
    for k, correction in enumerate(wanted, int(PLAIN not in wanted)):
        steps, mean, error = averaged(variants[correction], metric)
        if not steps.size:
            continue
        colour = CYCLE[k % len(CYCLE)]
        if correction == PLAIN:  # broad and below, so that a correction that changes nothing does not hide it
            axes.plot(steps, mean, "-", color=colour, linewidth=2.6, alpha=0.6, label=str(correction))
        else:
            axes.plot(steps, mean, MARKERS[k % len(MARKERS)] + "-", color=colour, markersize=2, label=str(correction))
        axes.fill_between(steps, mean - error, mean + error, color=colour, alpha=0.2, linewidth=0)
        rows += _rows(steps, mean, error, {**named, "quantity": metric, "correction": str(correction)})
    real = variants.get(PLAIN) or variants[next(iter(variants))]
    steps, mean, error = averaged(real, reference)
    if steps.size:
        axes.plot(steps, mean, ":", color=BLACK, linewidth=0.9, label="real samples")
        rows += _rows(steps, mean, error, {**named, "quantity": reference, "correction": ""})
    return rows


def _with_legend(axes: Axes, wide: bool) -> None:
    """Below the curves: two columns where the panel has room for them."""
    low, high = axes.get_ylim()
    axes.set_ylim(low - (0.35 if wide else 0.6) * (high - low), high)
    axes.legend(fontsize=5.5, loc="lower left", ncols=2 if wide else 1, labelspacing=0.5 if wide else 0.2)


def _rows(steps: Array, mean: Array, error: Array, named: Mapping[str, Any]) -> list[dict[str, Any]]:
    triples = zip(steps.tolist(), mean.tolist(), error.tolist(), strict=True)
    return [{**named, "step": s, "mean": m, "se": e} for s, m, e in triples]


def averaged(seeds: Mapping[int, Recorded], metric: str, blocks: int = BLOCKS) -> tuple[Array, Array, Array]:
    """(steps, mean over seeds, standard error over seeds; 0 for one seed), each [blocks].

    Values are first averaged over equal blocks of steps within each run; a block is shown if all seeds have it.
    """
    series = [r.run.series(metric) for r in seeds.values()]
    series = [(s[np.isfinite(v)], v[np.isfinite(v)]) for s, v in series]
    if not series or not all(s.size for s, _ in series):
        return np.array([]), np.array([]), np.array([])
    last = max(int(s.max()) for s, _ in series)
    distinct = max(len(np.unique(s)) for s, _ in series)
    size = 1 if distinct <= blocks else -(-(last + 1) // blocks)
    tables = [
        {b: (s[s // size == b].mean(), v[s // size == b].mean()) for b in np.unique(s // size)} for s, v in series
    ]
    common = sorted(set.intersection(*(set(t) for t in tables)))
    found = [mean_and_error([t[b][1] for t in tables]) for b in common]
    steps = np.array([tables[0][b][0] for b in common])
    return steps, np.array([m for m, _ in found]), np.nan_to_num(np.array([e for _, e in found]))


def corrected(variants: Variants) -> list[Correction]:
    """Corrections other than none."""
    return [c for c in variants if c != PLAIN]
