"""What a figure is drawn with: where it goes, how much work it may be, and what figures of one command share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.terminal.progress import Report, reporting

Found = TypeVar("Found")


@dataclass(frozen=True)
class Effort:
    """How much is simulated."""

    dimension: int = 200
    trials: int = 100
    alphas: int = 20
    seed: int = 0
    workers: int | None = None

    def grid(self) -> NDArray[np.float64]:
        """Kept samples per dimension, 0.1 to 10, such that alpha D / 2 is a whole number (both sizes agree)."""
        wanted = np.geomspace(0.1, 10.0, self.alphas)
        half = self.dimension // 2
        return np.unique(np.maximum(np.round(wanted * half), 1.0)) / half


@dataclass(frozen=True)
class Desk:
    """Handed to every figure of a command.

    Attributes:
        out: folder to write to.
        quick: fewer points: a look, not a result.
        effort: how much is simulated, and the seed.
        remarks: sentences to print at the end, such as how simulations agree with theory.
    """

    out: Path
    quick: bool = False
    effort: Effort = field(default_factory=Effort)
    remarks: list[str] = field(default_factory=list)
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)

    def pick(self, quick: int, whole: int) -> int:
        """One of two sizes, by `quick`."""
        return quick if self.quick else whole

    def progress(self, label: str) -> AbstractContextManager[Report]:
        """`with desk.progress(label) as report: ... report(done, total)`."""
        return reporting(True, label)

    def once(self, name: str, make: Callable[[], Found]) -> Found:
        """What `make` makes, made once for all figures that ask for the name."""
        if name not in self._kept:
            self._kept[name] = make()
        found: Found = self._kept[name]
        return found
