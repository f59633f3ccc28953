"""Shares of a split, class by class: a hold-out, and a subset of exactly so many images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def held_out(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """Mask [N] of a stratified random hold-out: round(share * size) of a class, at least one, not all.

    Raises:
        ValueError: a class has one image.

    """
    classes, sizes = np.unique(labels, return_counts=True)
    for label, size in zip(classes, sizes, strict=True):
        if size < 2:
            raise ValueError(f"class {label} has one image; a hold-out needs at least two")
    return _drawn(labels, _rounded(sizes, share), seed)


def subset(labels: NDArray[np.int64], count: int, seed: int, rounded: bool = False) -> NDArray[np.bool_]:
    """Mask [N] of exactly `count` random samples, each class in its proportion and with at least one.

    Whole samples go to the classes by the method of the largest remainder. An earlier version took round(share) of
    each class instead, which need not add up to `count` (899 of 900 digits). Where it does add up that subset stays,
    bit for bit, so that what was recorded with it stays comparable; where it does not, the subset is another one than
    it was then, and `rounded` gives the earlier one.

    Raises:
        ValueError: `count` is below the number of classes or above that of samples.

    """
    classes, sizes = np.unique(labels, return_counts=True)
    if not len(classes) <= count <= len(labels):
        raise ValueError(f"{count} of {len(labels)} samples of {len(classes)} classes cannot be taken")
    if count == len(labels):
        return np.ones(len(labels), bool)
    earlier = _rounded(sizes, count / len(labels))
    if rounded or (sum(earlier) == count and min(sizes) > 1):
        return _drawn(labels, earlier, seed)
    return _drawn(labels, quotas(sizes.tolist(), count), seed)


def quotas(sizes: list[int], count: int) -> list[int]:
    """How many of `count` fall to classes of such sizes: in proportion, at least one, by the largest remainder.

    Between equal remainders the earlier class comes first. Exact, in whole numbers.
    """
    free = list(range(len(sizes)))
    rest = count
    while True:  # classes whose share is below one get one; that lowers the shares of the others
        total = sum(sizes[c] for c in free)
        small = [c for c in free if rest * sizes[c] < total]
        if not small:
            break
        rest -= len(small)
        free = [c for c in free if c not in small]
    found = [1] * len(sizes)
    for c in free:
        found[c] = rest * sizes[c] // total
    remainders = sorted(free, key=lambda c: -(rest * sizes[c] % total))
    for c in remainders[: rest - sum(found[c] for c in free)]:
        found[c] += 1
    return found


def _rounded(sizes: NDArray[np.int64], share: float) -> list[int]:
    return [min(max(round(share * int(size)), 1), int(size) - 1) for size in sizes]


def _drawn(labels: NDArray[np.int64], counts: list[int], seed: int) -> NDArray[np.bool_]:
    """Mask [N]: so many random samples of each class that occurs, in ascending order of classes."""
    chosen = np.zeros(len(labels), bool)
    generator = np.random.default_rng(seed)
    for label, count in zip(np.unique(labels), counts, strict=True):
        chosen[generator.permutation(np.flatnonzero(labels == label))[:count]] = True
    return chosen
