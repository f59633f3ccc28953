"""The model with nothing left out, at small size: the judge of the shortcuts that `theory.simulation.sampling` takes.

`theory.simulation` draws the kept samples from their law, with a probe that is a Gaussian vector
conditioned on its angle to the teacher. Here everything is done: a probe network (a perceptron) is trained
for a few epochs of stochastic gradient descent on data of its own, so that its angle is what it is; a whole
pool of D-dimensional inputs is drawn and labelled; the probe ranks all of it; the student is trained on
what is kept. At the angle that the probe turned out to have, the two must agree within their statistical
error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from theory.perceptron.max_margin import max_margin
from theory.saddle_point.kept import check_margin
from theory.simulation.sampling import pool_size, sample_count
from theory.simulation.simulate import overlaps

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Probe:
    """How the probe is trained: logistic loss, one sample at a time, in random order, from w = 0.

    Attributes:
        alpha: its training samples per dimension (a set of its own, independent of the pool).
        epochs: passes over them.
        learning_rate: step size, in units of 1 / D.
    """

    alpha: float = 2.0
    epochs: int = 3
    learning_rate: float = 1.0

    def train(self, rng: np.random.Generator, teacher: Array) -> Array:
        """The probe's direction [D], unit norm."""
        D = teacher.size
        X = rng.standard_normal((sample_count(self.alpha, D), D))
        y = np.where(X @ teacher >= 0.0, 1.0, -1.0)
        w = np.zeros(D)
        for _ in range(self.epochs):
            for i in rng.permutation(y.size):
                w += self.learning_rate / D * expit(-y[i] * (w @ X[i])) * y[i] * X[i]
        return w / np.linalg.norm(w)


@dataclass(frozen=True)
class FullTrial:
    """What one run gave; theta is the measured angle between probe and teacher, in radians."""

    theta: float
    test_error: float
    R: float
    rho: float
    kappa: float


def full_trial(
    rng: np.random.Generator,
    alpha: float,
    fraction: float,
    keep: str,
    dimension: int,
    margin: str = "unsigned",
    probe: Probe | None = None,
) -> FullTrial:
    """Draw a teacher, train a probe, draw a pool, select, train the student, measure.

    Args:
        rng: the generator to draw from.
        alpha: kept samples per dimension.
        fraction: share of the pool that is kept.
        keep: "hard" (smallest margins) or "easy" (largest).
        dimension: D. The pool of alpha D / fraction inputs is held in memory.
        margin: "unsigned" (|J.x|) or "signed" (y J.x).
        probe: how to train the probe; None for a perfect probe, J = T.
    """
    check_margin(margin)
    if keep not in ("hard", "easy"):
        raise ValueError(f"keep is {keep!r}, must be 'hard' or 'easy' in the full model")
    T = rng.standard_normal(dimension)
    T /= np.linalg.norm(T)
    J = T if probe is None else probe.train(rng, T)

    count = sample_count(alpha, dimension)
    X = rng.standard_normal((pool_size(count, fraction), dimension))
    y = np.where(X @ T >= 0.0, 1.0, -1.0)
    score = np.abs(X @ J) if margin == "unsigned" else y * (X @ J)
    ranked = np.argsort(score)
    kept = ranked[:count] if keep == "hard" else ranked[-count:]

    student = max_margin(X[kept], y[kept])
    error, R, rho = overlaps(student.w, T, J)
    theta = math.atan2(float(np.linalg.norm(J - (J @ T) * T)), float(J @ T))
    return FullTrial(theta, error, R, rho, student.margin)
