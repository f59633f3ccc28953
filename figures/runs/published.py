"""The published accuracies (arXiv 2408.12483) as data: Tables 1 and 2, and 3, 9, 10 and 11.

``published_accuracies.csv`` holds Tables 1 and 2: test accuracy in percent of ConvNets, with the standard deviation
over evaluation networks (none is given for the whole set in Table 2). ``published_transfer.csv`` holds Tables 3, 9, 10
and 11: sets distilled with a ConvNet, evaluated on other networks, without deviations. A method with the correction is
called ``dsa+sdc``; ``source`` and ``table`` say where a row stands.

Not there, because no source of them was at hand: herding and forgetting in Table 2, if it has them. Table 9 does not
state its number of images a class (its text lets one think of 10), so ``ipc`` is empty there. The coefficients of
Tables 4 to 8 are in ``shared/comparison/published_coefficients.csv``.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

CORRECTED = "+sdc"
"""Follows a method's name where the correction was used."""


@dataclass(frozen=True)
class Published:
    """A published test accuracy in percent, and its standard deviation over evaluation networks (NaN: not given)."""

    accuracy: float
    std: float
    table: int

    def __str__(self) -> str:
        return f"{self.accuracy:.1f}" + ("" if math.isnan(self.std) else f" ± {self.std:.1f}")


@dataclass(frozen=True)
class Transfer:
    """A published accuracy in percent on another network than the one that a set was distilled with.

    Attributes:
        method: with `CORRECTED` where the correction was used.
        ipc: images a class; None where the table does not state it.
        table: its number.
    """

    method: str
    dataset: str
    ipc: int | None
    network: str
    accuracy: float
    table: int


@cache
def published() -> MappingProxyType[tuple[str, str, int | None], Published]:
    """(method, data set, images a class; None for the whole set) -> Tables 1 and 2."""
    found = {
        (r["method"], r["dataset"], _whole(r["ipc"])): Published(
            float(r["accuracy"]), float(r["std"] or math.nan), int(r["table"])
        )
        for r in _rows("published_accuracies.csv")
    }
    return MappingProxyType(found)


@cache
def published_transfer() -> tuple[Transfer, ...]:
    """Tables 3, 9, 10 and 11."""
    return tuple(
        Transfer(r["method"], r["dataset"], _whole(r["ipc"]), r["network"], float(r["accuracy"]), int(r["table"]))
        for r in _rows("published_transfer.csv")
    )


def _rows(name: str) -> list[dict[str, str]]:
    text = resources.files("figures.runs").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _whole(text: str) -> int | None:
    return int(text) if text else None
