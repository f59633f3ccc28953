"""Check 5: does difficulty move along distillation as assumed, and does lambda lower it?

Difficulty of a synthetic set: its mean GraDN on held-out probe networks, on a log scale. Three questions: without the
correction it rises for gradient matching; it falls or stays for trajectory matching; lambda lowers it (the first of
the two arrows; `shared.comparison.sign_check.mediator_check` tests the second). A run that hardly moves its images has
nothing to say about the first, whatever its family; and staying is a finding of its own, not evidence for either.
"""

from __future__ import annotations

import math

import numpy as np

from shared.comparison.grid import Grid, nanmean
from shared.comparison.sign_check import seed_slopes
from shared.comparison.verdict import CONFIDENCE, Finding, Mean, Verdict, average, judge, mean_of
from shared.records import metric_names as metric

STAYS = math.log(1.05)
"""A change of GraDN by less than 5 % is staying."""
HARDLY = 0.01
"""Images that moved by less than this part of their own size (root mean square) were hardly distilled."""
MOVED = metric.IMAGES_MOVED
UNIT = "log ratio of GraDN"
ONE_SEED = "No number of images per class has two distillation seeds: nothing has an interval."


def difficulty_checks(grid: Grid, against: str = "lambda") -> list[Finding]:
    """Check 5 on one grid: along the run, and in lambda."""
    names = ("difficulty along distillation", "lambda lowers difficulty")
    start, end = (grid.per_run.get(n) for n in ("mediator_gradn_start", "mediator_gradn"))
    unknown = "The difficulty of the synthetic sets was not recorded."
    if end is None or not np.any(np.isfinite(end)):
        return [Finding(name, Verdict.NOT_IDENTIFIABLE, unknown) for name in names]
    found = [Finding(names[0], Verdict.NOT_IDENTIFIABLE, "The difficulty at the start of the runs was not recorded.")]
    if start is not None and np.any(np.isfinite(start)):
        found = [_along(grid, names[0], np.log(end[:, grid.zero]) - np.log(start[:, grid.zero]))]
    fall = np.log(end[:, grid.zero : grid.zero + 1]) - np.log(end[:, grid.others])
    return [*found, _in_lambda(grid, names[1], fall, against)]


def _pooled(means: list[Mean]) -> Mean:
    return average(means, [1.0] * len(means))


def _along(grid: Grid, check: str, rises: np.ndarray) -> Finding:
    """`rises` [I, S]: log GraDN at the end minus at the start, without correction."""
    means = [mean_of(r) for r in rises]
    pooled = _pooled(means)
    if not pooled.df >= 1.0:
        return Finding(check, Verdict.NOT_IDENTIFIABLE, ONE_SEED)
    low, high = pooled.interval()
    details = tuple({"ipc": i, "rise": m.value, "se": m.se} for i, m in zip(grid.ipc.tolist(), means, strict=True))
    change = f"GraDN changes by a factor {math.exp(pooled.value):.4f} along runs without correction"
    moved = nanmean(grid.per_run[MOVED][:, grid.zero], (0, 1)) if MOVED in grid.per_run else math.nan
    words = {
        "gradient": "gradient matching is expected to raise it",
        "trajectory": "trajectory matching is expected to lower or to keep it",
    }
    expected = words.get(grid.family, f"nothing is predicted for {grid.method}")
    sentence = f"{change}; {expected}."
    if moved < HARDLY:
        verdict = Verdict.NOT_IDENTIFIABLE
        sentence += f" But the images moved by {float(moved):.1%} of their size only: these runs hardly distil."
    elif grid.family not in ("gradient", "trajectory"):
        verdict = Verdict.NOT_IDENTIFIABLE
    elif -STAYS < low <= 0.0 <= high < STAYS:
        verdict = Verdict.STAYS
    else:
        verdict = judge(low, high) if grid.family == "gradient" else judge(-high, -low)
    return Finding(
        check, verdict, sentence, pooled.value, low, high, UNIT, pooled.detectable, pooled.p, details=details
    )


def _in_lambda(grid: Grid, check: str, fall: np.ndarray, against: str) -> Finding:
    """`fall` [I, L - 1, S]: log GraDN at lambda = 0 minus at lambda, paired."""
    strength = grid.strength(against)
    means = []
    for x, f in zip(strength, fall, strict=True):
        column = np.broadcast_to(x[:, None], f.shape)
        means.append(mean_of(float(np.abs(x).max()) * seed_slopes(f, column)))
    pooled = _pooled(means)
    if not pooled.df >= 1.0:
        return Finding(check, Verdict.NOT_IDENTIFIABLE, ONE_SEED)
    low, high = pooled.interval(CONFIDENCE)
    details = tuple(
        {"ipc": ipc, "lambda": float(coefficient), "factor_of_gradn": math.exp(-value)}
        for ipc, row in zip(grid.ipc.tolist(), nanmean(fall, -1), strict=True)
        for coefficient, value in zip(grid.coefficient[grid.others], row, strict=True)
        if math.isfinite(value)
    )
    # A weak coefficient may do too little to be seen: an interval that covers zero decides nothing here.
    sentence = f"The strongest coefficient divides GraDN by a factor {math.exp(pooled.value):.4f} (line through 0)."
    return Finding(
        check, judge(low, high), sentence, pooled.value, low, high, UNIT, pooled.detectable, pooled.p, details=details
    )
