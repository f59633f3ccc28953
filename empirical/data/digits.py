"""scikit-learn's bundled handwritten digits as a data set that needs no download.

1797 real grey images (Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998), 8x8 with
values 0..16. They are enlarged to 16x16 (bilinear) and scaled to 0..255, so that every network accepts them.

The collection comes without a hold-out, so one is fixed once and for all: of each class one image in five
(nearest integer), by a permutation with a constant seed, is test. That is 1438 train and 359 test images,
stratified.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from empirical.data.arrays import Arrays, Pair
from empirical.data.errors import DataError

SIDE = 16
_SPLIT_SEED = 1797
_TEST_SHARE = 1 / 5


@dataclass(frozen=True)
class BundledDigits:
    """The source of the data set `digits`."""

    downloadable: bool = False

    def files(self, root: Path) -> list[Path]:
        """None: the images come with scikit-learn."""
        return []

    def read(self, root: Path) -> Pair:
        """The fixed stratified split."""
        from sklearn.datasets import load_digits  # slow to import, and only this needs it

        bunch = load_digits()
        small = torch.from_numpy(bunch.images).float()[:, None] * (255 / 16)
        large = functional.interpolate(small, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        images = large[:, 0, :, :, None].round().to(torch.uint8).numpy()
        labels = bunch.target.astype(np.int64)
        test = held_out(labels, _TEST_SHARE, _SPLIT_SEED)
        return Pair(Arrays(images[~test], labels[~test]), Arrays(images[test], labels[test]))

    def download(self, root: Path) -> None:
        """Nothing to fetch."""
        raise DataError("digits comes with scikit-learn; there is nothing to download")


def held_out(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Mask [N] of a stratified random hold-out: round(share * size) of a class, at least one, not all."""
    chosen = np.zeros(len(labels), bool)
    generator = np.random.default_rng(seed)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise ValueError(f"class {label} has one image; a hold-out needs at least two")
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        chosen[generator.permutation(members)[:count]] = True
    return chosen
