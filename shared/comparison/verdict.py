"""What a check may say, fixed before any data: six words, an interval, and the effect that could have been seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

CONFIDENCE = 0.95
POWER = 0.8
DETECTABLE = 2.8
"""Standard deviations of a statistic at which a true effect is found with that power: z(97.5 %) + z(80 %)."""


class Verdict(StrEnum):
    """The six words.

    SUPPORTED: the interval lies on the predicted side of zero.
    CONSISTENT: it does, but the prediction has one sign wherever the data are, so the trend could not have failed.
    STAYS: a change that is not told from zero and excludes the smallest one that would matter.
    NOT_SUPPORTED: it lies on the other side, or excludes every effect that would matter.
    NOT_IDENTIFIABLE: the data cannot tell: too flat, too noisy, too few, or the prediction itself is undecided.
    MAP_INVALID: images per class could not be put on the theory's axis, so there is nothing to compare.
    """

    SUPPORTED = "supported"
    CONSISTENT = "consistent; trend not tested"
    STAYS = "stays"
    NOT_SUPPORTED = "not supported"
    NOT_IDENTIFIABLE = "not identifiable"
    MAP_INVALID = "map invalid"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: its name.
        verdict: one of the six words.
        sentence: what holds or does not, in plain words.
        value, low, high: the statistic, oriented such that positive agrees with the theory unless `unit` says
            otherwise, with its interval at 95 %.
        unit: of the statistic.
        detectable: size of a true effect that would have been found with a probability of 80 %; NaN if unknown.
        p: two-sided, of a permutation test where there is one, else of the interval's test.
        adjusted: p after Holm's correction for the checks that test the claim on the same page; NaN before it, and for
            checks that do not.
        details: rows for a table.

    """

    check: str
    verdict: Verdict
    sentence: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    unit: str = ""
    detectable: float = math.nan
    p: float = math.nan
    adjusted: float = math.nan
    details: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    @property
    def interval(self) -> str:
        """The statistic with its interval, in words."""
        if not math.isfinite(self.value):
            return "no number"
        if math.isnan(self.low) or math.isnan(self.high):
            return f"{self.value:+.3g} [too few to say] {self.unit}".strip()
        return f"{self.value:+.3g} [{self.low:+.3g}, {self.high:+.3g}] {self.unit}".strip()


def judge(low: float, high: float, smallest: float = math.inf) -> Verdict:
    """The word for an interval of a statistic that the theory says is positive.

    `smallest` is the least effect that would matter; by default an interval that covers zero decides nothing.
    """
    if not (math.isfinite(low) or math.isfinite(high)) or math.isnan(low) or math.isnan(high):
        return Verdict.NOT_IDENTIFIABLE
    if low > 0.0:
        return Verdict.SUPPORTED
    if high < 0.0 or high < smallest < math.inf:
        return Verdict.NOT_SUPPORTED
    return Verdict.NOT_IDENTIFIABLE


@dataclass(frozen=True)
class Mean:
    """A mean with its Student interval: `df` degrees of freedom, standard error `se`."""

    value: float
    se: float
    df: float

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Both ends; infinite where a single value gives no spread."""
        if not self.df >= 1.0:
            return -math.inf, math.inf
        half = float(stats.t.ppf(0.5 + confidence / 2.0, self.df)) * self.se
        return self.value - half, self.value + half

    @property
    def p(self) -> float:
        """Two-sided p of a true mean of zero."""
        if not self.df >= 1.0:
            return 1.0
        if self.se == 0.0:
            return float(self.value == 0.0)
        return float(2.0 * stats.t.sf(abs(self.value) / self.se, self.df))

    @property
    def detectable(self) -> float:
        """True mean that is told from zero (95 %, two-sided) with a probability of 80 %."""
        if not self.df >= 1.0:
            return math.inf
        return float(stats.t.ppf(0.5 + CONFIDENCE / 2.0, self.df) + stats.t.ppf(POWER, self.df)) * self.se


def mean_of(values: Array, floor: float = 0.0) -> Mean:
    """Of independent values [n], absent ones (NaN) left out.

    Args:
        values: as said.
        floor: standard error that the mean has at least (`shared.comparison.quantisation`).

    """
    kept = values[np.isfinite(values)]
    if kept.size < 2:
        return Mean(float(kept.mean()) if kept.size else math.nan, math.inf, 0.0)
    return Mean(float(kept.mean()), max(floor, float(kept.std(ddof=1) / math.sqrt(kept.size))), kept.size - 1.0)


def average(means: list[Mean], signs: list[float]) -> Mean:
    """Average of independent means, each with a sign; degrees of freedom by Welch and Satterthwaite."""
    usable = [(m, s) for m, s in zip(means, signs, strict=True) if m.df >= 1.0]
    if not usable:
        return Mean(math.nan, math.inf, 0.0)
    variances = np.array([m.se**2 for m, _ in usable])
    value = float(np.mean([s * m.value for m, s in usable]))
    total = float(variances.sum())
    df = total**2 / float(sum(v**2 / m.df for v, (m, _) in zip(variances, usable, strict=True))) if total else 1.0
    return Mean(value, math.sqrt(total) / len(usable), df)


def holm(findings: Sequence[Finding]) -> list[Finding]:
    """Findings that test one claim, with Holm's correction for their number.

    One that was told from zero alone and is not among so many becomes `not identifiable`, and says so. A finding
    without a p (nothing could be tested) counts as a test that was not made.
    """
    tested = [k for k, finding in enumerate(findings) if math.isfinite(finding.p)]
    found, running = list(findings), 0.0
    for rank, k in enumerate(sorted(tested, key=lambda k: findings[k].p)):
        running = max(running, min(1.0, (len(tested) - rank) * findings[k].p))
        finding = replace(findings[k], adjusted=running)
        told = finding.verdict in (Verdict.SUPPORTED, Verdict.CONSISTENT) or (
            finding.verdict == Verdict.NOT_SUPPORTED and finding.high < 0.0
        )
        if told and running >= 1.0 - CONFIDENCE and len(tested) > 1:
            finding = replace(
                finding,
                verdict=Verdict.NOT_IDENTIFIABLE,
                sentence=f"{finding.sentence} Alone it would be called {finding.verdict}; among the {len(tested)} "
                f"checks of the claim it is not told from chance (Holm: p = {running:.2g}).",
            )
        found[k] = finding
    return found
