"""How good a synthetic set is: accuracy of fresh networks trained on it, by the published protocol.

Zhao, Mopuri & Bilen (ICLR 2021) and Zhao & Bilen (ICML 2021): SGD 0.01, momentum 0.9, weight decay 5e-4,
batch 256, E + 1 epochs, rate times 0.1 with a new optimiser after epoch E // 2 + 1; test accuracy at the
end, no selection. E = 300 without augmentation for DC, DCC and coresets (on MNIST E = 1000 with DC's
augmentation), E = 1000 with their own strategy for DSA and DSAC.

Two spreads are kept apart: over evaluation networks, and over distillations (`Spread`).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from empirical import networks
from empirical.data.augmentation import SiameseAugmentation, Strategy, parse_strategy
from empirical.data.condensation_augmentation import WITH_BATCH_NORM, CondensationAugmentation
from empirical.data.datasets import Dataset, Split
from empirical.networks.choice import NetworkChoice
from empirical.runtime.seeds import generator
from empirical.synthetic.synthetic_set import SyntheticSet
from empirical.training import prediction
from empirical.training import sgd as training

CROSS_ARCHITECTURE = ("convnet", "resnet18", "vgg11", "alexnet", "lenet", "mlp")
"""The networks of the published cross-architecture tables."""
CONDENSATION = CondensationAugmentation().name
_CONDENSATIONS = (CondensationAugmentation(), CondensationAugmentation(WITH_BATCH_NORM))


@dataclass(frozen=True)
class Protocol:
    """How a set is judged; part of what is stored with it.

    Attributes:
        epochs: E; E + 1 are run.
        augmentation: `none`, a strategy such as `color_crop_cutout_scale_rotate`, or DC's (`CONDENSATION`).
        learning_rate: of the training.
        batch: images a step.

    """

    epochs: int = 300
    augmentation: str = "none"
    learning_rate: float = 0.01
    batch: int = 256

    def __post_init__(self) -> None:
        named_augmentation(self.augmentation)
        self.recipe()

    def recipe(self) -> training.Recipe:
        """As SGD settings."""
        return training.published(self.epochs, self.learning_rate, self.batch)


def named_augmentation(name: str) -> training.Augmentation | None:
    """The augmentation that a recipe spells `name`; None for `none`.

    Raises:
        ValueError: unknown operations, with the nearest known one.

    """
    known = {augmentation.name: augmentation for augmentation in _CONDENSATIONS}
    if name in known:
        return known[name]
    strategy = parse_strategy(name)
    return SiameseAugmentation(strategy) if strategy else None


def published_protocol(dataset: str, strategy: Strategy = ()) -> Protocol:
    """The published protocol of a method on a data set.

    Args:
        dataset: its name.
        strategy: the operations that the method augments with while it distils; empty for DC, DCC, coresets.

    """
    if strategy:
        return Protocol(1000, SiameseAugmentation(strategy).name)
    return Protocol(1000, CONDENSATION) if dataset.lower() == "mnist" else Protocol(300)


@dataclass(frozen=True)
class Evaluation:
    """Accuracies, in [0, 1], of networks of one architecture trained on one set.

    `std` is over networks, with n in the denominator, as the published tables have it.
    """

    network: str
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float:
        """Population standard deviation over networks."""
        return statistics.pstdev(self.accuracies)

    def describe(self) -> dict[str, Any]:
        """For a record."""
        return {**asdict(self), "mean": self.mean, "std": self.std, "n": len(self.accuracies)}


def fresh_networks(
    choice: NetworkChoice, dataset: Dataset, count: int, seed: int, dtype: torch.dtype = torch.float32
) -> list[networks.Classifier]:
    """`count` networks on the data's device; network i depends on `seed` and i alone.

    Raises:
        ValueError: unknown name or variant, or images too small.

    """
    if count < 1:
        raise ValueError(f"at least one network is needed, got {count}")
    built = [
        networks.build(
            choice.name, dataset.shape, dataset.classes, generator(seed, "network", i), **choice.variant
        )
        for i in range(count)
    ]
    return [network.to(dataset.device, dtype) for network in built]


def split_of(dataset: Dataset, name: Literal["test", "validation"]) -> Split:
    """The split to measure on.

    Raises:
        ValueError: a validation split is asked for, but none was held out.

    """
    split = dataset.validation if name == "validation" else dataset.test
    if split is None:
        raise ValueError(f"{dataset.name} was loaded without a validation split; ask for a share to hold out")
    return split


SplitName = Literal["test", "validation"]


def train_and_test(
    dataset: Dataset,
    job: training.Job,
    choice: NetworkChoice,
    count: int,
    seed: int,
    splits: Sequence[SplitName] = ("test",),
) -> dict[SplitName, Evaluation]:
    """`count` fresh networks trained on the images of a job and tested at the end, on each of the splits.

    The networks compute in the type of the images; where those are stored pixels (uint8), in float32.
    """
    measured = {name: split_of(dataset, name) for name in splits}
    dtype = job.images.dtype if job.images.is_floating_point() else torch.float32
    members = fresh_networks(choice, dataset, count, seed, dtype)

    def prepare(pixels: Tensor) -> Tensor:
        return dataset.normalise(pixels, dtype)

    training.train(members, job, [generator(seed, "training", i) for i in range(count)])
    return {
        name: Evaluation(
            choice.name, tuple(prediction.accuracies(members, part.images, part.labels, prepare))
        )
        for name, part in measured.items()
    }


def evaluate(
    synthetic: SyntheticSet,
    dataset: Dataset,
    protocol: Protocol,
    choice: NetworkChoice | None = None,
    count: int = 20,
    seed: int = 0,
    split: SplitName = "test",
    progress: training.Progress | None = None,
) -> Evaluation:
    """`evaluate_splits` for one split."""
    return evaluate_splits(synthetic, dataset, protocol, choice, count, seed, (split,), progress)[split]


def evaluate_splits(
    synthetic: SyntheticSet,
    dataset: Dataset,
    protocol: Protocol,
    choice: NetworkChoice | None = None,
    count: int = 20,
    seed: int = 0,
    splits: Sequence[SplitName] = ("test",),
    progress: training.Progress | None = None,
) -> dict[SplitName, Evaluation]:
    """Accuracy of `count` fresh networks trained on a synthetic set, the same networks on each of the splits.

    A learned learning rate of the set takes the place of the protocol's.

    Raises:
        ValueError: the set's images or classes are not those of the data set, an image is not finite, or the
            learned rate is not positive.

    """
    if synthetic.shape != dataset.shape or synthetic.classes != dataset.classes:
        raise ValueError(
            f"the synthetic set has images {synthetic.shape} of {synthetic.classes} classes, "
            f"{dataset.name} has {dataset.shape} of {dataset.classes}"
        )
    if not bool(torch.isfinite(synthetic.images).all()):
        raise ValueError("the synthetic set has images that are not finite: its distillation diverged")
    recipe = protocol.recipe()
    if synthetic.learning_rate is not None:
        recipe = training.published(protocol.epochs, float(synthetic.learning_rate), protocol.batch)
    images, targets = synthetic.to(dataset.device).tensors
    augmentation = named_augmentation(protocol.augmentation)
    job = training.Job(images, targets, recipe, augmentation=augmentation, progress=progress)
    return train_and_test(dataset, job, choice or NetworkChoice(), count, seed, splits)


def evaluate_whole(
    dataset: Dataset,
    choice: NetworkChoice | None = None,
    count: int = 5,
    seed: int = 0,
    epochs: int = 50,
    split: Literal["test", "validation"] = "test",
    progress: training.Progress | None = None,
    batch: int = 256,
) -> Evaluation:
    """The upper bound: networks trained on the whole training split; rate drop at half, no augmentation."""
    recipe = training.halved(epochs, batch=batch)
    images, labels = dataset.train.images, dataset.train.labels
    job = training.Job(images, labels, recipe, prepare=dataset.normalise, progress=progress)
    return train_and_test(dataset, job, choice or NetworkChoice(), count, seed, (split,))[split]


@dataclass(frozen=True)
class Spread:
    """Accuracies of several distillations, several networks each; two levels that are never mixed.

    Attributes:
        mean: over everything.
        std_networks: within a distillation, over networks: root mean of the (n - 1) variances; NaN for one
            network.
        std_distillations: of the means of the distillations (n - 1), to which the networks add
            std_networks / sqrt(networks) by chance alone; NaN for one distillation.
        std_pooled: population deviation of all accuracies together, as [DC] and [DSA] print it.
        networks: accuracies a distillation.
        distillations: how many.

    """

    mean: float
    std_networks: float
    std_distillations: float
    std_pooled: float
    networks: int
    distillations: int


def spread(accuracies: Sequence[Sequence[float]]) -> Spread:
    """Of accuracies [distillations][networks], as many networks each.

    Raises:
        ValueError: none, or unequal numbers.

    """
    counts = {len(row) for row in accuracies}
    if len(counts) != 1 or counts == {0}:
        raise ValueError(f"each distillation needs as many accuracies, at least one; got {sorted(counts)}")
    (count,) = counts
    everything = [value for row in accuracies for value in row]
    means = [statistics.fmean(row) for row in accuracies]
    within = (
        statistics.fmean(statistics.variance(row) for row in accuracies) ** 0.5 if count > 1 else float("nan")
    )
    return Spread(
        mean=statistics.fmean(everything),
        std_networks=within,
        std_distillations=statistics.stdev(means) if len(means) > 1 else float("nan"),
        std_pooled=statistics.pstdev(everything),
        networks=count,
        distillations=len(means),
    )


def stored_recipe(
    dataset: Dataset, protocol: Protocol, choice: NetworkChoice, count: int, seed: int
) -> dict[str, Any]:
    """What a synthetic set must carry to be judged again alone; `empirical.evaluate` reads it."""
    return {
        "data": dataset.describe(),
        "class_names": list(dataset.class_names),
        "network": {"name": choice.name, "variant": dict(choice.variant)},
        "evaluation": {**asdict(protocol), "networks": count, "seed": seed},
    }
