"""Coresets by difficulty: scores made or taken up, and the images that they say are easiest, hardest or between."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor

from empirical import networks
from empirical.data.datasets import Dataset
from empirical.runtime.checkpoint import FolderInUse, Lock
from empirical.runtime.seeds import generator as seeded
from empirical.selection.choice import choose, choose_over_all
from empirical.selection.scores import Scores, Scoring, halves, score
from empirical.synthetic.synthetic_set import SyntheticSet, from_selection
from shared.terminal.progress import Reporter

FOLDER = Path("scores")
"""Where scores lie unless a folder is named, shared by all runs from one place."""
PAUSE = 0.5
"""Seconds between two looks at whether another run has finished the scores that this one needs."""


@dataclass(frozen=True)
class Selected:
    """Images by their difficulty; a `Coreset`.

    Attributes:
        order: easiest, hardest or window.
        by: the measure of difficulty.
        scoring: who judges it.
        fraction: kept fraction of the pool; None: everything is ranked.
        start: of a window.
        over_all: rank all classes together.
        folder: of the scores.
        quiet: no progress.

    """

    order: str
    by: str
    scoring: Scoring
    fraction: float | None = None
    start: float | None = None
    over_all: bool = False
    folder: Path = FOLDER
    quiet: bool = False

    def __call__(self, dataset: Dataset, ipc: int, generator: Generator) -> SyntheticSet:
        """`ipc` images of each class, or as many in all, sorted by class, preprocessed.

        Raises:
            ValueError: a class is too small for the pool.

        """
        difficulty = scored_alone(self.scoring, dataset, self.folder, self.quiet).difficulty(self.by)
        chosen = self._chosen(dataset, ipc, generator, difficulty)
        if self.over_all:
            images = dataset.normalise(dataset.train.images[torch.cat(chosen)])
            labels = torch.cat([torch.full((len(own),), k) for k, own in enumerate(chosen)]).to(dataset.device)
            return SyntheticSet(images, labels, dataset.classes)
        return from_selection(dataset, chosen, ipc)

    def refuse(self, dataset: Dataset, ipc: int) -> None:
        """What can be told before anything is trained: a network that cannot be built, a pool that is not there.

        Raises:
            ValueError: one sentence.

        """
        own = self.scoring
        networks.build(own.network, dataset.shape, dataset.classes, **dict(own.variant))
        self._chosen(dataset, ipc, seeded(own.seed, "refusal"), torch.zeros(len(dataset.train), dtype=torch.float64))

    def _chosen(self, dataset: Dataset, ipc: int, draws: Generator, difficulty: Tensor) -> tuple[Tensor, ...]:
        """Indices of the kept images of each class."""
        members = dataset.train.by_class
        if self.scoring.scored == "held-out":
            free = halves(self.scoring, dataset)[1].to(dataset.train.labels.device)
            members = tuple(own[torch.isin(own, free)] for own in members)
        if self.over_all:
            return choose_over_all(members, difficulty, ipc, self.order, draws, self.fraction, self.start)
        return choose(members, difficulty, ipc, self.order, draws, self.fraction, self.start, dataset.class_names)


def scored_alone(scoring: Scoring, dataset: Dataset, folder: Path, quiet: bool = False) -> Scores:
    """`score`, by one process at a time: others wait for what it finds instead of training the same networks."""
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            with Lock(folder), Reporter(f"difficulty of {dataset.name}", scoring.count, 0, quiet) as progress:
                return score(scoring, dataset, folder, lambda done, total: progress.update(int(done), {}))
        except FolderInUse:
            time.sleep(PAUSE)
