"""Where synthetic points depart from selected samples: margins along a probe, the tilt they amount to, and the rest.

Selected samples are independent and isotropic outside the plane of teacher and probe, whatever was selected; learnt
points need not be. `signed_margins` are those of points rescaled to |s| = sqrt(D), where samples of the model lie; the
margins along the teacher, lengths and moments of `Departure` are those of the points as they are, which is what the
theory of synthesis takes (`theory.synthesis.moments`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import log_ndtr

from shared.measures.perceptron import gradient_factor
from theory.saddle_point.kept import Tilt
from theory.synthesis.moments import moments

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Departure:
    """How far points are from independent isotropic samples in the complement of teacher and probe.

    Unit vectors there, times the label: v_j [M, D - 2]. For selected samples both excesses are 0 up to noise.

    Attributes:
        common: mean v_i.v_j over pairs: a direction that all points share.
        common_z: the same over its standard deviation for isotropic samples.
        overlap: mean (v_i.v_j)^2 over pairs, times D - 2, minus 1: points crowd into fewer directions.
        overlap_z: the same over its standard deviation for isotropic samples.
        dimensions: participation ratio of the points' covariance over that of isotropic samples of the same number.
        teacher_margins: [M], U = y x.T, not rescaled.
        lengths: [M], of the points outside the teacher, over sqrt(D - 1).
        s1: length of the mean of y x outside the teacher over that of independent points; below 1 noise is cancelled,
            above 1 a direction is shared.
        gram: [3, 3], Gram matrix of the noise combined by {1, U, mean h} (see `theory.synthesis.moments.Moments`).
    """

    common: float
    common_z: float
    overlap: float
    overlap_z: float
    dimensions: float
    teacher_margins: Array
    lengths: Array
    s1: float
    gram: Array


def departure(
    points: Array, labels: Array, teacher: Array, probe: Array, ensemble: Array | None = None
) -> Departure:
    """Measure it for points [M, D], labels [M], unit vectors teacher and probe [D].

    `ensemble` [K, D]: probes w = beta J whose mean h is the third column of the Gram matrix; the probe by default.

    Raises:
        ValueError: fewer than 2 points or 3 dimensions, or a point that is not finite or lies in the plane of both.
    """
    if len(points) < 2 or points.shape[1] < 3:
        raise ValueError(f"points of shape {list(points.shape)} have no complement: 2 points, 3 dimensions at least")
    plane = np.linalg.qr(np.column_stack([teacher, probe]))[0]
    rest = points - (points @ plane) @ plane.T
    lengths = np.linalg.norm(rest, axis=1, keepdims=True)
    if not np.all(lengths > 0.0) or not np.all(np.isfinite(lengths)):
        raise ValueError(f"point {int(np.argmin(lengths > 0.0))} is not finite, or has no part outside the plane")
    measured = moments(points, labels, teacher, probe if ensemble is None else ensemble)
    v = labels[:, None] * rest / lengths
    M, n = len(points), points.shape[1] - 2
    cosines = (v @ v.T)[np.triu_indices(M, 1)]
    pairs = cosines.size
    common, overlap = float(cosines.mean()), float(n * np.mean(cosines**2) - 1.0)
    # E c^2 = 1 / n and Var(c^2) = 2 (n - 1) / (n^2 (n + 2)); pairs of isotropic vectors are uncorrelated.
    overlap_deviation = math.sqrt(2.0 * (n - 1) / (n + 2) / pairs)
    squares = (M + 2.0 * float(np.sum(cosines**2))) / M**2
    return Departure(
        common, common * math.sqrt(n * pairs), overlap, overlap / overlap_deviation,
        (1.0 / squares) / (M * n / (M + n - 1.0)), measured.signal[:, 0], measured.lengths, measured.s1, measured.gram,
    )  # fmt: skip


def signed_margins(points: Array, labels: Array, direction: Array) -> Array:
    """Label-signed margins [M] along a unit vector, of points rescaled to |s| = sqrt(D)."""
    lengths = np.linalg.norm(points, axis=1)
    return labels * (points @ direction) * math.sqrt(points.shape[1]) / lengths


def tilt_of_mean(mean: float, theta: float, beta: float, base: Tilt | None = None) -> float:
    """The tau at which the density p0 exp(-tau h) of label-signed margins has mean h = `mean`.

    `base`: the weight of p0 (gradient matching by default). NaN where no tau in [-200, 200] reaches the mean.
    """
    m = np.linspace(0.0 if theta == 0.0 else -9.0, 9.0, 4001)
    log_density = -0.5 * m * m + (log_ndtr(m / math.tan(theta)) if theta > 0.0 else 0.0)
    h = gradient_factor(m, beta)
    if base is None or base.gradient_weighted:
        with np.errstate(divide="ignore"):  # where h is 0, so is the density
            log_density = log_density + np.log(h)

    def excess(tau: float) -> float:
        log = log_density - tau * h
        weight = np.exp(log - log.max())
        weight[[0, -1]] *= 0.5
        return float(weight @ h / weight.sum()) - mean

    low, high = excess(-200.0), excess(200.0)
    return float(brentq(excess, -200.0, 200.0, xtol=1e-10)) if low * high < 0.0 else math.nan
