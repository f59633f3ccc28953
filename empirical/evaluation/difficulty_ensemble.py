"""Difficulty of real samples on an ensemble of trained networks, and what gradient matching makes of it.

For each network and each sample that it scores: GraDN and misclassification (Definitions 1 and 2 of arXiv 2408.12483),
its loss, and the sample's share of its class's mean gradient (`empirical.evaluation.gradient_shares`) at the fresh and
the trained network.

Which samples a network scores (`Ensemble.scoring`):

    crossed   training images, each scored by the half of the networks that never saw it: of what is distilled
    test      test images, by all networks (the published protocol: held-out data)
    train     training images, by all networks, which all were trained on them (in-sample)

Networks are trained in rounds; what a round found is written at once, so a run that was killed goes on from there.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from empirical import networks
from empirical.data.datasets import Dataset, Split
from empirical.evaluation.gradient_shares import CHUNK, as_one_vector, gradient_shares, row_by_row
from empirical.networks import Classifier
from empirical.runtime.seeds import generator
from empirical.runtime.threads import shared_out
from empirical.training import sgd as training
from shared.measures.difficulty import gradient_norms, loss, misclassification_rate
from shared.terminal.atomic import write_atomically

SCORINGS = ("crossed", "test", "train")
ROUND = 4
"""Networks of a round; the record is written after each."""
FORMAT = 2
"""Of the record; raised when its numbers would change."""
DIRECTIONS = {"vector": as_one_vector, "rows": row_by_row}
STAGES = ("fresh", "trained")
DIFFICULTIES = ("gradn", "misclassified", "loss")
SHARES = tuple(f"share_{stage}_{d}" for stage in STAGES for d in DIRECTIONS)
QUANTITIES = (*DIFFICULTIES, *SHARES)

Array = NDArray[np.float32]
Report = Callable[[float, float], None]


@dataclass(frozen=True)
class Ensemble:
    """What is trained, on what, and what is scored.

    Attributes:
        dataset: name, for the record.
        scoring: crossed, test or train.
        count: networks; crossed needs an even number.
        network: registered name; `variant` its width, norm and so on.
        epochs, learning_rate, batch: of `empirical.training.sgd.halved` (SGD, momentum 0.9, weight decay 5e-4).
        samples: most scored images a class, drawn at random; None: all.
        classes: how many classes are scored, drawn at random; None: all. Networks learn all of them.
        seed: of networks, order of training, halves and drawn samples.

    Raises:
        ValueError: a number or a name is out of range.

    """

    dataset: str
    scoring: str = "crossed"
    count: int = 20
    network: str = "convnet"
    variant: tuple[tuple[str, Any], ...] = ()
    epochs: int = 5
    learning_rate: float = 0.01
    batch: int = 32
    samples: int | None = None
    seed: int = 0
    classes: int | None = None

    def __post_init__(self) -> None:
        if self.scoring not in SCORINGS:
            raise ValueError(f"scoring is {self.scoring!r}, must be one of {', '.join(SCORINGS)}")
        if self.count < 2 or (self.scoring == "crossed" and self.count % 2):
            raise ValueError(f"{self.count} networks: at least 2 are needed, an even number for crossed scoring")
        if self.epochs < 1 or self.batch < 1 or not self.learning_rate > 0:
            raise ValueError(
                f"epochs {self.epochs}, batch {self.batch}, learning rate {self.learning_rate:g}: all must be positive"
            )
        if self.samples is not None and self.samples < 2:
            raise ValueError(f"{self.samples} samples a class; at least 2 are needed")
        if self.classes is not None and self.classes < 1:
            raise ValueError(f"{self.classes} classes are scored; at least 1 is needed")
        if self.seed < 0:
            raise ValueError(f"the seed is {self.seed}, must be at least 0")

    def build(self, index: int, dataset: Dataset) -> Classifier:
        """Network `index`, fresh; depends on the seed and the index alone."""
        drawn = generator(self.seed, "difficulty", "network", index)
        return networks.build(self.network, dataset.shape, dataset.classes, drawn, **dict(self.variant)).to(
            dataset.device
        )

    def key(self, dataset: Dataset) -> str:
        """Ten hexadecimal digits that settle the scores: settings, data, and the format of the record."""
        text = json.dumps([asdict(self), dataset.fingerprint, dataset.preprocessing.describe(), FORMAT], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]


@dataclass(frozen=True, eq=False)
class Scores:
    """What the networks said; a NaN is a sample that a network did not score.

    Attributes:
        values: by name (`QUANTITIES`), each [networks, n].
        labels: int64 [n].
        indices: int64 [n], of the images in their split.
        done: networks that are finished, the first so many.

    """

    values: dict[str, Array]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    done: int

    def mean(self, name: str, members: Sequence[int] | None = None) -> NDArray[np.float64]:
        """Mean over networks (all, or those of the given numbers) that scored the sample, [n]; NaN where none did."""
        values = self.values[name].astype(np.float64)
        values = values if members is None else values[list(members)]
        counts = np.isfinite(values).sum(0)
        return np.where(counts > 0, np.nansum(values, 0) / np.maximum(counts, 1), np.nan)


def score(
    ensemble: Ensemble, dataset: Dataset, folder: str | Path, report: Report = lambda done, total: None
) -> Scores:
    """Train the ensemble and score the samples; goes on from what `folder` holds of the same settings.

    Args:
        ensemble: the settings.
        dataset: the data, on the device to use.
        folder: gets `scores-KEY.npz`.
        report: told (done, total) network epochs of what is left to do.

    Raises:
        ValueError: the network is unknown or does not fit the images, or the record in `folder` is damaged.

    """
    ensemble.build(0, dataset)  # a wrong name or variant is an error before any work
    path = Path(folder) / f"scores-{ensemble.key(dataset)}.npz"
    pool = dataset.test if ensemble.scoring == "test" else dataset.train
    chosen = _scored(ensemble, pool)
    scores = _read(path, ensemble) if path.exists() else _empty(ensemble, pool, chosen)
    # Scoring counts as one epoch more.
    counter = _Counter(report, (ensemble.count - scores.done) * (ensemble.epochs + 1))
    while scores.done < ensemble.count:
        last = min(scores.done + ROUND, ensemble.count)
        for members, trained_on, places in _plan(ensemble, dataset, chosen, range(scores.done, last)):
            _score_members(ensemble, dataset, pool, scores, members, trained_on, places, counter)
        scores = Scores(scores.values, scores.labels, scores.indices, last)
        _write(path, scores)
    return scores


class _Counter:
    """Adds up network epochs, from whatever thread they are reported."""

    def __init__(self, report: Report, total: int):
        self._report, self._total, self._done, self._lock = report, total, 0, threading.Lock()

    def __call__(self, epochs: int) -> None:
        with self._lock:
            self._done += epochs
            self._report(self._done, self._total)


def _scored(ensemble: Ensemble, pool: Split) -> Tensor:
    """Indices of the scored images in their split, ascending."""
    most = ensemble.samples or len(pool)
    drawn = pool.draw(generator(ensemble.seed, "difficulty", "samples"), most)
    if ensemble.classes is not None:
        order = torch.randperm(len(drawn), generator=generator(ensemble.seed, "difficulty", "classes"))
        drawn = tuple(drawn[k] for k in order[: ensemble.classes].sort().values.tolist())
    return torch.cat(drawn).sort().values


def _empty(ensemble: Ensemble, pool: Split, chosen: Tensor) -> Scores:
    shape = (ensemble.count, len(chosen))
    values = {name: np.full(shape, np.nan, np.float32) for name in QUANTITIES}
    return Scores(values, pool.labels[chosen].cpu().numpy(), chosen.cpu().numpy(), 0)


def _plan(
    ensemble: Ensemble, dataset: Dataset, chosen: Tensor, members: range
) -> list[tuple[list[int], Tensor, Tensor]]:
    """For each group of a round: its networks, the training images it learns, and the places in `chosen` it scores.

    Crossed: even networks learn one half of each class and score the other, odd ones the reverse; new halves a round.
    """
    count = len(dataset.train)
    everything, places = torch.arange(count), torch.arange(len(chosen))
    if ensemble.scoring != "crossed":
        return [(list(members), everything, places)]
    halves = generator(ensemble.seed, "difficulty", "halves", members.start)
    first, is_scored = torch.zeros(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
    is_scored[chosen.cpu()] = True
    for shuffled in dataset.train.draw(halves, count):
        # Scored ones before the others, and every other image: both kinds fall evenly on the halves.
        order = torch.argsort((~is_scored[shuffled.cpu()]).long(), stable=True)
        first[shuffled.cpu()[order][::2]] = True
    scored_first = first[chosen.cpu()]
    return [
        ([k for k in members if k % 2 == 0], everything[first], places[~scored_first]),
        ([k for k in members if k % 2 == 1], everything[~first], places[scored_first]),
    ]


def _score_members(
    ensemble: Ensemble,
    dataset: Dataset,
    pool: Split,
    scores: Scores,
    members: list[int],
    trained_on: Tensor,
    places: Tensor,
    counter: _Counter,
) -> None:
    """Train some networks on some images and fill in what they say of others."""
    models = [ensemble.build(k, dataset).eval() for k in members]
    learnt = dataset.train.subset(trained_on)
    scored = pool.subset(torch.from_numpy(scores.indices)[places])
    where = places.numpy()

    def fill(found: list[dict[str, Tensor]]) -> None:
        for k, quantities in zip(members, found, strict=True):
            for name, values in quantities.items():
                scores.values[name][k, where] = values.cpu().numpy()

    fill(_each(models, lambda model: _class_shares(model, dataset, scored, "fresh")))
    training.train(
        models,
        training.Job(
            learnt.images,
            learnt.labels,
            training.halved(ensemble.epochs, ensemble.learning_rate, ensemble.batch),
            prepare=dataset.normalise,
            progress=counter,
        ),
        [generator(ensemble.seed, "difficulty", "training", k) for k in members],
    )
    fill(_each(models, lambda model: _class_shares(model, dataset, scored, "trained")))
    fill(_each(models, lambda model: _difficulty(model, dataset, scored)))
    counter(len(members))


def _each(models: list[Classifier], measure: Callable[[Classifier], dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """What is measured on each network; on a CPU a network a thread."""
    if next(models[0].parameters()).device.type != "cpu" or len(models) == 1:
        return [measure(model) for model in models]
    with (
        shared_out(len(models)) as (workers, set_share),
        ThreadPoolExecutor(workers, initializer=set_share) as pool,
    ):
        return list(pool.map(measure, models))


def _difficulty(model: Classifier, dataset: Dataset, scored: Split) -> dict[str, Tensor]:
    """GraDN, misclassification (0 or 1) and loss of each scored sample, [n]."""
    found = []
    for pixels, labels in zip(scored.images.split(CHUNK), scored.labels.split(CHUNK), strict=True):
        images = dataset.normalise(pixels)
        found.append((
            gradient_norms(model, images, labels), misclassification_rate([model], images, labels),
            loss([model], images, labels),
        ))  # fmt: skip
    return {name: torch.cat(parts) for name, parts in zip(DIFFICULTIES, zip(*found, strict=True), strict=True)}


def _class_shares(model: Classifier, dataset: Dataset, scored: Split, stage: str) -> dict[str, Tensor]:
    """Shares of each scored sample in the mean gradient of the scored samples of its class, [n]."""
    found = {name: torch.full((len(scored),), torch.nan) for name in DIRECTIONS}
    for members in scored.by_class:
        if not len(members):
            continue
        images = dataset.normalise(scored.images[members])
        for name, values in gradient_shares(model, images, scored.labels[members], DIRECTIONS).items():
            found[name][members.cpu()] = values.cpu()
    return {f"share_{stage}_{name}": values for name, values in found.items()}


def _write(path: Path, scores: Scores) -> None:
    arrays: dict[str, Any] = {
        **scores.values, "labels": scores.labels, "indices": scores.indices, "done": np.array(scores.done)
    }  # fmt: skip
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def _read(path: Path, ensemble: Ensemble) -> Scores:
    try:
        with np.load(path, allow_pickle=False) as file:
            values = {name: file[name] for name in QUANTITIES}
            scores = Scores(values, file["labels"], file["indices"], int(file["done"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged; remove it to measure anew ({error})") from error
    if any(v.shape != (ensemble.count, len(scores.labels)) for v in values.values()):
        raise ValueError(f"{path} is no record of {ensemble.count} networks; remove it to measure anew")
    return scores
