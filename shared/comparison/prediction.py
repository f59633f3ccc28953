"""A theory's prediction, as numbers on a grid: what `shared.comparison` knows of any theory.

Whoever computes it (see `figures.compare.predicted`) gives the test error on a grid of angles, tilts tau and alphas;
between grid points it is interpolated by cubic splines in log alpha and arcsinh tau.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline, RectBivariateSpline
from scipy.optimize import brentq

Array = NDArray[np.float64]

SLOPE_NOISE = 1e-11
"""Slopes below this are no prediction: a probe that knows nothing gives slopes of zero up to 4e-14 of rounding."""


class SignedPrediction(Protocol):
    """What a check of signs needs of a prediction."""

    @property
    def name(self) -> str:
        """The reading of the theory, in words."""
        ...

    @property
    def middle(self) -> int:
        """Index of the best guess of the angle."""
        ...

    def slopes(self, alpha: ArrayLike) -> Array:
        """S = -d error / d tau at alphas [...] for every angle, [K, ...]."""
        ...

    def signs(self, alpha: ArrayLike) -> NDArray[np.int64]:
        """Sign of S at alphas [...] for every angle, [K, ...]; 0 where it is not decided."""
        ...


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted test error of a tilted kept density.

    Attributes:
        name: which density and margin, in words.
        alpha: [A], increasing.
        tau: [T], increasing, containing 0; positive: easier samples.
        theta: [K], angles of the probe in radians: a band, its middle entry is the best guess.
        error: [K, T, A].
        slope: [K, A], S = -d error / d tau at tau = 0: positive where easier samples help.
        random_error: [A], error of random samples.

    Raises:
        ValueError: the shapes do not fit together.

    """

    name: str
    alpha: Array
    tau: Array
    theta: Array
    error: Array
    slope: Array
    random_error: Array

    def __post_init__(self) -> None:
        K, T, A = len(self.theta), len(self.tau), len(self.alpha)
        shapes = (np.shape(self.error), np.shape(self.slope), np.shape(self.random_error))
        if shapes != ((K, T, A), (K, A), (A,)):
            raise ValueError(f"a prediction for {K} angles, {T} tilts and {A} alphas has arrays of shapes {shapes}")
        if 0.0 not in self.tau or np.any(np.diff(self.tau) <= 0.0) or np.any(np.diff(self.alpha) <= 0.0):
            raise ValueError("the tilts and alphas of a prediction must increase, and 0 must be among the tilts")

    @property
    def middle(self) -> int:
        """Index of the best guess of the angle."""
        return len(self.theta) // 2

    @cached_property
    def _gains(self) -> list[RectBivariateSpline]:
        zero = int(np.flatnonzero(self.tau == 0.0)[0])
        gain = self.error[:, zero : zero + 1] - self.error
        return [RectBivariateSpline(np.arcsinh(self.tau), np.log(self.alpha), g, kx=3, ky=3) for g in gain]

    def gain(self, alpha: ArrayLike, tau: ArrayLike, angle: int | None = None) -> Array:
        """Predicted gain error(0) - error(tau); alpha and tau broadcast, values beyond the grid count as its edge."""
        log_alpha, bent = np.broadcast_arrays(
            np.log(np.clip(alpha, self.alpha[0], self.alpha[-1])),
            np.arcsinh(np.clip(tau, self.tau[0], self.tau[-1])),
        )
        spline = self._gains[self.middle if angle is None else angle]
        return np.asarray(spline.ev(bent.ravel(), log_alpha.ravel())).reshape(bent.shape)

    def slopes(self, alpha: ArrayLike) -> Array:
        """S at alphas [...] for every angle, [K, ...]."""
        at = np.log(np.clip(alpha, self.alpha[0], self.alpha[-1]))
        return np.stack([CubicSpline(np.log(self.alpha), s)(at) for s in self.slope])

    def signs(self, alpha: ArrayLike) -> NDArray[np.int64]:
        """Sign of S at alphas [...] for every angle, [K, ...]; 0 where S is not told from its numerical error."""
        slopes = self.slopes(alpha)
        return np.where(np.abs(slopes) > SLOPE_NOISE, np.sign(slopes), 0.0).astype(np.int64)

    def random(self, alpha: ArrayLike) -> Array:
        """Error of random samples at alphas of any shape, between 0 and 1/2."""
        at = np.log(np.clip(alpha, self.alpha[0], self.alpha[-1]))
        return np.asarray(np.exp(CubicSpline(np.log(self.alpha), np.log(self.random_error))(at)))

    def critical_alphas(self) -> list[list[float]]:
        """For each angle, the alphas at which S changes sign, by more than its numerical error on both sides."""
        return [[float(np.exp(x)) for x in _roots(np.log(self.alpha), s)] for s in self.slope]


def _roots(at: Array, slope: Array) -> list[float]:
    """Where the spline through a slope crosses zero, between neighbours that are told from zero."""
    spline = CubicSpline(at, slope)
    told = np.flatnonzero(np.abs(slope) > SLOPE_NOISE)
    crossed = [(at[a], at[b]) for a, b in pairwise(told) if slope[a] * slope[b] < 0.0]
    return [float(brentq(lambda x: float(spline(x)), a, b, xtol=1e-12)) for a, b in crossed]


@dataclass(frozen=True, eq=False)
class SignReading:
    """A reading of the theory that says the sign of the response alone.

    Attributes:
        name: in words.
        alpha: [A], increasing.
        slope: [A], S = -d error / d lambda at lambda = 0, in a unit of its own.
        se: [A], its standard error; a sign is decided where the slope is twice that away from zero.

    """

    name: str
    alpha: Array
    slope: Array
    se: Array
    middle: int = 0

    def slopes(self, alpha: ArrayLike) -> Array:
        """S at alphas [...], [1, ...]: straight between the solved ones on a logarithmic axis; NaN beyond them."""
        return self._at(alpha, self.slope)[None]

    def signs(self, alpha: ArrayLike) -> NDArray[np.int64]:
        """Sign of S at alphas [...], [1, ...]; 0 where it is not told from zero, and beyond the solved alphas."""
        slope, se = self._at(alpha, self.slope), self._at(alpha, self.se)
        with np.errstate(invalid="ignore"):
            return np.where(np.abs(slope) > 2.0 * se, np.sign(slope), 0.0).astype(np.int64)[None]

    def _at(self, alpha: ArrayLike, values: Array) -> Array:
        return np.asarray(
            np.interp(np.log(np.asarray(alpha, float)), np.log(self.alpha), values, left=np.nan, right=np.nan)
        )
