"""Hierarchical bootstrap of paired grids, and permutations.

Distillation seeds are drawn with replacement, then evaluation networks within each seed drawn; one draw serves all
coefficients, so what is paired stays paired. With the handful S of seeds that distillation allows the plain bootstrap
is too narrow twice over: its spread by sqrt((S - 1) / S), and its tails, which are normal where Student's are not. The
deviation of a resampled mean is enlarged by both, so that a percentile interval at 95 % is as wide as Student's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from shared.comparison.grid import Grid, nanmean
from shared.comparison.verdict import CONFIDENCE

Array = NDArray[np.float64]


def resampled_means(grid: Grid, resamples: int, rng: np.random.Generator) -> Array:
    """Mean accuracies [resamples, I, L] of resampled seeds and networks; NaN where a cell is absent."""
    rows, coefficients, _, N = grid.accuracy.shape
    centre = nanmean(nanmean(grid.accuracy, -1), -1)
    found = np.empty((resamples, rows, coefficients))
    for i in range(rows):
        # Seeds that have any measurement at this number of images per class; other seeds were not planned there.
        present = np.flatnonzero(np.isfinite(grid.accuracy[i]).any((0, 2)))
        if present.size < 2:
            found[:, i] = np.nan
            continue
        seeds = present[rng.integers(present.size, size=(resamples, present.size))]
        networks = rng.integers(N, size=(resamples, present.size, N))
        drawn = grid.accuracy[i][:, seeds[:, :, None], networks]  # [L, resamples, seeds, N]
        means = nanmean(nanmean(drawn, -1), -1).T
        enlarged = few_seeds(present.size)
        found[:, i] = centre[i] + enlarged * (means - centre[i])
    return found


def few_seeds(seeds: int) -> float:
    """What the deviation of a resampled mean of so many seeds is multiplied by; see the module."""
    tail = 0.5 + CONFIDENCE / 2.0
    return math.sqrt(seeds / (seeds - 1.0)) * float(stats.t.ppf(tail, seeds - 1) / stats.norm.ppf(tail))


def permutations(count: int, most: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """All orders of `count` things if they are at most `most`, else `most` random ones."""
    if math.factorial(count) <= most:
        yield from (np.array(order) for order in itertools.permutations(range(count)))
    else:
        yield from (rng.permutation(count) for _ in range(most))


def percentile_interval(values: Array, confidence: float) -> tuple[float, float]:
    """Percentile interval of resampled values, undefined ones (NaN) left out; NaN if more than half are."""
    kept = values[np.isfinite(values)]
    if kept.size < 0.5 * values.size or not kept.size:
        return math.nan, math.nan
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(kept, [tail, 1.0 - tail])
    return float(low), float(high)
