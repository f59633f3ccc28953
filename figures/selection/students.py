"""``python -m figures selection-students``: the same selection where less and less of the theory's model holds.

    perceptron    Gaussian inputs, a linear teacher, a max-margin student: here theory and measurement must agree
    inputs        real images in place of Gaussian inputs (whitened principal components), labels of a linear teacher
    labels        real labels too: two halves of the classes, which no linear teacher makes

Student and probe are linear in all three, so the dimension is known and nothing is fitted; a network in place of the
student is `python -m empirical.selection`. Where the first disagreement with the theory enters is read off by going
down the list. Writes a table each, to be drawn by ``python -m figures selection``.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from figures.registry import command
from shared.terminal.atomic import write_atomically
from shared.terminal.command import refuse_folder
from shared.terminal.progress import reporting
from theory import NotSeparable, max_margin

Array = NDArray[np.float64]
COLUMNS = ("dataset", "network", "by", "probe", "probe_error", "strategy", "fraction", "per_class", "images", "seed",
           "error", "dimension", "theta")  # fmt: skip
ALPHAS = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
FRACTIONS = (0.1, 0.2, 0.4, 0.7)


@dataclass(frozen=True, eq=False)
class Problem:
    """Inputs, labels and a probe.

    Attributes:
        name: in words.
        draw: (samples, generator) -> inputs [n, D] and labels [n] in {-1, 1}.
        test: inputs and labels to measure the error on; None: the angle to the teacher gives it.
        teacher: [D], of unit length.
        probe: [D], of unit length.

    """

    name: str
    draw: Callable[[int, np.random.Generator], tuple[Array, Array]]
    test: tuple[Array, Array] | None
    teacher: Array
    probe: Array

    def error(self, weights: Array) -> float:
        """Of a student."""
        if self.test is None:
            cosine = float(weights @ self.teacher / np.linalg.norm(weights))
            return math.acos(max(-1.0, min(1.0, cosine))) / math.pi
        inputs, labels = self.test
        return float(np.mean(np.sign(inputs @ weights) != labels))


@command("selection-students")
@dataclass(frozen=True)
class Students:
    """Selection on the perceptron, on real inputs with a linear teacher, and on real labels: three tables."""

    dataset: str = "digits"
    """Whose images and labels."""
    data_root: Path | None = None
    """Folder of the data files."""
    dimension: int = 100
    """Principal components, and the perceptron's dimension."""
    theta_deg: float = 20.0
    """Angle between probe and teacher."""
    seeds: int = 10
    """Repetitions."""
    out: Path = Path("output/selection")
    """Folder to write to."""

    def run(self) -> None:
        """Measure and write the tables; ValueError if a number is out of range."""
        if self.dimension < 2 or self.seeds < 1 or not 0.0 <= self.theta_deg <= 90.0:
            raise ValueError("--dimension is at least 2, --seeds at least 1, --theta-deg in [0, 90]")
        refuse_folder(self.out)
        problems = list(self._problems())
        files = []
        for problem in problems:
            slug = problem.name.split(",")[0].replace(" ", "-")
            path = self.out / f"{slug}.csv"
            with reporting(None, problem.name) as report:
                write_atomically(path, _table(problem, self.seeds, math.radians(self.theta_deg), report))
            files.append(path)
        print("wrote " + ", ".join(map(str, files)))

    def _problems(self) -> Iterator[Problem]:
        from empirical.data.datasets import load

        D, theta, rng = self.dimension, math.radians(self.theta_deg), np.random.default_rng(0)
        axis = np.eye(D)[0]

        def gaussian(count: int, own: np.random.Generator) -> tuple[Array, Array]:
            inputs = own.standard_normal((count, D))
            return inputs, np.sign(inputs @ axis)

        yield Problem("perceptron, max-margin student", gaussian, None, axis, _at(axis, theta, rng))
        data = load(self.dataset, data_root=self.data_root)
        train, test = (s.images.flatten(1).double().numpy() / 255.0 for s in (data.train, data.test))
        inputs, tested = _whitened(train, test, D)
        halves = [np.where(s.labels.numpy() < data.classes / 2, 1.0, -1.0) for s in (data.train, data.test)]
        fitted = np.linalg.lstsq(inputs, halves[0], rcond=None)[0]
        teacher = fitted / np.linalg.norm(fitted)
        probe = _at(teacher, theta, rng)
        slug = Path(self.dataset).name
        linear = [np.sign(x @ teacher) for x in (inputs, tested)]
        for name, labels in (
            (f"{slug}-inputs, max-margin student, labels of a linear teacher", linear),
            (f"{slug}-labels, max-margin student, real labels", halves),
        ):
            yield Problem(name, _some(inputs, labels[0]), (tested, labels[1]), teacher, probe)


def _some(inputs: Array, labels: Array) -> Callable[[int, np.random.Generator], tuple[Array, Array]]:
    """Draws of training images without replacement."""

    def drawn(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
        if count > len(inputs):
            raise ValueError(f"{count} samples are wanted of {len(inputs)}")
        chosen = rng.choice(len(inputs), count, replace=False)
        return inputs[chosen], labels[chosen]

    return drawn


def _at(teacher: Array, theta: float, rng: np.random.Generator) -> Array:
    """A unit vector at an angle to the teacher, otherwise random."""
    other = rng.standard_normal(teacher.size)
    other -= (other @ teacher) * teacher
    return math.cos(theta) * teacher + math.sin(theta) * other / np.linalg.norm(other)


def _whitened(train: Array, test: Array, dimension: int) -> tuple[Array, Array]:
    """The first principal components, each of unit variance on the training images.

    Raises:
        ValueError: there are fewer.

    """
    mean = train.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(train - mean, rowvar=False))
    kept = np.argsort(-values)[:dimension]
    if len(kept) < dimension or not values[kept[-1]] > 1e-9 * values[kept[0]]:
        raise ValueError(f"--dimension {dimension} is more than the images have components")
    turn = vectors[:, kept] / np.sqrt(values[kept])
    return (train - mean) @ turn, (test - mean) @ turn


def _table(problem: Problem, seeds: int, theta: float, report: Callable[[float, float], None]) -> str:
    """The rows of a problem. Points that no vector separates, and pools larger than the data, are left out.

    The column theta is what the probe's error on test samples says, as for a network: on Gaussian inputs that is the
    angle to the teacher, on real inputs or labels it is not, and a user who has images has only the error.
    """
    D, wrong = problem.probe.size, problem.error(problem.probe)
    points = [("random", 1.0)] + [(s, f) for f in FRACTIONS for s in ("easiest", "hardest")]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    total, done = seeds * len(ALPHAS) * len(points), 0
    for seed in range(seeds):
        for alpha in ALPHAS:
            size = round(alpha * D)
            for strategy, fraction in points:
                done += 1
                report(done, total)
                error = _error(problem, size, strategy, fraction, np.random.default_rng([seed, size]))
                if error is not None:
                    writer.writerow({
                        "dataset": problem.name, "network": "max-margin", "by": "margin",
                        "probe": f"{math.degrees(theta):.0f} degrees", "probe_error": f"{wrong:.4f}",
                        "strategy": strategy, "fraction": f"{fraction:g}", "per_class": size, "images": size,
                        "seed": seed, "error": f"{error:.6f}", "dimension": D, "theta": f"{math.pi * wrong:.6f}",
                    })  # fmt: skip
    return text.getvalue()


def _error(problem: Problem, size: int, strategy: str, fraction: float, rng: np.random.Generator) -> float | None:
    """Test error of the student of one subset."""
    try:
        inputs, labels = problem.draw(math.ceil(size / fraction - 1e-9), rng)
        margin = labels * (inputs @ problem.probe)
        order = np.argsort(-margin if strategy == "easiest" else margin)
        kept = order[:size] if strategy != "random" else slice(size)
        return problem.error(np.asarray(max_margin(inputs[kept], labels[kept]).w))
    except (NotSeparable, ValueError):
        return None
