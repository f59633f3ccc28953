"""Difficulty of every training image on an ensemble of trained networks, kept in a file and shared by all who ask.

    gradn, el2n, misclassification, loss    mean over networks; large is hard
    margin                                  minus the mean of (true logit - largest other); large is hard

Which networks score an image (`Scoring.scored`):

    crossed    the half of them that did not learn it
    in-sample  all of them, which all learnt it
    held-out   all of them, which learnt other images: a half of each class is theirs and is not chosen from

How good the judge is, is chosen on purpose: more networks and epochs see the difficulty that all agree on, one network
after one epoch its own mistakes. In the theory that is the probe's angle.

Networks are trained a round at a time and each round is written at once, so that a killed run goes on from there.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from empirical import networks
from empirical.data.datasets import Dataset
from empirical.runtime.seeds import generator
from empirical.training import sgd as training
from shared.measures import difficulty
from shared.terminal.atomic import write_atomically

MEASURES = ("gradn", "el2n", "misclassification", "loss", "margin")
SCORED = ("crossed", "in-sample", "held-out")
ROUND = 4
"""Networks of a round; the record is written after each."""
CHUNK = 512
FORMAT = 1

Report = Callable[[float, float], None]
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Scoring:
    """Who judges.

    Attributes:
        scored: crossed, in-sample or held-out.
        count: networks; crossed needs an even number.
        network: registered name.
        variant: its width, norm and so on.
        epochs: of their training (SGD, momentum 0.9, weight decay 5e-4, rate 0.01, a tenth of it from half time on).
        batch: images a step.
        seed: of networks, order of training and halves.

    Raises:
        ValueError: a number or a name is out of range.

    """

    scored: str = "crossed"
    count: int = 4
    network: str = "convnet"
    variant: tuple[tuple[str, Any], ...] = ()
    epochs: int = 5
    batch: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.scored not in SCORED:
            raise ValueError(f"scored is {self.scored!r}, must be one of {', '.join(SCORED)}")
        if self.count < 1 or (self.scored == "crossed" and self.count % 2):
            raise ValueError(
                f"{self.count} networks to score with: at least 1, and an even number where half of them score an image"
            )
        if self.epochs < 1 or self.batch < 1:
            raise ValueError(f"epochs {self.epochs} and batch {self.batch} of networks to score with: at least 1 each")

    def key(self, dataset: Dataset) -> str:
        """Ten hexadecimal digits that settle the scores: settings, data, and the format of the record."""
        seen = dataset.fingerprint, len(dataset.train), dataset.preprocessing.describe()
        text = json.dumps([asdict(self), *seen, FORMAT], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]


@dataclass(frozen=True, eq=False)
class Scores:
    """What the networks said of the training images.

    Attributes:
        values: measure -> [networks, n]; NaN where a network did not score an image.
        error: [networks], share of wrong answers on the test images.
        done: networks that are finished, the first so many.

    """

    values: dict[str, Array]
    error: Array
    done: int

    def difficulty(self, by: str) -> Tensor:
        """Mean over the networks that scored an image, larger is harder, [n]; NaN where none did.

        Raises:
            ValueError: unknown measure.

        """
        if by not in MEASURES:
            raise ValueError(f"images are chosen by one of {', '.join(MEASURES)}, not {by!r}")
        values = self.values[by].astype(np.float64)
        count = np.isfinite(values).sum(0)
        mean = np.where(count > 0, np.nansum(values, 0) / np.maximum(count, 1), np.nan)
        return torch.from_numpy(-mean if by == "margin" else mean)


def score(
    scoring: Scoring, dataset: Dataset, folder: str | Path, report: Report = lambda done, total: None
) -> Scores:
    """Train the ensemble and score the training images; goes on from what the folder holds of the same settings.

    Args:
        scoring: who judges.
        dataset: the data, on the device to use.
        folder: gets `DATASET-KEY.npz`, which says in itself what it is of.
        report: told (done, total) networks.

    Raises:
        ValueError: the network is unknown or does not fit the images, or the file is damaged.

    """
    path = Path(folder) / f"{Path(dataset.name).name}-{scoring.key(dataset)}.npz"
    _build(scoring, dataset, 0)  # a wrong name or variant is an error before any work
    scores = _read(path, scoring, len(dataset.train)) if path.exists() else _empty(scoring, len(dataset.train))
    while scores.done < scoring.count:
        report(scores.done, scoring.count)
        members = range(scores.done, min(scores.done + ROUND, scoring.count))
        _round(scoring, dataset, scores, members)
        scores = Scores(scores.values, scores.error, members.stop)
        _write(path, scores, scoring, dataset)
    report(scoring.count, scoring.count)
    return scores


def halves(scoring: Scoring, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """The two halves of the training images, class by class: indices, ascending.

    Crossed: what even networks learn, and odd ones. Held-out: what the networks learn, and what is chosen from.
    """
    first = torch.zeros(len(dataset.train), dtype=torch.bool)
    for members in dataset.train.draw(generator(scoring.seed, "selection", "halves"), len(dataset.train)):
        first[members.cpu()[::2]] = True
    everything = torch.arange(len(first))
    return everything[first], everything[~first]


def _build(scoring: Scoring, dataset: Dataset, index: int) -> networks.Classifier:
    drawn = generator(scoring.seed, "selection", "network", index)
    built = networks.build(scoring.network, dataset.shape, dataset.classes, drawn, **dict(scoring.variant))
    return built.to(dataset.device)


def _empty(scoring: Scoring, images: int) -> Scores:
    values = {name: np.full((scoring.count, images), np.nan, np.float32) for name in MEASURES}
    return Scores(values, np.full(scoring.count, np.nan, np.float32), 0)


def _round(scoring: Scoring, dataset: Dataset, scores: Scores, members: range) -> None:
    """Train some networks and fill in what they say."""
    everything = torch.arange(len(dataset.train))
    if scoring.scored == "in-sample":
        plan = [(list(members), everything, everything)]
    else:
        first, second = halves(scoring, dataset)
        plan = [(list(members), first, second)]
        if scoring.scored == "crossed":
            even, odd = ([k for k in members if k % 2 == side] for side in (0, 1))
            plan = [(even, first, second), (odd, second, first)]
    for own, learnt, scored in plan:
        if not own:
            continue
        models = [_build(scoring, dataset, k).eval() for k in own]
        split = dataset.train.subset(learnt)
        job = training.Job(
            split.images, split.labels, training.halved(scoring.epochs, batch=scoring.batch), prepare=dataset.normalise
        )
        training.train(models, job, [generator(scoring.seed, "selection", "training", k) for k in own])
        for k, model in zip(own, models, strict=True):
            for name, values in _measured(model, dataset, scored).items():
                if not bool(values.isfinite().all()):
                    raise ValueError(
                        f"network {k} that is to judge difficulty gives no finite {name} after {scoring.epochs} "
                        "epochs: its training diverged; give another with --score-network, or fewer --score-epochs"
                    )
                scores.values[name][k, scored.numpy()] = values.cpu().numpy()
            wrong = torch.cat([_wrong(model, dataset, part) for part in torch.arange(len(dataset.test)).split(CHUNK)])
            scores.error[k] = float(wrong.mean())


def _measured(model: networks.Classifier, dataset: Dataset, scored: Tensor) -> dict[str, Tensor]:
    """Each measure of each image, [n]."""
    found: dict[str, list[Tensor]] = {name: [] for name in MEASURES}
    for part in scored.split(CHUNK):
        split = dataset.train.subset(part)
        images, labels = dataset.normalise(split.images), split.labels
        found["gradn"].append(difficulty.gradient_norms(model, images, labels))
        for name, measure in (
            ("el2n", difficulty.el2n), ("misclassification", difficulty.misclassification_rate),
            ("loss", difficulty.loss), ("margin", difficulty.margin),
        ):  # fmt: skip
            found[name].append(measure([model], images, labels))
    return {name: torch.cat(parts) for name, parts in found.items()}


def _wrong(model: networks.Classifier, dataset: Dataset, part: Tensor) -> Tensor:
    split = dataset.test.subset(part)
    return difficulty.misclassification_rate([model], dataset.normalise(split.images), split.labels)


def _write(path: Path, scores: Scores, scoring: Scoring, dataset: Dataset) -> None:
    said = json.dumps({"scoring": asdict(scoring), "data": dataset.fingerprint, "dataset": dataset.name})
    arrays: dict[str, Any] = {**scores.values, "error": scores.error, "done": np.array(scores.done)}
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(arrays[name]).tobytes() for name in sorted(arrays)))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays, provenance=np.array(said), checksum=np.array(digest.hexdigest()))
    write_atomically(path, buffer.getvalue())


def _read(path: Path, scoring: Scoring, images: int) -> Scores:
    cure = "remove it to measure anew"
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in (*MEASURES, "error", "done")}
            checksum = str(file["checksum"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged ({error}): {cure}") from error
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(arrays[name]).tobytes() for name in sorted(arrays)))
    shapes = {arrays[name].shape for name in MEASURES}
    if digest.hexdigest() != checksum or shapes != {(scoring.count, images)}:
        raise ValueError(f"{path} is damaged (its checksum or shape is not that of {scoring.count} networks): {cure}")
    return Scores({name: arrays[name] for name in MEASURES}, arrays["error"], int(arrays["done"]))
