"""Rank correlation with a bootstrap interval: Spearman's rho and Kendall's tau-b.

Both are invariant under monotone maps of either variable and handle ties by mid-ranks and by the tau-b
correction. Intervals resample pairs (percentile bootstrap), or whole groups of pairs where samples are not
independent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


@dataclass(frozen=True)
class Correlation:
    """`value` with its interval [`low`, `high`] at `confidence`, from `n` pairs."""

    value: float
    low: float
    high: float
    confidence: float
    n: int


def spearman(x: ArrayLike, y: ArrayLike, **bootstrap: object) -> Correlation:
    """Spearman's rank correlation of x [n] and y [n]: Pearson's on mid-ranks. Keywords as in `interval`."""
    return interval(_spearman, x, y, **bootstrap)  # type: ignore[arg-type]


def spearman_rows(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Spearman's rho of many samples at once, rows of x and y [B, n] -> [B]; pairs with a NaN are left out.

    NaN where less than three pairs are left or a variable is constant.
    """
    a, b = np.array(x, float), np.array(y, float)
    absent = np.isnan(a) | np.isnan(b)
    a[absent] = b[absent] = np.nan
    ranks = [stats.rankdata(v, axis=1, nan_policy="omit") for v in (a, b)]
    count = (~absent).sum(axis=1)
    u, v = (
        np.where(absent, 0.0, r - np.where(absent, 0.0, r).sum(axis=1, keepdims=True) / np.maximum(count, 1)[:, None])
        for r in ranks
    )
    spread = np.sqrt((u * u).sum(axis=1) * (v * v).sum(axis=1))
    usable = (count >= 3) & (spread > 0.0)
    return np.divide((u * v).sum(axis=1), spread, out=np.full(len(a), np.nan), where=usable)


def kendall(x: ArrayLike, y: ArrayLike, **bootstrap: object) -> Correlation:
    """Kendall's tau-b of x [n] and y [n], in O(n log n). Keywords as in `interval`."""
    return interval(_kendall, x, y, **bootstrap)  # type: ignore[arg-type]


def interval(
    statistic: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
    x: ArrayLike,
    y: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Correlation:
    """A statistic of pairs with its percentile-bootstrap interval.

    Args:
        statistic: of two arrays; NaN where undefined (a constant variable).
        x: [n].
        y: [n].
        groups: [n] labels; whole groups are resampled (seeds, classes). None: single pairs.
        confidence: coverage aimed at, in (0, 1).
        resamples: bootstrap samples; 0 for no interval (NaN).
        seed: of the resampling.

    Raises:
        ValueError: lengths differ, fewer than 3 pairs, values that are not finite, or confidence outside (0,
            1).

    """
    first, second = np.asarray(x, float), np.asarray(y, float)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 3:
        raise ValueError(f"at least 3 pairs are needed, got shapes {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("values must be finite")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    labels = np.arange(len(first)) if groups is None else np.asarray(groups)
    if labels.shape != first.shape:
        raise ValueError(f"groups must be [{len(first)}], got {labels.shape}")
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)] if groups is not None else None
    generator = np.random.default_rng(seed)
    found = np.empty(resamples)
    for index in range(resamples):
        if members is None:
            chosen = generator.integers(len(first), size=len(first))
        else:
            chosen = np.concatenate([members[i] for i in generator.integers(len(members), size=len(members))])
        found[index] = statistic(first[chosen], second[chosen])
    found = found[np.isfinite(found)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail]) if len(found) else (np.nan, np.nan)
    return Correlation(statistic(first, second), float(low), float(high), confidence, len(first))


def _spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    a, b = (ranks - ranks.mean() for ranks in (stats.rankdata(x), stats.rankdata(y)))
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else float("nan")


def _kendall(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(stats.kendalltau(x, y).statistic)
