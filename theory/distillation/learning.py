"""Learning the synthetic points of a perceptron by gradient matching: settings in, points out.

A teacher labels a real set; M = alpha D points start from some of it and follow the gradient of the matching loss
(`theory.distillation.matching`) at the probes of an ensemble, one drawn a step. `theory.distillation.study` measures
what comes out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theory.distillation.matching import DISTANCES, Probes, class_gradient, matching_loss
from theory.simulation.sampling import LARGEST
from theory.vocabulary import brief, nearest

Array = NDArray[np.float64]
MOST_STEPS = 10_000_000
_DIVERGED = 1e100  # a coordinate that nothing can be computed from


@dataclass(frozen=True)
class Distillation:
    """One distillation.

    Attributes:
        alpha: synthetic points per dimension.
        coefficient: lambda of the correction.
        seed: of teacher, real set, probes and start; the same for all lambda, so they are paired.
        dimension: D.
        real: real samples per dimension, from which the points also start.
        steps: updates of the points.
        rate: learning rate, in units of M (each point's share of the loss is 1 / M).
        distance: cosine or squared.
        probe_alpha: samples per dimension that matching's probes were trained on; 0: random directions.
        beta: their confidence.
        probes: their number.
    """

    alpha: float = 1.0
    coefficient: float = 0.0
    seed: int = 0
    dimension: int = 200
    real: float = 10.0
    steps: int = 300
    rate: float = 0.5
    distance: str = "cosine"
    probe_alpha: float = 1.0
    beta: float = 2.0
    probes: int = 20

    def __post_init__(self) -> None:
        if self.distance not in DISTANCES:
            names = tuple(DISTANCES)
            raise ValueError(f"distance is {self.distance!r}, must be one of {names}{nearest(self.distance, names)}")
        for name in ("alpha", "real", "rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise ValueError(f"{name} is {getattr(self, name):g}, must be positive and finite")
        for name, least, most in (
            ("dimension", 4, LARGEST), ("steps", 0, MOST_STEPS), ("seed", 0, math.inf), ("probes", 1, MOST_STEPS),
        ):  # fmt: skip
            if not least <= getattr(self, name) <= most:
                bound = f" and at most {most:g}" if math.isfinite(most) else ""
                raise ValueError(f"{name} is {brief(getattr(self, name))}, must be at least {least}{bound}")
        if not math.isfinite(self.coefficient):
            raise ValueError(f"coefficient is {self.coefficient:g}, must be finite")
        if self.coefficient == 0.0 and math.copysign(1.0, self.coefficient) < 0.0:
            object.__setattr__(self, "coefficient", 0.0)  # -0 is no other setting
        probes = Probes(self.probe_alpha, self.beta, self.probes)
        for what, numbers in (
            (f"real {self.real:g}", self.real * self.dimension * self.dimension),
            (f"probe-alpha {probes.alpha:g}", probes.alpha * self.dimension * self.dimension),
            (f"{self.probes} probes", float(self.probes) * self.dimension),
            (f"alpha {self.alpha:g}", (self.alpha * self.dimension) ** 2 if self.alpha < 1e100 else math.inf),
        ):
            if numbers > LARGEST:
                raise ValueError(
                    f"{what} at dimension {self.dimension} means {numbers:.3g} numbers, at most {LARGEST:.1g}"
                )
        if not 2 <= self.count <= round(self.real * self.dimension):
            raise ValueError(
                f"alpha {self.alpha:g} means {self.count} points: at least 2, and at most the real set's "
                f"{round(self.real * self.dimension)}"
            )

    @property
    def count(self) -> int:
        """Number M of points."""
        return round(self.alpha * self.dimension)


@dataclass(frozen=True, eq=False)
class Distilled:
    """Learnt points [M, D] with labels [M], the teacher [D], a probe [D] that matching never saw, and the losses.

    Attributes:
        points, labels, teacher, probe: see above.
        start: [M, D], the real samples from which the points started.
        losses: [steps].
        pull: mean over steps of the norm of the correction's gradient over that of the distance.
        ensemble: [K, D], matching's probes w = beta J.
    """

    points: Array
    labels: Array
    start: Array
    teacher: Array
    probe: Array
    losses: Array
    pull: float
    ensemble: Array


def distil(settings: Distillation) -> Distilled:
    """Learn the points; everything but lambda is shared by settings of the same seed."""
    streams = [np.random.default_rng([settings.seed, k]) for k in range(4)]
    D, M = settings.dimension, settings.count
    teacher = streams[0].standard_normal(D)
    teacher /= np.linalg.norm(teacher)
    X = streams[0].standard_normal((round(settings.real * D), D))
    y = np.where(X @ teacher >= 0.0, 1.0, -1.0)
    by_label = {label: X[y == label] for label in (1.0, -1.0)}
    half = M // 2
    points = np.concatenate([by_label[1.0][: M - half], by_label[-1.0][:half]])
    labels = np.concatenate([np.ones(M - half), -np.ones(half)])
    if len(points) < M:
        raise ValueError(f"the real set has too few samples of a class for {M} points: raise real")
    start = points.copy()
    probes = Probes(settings.probe_alpha, settings.beta, settings.probes)
    ensemble = settings.beta * probes.draw(streams[1], teacher)
    held_out = probes.draw(streams[2], teacher, 1)[0]
    real = [{c: class_gradient(samples, c, w)[0] for c, samples in by_label.items()} for w in ensemble]
    losses = np.empty(settings.steps)
    pulls = np.empty(settings.steps)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # said once, below
        for step in range(settings.steps):
            k = int(streams[3].integers(len(ensemble)))
            found = matching_loss(
                points, labels, real[k], ensemble[k], settings.coefficient, DISTANCES[settings.distance]
            )
            points = points - settings.rate * M * found.gradient
            losses[step] = found.loss
            pulls[step] = found.penalty_pull / max(found.distance_pull, 1e-300)
            if not np.abs(points).max() < _DIVERGED:
                raise ValueError(
                    f"the points of alpha {settings.alpha:g}, coefficient {settings.coefficient:g}, seed "
                    f"{settings.seed}, rate {settings.rate:g} diverged at step {step + 1}: lower rate or coefficient"
                )
    pull = float(pulls.mean()) if settings.steps else 0.0
    return Distilled(points, labels, start, teacher, held_out, losses, pull, ensemble)
