"""Predicted against measured lambda / IPC trends: all checks on all grids, and what they say together.

    fit the map from IPC to alpha on random subsets  ->  invalid? then the comparison ends there
    1 sign of the slope   2 order of the best lambda   3 rank of gains   4 size, out of sample   5 difficulty

The five checks are in `sign_check`, `gain_checks`, `order_check`, `difficulty_check`; the words they may use in
`verdict`. Nothing here knows a theory: a prediction comes in as numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from shared.comparison.alpha_map import AlphaMap, fit_alpha_map
from shared.comparison.difficulty_check import difficulty_checks
from shared.comparison.gain_checks import GainFindings, gain_checks
from shared.comparison.grid import Grid
from shared.comparison.order_check import order_check
from shared.comparison.prediction import Prediction, SignedPrediction
from shared.comparison.sign_check import mediator_check, sign_check
from shared.comparison.verdict import Finding, Verdict, holm

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GridComparison:
    """One grid against its prediction.

    Attributes:
        grid, alpha_map, prediction: what was compared.
        findings: one a check.
        beside: findings of the sign check under other readings of the theory, which are shown and not judged, by name.
        second: the sign check under the other named reading of the theory (that of learnt points); None where it says
            nothing of this grid.
        gains: measured and predicted gains; None where the map is invalid.
        notes: what a reader should know: incomplete cells, how accuracies were chosen.

    """

    grid: Grid
    alpha_map: AlphaMap
    prediction: Prediction
    findings: tuple[Finding, ...]
    beside: tuple[tuple[str, Finding], ...] = ()
    second: Finding | None = None
    gains: GainFindings | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Comparison:
    """All grids, and the order check pooled over them."""

    grids: tuple[GridComparison, ...]
    pooled: tuple[Finding, ...]
    notes: tuple[str, ...] = field(default=())


MAP_CHECKS = ("sign", "rank", "out of sample", "easier sets: helpful below, harmful above")
"""Checks that stand on the map from IPC to alpha."""


def map_of(grid: Grid, prediction: Prediction) -> AlphaMap:
    """The map of a grid's data set, from its random subsets and its whole set."""
    return fit_alpha_map(grid.random, grid.whole, grid.classes, prediction.random)


def check_trend(grid: Grid) -> None:
    """Refuse a grid that has no coefficient beside 0.

    Raises:
        ValueError: it has none.

    """
    if not grid.others.size:
        raise ValueError(f"{grid.name} was measured at lambda = 0 only: there is no trend to compare")


def compare_grid(
    grid: Grid,
    prediction: Prediction,
    beside: Sequence[SignedPrediction] = (),
    against: str = "lambda",
    resamples: int = 1000,
    seed: int = 0,
) -> GridComparison:
    """All checks on one grid.

    Args:
        grid: measured.
        prediction: the one that is judged.
        beside: others, for which only the sign check is shown.
        against: "lambda" or "relative_pull": what the strength of the correction is measured by.
        resamples: of every bootstrap.
        seed: of everything random.

    """
    check_trend(grid)
    alpha_map = map_of(grid, prediction)
    order = order_check([grid], resamples, seed)
    difficulty = difficulty_checks(grid, against)
    notes = tuple(f"incomplete: {cell}" for cell in grid.incomplete) + _evaluation_points(grid) + _unknown_pull(grid)
    if not alpha_map.valid:
        why = "No alpha can be given to a number of images per class: " + "; ".join(alpha_map.problems) + "."
        invalid = [Finding(name, Verdict.MAP_INVALID, why) for name in MAP_CHECKS]
        # Order and difficulty use no alpha: they are shown, but nothing of the theory is judged by them.
        order = replace(order, verdict=Verdict.MAP_INVALID, sentence=f"{order.sentence} {why}")
        return GridComparison(grid, alpha_map, prediction, (*invalid, order, *difficulty), notes=notes)
    gains = gain_checks(grid, alpha_map, prediction, against, resamples, seed)
    findings = (
        sign_check(grid, alpha_map, prediction, against),
        order,
        gains.rank,
        gains.skill,
        mediator_check(grid, alpha_map, prediction),
        *difficulty,
    )
    others = tuple((p.name, sign_check(grid, alpha_map, p, against)) for p in beside)
    return GridComparison(grid, alpha_map, prediction, findings, others, gains=gains, notes=notes)


def _evaluation_points(grid: Grid) -> tuple[str, ...]:
    """How much the choice of the evaluation point gives away, where several were recorded."""
    notes = []
    best = grid.other_accuracy.get("accuracy")
    for name, words in (("accuracy_last", "the last"), ("accuracy_validated", "the validated")):
        other = grid.other_accuracy.get(name)
        if best is not None and other is not None:
            difference = 100.0 * float(np.nanmean(best - other))
            notes.append(
                f"accuracy at {words} evaluation point is {difference:.2f} points below that at the maximum, on average"
            )
    return tuple(notes)


def _unknown_pull(grid: Grid) -> tuple[str, ...]:
    """The sign check leaves out coefficients that pull too hard; a reader should know where it could not."""
    pull = grid.per_run.get("relative_pull")
    if pull is not None and np.all(np.isfinite(pull[:, grid.others]).any(axis=2)):
        return ()
    return (
        (
            "the relative pull of the correction was not recorded in every cell: there the sign check counts all "
            "coefficients, however strong"
        ),
    )


CLAIM = ("sign", "order", "rank", "easier sets: helpful below, harmful above")
"""Checks of the claim that few samples want easy ones and many hard ones; the others ask how it comes about."""


def compare(compared: Sequence[GridComparison], resamples: int = 1000, seed: int = 0) -> Comparison:
    """Put grids together: the order check pooled over all of them, where there are several, and Holm's correction.

    A page asks the same claim many times, once a check and a grid: what is told from chance alone need not be among so
    many (`shared.comparison.verdict.holm`).
    """
    pooled = []
    if len(compared) > 1:
        pooled = [order_check([c.grid for c in compared], resamples, seed, "order, all grids")]
    # The order of all grids together takes the place of their own, which are then tests among themselves.
    alone = {"order"} if pooled else set()
    found = [list(c.findings) for c in compared]
    for checks, more in ((set(CLAIM) - alone, pooled), (alone, [])):
        places = [(k, j) for k, own in enumerate(found) for j, f in enumerate(own) if f.check in checks]
        corrected = holm([*(found[k][j] for k, j in places), *more])
        for (k, j), finding in zip(places, corrected, strict=False):
            found[k][j] = finding
        more[:] = corrected[len(places) :]
    grids = tuple(replace(c, findings=tuple(own)) for c, own in zip(compared, found, strict=True))
    return Comparison(grids, tuple(pooled))


def accuracy_interval(values: Array) -> tuple[float, float]:
    """Mean and standard error over seeds of accuracies [S, N], networks averaged."""
    seeds = np.array([row[np.isfinite(row)].mean() for row in values if np.isfinite(row).any()])
    if not seeds.size:
        return math.nan, math.nan
    return float(seeds.mean()), float(seeds.std(ddof=1) / math.sqrt(seeds.size)) if seeds.size > 1 else math.nan
