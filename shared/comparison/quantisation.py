"""The grid that accuracies lie on: one test image more or less, and what that does to a standard error.

Seeds that agree to the last image look as if they had no spread; the accuracies are still only known to half a test
image. A standard error is therefore never below that of rounding.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LARGEST_TEST = 100_000
"""Test images up to which a grid is looked for."""
TOLERANCE = 3e-7
"""Rounding of a recorded accuracy (single precision)."""


def step_of(accuracy: Array) -> float:
    """One over the number of test images, found from accuracies that are all multiples of it; 0 if there is none.

    Args:
        accuracy: in [0, 1], of any shape; NaN is left out.

    """
    values = np.unique(accuracy[np.isfinite(accuracy)])
    values = values[(values > 0.0) & (values < 1.0)]
    if values.size < 3:
        return 0.0
    images = np.arange(2, LARGEST_TEST + 1)
    for some in (values[:3], values[: values.size // 2], values):  # few values rule most numbers out
        off = np.abs(some * images[:, None] - np.rint(some * images[:, None]))
        images = images[(off < TOLERANCE * images[:, None]).all(axis=1)]
        if not images.size:
            return 0.0
    # By chance the multiples of a large number come near anything: a grid finer than that says nothing.
    return 1.0 / float(images[0]) if TOLERANCE * images[0] < 0.1 else 0.0


def slope_floor(strength: Array, step: float, networks: int, seeds: int) -> float:
    """Least standard error of a mean slope through the origin, from rounding alone.

    Accuracies are rounded independently of each other with the variance step^2 / 12; a gain is the difference of two
    means over networks, and the one at lambda = 0 is common to all gains of a seed.

    Args:
        strength: [L] of the coefficients that the line is drawn through.
        step: of an accuracy.
        networks: that an accuracy is the mean of.
        seeds: that the slope is the mean of.

    """
    square = float(np.sum(strength**2))
    if not square > 0.0 or networks < 1 or seeds < 1:
        return 0.0
    spread = math.sqrt(square + float(np.sum(strength)) ** 2) / square
    return step * spread / math.sqrt(12.0 * networks * seeds)
