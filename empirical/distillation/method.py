"""The contract between a distillation method and the loop that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Generator, Tensor

from empirical.synthetic.synthetic_set import SyntheticSet


class StepFailed(ArithmeticError):  # noqa: N818
    """A method cannot make its next step, for a reason that no other draw of the run would mend."""


@dataclass(frozen=True)
class Matched:
    """What one matching step found.

    Attributes:
        loss: scalar, detached: everything that was differentiated, the correction included.
        gradients: of that loss with respect to the synthetic tensors that are learned, by name: "images", and
            where they are learned "labels" and "learning_rate".
        metrics: scalars for the record, as numbers or as tensors on the device (nothing here waits for the
            device).
        accept: boolean scalar: whether to take the step at all; None is yes.

    """

    loss: Tensor
    gradients: Mapping[str, Tensor]
    metrics: Mapping[str, Tensor | float] = field(default_factory=dict)
    accept: Tensor | None = None


class Method(Protocol):
    """A distillation method: one step at a time, with a state that can be stored.

    A method keeps no synthetic data: the loop owns them and hands them in. Everything random comes from the
    generator.
    """

    @property
    def steps(self) -> int:
        """Number of updates of the synthetic set in a whole run."""
        ...

    def step(self, synthetic: SyntheticSet, generator: Generator, step: int) -> Matched:
        """Loss and gradients at a step (0, 1, ...)."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on besides its arguments."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes a state up again."""
        ...


def is_finite(matched: Matched) -> Tensor:
    """Whether loss and gradients are finite, as a boolean scalar on the device."""
    parts = [torch.isfinite(matched.loss), *(torch.isfinite(g).all() for g in matched.gradients.values())]
    return torch.stack(parts).all()
