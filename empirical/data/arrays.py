"""Images and labels as they come from disk, the checks that every source passes, and their fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

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


def checked(images: NDArray[Any], labels: NDArray[Any], where: str) -> Arrays:
    """`Arrays` from raw arrays, or `CorruptData` with what is wrong in the file `where`.

    Accepts uint8 images [N, H, W] or [N, H, W, 1 or 3], and integer labels [N] from 0 up. Whether the labels are
    0, 1, 2, ... without a gap is asked of both splits together, by `class_count`.
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
    if labels.shape != images.shape[:1]:
        raise CorruptData(f"{where}: {len(images)} images but labels of shape {list(labels.shape)}")
    if not images.size:
        raise CorruptData(f"{where}: no images" if not len(images) else f"{where}: images without pixels")
    if not np.issubdtype(labels.dtype, np.integer):
        raise CorruptData(f"{where}: {_odd_labels(labels)}; they are {labels.dtype}, integers are needed")
    if labels.min() < 0:
        raise CorruptData(f"{where}: {_odd_labels(labels)}; they start at {labels.min()}")
    if labels.max() > np.iinfo(np.int64).max:
        raise CorruptData(f"{where}: {_odd_labels(labels)}")
    return Arrays(np.ascontiguousarray(images, np.uint8), labels.astype(np.int64))


def _odd_labels(labels: NDArray[Any]) -> str:
    """What labels are instead of 0, 1, 2, ...; no memory is taken by how large they are."""
    different = np.unique(labels)
    return f"labels are not 0, 1, 2, ...: {len(different)} different, largest {different[-1]}"


def class_count(pair: Pair, expected: int | None, where: str, why: str = "") -> int:
    """Number of classes, after the checks that need both splits.

    There are two classes or more, each with a training image, both splits have one image shape, and no label may reach
    the count.

    Args:
        pair: both splits.
        expected: number of classes that the data set is known to have; what the training labels say if None.
        where: the files, for messages.
        why: what ends the message where `expected` is not met.

    """
    train, test = pair.train, pair.test
    if train.images.shape[1:] != test.images.shape[1:]:
        shapes = [list(split.images.shape[1:]) for split in (train, test)]
        raise CorruptData(f"{where}: train images are {shapes[0]}, test images {shapes[1]}")
    present = np.unique(train.labels)
    count = expected if expected is not None else len(present)
    if expected is None and present[-1] != count - 1:
        # the smallest number that is missing, without counting up to the largest label
        absent = next(i for i, label in enumerate([*present, -1]) if i != label)
        raise CorruptData(f"{where}: {_odd_labels(train.labels)}; no training image of class {absent}")
    if expected is None and count < 2:
        raise CorruptData(f"{where}: all labels are {present[0]}; a data set has at least 2 classes")
    for name, split in (("train", train), ("test", test)):
        if split.labels.max() >= count:
            worst = split.labels.max()
            raise CorruptData(f"{where}: a {name} label is {worst}; {count} classes allow 0..{count - 1}{why}")
    empty = np.setdiff1d(np.arange(count), present)
    if len(empty):
        raise CorruptData(f"{where}: no training image of class {', '.join(map(str, empty[:10]))}{why}")
    return count


def fingerprint(pair: Pair) -> str:
    """sha256 over shapes, pixels and labels of both splits: the same for the same data, however stored."""
    digest = hashlib.sha256()
    for split in (pair.train, pair.test):
        digest.update(repr(split.images.shape).encode())
        digest.update(np.ascontiguousarray(split.images).data)
        digest.update(np.ascontiguousarray(split.labels, "<i8").data)
    return digest.hexdigest()
