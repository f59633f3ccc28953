"""Check 1: does the measured slope of accuracy in lambda have the sign that the theory predicts, per IPC?

The slope of an IPC is the least-squares line through the origin of the paired gains over the coefficients, one slope a
distillation seed (its evaluation networks averaged), with a Student interval over seeds whose standard error is never
below that of rounding to whole test images. Least squares weighs a coefficient by its square, so the slope is all but
a contrast of the strongest ones used, which the finding names. Where the relative pull was recorded, coefficients at
which the correction pulls harder than the matching loss are left out: the theory's slope is that at zero.

What one side of lambda = 0 says alone must not be denied by the other: easier samples that do nothing and harder ones
that hurt are damage, no trend. And where the predicted sign is one and the same at all IPC, agreement is called
`consistent`: that prediction could not have failed by the trend.

The same test serves the mediator: gain against the fall of difficulty.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from shared.comparison.alpha_map import AlphaMap
from shared.comparison.grid import Grid, nanmean
from shared.comparison.prediction import SignedPrediction
from shared.comparison.quantisation import slope_floor, step_of
from shared.comparison.resampling import percentile_interval
from shared.comparison.verdict import CONFIDENCE, POWER, Finding, Mean, Verdict, average, judge, mean_of

Array = NDArray[np.float64]

STRONGEST_PULL = 1.0
"""Relative pull up to which the response counts as a response to a small correction."""
ONE_SIDE = 0.8
"""Confidence at which each side of lambda = 0 must have the sign that both have together."""


def predicted_signs(ipc: float, alpha_map: AlphaMap, prediction: SignedPrediction) -> tuple[int, float]:
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


def visited(grid: Grid, alpha_map: AlphaMap, prediction: SignedPrediction) -> set[int]:
    """The decided signs that a prediction has over the IPC of a grid: {1, -1} if both sides were visited."""
    return {sign for ipc in grid.ipc for sign, _ in [predicted_signs(float(ipc), alpha_map, prediction)] if sign}


def sign_check(grid: Grid, alpha_map: AlphaMap, prediction: SignedPrediction, against: str = "lambda") -> Finding:
    """Check 1 on one grid; see the module.

    The statistic is the slope times the predicted sign, in accuracy points at the strongest correction that is used,
    averaged over the IPC whose predicted sign is decided. A single IPC that is resolved (at 95 %, corrected for the
    number of IPC) with the wrong sign makes it `not supported`.
    """
    strength, gains, step = grid.strength(against), grid.seed_gains(), step_of(grid.accuracy)
    coefficient = grid.coefficient[grid.others]
    means: list[Mean] = []
    sides: dict[str, list[Mean]] = {name: [] for name, side in _sides(coefficient).items() if np.any(side)}
    more: list[dict[str, Any]] = []
    for i in range(grid.ipc.size):
        kept = _gentle(grid, i)
        reach = float(np.abs(strength[i][kept]).max()) if np.any(kept) else math.nan
        means.append(_slope(gains[i], strength[i], kept, reach, step, grid.accuracy.shape[3]))
        for name, side in _sides(coefficient).items():
            if name in sides:
                sides[name].append(_slope(gains[i], strength[i], kept & side, reach, step, grid.accuracy.shape[3]))
        more.append({"strongest_used": reach, "left_out": ", ".join(f"{c:g}" for c in coefficient[~kept]) or "none"})
    unit = f"points at the strongest {against.replace('_', ' ')} used"
    return _signs("sign", unit, grid, alpha_map, prediction, _Measured(means, sides), more)


def _sides(coefficient: Array) -> dict[str, NDArray[np.bool_]]:
    return {"easier samples (lambda > 0)": coefficient > 0.0, "harder samples (lambda < 0)": coefficient < 0.0}


def _slope(
    gains: Array, strength: Array, kept: NDArray[np.bool_], reach: float, step: float, networks: int
) -> Mean:
    """Mean over seeds of the slope of an IPC, in points at `reach`; gains [L, S], strength [L]."""
    if not np.any(kept):
        return Mean(math.nan, math.inf, 0.0)
    g = gains[kept]
    x = np.broadcast_to(strength[kept][:, None], g.shape)
    slopes = 100.0 * reach * seed_slopes(g, x)
    seeds = int(np.isfinite(slopes).sum())
    return mean_of(slopes, 100.0 * reach * slope_floor(strength[kept], step, networks, seeds))


def mediator_check(grid: Grid, alpha_map: AlphaMap, prediction: SignedPrediction) -> Finding:
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
    def halving(some: NDArray[np.bool_]) -> list[Mean]:
        return [
            mean_of(100.0 * math.log(2.0) * seed_slopes(g[some], f[some]))
            for g, f in zip(grid.seed_gains(), fall, strict=True)
        ]

    coefficient = grid.coefficient[grid.others]
    sides = {name: halving(side) for name, side in _sides(coefficient).items() if np.any(side)}
    measured = _Measured(halving(np.ones(coefficient.size, dtype=bool)), sides)
    falls = [{"mean_fall_of_log_gradn": float(nanmean(f, (0, 1)))} for f in fall]
    return _signs(name, "points a halving of GraDN", grid, alpha_map, prediction, measured, falls)


def _over_ipc(
    means: list[Mean], signs: list[float], pooled: Mean, confidence: float = CONFIDENCE, resamples: int = 4000
) -> tuple[float, float]:
    """Interval of the average: the wider of Student's over seeds, and one in which IPC are resampled as well."""
    low, high = pooled.interval(confidence)
    usable = [(m, s) for m, s in zip(means, signs, strict=True) if m.df >= 1.0]
    if len(usable) < 2:
        return low, high
    rng = np.random.default_rng(0)
    value, se, df = (np.array([v(m, s) for m, s in usable]) for v in (_signed, lambda m, s: m.se, lambda m, s: m.df))
    chosen = rng.integers(len(usable), size=(resamples, len(usable)))
    drawn = value[chosen] + se[chosen] * rng.standard_t(df[chosen])
    ends = percentile_interval(drawn.mean(axis=1), confidence)
    return min(low, ends[0]), max(high, ends[1])


def _signed(mean: Mean, sign: float) -> float:
    return sign * mean.value


@dataclass(frozen=True)
class _Measured:
    """Slopes of the IPC, and by name what each side of lambda = 0 says alone."""

    means: list[Mean]
    sides: Mapping[str, list[Mean]] = field(default_factory=dict)


def _on_sides(measured: _Measured, decided: list[int], signs: list[float]) -> dict[str, tuple[float, float]]:
    """Interval at `ONE_SIDE` of what each side of lambda = 0 says alone, where both were measured."""
    found = {}
    for name, means in measured.sides.items():
        own = [means[k] for k in decided]
        pooled = average(own, signs)
        if pooled.df >= 1.0 and len(measured.sides) > 1:
            found[name] = _over_ipc(own, signs, pooled, ONE_SIDE)
    return found


def _detectable(interval: tuple[float, float], sides: Iterable[tuple[float, float]]) -> float:
    """Effect with which all intervals, each side's at `ONE_SIDE` too, lie above zero together, four times in five."""
    needed = [(interval, CONFIDENCE), *((side, ONE_SIDE) for side in sides)]
    power = float(stats.norm.ppf(POWER ** (1.0 / len(needed))))
    return max(
        0.5 * (high - low) * (1.0 + power / float(stats.norm.ppf(0.5 + confidence / 2.0)))
        for (low, high), confidence in needed
    )


def _signs(
    check: str,
    unit: str,
    grid: Grid,
    alpha_map: AlphaMap,
    prediction: SignedPrediction,
    measured: _Measured,
    more: list[dict[str, Any]],
) -> Finding:
    rows: list[dict[str, Any]] = []
    expected = [predicted_signs(float(i), alpha_map, prediction) for i in grid.ipc]
    tests = max(1, sum(sign != 0 for sign, _ in expected))
    for k, (ipc, mean, (sign, S)) in enumerate(zip(grid.ipc.tolist(), measured.means, expected, strict=True)):
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
    signs = [float(expected[k][0]) for k in decided]
    pooled = average([measured.means[k] for k in decided], signs)
    low, high = _over_ipc([measured.means[k] for k in decided], signs, pooled)
    verdict = judge(low, high)
    resolved = [r for r in rows if r["verdict"] in (Verdict.SUPPORTED, Verdict.NOT_SUPPORTED)]
    wrong = [r["ipc"] for r in rows if r["verdict"] == Verdict.NOT_SUPPORTED]
    if wrong:
        verdict = Verdict.NOT_SUPPORTED
    sides = set(signs)
    sentence = (
        f"{len(resolved)} of {len(rows)} IPC have a slope that is told from zero and a decided prediction, "
        f"{len(resolved) - len(wrong)} with the predicted sign"
        + (f", the wrong one at IPC {', '.join(map(str, wrong))}" if wrong else "")
        + "."
    )
    alone = _on_sides(measured, decided, signs)
    denied = [name for name, (least, _) in alone.items() if not least > 0.0] if verdict == Verdict.SUPPORTED else []
    if not decided:
        sentence = "The predicted sign is undecided at every IPC, given the angle band and N_eff's interval."
    elif denied:
        verdict = Verdict.NOT_IDENTIFIABLE
        sentence += f" It rests on one side of lambda = 0: {' and '.join(denied)} alone do not show it."
    if len(sides) == 1:
        side = "help" if 1.0 in sides else "hurt"
        sentence += f" Easier samples are predicted to {side} at all decided IPC: the trend is not tested here."
        verdict = Verdict.CONSISTENT if verdict == Verdict.SUPPORTED else verdict
    detectable = _detectable((low, high), alone.values())
    return Finding(check, verdict, sentence, pooled.value, low, high, unit, detectable, pooled.p, details=tuple(rows))
