"""Gradient matching with a perceptron, written out: losses of synthetic points and their exact gradients.

A probe w [D] has on points s_j [M, D] of label y_j the logistic loss, whose gradient averaged over a class c is

    g_c = -(1 / M_c) sum_{j in c} y_j s_j h_j,      h_j = 1 / (1 + exp(y_j w.s_j)).

Matching moves the points so that g_c comes near its value on real samples; the correction adds lambda |g_c|. Any
scalar L(g_+, g_-) reaches the points through q_c = dL / dg_c:

    dL / ds_j = -(1 / M_c) [ y_j h_j q_c - (s_j.q_c) h_j (1 - h_j) w ].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from theory.judges.full_model import Probe

Array = NDArray[np.float64]


def class_gradient(points: Array, label: float, w: Array) -> tuple[Array, Array]:
    """(g [D], h [M]) of points [M, D] that all have one label, for a probe w [D]."""
    h = expit(-label * (points @ w))
    return -label / len(points) * (h @ points), h


def pull_back(points: Array, label: float, w: Array, h: Array, q: Array) -> Array:
    """DL / dpoints [M, D] from q = dL / dg [D] of a class."""
    return -(label * np.outer(h, q) - np.outer((points @ q) * h * (1.0 - h), w)) / len(points)


class Distance(Protocol):
    """A distance of two gradients: (value, its derivative with respect to the first)."""

    def __call__(self, synthetic: Array, real: Array) -> tuple[float, Array]:
        """For gradients [D] and [D]."""
        ...


def cosine(synthetic: Array, real: Array) -> tuple[float, Array]:
    """1 - cos of the angle: the published distance, for one row of weights."""
    length, other = np.linalg.norm(synthetic), np.linalg.norm(real)
    unit, target = synthetic / length, real / other
    cos = float(unit @ target)
    return 1.0 - cos, -(target - cos * unit) / length


def squared(synthetic: Array, real: Array) -> tuple[float, Array]:
    """|g - g'|^2."""
    difference = synthetic - real
    return float(difference @ difference), 2.0 * difference


DISTANCES: dict[str, Distance] = {"cosine": cosine, "squared": squared}


@dataclass(frozen=True)
class Matched:
    """Loss of the points and its gradient [M, D]; the norms of the two parts' gradients, before summing."""

    distance: float
    penalty: float
    gradient: Array
    distance_pull: float
    penalty_pull: float

    @property
    def loss(self) -> float:
        """Distance plus penalty."""
        return self.distance + self.penalty


def matching_loss(
    points: Array, labels: Array, real: dict[float, Array], w: Array, coefficient: float, distance: Distance = cosine
) -> Matched:
    """Distance of class gradients, summed over the two classes, plus coefficient times their norms.

    Args:
        points: [M, D], both labels present.
        labels: [M], each -1 or +1.
        real: label -> gradient [D] of the real samples at the same probe.
        w: [D], the probe.
        coefficient: lambda.
        distance: of two gradients.
    """
    of_distance, of_penalty = np.zeros_like(points), np.zeros_like(points)
    total = penalty = 0.0
    for label in (1.0, -1.0):
        own = labels == label
        g, h = class_gradient(points[own], label, w)
        value, q = distance(g, real[label])
        norm = float(np.linalg.norm(g))
        total += value
        penalty += coefficient * norm
        of_distance[own] = pull_back(points[own], label, w, h, q)
        of_penalty[own] = pull_back(points[own], label, w, h, coefficient * g / norm)
    pulls = (float(np.linalg.norm(part)) for part in (of_distance, of_penalty))
    return Matched(total, penalty, of_distance + of_penalty, *pulls)


@dataclass(frozen=True)
class Probes:
    """How the probes w = beta J are made that matching uses.

    Attributes:
        alpha: samples per dimension that each is trained on (an independent set); 0 for untrained random directions.
        beta: confidence |w|.
        count: probes in the ensemble, drawn at random step by step.
    """

    alpha: float = 1.0
    beta: float = 2.0
    count: int = 20

    def __post_init__(self) -> None:
        if not (self.alpha >= 0.0 and self.beta > 0.0 and math.isfinite(self.alpha + self.beta) and self.count >= 1):
            raise ValueError(
                f"probes with alpha {self.alpha:g}, beta {self.beta:g}, count {self.count}: must be finite, "
                ">= 0, > 0 and >= 1"
            )

    def draw(self, rng: np.random.Generator, teacher: Array, count: int | None = None) -> Array:
        """Directions J [count, D] of unit norm, for a teacher [D]."""
        count = self.count if count is None else count
        if self.alpha == 0.0:
            J = rng.standard_normal((count, teacher.size))
            return J / np.linalg.norm(J, axis=1, keepdims=True)
        return np.array([Probe(self.alpha).train(rng, teacher) for _ in range(count)])
