"""A table of `python -m empirical.selection` as curves, put on the theory's axis by its random subsets alone."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from figures.compare.predicted import random_curve
from shared.comparison.alpha_map import AlphaMap, fit_alpha_map
from shared.measures.scaling import ScalingCurve
from theory import scaling, solve

Array = NDArray[np.float64]
EASIEST, HARDEST, RANDOM, WHOLE = "easiest", "hardest", "random", "whole"
RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Selection:
    """One table.

    Attributes:
        name: of the data set, the network and the probe, in words.
        classes: of the data set.
        probe_error: share of wrong answers of the probe's networks on test images.
        errors: (strategy, fraction) -> size -> seed -> test error; sizes in images a class, or samples.
        whole: errors of students of the whole training set.
        dimension: number of features where it is known, so that nothing is fitted; 0: N_eff is.
        theta: angle of the probe in radians where it is known; NaN: from its error.

    """

    name: str
    classes: int
    probe_error: float
    errors: Mapping[tuple[str, float], Mapping[int, Mapping[int, float]]]
    whole: Array
    dimension: int = 0
    theta: float = math.nan
    margin: str = field(default="signed")

    @cached_property
    def map(self) -> AlphaMap:
        """From images a class to alpha, fitted on the random subsets."""
        random = {size: [[1.0 - e] for e in own.values()] for size, own in self.errors[RANDOM, 1.0].items()}
        return fit_alpha_map(random, (1.0 - self.whole).tolist(), self.classes, random_curve())

    @property
    def fractions(self) -> list[float]:
        """Kept fractions below 1, increasing."""
        return sorted({fraction for strategy, fraction in self.errors if strategy == EASIEST})

    @property
    def angle(self) -> float:
        """Of the probe, in radians."""
        return self.theta if math.isfinite(self.theta) else self.map.angle(self.probe_error)

    def alpha(self, size: float | Array) -> Array:
        """Kept samples per dimension at a size."""
        if self.dimension:
            return np.asarray(size, float) / self.dimension
        return self.map.alpha(np.asarray(size, float))

    def scaled(self, error: Array) -> Array:
        """Test errors on the perceptron's scale, where chance is 1/2 and the whole training set 0."""
        if self.dimension:
            return error
        return 0.5 * (error - self.map.whole) / (self.map.chance - self.map.whole)

    def curve(self, strategy: str, fraction: float) -> tuple[Array, Array, Array]:
        """(sizes, mean error, standard error), on the perceptron's scale."""
        own = self.errors[strategy, fraction]
        sizes = np.array(sorted(own), float)
        both = [_mean(self.scaled(np.array(list(own[int(size)].values())))) for size in sizes]
        return sizes, np.array([mean for mean, _ in both]), np.array([se for _, se in both])

    def random_law(self) -> ScalingCurve:
        """Raw test error of random subsets against size."""
        own = self.errors[RANDOM, 1.0]
        sizes = sorted(own)
        both = [_mean(np.array(list(own[size].values()))) for size in sizes]
        return ScalingCurve(sizes, [mean for mean, _ in both], [se for _, se in both], RANDOM, "experiment", "ipc")

    def crossover(self, fraction: float, seed: int = 0) -> tuple[float, float, float]:
        """(size, low, high) at which hard becomes better than easy, with a 95 % interval over seeds.

        0 where hard is better from the smallest size on, infinite where easy is up to the largest; NaN without two
        seeds that measured both.
        """
        easy, hard = self.errors[EASIEST, fraction], self.errors[HARDEST, fraction]
        most = max(len(own) for own in easy.values())
        kept = [s for s in sorted(set(easy) & set(hard)) if len(set(easy[s]) & set(hard[s])) == most]
        common = sorted(set.intersection(*(set(easy[s]) & set(hard[s]) for s in kept))) if kept else []
        if len(common) < 2:
            return math.nan, math.nan, math.nan
        sizes = np.array(kept, float)
        gains = np.array([[easy[s][k] - hard[s][k] for k in common] for s in kept])  # above 0: hard is better
        rng = np.random.default_rng(seed)
        seeds = gains.shape[1]
        drawn = [_crossing(sizes, gains[:, rng.integers(seeds, size=seeds)].mean(axis=1)) for _ in range(RESAMPLES)]
        low, high = np.quantile(drawn, [0.025, 0.975], method="closest_observation")
        return _crossing(sizes, gains.mean(axis=1)), float(low), float(high)

    def predicted_crossover(self, fraction: float) -> tuple[float, float, float]:
        """(size, low, high) of the theory at the probe's angle, at the ends of N_eff's interval; NaN where none is."""
        alpha = scaling.crossover(fraction, self.angle, margin=self.margin)
        if self.dimension:
            return alpha * self.dimension, alpha * self.dimension, alpha * self.dimension
        per = alpha / self.classes
        return per * self.map.n_eff, per * self.map.low, per * self.map.high

    def random_error(self, size: float) -> float:
        """Error of random subsets of a size, on the perceptron's scale; NaN outside of what was measured.

        A crossover told by it needs no N_eff, which fits one end of a curve whose exponent is not the theory's.
        """
        sizes, mean, _ = self.curve(RANDOM, 1.0)
        if not sizes[0] <= size <= sizes[-1] or np.any(mean <= 0.0):
            return math.nan
        return float(np.exp(np.interp(math.log(size), np.log(sizes), np.log(mean))))

    def predicted_random_error(self, fraction: float) -> float:
        """Error of random samples at the theory's crossover; NaN where it has none."""
        alpha = scaling.crossover(fraction, self.angle, margin=self.margin)
        return float(solve(alpha, keep="random").test_error) if math.isfinite(alpha) else math.nan


def _mean(values: Array) -> tuple[float, float]:
    """Mean and standard error."""
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size)) if values.size > 1 else 0.0


def _crossing(sizes: Array, gain: Array) -> float:
    """Where a gain first becomes positive for good, straight between sizes on a logarithmic axis."""
    negative = np.flatnonzero(gain <= 0.0)
    if not negative.size:
        return 0.0
    last = int(negative[-1])
    if last == sizes.size - 1:
        return math.inf
    share = -gain[last] / (gain[last + 1] - gain[last])
    return float(np.exp(np.log(sizes[last]) + share * np.log(sizes[last + 1] / sizes[last])))


def read(path: str | Path) -> Selection:
    """A table as a `Selection`.

    Raises:
        ValueError: unreadable, or no such table.

    """
    try:
        rows = list(csv.DictReader(Path(path).read_text(encoding="utf-8").splitlines()))
        found: dict[tuple[str, float], dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
        for row in rows:
            own = found[row["strategy"], float(row["fraction"])]
            own[int(row["per_class"])][int(row["seed"])] = float(row["error"])
        first = rows[0]
        name = first["dataset"]
        if not first.get("dimension"):
            name += f", {first['network']}, probe of {first['probe']}"
        sized = next(row for row in rows if row["strategy"] == RANDOM)
        classes, probe_error = int(sized["images"]) // int(sized["per_class"]), float(first["probe_error"])
        dimension, theta = int(first.get("dimension") or 0), float(first.get("theta") or math.nan)
    except (OSError, UnicodeDecodeError, KeyError, ValueError, IndexError, StopIteration, ZeroDivisionError) as error:
        raise ValueError(f"{path} is no table of python -m empirical.selection ({error})") from error
    whole = np.array([e for own in found.pop((WHOLE, 1.0), {}).values() for e in own.values()])
    return Selection(name, classes, probe_error, found, whole, dimension, theta)
