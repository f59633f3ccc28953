"""The figure of one compared grid: map, gains, slopes, predicted against measured, best lambda, difficulty."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from figures.names import shown
from figures.style import BLACK, BLUE, CYCLE, MARKERS, PAGE, RED, look, look_of, save
from shared.comparison.all_checks import GridComparison
from shared.comparison.grid import nanmean
from shared.comparison.order_check import best_cells
from shared.comparison.published_table import PublishedOrder
from shared.comparison.verdict import mean_of


def comparison_figure(compared: GridComparison, folder: Path, name: str) -> list[Path]:
    """Draw the six panels of a grid; the numbers are in the CSV, a row a cell."""
    with look():
        figure, panels = plt.subplots(2, 3, figsize=(PAGE, 4.2))
        _map(panels[0, 0], compared)
        _gains(panels[0, 1], compared)
        _slopes(panels[0, 2], compared)
        _agreement(panels[1, 0], compared)
        _best(panels[1, 1], compared)
        _difficulty(panels[1, 2], compared)
        figure.suptitle(f"{shown(compared.grid.name)}; theory: {compared.prediction.name}", fontsize=8)
        return save(figure, folder, name, _rows(compared))


def _rows(compared: GridComparison) -> list[dict[str, Any]]:
    grid = compared.grid
    gains = grid.seed_gains()
    alphas = compared.alpha_map.alpha(grid.ipc)
    rows = []
    for i, ipc in enumerate(grid.ipc.tolist()):
        for k, coefficient in enumerate(grid.coefficient[grid.others].tolist()):
            mean = mean_of(gains[i, k])
            low, high = mean.interval()
            predicted = compared.gains.predicted[i, k] if compared.gains else math.nan
            rows.append(
                {
                    "ipc": ipc, "alpha": alphas[i], "lambda": coefficient, "gain": mean.value, "low": low,
                    "high": high, "predicted_out_of_sample": predicted,
                }
            )  # fmt: skip
    return rows


def _empty(axes: Axes, text: str) -> None:
    wrapped = "\n".join(textwrap.fill(line, 28) for line in text.splitlines())
    axes.text(0.5, 0.5, wrapped, ha="center", va="center", transform=axes.transAxes, fontsize=6.5)
    axes.set_xticks([])
    axes.set_yticks([])


def _map(axes: Axes, compared: GridComparison) -> None:
    axes.set_title("map: random subsets on theory")
    found = compared.alpha_map
    if not np.isfinite(found.n_eff):
        _empty(axes, "no map:\n" + "\n".join(found.problems))
        return
    alphas = np.geomspace(0.5 * found.alpha(found.ipc).min(), 2.0 * found.alpha(found.ipc).max(), 80)
    axes.plot(alphas, compared.prediction.random(alphas), color=BLACK, label="theory, random")
    for factor, style in ((found.low, ":"), (found.high, ":")):
        axes.plot(found.ipc * found.classes / factor, found.error, style, color="0.5", linewidth=0.7,
                  label="at the ends of $N_{eff}$" if factor == found.low else None)  # fmt: skip
    axes.errorbar(found.alpha(found.ipc), found.error, 1.96 * found.error_se, fmt="o", color=BLUE,
                  label="measured (95 %)")  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel(r"$\alpha$ = IPC $\times$ classes / $N_{eff}$")
    axes.set_ylabel("error (chance = 0.5)")
    title = f"$N_{{eff}}$ = {found.n_eff:.3g} [{found.low:.3g}, {found.high:.3g}]"
    axes.set_ylim(0.0, 0.55)
    axes.legend(title=title, title_fontsize=6, loc="upper right")


def _bent(coefficient: np.ndarray, smallest: float) -> np.ndarray:
    """Lambda on an axis that is logarithmic on both sides of zero."""
    return np.sign(coefficient) * np.log10(1.0 + np.abs(coefficient) / smallest)


def _mark(axes: Axes, coefficient: np.ndarray, smallest: float) -> None:
    """Ticks at coefficients, those left out that would run into a neighbour further from zero."""
    places = _bent(coefficient, smallest)
    room = 0.17 * float(np.ptp(places))
    kept: list[int] = []
    for k in np.argsort(-np.abs(places)):
        if all(abs(places[k] - places[j]) > room for j in kept):
            kept.append(int(k))
    axes.set_xticks(places[kept], [f"{coefficient[k]:g}" for k in kept], rotation=30)


def _mark_ipc(axes: Axes, values: Sequence[int]) -> None:
    """A logarithmic axis with a tick at every number of images per class, and none between."""
    axes.set_xscale("log")
    axes.set_xticks(list(values), [str(v) for v in values])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(0.75 * min(values), 1.33 * max(values))


def _gains(axes: Axes, compared: GridComparison) -> None:
    grid = compared.grid
    coefficient = grid.coefficient[grid.others]
    smallest = float(np.abs(coefficient).min())
    x = _bent(coefficient, smallest)
    axes.axhline(0.0, color="0.6", linewidth=0.6)
    for i, row in enumerate(grid.seed_gains()):
        means = [mean_of(g) for g in row]
        error = [100.0 * m.se if math.isfinite(m.se) else 0.0 for m in means]
        value = [100.0 * m.value for m in means]
        colour, marker = look_of(i)
        axes.errorbar(x, value, error, fmt=marker, color=colour, elinewidth=0.7,
                      label=f"IPC {grid.ipc[i]}")  # fmt: skip
        if compared.gains is not None:
            axes.plot(x, 100.0 * compared.gains.predicted[i], "-", color=colour, linewidth=0.8)
    _mark(axes, coefficient, smallest)
    axes.set_xlabel(r"coefficient $\lambda$")
    axes.set_ylabel("gain over λ = 0 (points)")
    axes.set_title("gains (± s.e.); lines: theory" if compared.gains is not None else "gains (± s.e.)")
    axes.legend(ncols=2, fontsize=5.5)


def _slopes(axes: Axes, compared: GridComparison) -> None:
    axes.set_title("check 1: sign of the slope (95 %)")
    finding = next(f for f in compared.findings if f.check == "sign")
    if not finding.details:
        _empty(axes, "map invalid")
        return
    rows = finding.details
    alpha = np.array([r["alpha"] for r in rows])
    value, low, high = (np.array([r[k] for r in rows], float) for k in ("slope", "low", "high"))
    shown = np.isfinite(low) & np.isfinite(high)
    axes.axhline(0.0, color="0.6", linewidth=0.6)
    spread = np.array([value - low, high - value])[:, shown]
    axes.errorbar(alpha[shown], value[shown], spread, fmt="o", color=BLUE)
    axes.plot(alpha[~shown], value[~shown], "o", color=BLUE, markerfacecolor="none")  # one seed: no interval
    fine = np.geomspace(0.7 * alpha.min(), 1.4 * alpha.max(), 100)
    slopes = compared.prediction.slopes(fine)
    other = axes.twinx()
    other.spines["right"].set_visible(True)
    other.fill_between(fine, slopes.min(axis=0), slopes.max(axis=0), color=RED, alpha=0.2, linewidth=0)
    other.plot(fine, slopes[compared.prediction.middle], color=RED)
    other.set_ylabel(r"predicted $S = -d\epsilon/d\tau$", color=RED)
    for side, values in ((axes, np.concatenate([low[shown], high[shown], value[np.isfinite(value)]])), (other, slopes)):
        reach = 1.1 * float(np.max(np.abs(values), initial=1e-9))
        side.set_ylim(-reach, reach)  # zero at the same height on both sides
    axes.set_xscale("log")
    axes.set_xticks(alpha, [f"{a:.2g}" for a in alpha])  # where it was measured
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(r"$\alpha$")
    axes.set_ylabel("measured slope (points)", color=BLUE)


def _agreement(axes: Axes, compared: GridComparison) -> None:
    axes.set_title("checks 2, 4: out of sample (± s.e.)")
    if compared.gains is None:
        _empty(axes, "map invalid")
        return
    predicted, measured = 100.0 * compared.gains.predicted, 100.0 * compared.gains.measured
    error = np.array([[100.0 * mean_of(c).se for c in row] for row in compared.grid.seed_gains()])
    ends = np.array([min(np.nanmin(predicted), np.nanmin(measured)), max(np.nanmax(predicted), np.nanmax(measured))])
    axes.plot(ends, ends, color="0.6", linewidth=0.7)
    for i, ipc in enumerate(compared.grid.ipc.tolist()):
        se = np.where(np.isfinite(error[i]), error[i], 0.0)
        colour, marker = look_of(i)
        axes.errorbar(
            predicted[i], measured[i], se, fmt=marker, color=colour,
            elinewidth=0.6, label=f"IPC {ipc}",
        )  # fmt: skip
    axes.set_xlabel("predicted from other IPC (points)")
    axes.set_ylabel("measured gain (points)")
    axes.legend(ncols=2, fontsize=5.5)


def _best(axes: Axes, compared: GridComparison) -> None:
    cells = best_cells(compared.grid)
    coefficient = compared.grid.coefficient[compared.grid.others]
    smallest = float(np.abs(coefficient).min())
    axes.axhline(0.0, color="0.6", linewidth=0.6)
    for told, marker, colour in ((True, "o", BLUE), (False, "x", "0.6")):
        some = [c for c in cells if c.identifiable is told]
        label = "told from λ = 0" if told else "not identifiable"
        axes.plot([c.ipc for c in some], _bent(np.array([c.best for c in some]), smallest), linestyle="", label=label,
                  markersize=4, marker=marker, color=colour)  # fmt: skip
    _mark_ipc(axes, compared.grid.ipc.tolist())
    ticks = np.append(coefficient, 0.0)
    axes.set_yticks(_bent(ticks, smallest), [f"{c:g}" for c in ticks], fontsize=5.5)
    axes.set_xlabel("images per class")
    axes.set_ylabel("best λ")
    axes.set_title("check 3: order of the best λ")
    axes.legend(loc="center right")


def _difficulty(axes: Axes, compared: GridComparison) -> None:
    axes.set_title("check 5: difficulty (dotted: start)")
    grid = compared.grid
    end, start = grid.per_run.get("mediator_gradn"), grid.per_run.get("mediator_gradn_start")
    if end is None or not np.any(np.isfinite(end)):
        _empty(axes, "GraDN was not recorded")
        return
    smallest = float(np.abs(grid.coefficient[grid.others]).min())
    x = _bent(grid.coefficient, smallest)
    for i, ipc in enumerate(grid.ipc.tolist()):
        error = [mean_of(seeds).se for seeds in end[i]]
        colour, marker = look_of(i)
        axes.errorbar(x, nanmean(end[i], -1), np.where(np.isfinite(error), error, 0.0), linestyle="-", elinewidth=0.6,
                      marker=marker, color=colour, label=f"IPC {ipc}")  # fmt: skip
        if start is not None and np.any(np.isfinite(start[i])):
            axes.axhline(np.nanmean(start[i]), color=colour, linestyle=":", linewidth=0.7)
    _mark(axes, grid.coefficient, smallest)
    axes.set_yscale("log")
    axes.set_xlabel(r"coefficient $\lambda$")
    axes.set_ylabel("mean GraDN")
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.legend(ncols=2, fontsize=5.5)


def published_figure(order: PublishedOrder, folder: Path) -> list[Path]:
    """Tuned lambda against IPC, a line a row of the table."""
    with look():
        figure, axes = plt.subplots(figsize=(PAGE * 0.6, 2.6))
        names = sorted({(c.dataset, c.method) for c in order.cells})
        methods, datasets = (sorted({name[k] for name in names}) for k in (1, 0))
        for k, (dataset, method) in enumerate(names):
            some = sorted((c for c in order.cells if (c.dataset, c.method) == (dataset, method)), key=lambda c: c.ipc)
            # Slightly apart: rows of the same coefficients would hide each other.
            shift = 1.045 ** (k - (len(names) - 1) / 2)
            place = datasets.index(dataset)
            axes.plot(
                [c.ipc * shift for c in some], [c.coefficient for c in some], marker=MARKERS[place % len(MARKERS)],
                color=CYCLE[methods.index(method) % len(CYCLE)], label=shown(f"{dataset} {method}"),
                linestyle=("-", "--", ":")[place % 3],
            )  # fmt: skip
        _mark_ipc(axes, sorted({c.ipc for c in order.cells}))
        axes.set_yscale("log" if all(c.coefficient > 0.0 for c in order.cells) else "symlog")
        axes.set_xlabel("images per class")
        axes.set_ylabel(r"tuned coefficient $\lambda$")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        rows = [{"dataset": c.dataset, "method": c.method, "ipc": c.ipc, "lambda": c.coefficient} for c in order.cells]
        return save(figure, folder, "published_coefficients", rows)
