"""Images and labels as they come from disk, the checks that every source passes, and their fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from empirical.data.errors import CorruptData


@dataclass(frozen=True)
class Arrays:
    """One split on the host: `images` uint8 [N, H, W, C] (channel last), `labels` int64 [N]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """The train and the test split of one data set, and its class names where the source has them."""

    train: Arrays
    test: Arrays
    class_names: tuple[str, ...] | None = None


def checked(images: NDArray[np.generic], labels: NDArray[np.generic], where: str) -> Arrays:
    """`Arrays` from raw arrays, or `CorruptData` with what is wrong in the file `where`.

    Accepts uint8 images [N, H, W] or [N, H, W, 1 or 3], and integer labels [N] from 0 up.
    """
    if images.dtype != np.uint8:
        raise CorruptData(f"{where}: images are {images.dtype}; uint8 (0..255) is needed")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        hint = "; the channels come last" if images.ndim == 4 and images.shape[1] in (1, 3) else ""
        raise CorruptData(
            f"{where}: images have shape {list(images.shape)}; "
            f"[N, H, W], [N, H, W, 1] or [N, H, W, 3] is needed{hint}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise CorruptData(f"{where}: labels are {labels.dtype}; integers are needed")
    if labels.shape != images.shape[:1]:
        raise CorruptData(f"{where}: {len(images)} images but labels of shape {list(labels.shape)}")
    if not len(images):
        raise CorruptData(f"{where}: no images")
    if labels.min() < 0:
        raise CorruptData(f"{where}: labels start at {labels.min()}; they must be 0, 1, 2, ...")
    return Arrays(np.ascontiguousarray(images, np.uint8), labels.astype(np.int64))


def class_count(pair: Pair, expected: int | None, where: str) -> int:
    """Number of classes, after the checks that need both splits.

    Every class must have a training image, both splits one image shape, and no label may reach the count.
    """
    train, test = pair.train, pair.test
    if train.images.shape[1:] != test.images.shape[1:]:
        shapes = [list(split.images.shape[1:]) for split in (train, test)]
        raise CorruptData(f"{where}: train images are {shapes[0]}, test images {shapes[1]}")
    count = expected if expected is not None else int(train.labels.max()) + 1
    for name, split in (("train", train), ("test", test)):
        if split.labels.max() >= count:
            worst = split.labels.max()
            raise CorruptData(f"{where}: a {name} label is {worst}; {count} classes allow 0..{count - 1}")
    empty = np.flatnonzero(np.bincount(train.labels, minlength=count) == 0)
    if len(empty):
        raise CorruptData(f"{where}: no training image of class {', '.join(map(str, empty[:10]))}")
    return count


def fingerprint(pair: Pair) -> str:
    """sha256 over shapes, pixels and labels of both splits: the same for the same data, however stored."""
    digest = hashlib.sha256()
    for split in (pair.train, pair.test):
        digest.update(repr(split.images.shape).encode())
        digest.update(np.ascontiguousarray(split.images).data)
        digest.update(np.ascontiguousarray(split.labels, "<i8").data)
    return digest.hexdigest()
