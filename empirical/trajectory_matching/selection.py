"""DATM's start: real images that an expert gets right, the experts' logits as labels (Guo et al., ICLR 2024)."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from empirical.data.datasets import Dataset
from empirical.networks import Functional
from empirical.synthetic.synthetic_set import SyntheticSet, from_selection
from empirical.training import prediction
from empirical.trajectory_matching.expert_training import ExpertPool


def _last(pool: ExpertPool, index: int, template: nn.Module) -> nn.Module:
    """A network of the template's architecture at an expert's last snapshot."""
    file, network = pool.files[index], copy.deepcopy(template)
    (row,) = file.rows(file.snapshots - 1)
    with torch.no_grad():
        for p, value in zip(network.parameters(), Functional(network).unflatten(row), strict=True):
            p.copy_(value)
    return network


def correct_images(
    members: Tensor, label: int, ipc: int, right: Sequence[Tensor], generator: Generator
) -> Tensor:
    """Indices of `ipc` images of a class that the first expert gets right; later experts' if they are too few.

    Args:
        members: the class's image indices.
        label: the class.
        ipc: how many.
        right: for each expert, in order, which images of the whole split it classifies correctly, boolean [N].
        generator: of the visiting order.

    Raises:
        ValueError: all experts together get fewer right.

    """
    order = members[torch.randperm(len(members), generator=generator).to(members.device)]
    chosen: list[int] = []
    for correct in right:
        for index in order[correct[order]].tolist():
            if len(chosen) < ipc and index not in chosen:
                chosen.append(index)
    if len(chosen) < ipc:
        raise ValueError(
            f"the experts classify only {len(chosen)} images of class {label} correctly, {ipc} are needed: "
            "train them longer"
        )
    return torch.tensor(chosen, device=members.device)


def mean_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """[n, classes]: the mean over the experts that are right about an image, of logits [experts, n, classes].

    Where none is right, the mean over all, with the true class raised to the largest logit.
    """
    right = (logits.argmax(2) == labels).to(logits)
    found = (right[:, :, None] * logits).sum(0) / right.sum(0).clamp_min(1)[:, None]
    everyone = logits.mean(0)
    raised = everyone.scatter(1, labels[:, None], everyone.max(1, keepdim=True).values)
    return torch.where(right.any(0)[:, None], found, raised)


def selected_start(
    dataset: Dataset, pool: ExpertPool, network: nn.Module, ipc: int, generator: Generator
) -> SyntheticSet:
    """Images chosen by `correct_images`, labels by `mean_logits` of all experts' last snapshots."""
    train = dataset.train
    right: list[Tensor] = []
    chosen: list[Tensor] = []
    for label, members in enumerate(train.by_class):
        state = generator.get_state()
        while True:
            try:
                generator.set_state(state)
                chosen.append(correct_images(members, label, ipc, right, generator))
                break
            except ValueError:
                if len(right) == len(pool.files):
                    raise
                expert = _last(pool, len(right), network)
                said = prediction.logits(expert, train.images, dataset.normalise)
                right.append(said.argmax(1) == train.labels)
    start = from_selection(dataset, tuple(chosen), ipc)
    logits = [
        prediction.logits(_last(pool, i, network), start.images) for i in range(len(pool.files))
    ]
    labels = mean_logits(torch.stack(logits), start.labels)
    return SyntheticSet(start.images, labels, start.classes, "logits")


def with_logits(start: SyntheticSet, pool: ExpertPool, network: nn.Module) -> SyntheticSet:
    """The same images with the first expert's logits as labels."""
    logits = prediction.logits(_last(pool, 0, network), start.images)
    return SyntheticSet(start.images, logits, start.classes, "logits")
