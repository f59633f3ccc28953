"""Checks 2 and 4: rank of the predicted gains over all cells, and their size, each predicted out of sample.

The theory's tilt is tau = c lambda with an unknown c > 0. For every IPC, c is fitted by least squares on all OTHER
IPC; the gain predicted for the left-out one goes into both checks, so no cell is predicted with its own help.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.comparison.alpha_map import AlphaMap
from shared.comparison.grid import Grid, nanmean
from shared.comparison.prediction import Prediction
from shared.comparison.resampling import percentile_interval, permutations, resampled_means
from shared.comparison.sign_check import visited
from shared.comparison.verdict import CONFIDENCE, DETECTABLE, Finding, Verdict, judge, mean_of
from shared.measures.correlation import spearman_rows

Array = NDArray[np.float64]

SMALLEST_CORRELATION = 0.3
SMALLEST_SKILL = 0.1
"""Effects below these would not matter: an interval that excludes them is `not supported`."""
FEWEST = 5
"""Numbers of images per class that a rank needs: four have 24 orders, and none of them a two-sided p below 5 %."""
ORDERS = 500
"""Orders of IPC that are tried at most: all of them up to five."""
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


def _ranks(measured: list[Array], predicted: list[Array]) -> Array:
    """Spearman's rho of gains [I, L - 1], one a pair of entries."""
    if not measured:
        return np.zeros(0)
    return spearman_rows(np.stack([p.ravel() for p in predicted]), np.stack([m.ravel() for m in measured]))


def _around(drawn: Array, value: float) -> tuple[float, float]:
    """Percentile interval, stretched to the value itself: noise of the resampling lowers a large rank or skill."""
    low, high = percentile_interval(drawn, CONFIDENCE)
    return min(low, value), max(high, value)


def _detectable(drawn: Array) -> float:
    return min(1.0, DETECTABLE * float(np.nanstd(drawn))) if np.isfinite(drawn).sum() > 1 else math.nan


def _padded(values: Sequence[float] | Array, count: int) -> Array:
    """With NaN for the resamples of a single IPC, which say nothing."""
    return np.concatenate([np.asarray(values, float), np.full(count - len(values), np.nan)])


def _tails(null: Array, rank: float, every: bool) -> tuple[float, float]:
    """Shares of the orders of IPC whose rank is at least, and at most, the measured one; 1 if nothing can be said.

    `every`: the orders are all there are, the measured one among them; drawn ones are counted with it.
    """
    if not (null.size and math.isfinite(rank)):
        return 1.0, 1.0
    above, below = np.sum(null >= rank - 1e-12), np.sum(null <= rank + 1e-12)
    own = 0 if every else 1
    return float((own + above) / (own + null.size)), float((own + below) / (own + null.size))


def _rank_verdict(interval: tuple[float, float], above: float, below: float, one_sided: bool) -> Verdict:
    """By the interval, and by the permutation (two-sided) where it is told from zero."""
    verdict = judge(*interval, SMALLEST_CORRELATION)
    if (verdict == Verdict.SUPPORTED and not 2.0 * above < 1.0 - CONFIDENCE) or (
        verdict == Verdict.NOT_SUPPORTED and interval[1] < 0.0 and not 2.0 * below < 1.0 - CONFIDENCE
    ):
        return Verdict.NOT_IDENTIFIABLE
    return Verdict.CONSISTENT if one_sided and verdict == Verdict.SUPPORTED else verdict


def _skill_verdict(interval: tuple[float, float], one_sided: bool) -> Verdict:
    verdict = judge(*interval, SMALLEST_SKILL)
    return Verdict.CONSISTENT if one_sided and verdict == Verdict.SUPPORTED else verdict


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

    Intervals: seeds and networks resampled, c fitted anew, then IPC resampled as blocks. The permutation test of the
    rank gives the measured rows of IPC in every order to the theory, refitting c each time; a rank is called
    `supported` if less than 2.5 % of them do as well, and `consistent` where the prediction has one sign at all IPC.
    """
    rng = np.random.default_rng(seed)
    model = gain_model(grid, alpha_map, prediction, against)
    centre = nanmean(grid.seed_gains(), -1)
    predicted, scales = model.left_out(centre)
    rank, skill = float(_ranks([centre], [predicted])[0]), _skill(centre, predicted)
    rows = grid.ipc.size
    skills: list[float] = []
    drawn_pairs: list[tuple[Array, Array]] = []
    for means in resampled_means(grid, resamples, rng):
        drawn = mean_gains(means, grid.zero)
        blocks = rng.integers(rows, size=rows)
        if np.unique(blocks).size < 2:
            continue
        model_gain, _ = model.left_out(drawn)
        drawn_pairs.append((drawn[blocks], model_gain[blocks]))
        skills.append(_skill(drawn[blocks], model_gain[blocks]))
    ranks = _padded(_ranks(*map(list, zip(*drawn_pairs, strict=True))) if drawn_pairs else [], resamples)
    orders = [centre[order] for order in permutations(rows, ORDERS, rng)] if rows >= 3 else []
    permuted = _ranks(orders, [model.left_out(order)[0] for order in orders])
    one_sided = len(visited(grid, alpha_map, prediction)) < 2
    null = permuted[np.isfinite(permuted)]
    above, below = _tails(null, rank, every=math.factorial(rows) <= ORDERS)
    p = min(1.0, 2.0 * min(above, below))
    # Orders of few IPC that all refit to one prediction spread too little: the resampling's spread is a floor.
    seen = float(np.fmax(_detectable(null), _detectable(ranks)))
    enough = rows >= FEWEST and np.isfinite(centre).sum() >= 2 * FEWEST
    answered, smallest = responds(grid)
    reason = ""
    if not enough:
        reason = f"{rows} numbers of images per class are too few: at least {FEWEST} are needed."
    elif not answered:
        reason = f"No cell's gain is told from zero (smallest corrected p = {smallest:.2g}): the response is flat."
    drawn_skills = _padded(skills, resamples)
    rank_range, skill_range = _around(ranks, rank), _around(drawn_skills, skill)
    details = tuple(
        {"ipc": int(ipc), "fitted_on_others_c": float(c)} for ipc, c in zip(grid.ipc, scales, strict=True)
    )
    return GainFindings(
        Finding(
            "rank", Verdict.NOT_IDENTIFIABLE if reason else _rank_verdict(rank_range, above, below, one_sided),
            reason or f"Predicted and measured gains over {np.isfinite(centre).sum()} cells have a rank correlation of "
            f"{rank:+.2f} (of the orders in which IPC could have answered, {above:.0%} do as well).",
            rank, *rank_range, "Spearman's rho", seen, p,
        ),
        Finding(
            "out of sample", Verdict.NOT_IDENTIFIABLE if reason else _skill_verdict(skill_range, one_sided),
            reason or f"Predicting each IPC from the others, the theory leaves {1.0 - skill:.0%} of the squared error "
            "of the best constant gain.",
            skill, *skill_range, "skill", _detectable(drawn_skills), details=details,
        ),
        model.fitted(centre), centre, predicted,
    )  # fmt: skip
