"""A data set, an augmentation and a network of one's own, in one file that the commands load:

python -m empirical.run --plugin examples/data_of_your_own.py --dataset stripes --network linear
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from empirical.data import register_augmentation, register_dataset
from empirical.networks import Classifier, register


@register_dataset("stripes", class_names=("across", "down", "slanted"))
def stripes() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Noisy stripes in three directions; a function that reads files takes the folder of --data-root."""

    def split(each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.default_rng(seed)
        labels = np.repeat(np.arange(3), each)
        row, column = np.mgrid[:16, :16]
        phase = np.stack([row, column, row + column])[labels] + generator.integers(0, 8, (3 * each, 1, 1))
        noise = generator.normal(0, 20, phase.shape)
        images = np.clip(127 + 80 * np.sin(phase * math.pi / 4) + noise, 0, 255).astype(np.uint8)
        return images, labels  # uint8 [N, H, W] or [N, H, W, 3], integers [N]

    return split(100, seed=0), split(30, seed=1)


@register_augmentation("invert", parameters=lambda u, size: (u < 0.5).to(u.dtype))
def invert(images: Tensor, parameters: Tensor) -> Tensor:
    """Light for dark with probability one half; maps [b, c, H, W] with parameters [b, 3]."""
    return torch.where(parameters[:, 0, None, None, None] > 0, -images, images)


class Linear(Classifier):
    """Nothing but the last layer."""

    def __init__(self, shape: tuple[int, int, int], classes: int):
        super().__init__()
        self.classifier = nn.Linear(math.prod(shape), classes)

    def features(self, images: Tensor) -> Tensor:
        """The pixels, [n, channels * height * width]."""
        return images.flatten(1)


@register("linear")
def linear(shape: tuple[int, int, int], classes: int) -> Linear:
    """A linear classifier."""
    return Linear(shape, classes)
