"""Test error against images kept: easy, hard and random subsets of real images at equal size, over many seeds.

The figure that the theory of selection draws, measured. A probe (an ensemble, `empirical.selection.scores`) ranks the
training images once; each subset takes, class by class, the easiest or the hardest part of a random pool that is 1 / f
times as large, or random images; a fresh network learns it in the same number of steps whatever its size; its error on
the test images is one row. What one seed draws is common to all strategies: the pool of a fraction is a part of the
pool of a smaller one, and the network starts alike.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from empirical import networks
from empirical.data.datasets import Dataset
from empirical.runtime.seeds import generator
from empirical.selection.choice import EASIEST, HARDEST, choose
from empirical.selection.scores import Scores
from empirical.training import sgd as training
from empirical.training.prediction import accuracy
from shared.terminal.atomic import write_atomically

RANDOM, WHOLE = "random", "whole"
COLUMNS = (
    "dataset", "network", "by", "probe", "probe_error", "strategy", "fraction", "per_class", "images", "seed", "error",
)  # fmt: skip
BATCH = 64
"""Images a step of a student; all of a smaller set."""


@dataclass(frozen=True)
class Study:
    """What is measured.

    Attributes:
        per_class: sizes.
        fractions: kept fractions of the pool, each below 1.
        seeds: of pools and students.
        network: of the student.
        variant: of it.
        steps: of its training, the same for every size.
        by: measure of difficulty.

    """

    per_class: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100, 200)
    fractions: tuple[float, ...] = (0.1, 0.2, 0.4, 0.7)
    seeds: tuple[int, ...] = tuple(range(10))
    network: str = "mlp"
    variant: tuple[tuple[str, int], ...] = ()
    steps: int = 600
    by: str = "margin"

    def __post_init__(self) -> None:
        counts = {"--per-class": self.per_class, "--steps": (self.steps,)}
        for name, values in {**counts, "--fractions": self.fractions}.items():
            most = math.inf if name in counts else 1.0
            if not values or not all(0 < v <= most for v in values):
                said, at_most = " ".join(map(str, values)) or "none", "" if name in counts else " and at most 1"
                raise ValueError(f"{name} is {said}: each is above 0{at_most}")


@dataclass(frozen=True)
class Subset:
    """One point of the study."""

    strategy: str
    fraction: float
    per_class: int
    seed: int


def subsets(study: Study, sizes: Sequence[int]) -> list[Subset]:
    """All points that the classes, of these sizes, are large enough for; small ones first, seed by seed."""
    smallest = min(sizes)
    found = []
    for seed in study.seeds:
        for count in study.per_class:
            if count <= smallest:
                found.append(Subset(RANDOM, 1.0, count, seed))
            found += [
                Subset(strategy, fraction, count, seed)
                for fraction in study.fractions
                if fraction < 1.0 and math.ceil(count / fraction - 1e-9) <= smallest
                for strategy in (EASIEST, HARDEST)
            ]
        found.append(Subset(WHOLE, 1.0, 0, seed))
    return found


def error_of(study: Study, dataset: Dataset, difficulty: Tensor, point: Subset) -> tuple[float, int]:
    """Test error of a network trained on a subset, and its number of images."""
    if point.strategy == WHOLE:
        indices = torch.arange(len(dataset.train))
    else:
        order = EASIEST if point.strategy == RANDOM else point.strategy
        fraction = 1.0 if point.strategy == RANDOM else point.fraction
        # One draw a seed and size: the random subset is the first part of every pool.
        pool = generator(point.seed, "selection", "pool", point.per_class)
        indices = torch.cat(choose(dataset.train.by_class, difficulty, point.per_class, order, pool, fraction))
    learnt = dataset.train.subset(indices)
    batch = min(BATCH, len(learnt))
    steps = study.steps if point.strategy != WHOLE else 8 * study.steps
    epochs = math.ceil(steps / math.ceil(len(learnt) / batch))
    drawn = generator(point.seed, "selection", "student")
    network = networks.build(study.network, dataset.shape, dataset.classes, drawn, **dict(study.variant))
    network = network.to(dataset.device)
    job = training.Job(learnt.images, learnt.labels, training.halved(epochs, batch=batch), prepare=dataset.normalise)
    training.train([network], job, [generator(point.seed, "selection", "order")])
    return 1.0 - accuracy(network, dataset.test.images, dataset.test.labels, dataset.normalise), len(learnt)


class Table:
    """The rows, kept in a CSV that is whole after every point.

    Raises:
        ValueError: the file is no such table, or is of another study.

    """

    def __init__(self, path: Path, named: dict[str, str]):
        self.path, self.named = path, named
        self.rows: list[dict[str, str]] = []
        if path.exists():
            try:
                self.rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
                settled = {k: v for k, v in named.items() if k != "probe_error"}
                other = next((r for r in self.rows if any(r[k] != v for k, v in settled.items())), None)
            except (OSError, UnicodeDecodeError, KeyError) as error:
                raise ValueError(f"{path} is no table of selection ({error}): name another file with --out") from error
            if other is not None:
                differs = next(k for k, v in settled.items() if other[k] != v)
                both = f"{differs} {other[differs]}, not {named[differs]}"
                raise ValueError(f"{path} holds {both}: name another file with --out")

    def __contains__(self, point: Subset) -> bool:
        own = point.strategy, f"{point.fraction:g}", str(point.per_class), str(point.seed)
        return any((r["strategy"], r["fraction"], r["per_class"], r["seed"]) == own for r in self.rows)

    def add(self, point: Subset, error: float, images: int) -> None:
        """One row more, in the file too."""
        self.rows.append({
            **self.named, "strategy": point.strategy, "fraction": f"{point.fraction:g}",
            "per_class": str(point.per_class), "images": str(images), "seed": str(point.seed), "error": f"{error:.6f}",
        })  # fmt: skip
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.path, text.getvalue())


def described(dataset: Dataset, study: Study, scores: Scores, probe: str) -> dict[str, str]:
    """The columns that are the same in all rows."""
    return {
        "dataset": Path(dataset.name).name, "network": study.network, "by": study.by, "probe": probe,
        "probe_error": f"{float(scores.error.mean()):.4f}",
    }  # fmt: skip


def remaining(points: Iterable[Subset], table: Table) -> list[Subset]:
    """The points that are still to be measured."""
    return [point for point in points if point not in table]
