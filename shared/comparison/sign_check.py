"""Check 1: does the measured slope of accuracy in lambda have the sign that the theory predicts, per IPC?

The slope of an IPC is the least-squares line through the origin of the paired gains over the coefficients, one slope a
distillation seed (its evaluation networks averaged), with a Student interval over seeds. Where the relative pull was
recorded, coefficients at which the correction pulls harder than the matching loss are left out: the theory's slope is
that at zero. The same test serves the mediator: gain against the fall of difficulty.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.comparison.alpha_map import AlphaMap
from shared.comparison.grid import Grid, nanmean
from shared.comparison.prediction import Prediction
from shared.comparison.resampling import percentile_interval
from shared.comparison.verdict import CONFIDENCE, Finding, Mean, Verdict, average, judge, mean_of

Array = NDArray[np.float64]

STRONGEST_PULL = 1.0
"""Relative pull up to which the response counts as a response to a small correction."""


def predicted_signs(ipc: float, alpha_map: AlphaMap, prediction: Prediction) -> tuple[int, float]:
    """(sign, S at the best guess): the sign of S if it is one over the angle band and N_eff's interval, else 0."""
    alphas = alpha_map.alphas(ipc)
    slopes, signs = prediction.slopes(alphas), np.unique(prediction.signs(alphas))
    return (int(signs[0]) if signs.size == 1 else 0), float(slopes[prediction.middle, 1])


def seed_slopes(gains: Array, strength: Array) -> Array:
    """Slopes [S] of gains [L, S] on strengths [L, S], lines through the origin; NaN for seeds without a gain."""
    usable = np.isfinite(gains) & np.isfinite(strength)
    x, g = np.where(usable, strength, 0.0), np.where(usable, gains, 0.0)
    square = np.sum(x * x, axis=0)
    return np.divide(np.sum(x * g, axis=0), square, out=np.full(square.shape, np.nan), where=square > 0.0)


def _gentle(grid: Grid, row: int) -> NDArray[np.bool_]:
    """Which coefficients of an IPC are weak enough, [L - 1]; the weakest on each side is kept in any case."""
    coefficient = grid.coefficient[grid.others]
    if "relative_pull" not in grid.per_run:
        return np.ones(coefficient.size, dtype=bool)
    pull = np.abs(grid.pull()[row])
    gentle = ~(pull > STRONGEST_PULL)
    for side in (coefficient > 0.0, coefficient < 0.0):
        if np.any(side):
            gentle[np.flatnonzero(side)[np.argmin(np.abs(coefficient[side]))]] = True
    return gentle


def sign_check(grid: Grid, alpha_map: AlphaMap, prediction: Prediction, against: str = "lambda") -> Finding:
    """Check 1 on one grid; see the module.

    The statistic is the slope times the predicted sign, in accuracy points at the strongest correction that is used,
    averaged over the IPC whose predicted sign is decided. A single IPC that is resolved (at 95 %, corrected for the
    number of IPC) with the wrong sign makes it `not supported`.
    """
    strength = grid.strength(against)
    gains = grid.seed_gains()
    means, reach = [], []
    for i in range(grid.ipc.size):
        kept = _gentle(grid, i)
        x = np.broadcast_to(strength[i][kept][:, None], gains[i][kept].shape)
        reach.append(float(np.abs(x).max()) if x.size else math.nan)
        means.append(mean_of(100.0 * reach[-1] * seed_slopes(gains[i][kept], x)))
    return _signs(
        "sign", f"points at the strongest {against.replace('_', ' ')} used", grid, alpha_map, prediction, means,
        [{"strongest_used": r} for r in reach],
    )  # fmt: skip


def mediator_check(grid: Grid, alpha_map: AlphaMap, prediction: Prediction) -> Finding:
    """Second arrow: does accuracy respond to a fall of the synthetic set's difficulty with the predicted sign?

    As check 1, with the fall of log GraDN (of the same seed, against lambda = 0) in the place of lambda.
    """
    name = "easier sets: helpful below, harmful above"
    difficulty = grid.per_run.get("mediator_gradn")
    if difficulty is None or not np.any(np.isfinite(difficulty)):
        return Finding(name, Verdict.NOT_IDENTIFIABLE, "The difficulty of the synthetic sets was not recorded.")
    with np.errstate(invalid="ignore"):
        log = np.log(difficulty)
    fall = log[:, grid.zero : grid.zero + 1] - log[:, grid.others]
    gains = grid.seed_gains()
    means = [mean_of(100.0 * math.log(2.0) * seed_slopes(g, f)) for g, f in zip(gains, fall, strict=True)]
    falls = [{"mean_fall_of_log_gradn": float(nanmean(f, (0, 1)))} for f in fall]
    return _signs(name, "points a halving of GraDN", grid, alpha_map, prediction, means, falls)


def _over_ipc(means: list[Mean], signs: list[float], pooled: Mean, resamples: int = 4000) -> tuple[float, float]:
    """Interval of the average: the wider of Student's over seeds, and one in which IPC are resampled as well."""
    low, high = pooled.interval()
    usable = [(m, s) for m, s in zip(means, signs, strict=True) if m.df >= 1.0]
    if len(usable) < 2:
        return low, high
    rng = np.random.default_rng(0)
    value, se, df = (np.array([v(m, s) for m, s in usable]) for v in (_signed, lambda m, s: m.se, lambda m, s: m.df))
    chosen = rng.integers(len(usable), size=(resamples, len(usable)))
    drawn = value[chosen] + se[chosen] * rng.standard_t(df[chosen])
    ends = percentile_interval(drawn.mean(axis=1), CONFIDENCE)
    return min(low, ends[0]), max(high, ends[1])


def _signed(mean: Mean, sign: float) -> float:
    return sign * mean.value


def _signs(
    check: str,
    unit: str,
    grid: Grid,
    alpha_map: AlphaMap,
    prediction: Prediction,
    means: list[Mean],
    more: list[dict[str, float]],
) -> Finding:
    rows: list[dict[str, Any]] = []
    expected = [predicted_signs(float(i), alpha_map, prediction) for i in grid.ipc]
    tests = max(1, sum(sign != 0 for sign, _ in expected))
    for k, (ipc, mean, (sign, S)) in enumerate(zip(grid.ipc.tolist(), means, expected, strict=True)):
        low, high = mean.interval(1.0 - (1.0 - CONFIDENCE) / tests)
        verdict = judge(*sorted((sign * low, sign * high))) if sign else Verdict.NOT_IDENTIFIABLE
        rows.append(
            {
                "ipc": ipc, "alpha": float(alpha_map.alpha(ipc)), "predicted_S": S,
                "predicted_sign": {1: "+", -1: "-", 0: "undecided"}[sign], "slope": mean.value, "low": low,
                "high": high, "verdict": str(verdict), **more[k],
            }
        )  # fmt: skip
    decided = [k for k, (sign, _) in enumerate(expected) if sign]
    pooled = average([means[k] for k in decided], [float(expected[k][0]) for k in decided])
    low, high = _over_ipc([means[k] for k in decided], [float(expected[k][0]) for k in decided], pooled)
    verdict = judge(low, high)
    resolved = [r for r in rows if r["verdict"] in (Verdict.SUPPORTED, Verdict.NOT_SUPPORTED)]
    wrong = [r["ipc"] for r in rows if r["verdict"] == Verdict.NOT_SUPPORTED]
    if wrong:
        verdict = Verdict.NOT_SUPPORTED
    sides = {expected[k][0] for k in decided}
    sentence = (
        f"{len(resolved)} of {len(rows)} IPC have a slope that is told from zero and a decided prediction, "
        f"{len(resolved) - len(wrong)} with the predicted sign"
        + (f", the wrong one at IPC {', '.join(map(str, wrong))}" if wrong else "")
        + "."
    )
    if not decided:
        sentence = "The predicted sign is undecided at every IPC, given the angle band and N_eff's interval."
    elif len(sides) == 1:
        side = "help" if 1 in sides else "hurt"
        sentence += f" Only one side was visited: easier samples are predicted to {side} at all decided IPC."
    return Finding(check, verdict, sentence, pooled.value, low, high, unit, pooled.detectable, pooled.p, tuple(rows))
