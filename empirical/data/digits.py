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
from empirical.data.registry import DEFAULT, DIGIT_NAMES, DatasetSpec, add
from empirical.data.sources import Source
from empirical.data.stratified import held_out

SIDE = 16
_SPLIT_SEED = 1797
_TEST_SHARE = 1 / 5


@dataclass(frozen=True)
class BundledDigits(Source):
    """The source of the data set `digits`: no files, the images come with scikit-learn."""

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

    def where(self, root: Path) -> str:
        """The package that has them."""
        return "scikit-learn"


add(DatasetSpec(DEFAULT, sources=(BundledDigits(),), classes=10, channels=1, side=SIDE, class_names=DIGIT_NAMES))
