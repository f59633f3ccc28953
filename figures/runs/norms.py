"""Mean gradient norm along distillation: what the correction penalises, and difficulty on networks never matched with.

In the loop (upper panels): the norm of the synthetic set's gradient at the step's own networks, mean over classes (for
trajectory matching over inner steps), beside that of the real batch. On probe networks (lower panels): mean GraDN of
the synthetic samples on a fixed ensemble that was trained for a little on real data, beside that of real samples. The
first is what the loss sees; its scale drifts with the networks. The second can be compared along the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
    strength,
)
from figures.style import BLACK, COLUMN, CYCLE, MARKERS, PAGE, look, save, wrapped
from shared.records import metric_names

REAL = "real samples"
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
    places = places_of(methods)
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
                rows += _curves(axes, variants, (metric, reference), places, {"method": method})
                axes.set_ylabel(label if column == 0 else "")
                if not axes.lines:
                    axes.text(0.5, 0.5, "not recorded", ha="center", va="center", transform=axes.transAxes, fontsize=6)
                    axes.set_yticks([])
            upper.set_title(shown(method.upper(), PANEL))
            lower.set_xlabel("step")
        uppers = [grid[2 * (k // columns), k % columns] for k in range(len(methods))]
        _with_legends(figure, uppers, places is not None)
        most = max(len(s) for v in methods.values() for s in v.values())
        spread = f"mean ± s.e. over up to {most} seeds" if most > 1 else "one seed, no error bars"
        figure.suptitle(f"{shown(title)}; {spread}", fontsize=7)
        return save(figure, folder, name, rows)


def _curves(
    axes: Axes,
    variants: Variants,
    panel: tuple[str, str],
    places: Mapping[Correction, int] | None,
    named: Mapping[str, Any],
) -> list[dict[str, Any]]:
    rows, (metric, reference) = [], panel
    wanted = spread_out(variants)
    for correction in wanted:
        k = wanted.index(correction) + int(PLAIN not in wanted) if places is None else places[correction]
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
        axes.plot(steps, mean, ":", color=BLACK, linewidth=0.9, label=REAL)
        rows += _rows(steps, mean, error, {**named, "quantity": reference, "correction": ""})
    return rows


def places_of(methods: Mapping[str, Variants]) -> dict[Correction, int] | None:
    """A place in the cycle of colours for each correction of a page, so that one legend serves all panels.

    The plain method has the first colour, whether it is there or not. None: there are more than colours.
    """
    found = sorted({c for v in methods.values() for c in spread_out(v) if c != PLAIN}, key=strength)
    return None if len(found) >= len(CYCLE) else {c: k for k, c in enumerate([PLAIN, *found])}


def _with_legends(figure: Figure, uppers: Sequence[Axes], shared: bool) -> None:
    """One legend below all panels where a colour is the same everywhere; else one above each: none over the curves."""
    drawn = [axes.get_legend_handles_labels() for axes in uppers]
    if shared and len(uppers) > 1:
        found = {label: handle for both in drawn for handle, label in zip(*both, strict=True)}
        order = sorted(found, key=lambda label: label == REAL)  # real samples last
        figure.legend([found[w] for w in order], order, loc="outside lower center", ncols=6, fontsize=6.5)
        return
    for axes, (handles, labels) in zip(uppers, drawn, strict=True):
        axes.set_title(axes.get_title(), pad=6 + 8.5 * -(-len(labels) // 2))
        axes.legend(
            handles, labels, fontsize=5.5, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=0.8,
            labelspacing=0.3, borderaxespad=0.2,
        )  # fmt: skip


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
