"""From images per class to the theory's alpha: alpha = IPC * classes / N_eff, fitted on random subsets alone.

The test error of networks trained on random subsets, put on the perceptron's scale,

    e = 0.5 (error - error of the whole set) / (chance - error of the whole set),

is laid onto the theory's random curve by one number, the effective dimension N_eff. No distilled set enters. A fit that
is bad ends the comparison: then nothing says which alpha a number of images per class stands for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]

WORST_RESIDUAL = 0.05
"""Root mean square residual, on the scale where chance is 0.5, above which the fit is bad."""
WIDEST = 4.0
"""Ratio of the ends of N_eff's interval above which it says too little."""
DISCREPANCY = 0.01
"""Misfit of the theory's curve that is allowed for beside the noise: an exact curve would need none."""
FEWEST = 3
"""Images-per-class values that a fit needs."""


@dataclass(frozen=True)
class AlphaMap:
    """The fitted map.

    Attributes:
        n_eff, low, high: effective dimension with its interval.
        residual: root mean square residual of the normalised error.
        explained: share of the variance of the normalised error over IPC that the curve explains.
        chance, whole: test errors that were mapped to 0.5 and 0.
        classes: number of classes.
        ipc, error, error_se, fitted: the points, normalised, [n].
        problems: why the map is invalid, in words; empty if it is valid.

    """

    n_eff: float
    low: float
    high: float
    residual: float
    explained: float
    chance: float
    whole: float
    classes: int
    ipc: Array
    error: Array
    error_se: Array
    fitted: Array
    problems: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """Whether the comparison may go on."""
        return not self.problems

    @property
    def accuracy_per_error(self) -> float:
        """Accuracy that one unit of the theory's error stands for."""
        return 2.0 * (self.chance - self.whole)

    def alpha(self, ipc: ArrayLike) -> Array:
        """Values of alpha at images per class [n]."""
        return np.asarray(ipc, float) * self.classes / self.n_eff

    def alphas(self, ipc: float) -> Array:
        """Values of alpha at the ends of the interval of N_eff and at its best value, [3]."""
        return ipc * self.classes / np.array([self.high, self.n_eff, self.low])

    def angle(self, error: float) -> float:
        """Angle to the teacher, in radians, of a probe network with a test error: theta = pi e."""
        scaled = 0.5 * (error - self.whole) / (self.chance - self.whole)
        return math.pi * min(0.5, max(0.0, scaled))


def fit_alpha_map(
    random: Mapping[int, Sequence[Sequence[float]]],
    whole: Sequence[float],
    classes: int,
    random_error: Callable[[Array], Array],
    confidence: float = 0.95,
) -> AlphaMap:
    """Fit N_eff on random-subset accuracies.

    Args:
        random: images per class -> accuracies [seeds][networks] of random real subsets.
        whole: accuracies of networks trained on the whole training set.
        classes: number of classes; chance is 1 - 1 / classes.
        random_error: the theory's random curve, test errors at alphas [n].
        confidence: of the interval of N_eff.

    Returns:
        The map, with its problems where it is invalid; nothing is raised for a bad fit.

    """
    chance = 1.0 - 1.0 / classes
    lowest = 1.0 - float(np.mean(whole)) if len(whole) else math.nan
    ipc = np.array(sorted(random), float)
    means = [np.array([np.mean(networks) for networks in random[int(k)]]) for k in ipc]
    scale = 0.5 / (chance - lowest) if chance > lowest else math.nan
    error = np.array([scale * (1.0 - m.mean() - lowest) for m in means])
    single = [m.std(ddof=1) for m in means if m.size > 1]
    typical = float(np.sqrt(np.mean(np.square(single)))) if single else 0.0
    spread = np.array([scale * (m.std(ddof=1) if m.size > 1 else typical) / math.sqrt(m.size) for m in means])
    problems = []
    if not len(whole):
        problems.append("the whole-data accuracy was not measured")
    elif not chance > lowest:
        problems.append(f"the whole-data error {lowest:.3g} is not below chance, {chance:.3g}")
    if ipc.size < FEWEST:
        problems.append(f"random subsets were measured at {ipc.size} numbers of images per class, {FEWEST} are needed")
    if problems:
        nothing = np.full(ipc.size, np.nan)
        return AlphaMap(
            math.nan, math.nan, math.nan, math.nan, math.nan, chance, lowest, classes,
            ipc, error, spread, nothing, tuple(problems),
        )  # fmt: skip
    weight = 1.0 / (spread**2 + DISCREPANCY**2)
    candidates = np.geomspace(ipc.min() * classes / 100.0, ipc.max() * classes / 0.01, 4000)
    curve = random_error((ipc * classes / candidates[:, None]).ravel()).reshape(candidates.size, -1)
    chi2 = ((curve - error) ** 2) @ weight
    best = int(np.argmin(chi2))
    degrees = ipc.size - 1
    inflation = max(1.0, chi2[best] / degrees)
    limit = chi2[best] + inflation * float(stats.t.ppf(0.5 + confidence / 2, degrees)) ** 2
    inside = np.flatnonzero(chi2 <= limit)
    low, high = candidates[inside[0]], candidates[inside[-1]]
    residual = float(np.sqrt(np.mean((curve[best] - error) ** 2)))
    variance = float(np.mean((error - error.mean()) ** 2))
    explained = 1.0 - residual**2 / variance if variance > 0.0 else -math.inf
    if residual > WORST_RESIDUAL:
        problems.append(
            f"random subsets miss the theory's random curve by {residual:.3f} of 0.5 (root mean square; "
            f"at most {WORST_RESIDUAL:g})"
        )
    if explained < 0.5:
        problems.append(f"the curve explains {max(explained, 0.0):.0%} of how the error falls, at least 50 % is needed")
    if high / low > WIDEST:
        problems.append(f"N_eff is only known to lie between {low:.3g} and {high:.3g}, a factor above {WIDEST:g}")
    return AlphaMap(
        float(candidates[best]), float(low), float(high), residual, explained, chance, lowest, classes,
        ipc, error, spread, curve[best], tuple(problems),
    )  # fmt: skip
