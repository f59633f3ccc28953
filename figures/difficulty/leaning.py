"""Which real samples gradient matching leans on: the share of a class's mean gradient by decile of difficulty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from empirical.evaluation.difficulty_ensemble import DIRECTIONS, STAGES, Scores

DECILES = 10
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Leaning:
    """Share of the class gradient carried by each decile of difficulty, easiest first; all [deciles].

    `mean` over networks and classes, `se` over networks; without preference every decile carries 1 / deciles.
    """

    stage: str
    direction: str
    mean: Array
    se: Array
    networks: int

    def rows(self) -> list[dict[str, Any]]:
        """For the CSV, a row a decile."""
        pairs = zip(self.mean.tolist(), self.se.tolist(), strict=True)
        named = {"network": self.stage, "gradient": self.direction, "networks": self.networks}
        return [{**named, "decile": k, "share": mean, "se": se} for k, (mean, se) in enumerate(pairs, 1)]


def leanings(scores: Scores, deciles: int = DECILES) -> list[Leaning]:
    """Shares by decile for every kind of network and of gradient.

    A network's samples are ranked, within each class, by their mean GraDN on the *other* networks: the ranking knows
    nothing of the network whose gradient is taken apart, so noise of one network alone cannot make a pattern.

    Raises:
        ValueError: the other networks of some network do not score all of its samples, or a class has fewer samples
            than there are deciles.
    """
    gradn = scores.values["gradn"].astype(np.float64)
    scored = np.isfinite(gradn)
    total, counts = np.nansum(gradn, 0), scored.sum(0)
    decile = np.full(gradn.shape, -1)
    for k in range(len(gradn)):
        here = np.flatnonzero(scored[k])
        if (counts[here] < 2).any():
            raise ValueError("every sample must be scored by two networks at least; take more networks")
        difficulty = (total[here] - gradn[k, here]) / (counts[here] - 1)
        decile[k, here] = within_classes(difficulty, scores.labels[here], deciles)
    classes = len(np.unique(scores.labels))
    found = []
    for stage in STAGES:
        for direction in DIRECTIONS:
            shares = scores.values[f"share_{stage}_{direction}"].astype(np.float64)
            table = np.stack([np.where(decile == d, shares, 0.0).sum(1) for d in range(deciles)], 1) / classes
            se = table.std(0, ddof=1) / np.sqrt(len(table))
            found.append(Leaning(stage, direction, table.mean(0), se, len(table)))
    return found


def within_classes(values: Array, labels: NDArray[np.int64], parts: int) -> NDArray[np.int64]:
    """Which of `parts` equal parts of its class each value is in, smallest first, [n]; ties in order of place.

    Raises:
        ValueError: a class has fewer members than there are parts.
    """
    found = np.empty(len(values), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < parts:
            raise ValueError(f"class {label} has {len(members)} scored samples; at least {parts} are needed")
        order = np.argsort(values[members], kind="stable")
        found[members[order]] = np.arange(len(members)) * parts // len(members)
    return found
