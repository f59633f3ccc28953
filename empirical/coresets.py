"""Coresets: real images chosen from the training split, class by class, judged like distilled ones.

    random       uniform without replacement
    herding      greedy mean matching in the features of a network trained on the whole split (Welling, 2009)
    forgetting   most often forgotten while a network trains on the whole split (Toneva et al., 2019)

Each is an object that is called with (data set, images a class, generator) and returns a `SyntheticSet` of
the chosen images; other repetitions are other generators. Their names are given in `empirical.experiment.coresets`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize

from empirical import networks
from empirical.data.datasets import Dataset, Split
from empirical.synthetic.synthetic_set import SyntheticSet, from_selection
from empirical.training import sgd as training
from empirical.training.prediction import chunk_size, in_chunks

BATCH = 256


class Coreset(Protocol):
    """A way to choose real images."""

    def __call__(self, dataset: Dataset, ipc: int, generator: Generator) -> SyntheticSet:
        """`ipc` training images of each class, sorted by class, preprocessed."""
        ...


@dataclass(frozen=True)
class Random:
    """Uniform without replacement in each class."""

    def __call__(self, dataset: Dataset, ipc: int, generator: Generator) -> SyntheticSet:
        """See `Coreset`."""
        return from_selection(dataset, dataset.train.draw(generator, ipc), ipc)


@dataclass(frozen=True)
class Herding:
    """Greedy matching of the class mean in feature space.

    Attributes:
        network: whose penultimate activations are the features; trained on the whole split first.
        variant: of that network.
        epochs: of its training.
        normalise_features: scale each feature vector to length 1 first (as iCaRL does).

    """

    network: str = "convnet"
    variant: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 10
    normalise_features: bool = False

    def __call__(self, dataset: Dataset, ipc: int, generator: Generator) -> SyntheticSet:
        """See `Coreset`; deterministic given the network, which the generator determines."""
        network = _trained(dataset, self.network, self.variant, self.epochs, generator)
        size = chunk_size(network, dataset.train.images)
        features = in_chunks(network.features, dataset.train.images, dataset.normalise, size)
        if self.normalise_features:
            features = normalize(features)
        chosen = tuple(members[herd(features[members], ipc)] for members in dataset.train.by_class)
        return from_selection(dataset, chosen, ipc)


@dataclass(frozen=True)
class Forgetting:
    """By the number of forgetting events while a network trains.

    Attributes:
        network: that trains on the whole split.
        variant: of that network.
        epochs: of its training.
        keep: `highest` scores, the most forgotten (which the published numbers are only consistent with), or
            `lowest`.

    """

    network: str = "convnet"
    variant: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 50
    keep: Literal["highest", "lowest"] = "highest"

    def __call__(self, dataset: Dataset, ipc: int, generator: Generator) -> SyntheticSet:
        """See `Coreset`; ties are broken at random."""
        counter = ForgettingCounter(dataset.train.labels)

        def observe(_: int, indices: Tensor, logits: Tensor) -> None:
            counter.visit(indices, logits.argmax(1))

        _trained(dataset, self.network, self.variant, self.epochs, generator, observe)
        chosen = by_score(dataset.train, counter.scores, ipc, generator, self.keep)
        return from_selection(dataset, chosen, ipc)


def herd(features: Tensor, count: int) -> Tensor:
    """Indices [min(count, n)] of the herding sequence of features [n, d], in order of choice.

    At step m the unchosen x that minimises |(m + 1) mu - sum of chosen f - f(x)| is taken; mu is the mean of
    all. O(n d) a step, by running sums, in float64.
    """
    features = features.double()
    mean = features.mean(0)
    total = torch.zeros_like(mean)
    free = torch.ones(len(features), dtype=torch.bool, device=features.device)
    chosen = []
    for step in range(min(count, len(features))):
        distances = ((step + 1) * mean - total - features).norm(dim=1)
        index = torch.where(free, distances, torch.inf).argmin()
        free[index] = False
        total = total + features[index]
        chosen.append(index)
    return torch.stack(chosen)


class ForgettingCounter:
    """Forgetting events of every sample: right at its previous visit, wrong at this one.

    Args:
        labels: int64 [n].

    """

    def __init__(self, labels: Tensor):
        self._labels = labels
        self._events = torch.zeros(len(labels), dtype=torch.int64, device=labels.device)
        self._right = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
        self._ever = torch.zeros_like(self._right)

    def visit(self, indices: Tensor, predictions: Tensor) -> None:
        """One batch: distinct `indices` [b], and the classes [b] predicted for them."""
        right = predictions == self._labels[indices]
        self._events[indices] += self._right[indices] & ~right
        self._right[indices] = right
        self._ever[indices] |= right

    @property
    def scores(self) -> Tensor:
        """Events [n], as float32; infinite for samples that were never right."""
        return torch.where(self._ever, self._events.float(), torch.inf)


def by_score(
    split: Split,
    scores: Tensor,
    ipc: int,
    generator: Generator,
    keep: Literal["highest", "lowest"] = "highest",
) -> tuple[Tensor, ...]:
    """For each class the `ipc` samples with the highest (or lowest) scores [n], ties in random order.

    Raises:
        ValueError: `keep` is neither.

    """
    if keep not in ("highest", "lowest"):
        raise ValueError(f"keep must be highest or lowest, got {keep!r}")
    chosen = []
    for members in split.draw(generator, len(split)):  # whole and shuffled; the stable sort keeps ties so
        order = torch.argsort(scores[members], descending=keep == "highest", stable=True)
        chosen.append(members[order[:ipc]])
    return tuple(chosen)


def _trained(
    dataset: Dataset,
    name: str,
    variant: Mapping[str, Any],
    epochs: int,
    generator: Generator,
    observe: training.Observer | None = None,
) -> networks.Classifier:
    """A network trained on the whole split: SGD 0.01 / 0.9 / 5e-4, no augmentation, constant rate."""
    network = networks.build(name, dataset.shape, dataset.classes, generator, **variant).to(dataset.device)
    training.train(
        [network],
        training.Job(
            dataset.train.images,
            dataset.train.labels,
            training.Recipe(epochs, batch=BATCH),
            prepare=dataset.normalise,
            observe=observe,
        ),
        [generator],
    )
    return network
