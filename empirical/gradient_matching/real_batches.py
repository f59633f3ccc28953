"""One batch of real images a class, drawn without replacement, gathered and normalised in one call."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from empirical.data.datasets import Dataset
from empirical.runtime.devices import on_device


@dataclass(frozen=True)
class RealBatch:
    """Real images of every class.

    Attributes:
        images: [C, B, channels, height, width], normalised.
        labels: [C], 0 .. C - 1.
        weights: [C, B], weight of each image in its class's mean: 1 / B, or, in a class of n < B images, 1 /
            n for n of them and 0 for the padding; None if all are 1 / B.

    """

    images: Tensor
    labels: Tensor
    weights: Tensor | None = None


def draw_real(dataset: Dataset, count: int, generator: Generator) -> RealBatch:
    """`count` training images of each class, all of a class that has fewer.

    Raises:
        ValueError: a class has no training image.

    """
    sizes = dataset.train.class_sizes
    if min(sizes) == 0:
        raise ValueError(f"class {sizes.index(0)} of {dataset.name} has no training image")
    chosen = dataset.train.draw(generator, count)
    length = min(count, max(sizes))
    labels = torch.arange(dataset.classes, device=dataset.device)
    weights = None
    if min(sizes) < length:
        kept = on_device([min(size, length) for size in sizes], dataset.device)[:, None]
        weights = (torch.arange(length, device=dataset.device) < kept) / kept
        chosen = tuple(torch.cat([i, i[:1].expand(length - len(i))]) for i in chosen)
    images = dataset.normalise(dataset.train.images[torch.cat(chosen)])
    return RealBatch(images.unflatten(0, (dataset.classes, length)), labels, weights)
