"""Expert trajectories: networks trained on real data, a snapshot after every epoch (Cazenavette et al., CVPR 2022).

MTT and TESLA use plain SGD (0.01, no momentum, no decay, batch 256, augmented), FTD and DATM adaptive GSAM. Experts
are trained many at once, epoch by epoch; after each epoch an expert's rows and its generator are stored, so a killed
training goes on where it was and ends where an uninterrupted one ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from empirical import networks
from empirical.data.augmentation import SiameseAugmentation, parse_strategy
from empirical.data.datasets import Dataset
from empirical.networks.choice import NetworkChoice
from empirical.networks.cost import measure
from empirical.training import prediction
from empirical.training import sgd as training
from empirical.trajectory_matching.expert_file import BadExpert, ExpertFile, file_of
from empirical.trajectory_matching.expert_member import Member
from empirical.trajectory_matching.sharpness import Gsam
from shared.records.records import plain
from shared.terminal.progress import Reporter

Kind = Literal["sgd", "flat"]
KINDS: tuple[Kind, ...] = ("sgd", "flat")
MEASURED_IMAGES = 500
"""Most images of a split that the accuracies in a header are measured on."""
AT_ONCE = 10
"""Experts trained at once; also how many a training is taken to make when it is asked whether compiling pays, for
an expert's numbers must not depend on how many are made beside it.
"""


@dataclass(frozen=True)
class ExpertRecipe:
    """How experts are trained; what tells one kind of expert from another.

    Attributes:
        kind: sgd, or flat (adaptive GSAM).
        rate: learning rate.
        batch: real images a step; the last, short batch of an epoch is kept.
        augmentation: operations, or none.
        rho: radius of GSAM.
        alpha: weight of its orthogonal part.

    """

    kind: Kind = "sgd"
    rate: float = 0.01
    batch: int = 256
    augmentation: str = "none"
    rho: float = 0.01
    alpha: float = 0.3

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"experts are of kind {' or '.join(KINDS)}, not {self.kind!r}")
        parse_strategy(self.augmentation)
        training.Recipe(1, self.rate, 0.0, 0.0, self.batch)
        Gsam(self.rho, self.alpha)

    @property
    def descent(self) -> Gsam | None:
        """What makes a step of the gradients."""
        return Gsam(self.rho, self.alpha) if self.kind == "flat" else None

    def describe(self) -> dict[str, Any]:
        """Plain values; GSAM's only where it is used."""
        return {k: v for k, v in asdict(self).items() if self.kind == "flat" or k not in ("rho", "alpha")}


def identity(dataset: Dataset, choice: NetworkChoice, recipe: ExpertRecipe) -> dict[str, Any]:
    """What a run must share with its experts."""
    network = networks.build(choice.name, dataset.shape, dataset.classes, **choice.variant)
    held_out = {"share": dataset.held_out, "seed": dataset.held_out_seed if dataset.held_out else None}
    return {
        "data": dataset.fingerprint,
        "held_out": held_out,
        "preprocessing": dataset.preprocessing.describe(),
        "network": choice.name,
        "shapes": [list(p.shape) for p in network.parameters()],
        "layers": str(network),
        **recipe.describe(),
    }


def flop(dataset: Dataset, network: nn.Module, recipe: ExpertRecipe, count: int, epochs: int) -> float:
    """Arithmetic of training so many experts."""
    passes = 2 if recipe.kind == "flat" else 1
    return float(passes * count * epochs * len(dataset.train) * measure(network, dataset.shape).training_flop)


@dataclass(frozen=True)
class ExpertPool:
    """The experts of a run.

    Attributes:
        files: one an expert.

    """

    files: Sequence[ExpertFile]

    @staticmethod
    def open(folder: Path, count: int, identity: dict[str, Any], epochs: int) -> ExpertPool:
        """The first `count` experts of a folder, checked.

        Args:
            folder: where they are.
            count: how many are wanted.
            identity: what they must have been made with.
            epochs: how long they must have been trained at least.

        Raises:
            BadExpert: one is missing, damaged, too short, or made otherwise; or they are of several seeds.

        """
        files = [checked(file_of(folder, index), identity, epochs) for index in range(count)]
        one_seed(files)
        return ExpertPool(files)


def one_seed(files: Sequence[ExpertFile], seed: int | None = None) -> None:
    """Refuses to use experts of several seeds together, which no single command would make again.

    Args:
        files: the experts.
        seed: of those that are about to be made beside them; None: none.

    Raises:
        BadExpert: naming two that differ and both seeds.

    """
    for file in files:
        first = files[0].header.get("seed") if seed is None else seed
        if file.header.get("seed") != first:
            beside = "the experts to be made beside it have" if seed is not None else f"{files[0].path.name} has"
            raise BadExpert(
                f"{file.path} was made with seed {file.header.get('seed')}, {beside} {first}: name another folder, or "
                f"make what is missing by python -m empirical.experts --seed {file.header.get('seed')}"
            )


def checked(path: Path, identity: dict[str, Any], epochs: int) -> ExpertFile:
    """An expert that a run may use.

    Raises:
        BadExpert: it is missing, damaged, too short, or made otherwise.

    """
    file = ExpertFile.open(path)
    file.require(identity)
    if file.snapshots < epochs + 1:
        raise BadExpert(
            f"{path} was trained for {file.snapshots - 1} epochs, this run needs {epochs}: make longer experts in "
            "another folder, or lower --max-start-epoch"
        )
    return file


def missing_experts(
    folder: Path, count: int, identity: dict[str, Any], epochs: int, seed: int = 0
) -> list[int]:
    """Which of the first `count` experts are not there yet, to be made with `seed`; those that are have been checked.

    Raises:
        BadExpert: as `checked` and `one_seed`.

    """
    missing = [index for index in range(count) if not file_of(folder, index).exists()]
    there = sorted(set(range(count)) - set(missing))
    files = [checked(file_of(folder, index), identity, epochs) for index in there]
    one_seed(files, seed if missing else None)
    return missing


def _inputs(dataset: Dataset) -> tuple[Tensor, Callable[[Tensor], Tensor] | None]:
    """Training images, and what makes network inputs of a batch of them; None where that is costly and done already."""
    images = dataset.train.images
    costly = dataset.preprocessing.describe()["kind"] != "normalisation"
    if costly and 4 * images.numel() < 2 << 30:
        return torch.cat([dataset.normalise(part) for part in images.split(4096)]), None
    return images, dataset.normalise


@dataclass(frozen=True)
class Order:
    """Which experts a folder is to hold in the end.

    Attributes:
        folder: of the experts.
        count: experts 0 .. count - 1 are to be there.
        epochs: of those that are made.
        seed: of all of them.
        at_least: epochs that experts already there must have been trained; `epochs` if not given.

    Raises:
        ValueError: count or epochs below 1.

    """

    folder: Path
    count: int
    epochs: int
    seed: int = 0
    at_least: int | None = None

    def __post_init__(self) -> None:
        if self.count < 1 or self.epochs < 1:
            raise ValueError(f"at least 1 expert and 1 epoch are needed, not {self.count} and {self.epochs}")

    @property
    def needed(self) -> int:
        """Epochs that any of them must have been trained."""
        return self.epochs if self.at_least is None else self.at_least


def train_experts(
    dataset: Dataset,
    choice: NetworkChoice,
    recipe: ExpertRecipe,
    order: Order,
    *,
    at_once: int = AT_ONCE,
    quiet: bool = False,
) -> ExpertPool:
    """Makes the experts that a folder lacks; the caller holds its lock.

    Expert i depends on `order.seed` and i alone, so experts can be added later. A training that was killed goes on.

    Args:
        dataset: the real data, preprocessed.
        choice: the network.
        recipe: how it is trained.
        order: which, where, how long.
        at_once: trained side by side.
        quiet: no progress.

    Raises:
        BadExpert: the folder holds experts made otherwise, or too short ones; nothing is trained then.

    """
    folder, count, epochs = order.folder, order.count, order.epochs
    own = plain(identity(dataset, choice, recipe))
    missing = missing_experts(folder, count, own, order.needed, order.seed)
    folder.mkdir(parents=True, exist_ok=True)
    images, prepare = _inputs(dataset) if missing else (dataset.train.images, None)
    strategy = parse_strategy(recipe.augmentation)
    with Reporter(f"{recipe.kind} experts", count * epochs, (count - len(missing)) * epochs, quiet) as reporter:
        done = (count - len(missing)) * epochs
        for start in range(0, len(missing), at_once):
            members = []
            for index in missing[start : start + at_once]:
                network = networks.build(choice.name, dataset.shape, dataset.classes, **choice.variant)
                members.append(Member(folder, index, order.seed, network.to(dataset.device), own))
            base = done
            nominal = flop(dataset, members[0].network, recipe, AT_ONCE, epochs)
            compiled = dataset.device.type == "cpu" and nominal >= training.COMPILE_FROM_FLOP
            while (least := min(member.done for member in members)) < epochs:
                group = [member for member in members if member.done == least]
                if least >= 0:
                    _epoch(group, images, prepare, dataset.train.labels, recipe, strategy, compiled)
                for member, accuracies in zip(group, _measured(group, dataset), strict=True):
                    member.keep(accuracies)
                done = base + sum(max(0, member.done) for member in members)
                reporter.update(done, {"accuracy": members[0].accuracies[-1]["test"]})
            for member in members:
                member.finish(epochs)
    return ExpertPool.open(folder, count, own, order.needed)


def _epoch(
    group: Sequence[Member],
    images: Tensor,
    prepare: Callable[[Tensor], Tensor] | None,
    labels: Tensor,
    recipe: ExpertRecipe,
    strategy: tuple[str, ...],
    compiled: bool,
) -> None:
    training.train(
        [member.network for member in group],
        training.Job(
            images,
            labels,
            training.Recipe(1, recipe.rate, momentum=0.0, weight_decay=0.0, batch=recipe.batch),
            augmentation=SiameseAugmentation(strategy) if strategy else None,
            prepare=prepare,
            descent=recipe.descent,
        ),
        [member.generator for member in group],
        # an expert's numbers must not depend on how many are trained beside it, nor on the machine's threads
        strategy="auto" if images.device.type != "cpu" else "threads",
        compiled=compiled,
        threads_each=1,
    )


def _measured(group: Sequence[Member], dataset: Dataset) -> list[dict[str, float]]:
    members = [member.network for member in group]
    found = {}
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        part = slice(0, MEASURED_IMAGES)
        images, labels = split.images[part], split.labels[part]
        found[name] = prediction.accuracies(members, images, labels, dataset.normalise, threads_each=1)
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
