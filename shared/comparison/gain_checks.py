"""Checks 2 and 4: rank of the predicted gains over all cells, and their size, each predicted out of sample.

The theory's tilt is tau = c lambda with an unknown c > 0. For every IPC, c is fitted by least squares on all OTHER
IPC; the gain predicted for the left-out one goes into both checks, so no cell is predicted with its own help.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.comparison.alpha_map import AlphaMap
from shared.comparison.grid import Grid, nanmean
from shared.comparison.prediction import Prediction
from shared.comparison.resampling import percentile_interval, permutations, resampled_means
from shared.comparison.verdict import CONFIDENCE, DETECTABLE, Finding, Verdict, judge, mean_of
from shared.measures.correlation import spearman

Array = NDArray[np.float64]

SMALLEST_CORRELATION = 0.3
SMALLEST_SKILL = 0.1
"""Effects below these would not matter: an interval that excludes them is `not supported`."""
SCALES = 60
"""Values of c that are tried, from a tilt too small to see to the largest that was solved."""


@dataclass(frozen=True, eq=False)
class GainModel:
    """Predicted gains in accuracy for every scale c: `table` [C, I, L - 1], `scale` [C] in tau per strength."""

    scale: Array
    table: Array

    def left_out(self, measured: Array) -> tuple[Array, Array]:
        """Predict each IPC from the others.

        Args:
            measured: gains [I, L - 1], NaN where absent.

        Returns:
            predicted gains [I, L - 1] and the c fitted for each, [I].

        """
        present = np.isfinite(measured)
        residual = np.where(present, self.table - measured, 0.0)
        by_row = np.sum(residual**2, axis=2)  # [C, I]
        best = np.argmin(by_row.sum(axis=1, keepdims=True) - by_row, axis=0)
        predicted = self.table[best, np.arange(measured.shape[0])]
        return predicted, self.scale[best]

    def fitted(self, measured: Array) -> float:
        """The best c on all IPC."""
        residual = np.where(np.isfinite(measured), self.table - measured, 0.0)
        return float(self.scale[np.argmin(np.sum(residual**2, axis=(1, 2)))])


def gain_model(grid: Grid, alpha_map: AlphaMap, prediction: Prediction, against: str = "lambda") -> GainModel:
    """Tabulate the predicted gains in accuracy over the scales c."""
    strength = grid.strength(against)
    largest = float(np.nanmax(np.abs(strength)))
    scale = np.geomspace(0.01, float(min(-prediction.tau[0], prediction.tau[-1])), SCALES) / largest
    tau = scale[:, None, None] * strength
    alpha = alpha_map.alpha(grid.ipc)[:, None]
    return GainModel(scale, alpha_map.accuracy_per_error * prediction.gain(alpha, tau))


def responds(grid: Grid) -> tuple[bool, float]:
    """(whether any cell's paired gain is told from zero, corrected for their number; the smallest corrected p)."""
    gains = grid.seed_gains()
    ps = [mean_of(cell).p for row in gains for cell in row if np.isfinite(cell).sum() > 1]
    smallest = min(1.0, min(ps, default=1.0) * max(1, len(ps)))
    return smallest < 1.0 - CONFIDENCE, smallest


def mean_gains(means: Array, zero: int) -> Array:
    """Gains [..., I, L - 1] from mean accuracies [..., I, L]."""
    return np.delete(means, zero, axis=-1) - means[..., zero : zero + 1]


def _skill(measured: Array, predicted: Array) -> float:
    """1 - squared error / squared error of the best constant gain.

    The constant is fitted as the theory is, on all IPC but the one predicted; or it is zero, if that does better: a
    theory that is worth something also beats "nothing happens".
    """
    present = np.isfinite(measured)
    total, count = np.nansum(measured, axis=1), present.sum(axis=1)
    constant = ((total.sum() - total) / np.maximum(count.sum() - count, 1))[:, None]
    explained, fitted, zero = (
        float(np.sum((measured - guess)[present] ** 2)) for guess in (predicted, constant, 0.0 * predicted)
    )
    trivial = min(fitted, zero)
    return 1.0 - explained / trivial if trivial > 0.0 else math.nan


def _rank(measured: Array, predicted: Array) -> float:
    present = np.isfinite(measured)
    if present.sum() < 3:
        return math.nan
    return spearman(predicted[present], measured[present], resamples=0).value


def _around(drawn: Array, value: float) -> tuple[float, float]:
    """Percentile interval, stretched to the value itself: noise of the resampling lowers a large rank or skill."""
    low, high = percentile_interval(drawn, CONFIDENCE)
    return min(low, value), max(high, value)


def _detectable(drawn: Array) -> float:
    return min(1.0, DETECTABLE * float(np.nanstd(drawn))) if np.isfinite(drawn).sum() > 1 else math.nan


@dataclass(frozen=True)
class GainFindings:
    """Both checks, with the scale fitted on everything and the predicted and measured gains they rest on."""

    rank: Finding
    skill: Finding
    scale: float
    measured: Array
    predicted: Array


def gain_checks(
    grid: Grid,
    alpha_map: AlphaMap,
    prediction: Prediction,
    against: str = "lambda",
    resamples: int = 1000,
    seed: int = 0,
) -> GainFindings:
    """Checks 2 and 4 on one grid.

    Intervals: seeds and networks resampled, c fitted anew, then IPC resampled as blocks. The permutation p of the rank
    gives the measured rows of IPC in every order to the theory, refitting c each time.
    """
    rng = np.random.default_rng(seed)
    model = gain_model(grid, alpha_map, prediction, against)
    centre = nanmean(grid.seed_gains(), -1)
    predicted, scales = model.left_out(centre)
    rank, skill = _rank(centre, predicted), _skill(centre, predicted)
    rows = grid.ipc.size
    ranks, skills = np.full(resamples, np.nan), np.full(resamples, np.nan)
    for k, means in enumerate(resampled_means(grid, resamples, rng)):
        drawn = mean_gains(means, grid.zero)
        blocks = rng.integers(rows, size=rows)
        if np.unique(blocks).size < 2:
            continue
        model_gain, _ = model.left_out(drawn)
        ranks[k] = _rank(drawn[blocks], model_gain[blocks])
        skills[k] = _skill(drawn[blocks], model_gain[blocks])
    permuted = [
        _rank(centre[order], model.left_out(centre[order])[0]) for order in permutations(rows, 500, rng) if rows >= 3
    ]
    null = np.array(permuted)[np.isfinite(permuted)] if permuted else np.zeros(0)
    p = float((1 + np.sum(null >= rank - 1e-12)) / (1 + null.size)) if null.size and math.isfinite(rank) else math.nan
    # Orders of few IPC that all refit to one prediction spread too little: the resampling's spread is a floor.
    seen = float(np.fmax(_detectable(null), _detectable(ranks)))
    enough = rows >= 3 and np.isfinite(centre).sum() >= 6
    answered, smallest = responds(grid)
    reason = ""
    if not enough:
        reason = f"{rows} numbers of images per class are too few: at least 3 are needed."
    elif not answered:
        reason = f"No cell's gain is told from zero (smallest corrected p = {smallest:.2g}): the response is flat."
    rank_range, skill_range = _around(ranks, rank), _around(skills, skill)
    details = tuple(
        {"ipc": int(ipc), "fitted_on_others_c": float(c)} for ipc, c in zip(grid.ipc, scales, strict=True)
    )
    return GainFindings(
        Finding(
            "rank", Verdict.NOT_IDENTIFIABLE if reason else judge(*rank_range, SMALLEST_CORRELATION),
            reason or f"Predicted and measured gains over {np.isfinite(centre).sum()} cells have a rank correlation of "
            f"{rank:+.2f}.",
            rank, *rank_range, "Spearman's rho", seen, p,
        ),
        Finding(
            "out of sample", Verdict.NOT_IDENTIFIABLE if reason else judge(*skill_range, SMALLEST_SKILL),
            reason or f"Predicting each IPC from the others, the theory leaves {1.0 - skill:.0%} of the squared error "
            "of the best constant gain.",
            skill, *skill_range, "skill", _detectable(skills), math.nan, details,
        ),
        model.fitted(centre), centre, predicted,
    )  # fmt: skip
