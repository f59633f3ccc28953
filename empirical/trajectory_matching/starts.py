"""Where on an expert's trajectory a student starts: epochs low, ..., bound - 1, the bound fixed or growing."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class StartEpochs:
    """Uniform on {low, ..., U - 1}, U = min(high, first + floor((high - first) it / over)) (DATM, section 4.2).

    Attributes:
        low: smallest start epoch.
        high: end of the range, exclusive.
        first: end of the range at iteration 0; None: `high`, no growth.
        over: iterations over which it grows.

    Raises:
        ValueError: an empty range.

    """

    low: int
    high: int
    first: int | None = None
    over: int = 1

    def __post_init__(self) -> None:
        first = self.high if self.first is None else self.first
        if not 0 <= self.low < first <= self.high:
            raise ValueError(
                f"start epochs need 0 <= min-start-epoch < current-max-start-epoch <= max-start-epoch, "
                f"not {self.low}, {first}, {self.high}"
            )
        if self.over < 1:
            raise ValueError(f"the range of start epochs grows over at least 1 iteration, not {self.over}")

    def bound(self, iteration: int) -> int:
        """U at an iteration."""
        if self.first is None:
            return self.high
        return min(self.high, self.first + (self.high - self.first) * iteration // self.over)

    def draw(self, generator: torch.Generator, iteration: int) -> int:
        """A start epoch."""
        return int(torch.randint(self.low, self.bound(iteration), (), generator=generator))
