"""The first picture of a comparison: all grids on one axis, measured response beside the predicted sign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from figures.names import shown
from figures.style import BLUE, PAGE, RED, look, save
from shared.comparison.all_checks import Comparison, GridComparison

ROW = 0.95
"""Height of a grid's panel in inches."""


def overview_figure(comparison: Comparison, folder: Path) -> Path:
    """Draw a row a grid over alpha: what easier samples do, with 95 % intervals, on shades of what is predicted.

    Returns:
        The PNG file; PDF and CSV lie beside it.

    """
    grids = comparison.grids
    rows: list[dict[str, Any]] = []
    with look():
        figure, panels = plt.subplots(
            len(grids), 1, figsize=(PAGE, 0.75 + ROW * len(grids)), sharex=True, squeeze=False
        )
        for axes, compared in zip(panels[:, 0], grids, strict=True):
            _panel(axes, compared, rows)
        panels[-1, 0].set_xlabel(r"$\alpha$: samples per dimension (IPC $\times$ classes / $N_{eff}$)")
        handles = [
            Patch(color=BLUE, alpha=0.18, linewidth=0, label="theory: easier samples help"),
            Patch(color=RED, alpha=0.18, linewidth=0, label="theory: easier samples hurt"),
            Patch(facecolor="white", edgecolor="0.6", linewidth=0.5, label="theory: undecided"),
            Line2D([], [], marker="o", color="black", linestyle="", label="measured (95 %)"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=4)
        files = save(figure, folder, "overview", rows)
    return next(path for path in files if path.suffix == ".png")


def _panel(axes: Axes, compared: GridComparison, rows: list[dict[str, Any]]) -> None:
    finding = next(f for f in compared.findings if f.check == "sign")
    axes.set_title(f"{shown(compared.grid.name)}: {finding.verdict}", loc="left", fontsize=7)
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axhline(0.0, color="0.5", linewidth=0.6)
    if not finding.details:
        axes.text(0.5, 0.5, "no place on the theory's axis", ha="center", va="center", transform=axes.transAxes)
        axes.set_yticks([])
        return
    alpha = np.array([row["alpha"] for row in finding.details])
    value, low, high = (np.array([row[k] for row in finding.details], float) for k in ("slope", "low", "high"))
    fine = np.geomspace(0.7 * alpha.min(), 1.4 * alpha.max(), 400)
    sign = compared.prediction.signs(fine)
    decided = np.where((sign == sign[0]).all(axis=0), sign[0], 0)
    for side, colour in ((1, BLUE), (-1, RED)):
        axes.fill_between(
            fine, 0, 1, where=decided == side, transform=axes.get_xaxis_transform(), color=colour, alpha=0.18,
            linewidth=0,
        )
    told = np.isfinite(low) & np.isfinite(high)
    axes.errorbar(alpha[told], value[told], [(value - low)[told], (high - value)[told]], fmt="o", color="black")
    axes.plot(alpha[~told], value[~told], "o", color="black", markerfacecolor="none")
    reach = 1.15 * float(np.nanmax(np.abs(np.concatenate([low[told], high[told], value[np.isfinite(value)], [1e-3]]))))
    axes.set_ylim(-reach, reach)
    axes.set_ylabel("points")
    rows += [
        {
            "grid": compared.grid.name, "ipc": row["ipc"], "alpha": row["alpha"], "slope_points": row["slope"],
            "low": row["low"], "high": row["high"], "predicted_sign": row["predicted_sign"],
            "verdict": str(finding.verdict),
        }
        for row in finding.details
    ]  # fmt: skip
