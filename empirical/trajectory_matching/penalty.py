"""The sample difficulty correction on a student's trajectory (arXiv 2408.12483, Eq. 12).

    L = L_TM + lambda R,    R = mean over the inner steps of |g_i|

`TrajectoryPenalty` turns the correction object that gradient matching uses into what the adjoint adds at step i,
lambda / N g_i / |g_i|. A loop that unrolls its graph adds `lambda * R` itself, or calls the correction on each g_i.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from empirical.correction import SampleDifficultyCorrection

InnerSteps = Literal["all", "first", "last"]
INNER_STEPS: tuple[InnerSteps, ...] = ("all", "first", "last")


class TrajectoryPenalty:
    """A correction at one iteration of a distillation; a `Penalty` of the adjoint.

    Args:
        correction: whose coefficient (and power, and choice of parameters) is used.
        iteration: update number of the synthetic images, for a coefficient that grows.
        inner_steps: which inner steps count: the mean over all, or the first, or the last alone.
        unflatten: from a flat gradient [P] to one tensor a parameter; needed if the correction does not take all
            parameters as one vector.

    Raises:
        ValueError: norms of single samples are asked for, which a trajectory does not have; or `unflatten` is missing.

    """

    def __init__(
        self,
        correction: SampleDifficultyCorrection,
        iteration: int = 0,
        inner_steps: InnerSteps = "all",
        unflatten: Callable[[Tensor], Sequence[Tensor]] | None = None,
    ):
        if correction.reduction != "batch":
            raise ValueError("a trajectory has gradients of batches only: the correction's reduction must be 'batch'")
        if inner_steps not in INNER_STEPS:
            raise ValueError(f"the inner steps of a correction are one of {INNER_STEPS}, not {inner_steps!r}")
        if correction.parameters != "all" and unflatten is None:
            raise ValueError(f"a correction over {correction.parameters!r} needs to know the parameters' shapes")
        self.correction, self.iteration, self.inner_steps = correction, iteration, inner_steps
        self._unflatten = unflatten if correction.parameters != "all" else None

    def share(self, i: int, steps: int) -> float:
        """Weight of inner step i of `steps` in R."""
        if self.inner_steps == "all":
            return 1 / steps
        return float(i == (0 if self.inner_steps == "first" else steps - 1))

    def cotangent(self, i: int, gradient: Tensor, steps: int) -> Tensor | None:
        """Derivative of lambda R in g_i [P]; None if lambda is 0 or the step does not count."""
        if not self._counts(i, steps):
            return None
        found = self.correction.cotangent(self._parts(gradient), self.iteration, self.share(i, steps))
        return None if found is None else torch.cat([part.flatten() for part in found])

    def term(self, i: int, gradient: Tensor, steps: int) -> Tensor | None:
        """The term of g_i [P] in R, a scalar; None if lambda is 0 or the step does not count."""
        if not self._counts(i, steps):
            return None
        return self.share(i, steps) * self.correction.norm(self._parts(gradient)) ** self.correction.power

    def value(self, terms: Sequence[Tensor]) -> Tensor | float:
        """Lambda R from the terms of all steps that count; 0 if none does."""
        return self.correction.coefficient_at(self.iteration) * torch.stack(list(terms)).sum() if terms else 0.0

    def _counts(self, i: int, steps: int) -> bool:
        return self.share(i, steps) != 0 and self.correction.coefficient_at(self.iteration) != 0

    def _parts(self, gradient: Tensor) -> Sequence[Tensor]:
        return self._unflatten(gradient) if self._unflatten is not None else [gradient]
