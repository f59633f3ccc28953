"""Check 3: does the best coefficient fall as images per class grow?

Kendall's tau between IPC and the measured best lambda, over cells (method, data set, IPC). Flatness guard: a cell
counts only if its best lambda beats lambda = 0 by more than the noise (paired over seeds, corrected for the number of
coefficients from which the best was picked); otherwise its best lambda is not identifiable, and left out.

A few cells in monotone order have a tau of -1 in every resample, whatever chance made of them: a verdict therefore
needs the permutation test as well, whose smallest p with n cells of one grid is 2 / n!.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from shared.comparison.gain_checks import mean_gains
from shared.comparison.grid import Grid
from shared.comparison.resampling import percentile_interval, resampled_means
from shared.comparison.verdict import CONFIDENCE, DETECTABLE, Finding, Verdict, judge, mean_of

Array = NDArray[np.float64]

SMALLEST_TAU = 0.3
"""A trend weaker than this would not matter."""


@dataclass(frozen=True)
class Cell:
    """The best coefficient of one (method, data set, IPC).

    Attributes:
        row: index of its method and data set.
        name: of its method and data set.
        ipc: images per class.
        best: best lambda by mean accuracy.
        gain: of the best over 0, in accuracy.
        p: corrected for the choice among coefficients.

    """

    row: int
    name: str
    ipc: int
    best: float
    gain: float
    p: float

    @property
    def identifiable(self) -> bool:
        """Whether the best lambda is told from 0."""
        return bool(self.gain > 0.0 and self.p < 1.0 - CONFIDENCE)


def best_cells(grid: Grid, row: int = 0) -> list[Cell]:
    """The cells of a grid; p is one-sided, times the number of coefficients that could have been the best."""
    coefficient = grid.coefficient[grid.others]
    cells = []
    for ipc, gains in zip(grid.ipc.tolist(), grid.seed_gains(), strict=True):
        means = [mean_of(g) for g in gains]
        values = np.array([m.value for m in means])
        if not np.any(np.isfinite(values)):
            continue
        k = int(np.nanargmax(values))
        p = min(1.0, means[k].p / 2.0 * np.isfinite(values).sum()) if values[k] > 0.0 else 1.0
        best = float(coefficient[k]) if values[k] > 0.0 else 0.0
        cells.append(Cell(row, grid.name, ipc, best, max(0.0, float(values[k])), p))
    return cells


def kendall_tau(ipc: ArrayLike, best: ArrayLike) -> tuple[float, float]:
    """(tau-b, two-sided p) of pooled pairs; NaN where either is constant."""
    x, y = np.asarray(ipc, float), np.asarray(best, float)
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan, math.nan
    found = stats.kendalltau(x, y)
    return float(found.statistic), float(found.pvalue)


def kendall_taus(x: Array, y: Array) -> Array:
    """Tau-b of many short samples at once, rows of x and y [B, n]; NaN where either is constant.

    All pairs at once: n^2 numbers a row, which for the few cells of a comparison is far faster than one call a row.
    """
    upper = np.triu_indices(x.shape[1], 1)
    a, b = (np.sign(v[:, upper[0]] - v[:, upper[1]]) for v in (x, y))
    untied = np.sqrt(np.abs(a).sum(axis=1) * np.abs(b).sum(axis=1))
    return np.divide(np.sum(a * b, axis=1), untied, out=np.full(len(x), np.nan), where=untied > 0.0)


def permutation_p(
    row: Sequence[int], ipc: Sequence[float], best: Sequence[float], most: int, rng: np.random.Generator
) -> tuple[float, float]:
    """(two-sided p, standard deviation) of tau when the IPC of each row are handed to its cells in random order."""
    observed = kendall_tau(ipc, best)[0]
    if math.isnan(observed):
        return math.nan, math.nan
    rows, labels, values = np.asarray(row), np.asarray(ipc, float), np.asarray(best, float)
    members = [np.flatnonzero(rows == r) for r in np.unique(rows)]
    shuffled = np.tile(labels, (most, 1))
    for member in members:
        shuffled[:, member] = rng.permuted(shuffled[:, member], axis=1)
    null = kendall_taus(shuffled, np.tile(values, (most, 1)))
    extreme = np.sum(np.abs(null) >= abs(observed) - 1e-12)
    return float((1 + extreme) / (1 + most)), float(null.std())


def order_check(grids: Sequence[Grid], resamples: int = 1000, seed: int = 0, check: str = "order") -> Finding:
    """Check 3 on one grid, or pooled over several.

    The statistic is minus Kendall's tau, so that positive agrees with the claim. The interval resamples cells, then
    distillation seeds, then evaluation networks; the p is that of `permutation_p`.
    """
    rng = np.random.default_rng(seed)
    cells = [cell for row, grid in enumerate(grids) for cell in best_cells(grid, row)]
    kept = [cell for cell in cells if cell.identifiable]
    details: list[dict[str, Any]] = [
        {
            "cell": f"{c.name}, IPC {c.ipc}", "best_lambda": c.best, "gain_points": 100.0 * c.gain, "p": c.p,
            "identifiable": c.identifiable,
        }
        for c in cells
    ]  # fmt: skip
    tau, _ = kendall_tau([c.ipc for c in kept], [c.best for c in kept])
    if len(kept) < 3 or math.isnan(tau):
        same = len(kept) >= 3
        reason = "one and the same best lambda (or IPC)" if same else "at least 3 are needed"
        return Finding(
            check, Verdict.NOT_IDENTIFIABLE,
            f"The best lambda is told from 0 in {len(kept)} of {len(cells)} cells: {reason}.",
            details=tuple(details),
        )  # fmt: skip
    drawn = _resampled(grids, kept, resamples, rng)
    p, deviation = permutation_p([c.row for c in kept], [c.ipc for c in kept], [c.best for c in kept], 2000, rng)
    high, low = (-end for end in percentile_interval(drawn, CONFIDENCE))
    verdict, reason = judge(low, high), ""
    if verdict != Verdict.NOT_IDENTIFIABLE and not p < 1.0 - CONFIDENCE:
        verdict = Verdict.NOT_IDENTIFIABLE
        reason = f" So few cells fall into such an order by chance with a probability of {p:.2g}."
    falls = "falls" if tau < 0.0 else "does not fall"
    return Finding(
        check, verdict,
        f"Over the {len(kept)} of {len(cells)} cells whose best lambda is told from 0, it {falls} with IPC "
        f"(Kendall's tau {tau:+.2f}).{reason}",
        -tau, low, high, "minus Kendall's tau", min(1.0, DETECTABLE * deviation), p, details=tuple(details),
    )  # fmt: skip


def _resampled(grids: Sequence[Grid], kept: Sequence[Cell], resamples: int, rng: np.random.Generator) -> Array:
    """Kendall's tau [resamples] of resampled cells with seeds and networks resampled within."""
    best = {}
    for row, grid in enumerate(grids):
        gains = mean_gains(resampled_means(grid, resamples, rng), grid.zero)
        absent = np.isnan(gains)
        chosen = np.argmax(np.where(absent, -np.inf, gains), axis=-1)
        coefficients = grid.coefficient[grid.others][chosen]
        for k, ipc in enumerate(grid.ipc.tolist()):
            best[row, ipc] = coefficients[:, k]
    chosen = rng.integers(len(kept), size=(resamples, len(kept)))
    labels = np.array([c.ipc for c in kept], float)
    values = np.array([best[c.row, c.ipc] for c in kept])  # [cells, resamples]
    return kendall_taus(labels[chosen], values[chosen, np.arange(resamples)[:, None]])
