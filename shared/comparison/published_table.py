"""The published tuned coefficients (Tables 4 to 8 of arXiv 2408.12483), and whether they show the claimed trend.

All 55 cells together, and gradient matching (Table 4) and trajectory matching (Tables 5 to 8) apart. One lambda is
published a cell, without seeds, so only the order can be tested: Kendall's tau between IPC and lambda over all cells,
with a bootstrap over rows (method and data set) and a permutation of IPC within rows.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np

from shared.comparison.grid import BadGrid
from shared.comparison.order_check import SMALLEST_TAU, kendall_tau, kendall_taus, permutation_p
from shared.comparison.resampling import percentile_interval
from shared.comparison.verdict import CONFIDENCE, DETECTABLE, Finding, judge
from shared.records.roles import GRADIENT, TRAJECTORY, family_of

COLUMNS = ("dataset", "method", "ipc", "coefficient")


FEWEST = 3
"""Rows (method and data set) that an interval needs: it resamples them."""


@dataclass(frozen=True)
class Tuned:
    """A tuned coefficient of one cell."""

    dataset: str
    method: str
    ipc: int
    coefficient: float


@dataclass(frozen=True)
class PublishedOrder:
    """What the table says.

    Attributes:
        above, below, equal: rows whose lambda at the largest IPC is above, below, equal to that at the smallest.
        tau, p: Kendall's tau-b over all cells, with its asymptotic two-sided p.
        finding: the verdict, with interval and permutation p.
        cells: the table.

    """

    above: int
    below: int
    equal: int
    tau: float
    p: float
    finding: Finding
    cells: tuple[Tuned, ...]


def read_tuned(path: str | Path | None = None) -> list[Tuned]:
    """The published tables, or another of the same columns (dataset, method, ipc, coefficient).

    Raises:
        BadGrid: unreadable or not such a table.

    """
    if path is None:
        text = resources.files("shared.comparison").joinpath("published_coefficients.csv").read_text(encoding="utf-8")
    else:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadGrid(f"{path} cannot be read: {error}") from error
    rows = list(csv.DictReader(text.splitlines()))
    try:
        cells = [Tuned(r["dataset"], r["method"], int(r["ipc"]), float(r["coefficient"])) for r in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise BadGrid(f"{path} is no table of tuned coefficients with columns {', '.join(COLUMNS)}: {error}") from error
    if not cells:
        raise BadGrid(f"{path} is an empty table of tuned coefficients")
    bad = next((c for c in cells if c.ipc < 1 or not math.isfinite(c.coefficient)), None)
    if bad:
        raise BadGrid(f"{path}: {bad.method} on {bad.dataset} has ipc {bad.ipc} and coefficient {bad.coefficient:g}; "
                      "they must be at least 1 and finite")  # fmt: skip
    return cells


PARTS = {
    "all cells": (GRADIENT, TRAJECTORY),
    "gradient matching": (GRADIENT,),
    "trajectory matching": (TRAJECTORY,),
}


def published_orders(
    cells: list[Tuned] | None = None, resamples: int = 2000, seed: int = 0
) -> tuple[PublishedOrder, ...]:
    """The order check on all tuned coefficients, first; and, where they are of both families, on each of them."""
    cells = read_tuned() if cells is None else cells
    parts = {name: [c for c in cells if family_of(c.method) in families] for name, families in PARTS.items()}
    if not (parts["gradient matching"] and parts["trajectory matching"]):
        return (published_order(cells, resamples, seed),)
    return tuple(
        replace(order, finding=replace(order.finding, check=f"{order.finding.check}: {name}"))
        for name, own in parts.items()
        for order in [published_order(own, resamples, seed)]
    )


def published_order(cells: list[Tuned] | None = None, resamples: int = 2000, seed: int = 0) -> PublishedOrder:
    """The order check on tuned coefficients; by default on the published ones."""
    cells = read_tuned() if cells is None else cells
    rows: dict[tuple[str, str], list[Tuned]] = defaultdict(list)
    for cell in cells:
        rows[cell.dataset, cell.method].append(cell)
    groups = [sorted(group, key=lambda c: c.ipc) for group in rows.values()]
    ends = np.array([np.sign(group[-1].coefficient - group[0].coefficient) for group in groups])
    tau, p = kendall_tau([c.ipc for c in cells], [c.coefficient for c in cells])
    rng = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for k in range(resamples):
        chosen = [c for i in rng.integers(len(groups), size=len(groups)) for c in groups[i]]
        pairs = np.array([(c.ipc, c.coefficient) for c in chosen], float)
        drawn[k] = kendall_taus(pairs[None, :, 0], pairs[None, :, 1])[0]
    labels = {key: index for index, key in enumerate(rows)}
    permuted, deviation = permutation_p(
        [labels[c.dataset, c.method] for c in cells], [c.ipc for c in cells], [c.coefficient for c in cells], 2000, rng
    )
    high, low = math.nan, math.nan
    if len(groups) >= FEWEST:
        high, low = (-end for end in percentile_interval(drawn, CONFIDENCE))
    above, below, equal = (int(np.sum(ends == sign)) for sign in (1, -1, 0))
    smallest, largest = min(c.ipc for c in cells), max(c.ipc for c in cells)
    sentence = (
        f"The tuned lambda at IPC {largest} is above that at IPC {smallest} in {above} rows, below in {below}, equal "
        f"in {equal}; pooled Kendall tau {tau:+.2f} (p = {p:.2f}). "
        f"The table {'shows' if low > 0.0 else 'does not show'} a lambda that falls with IPC."
    )
    finding = Finding(
        "order, published coefficients", judge(low, high, SMALLEST_TAU), sentence, -tau, low, high,
        "minus Kendall's tau", min(1.0, DETECTABLE * deviation), permuted,
    )  # fmt: skip
    return PublishedOrder(above, below, equal, tau, p, finding, tuple(cells))
