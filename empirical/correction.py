"""Sample difficulty correction: a penalty on the gradient norm of the synthetic set (arXiv 2408.12483, Eq. 11, 12).

    loss = matching loss + lambda |g|,   g = gradient of the synthetic training loss with respect to all parameters

The norm of a sample's gradient is its difficulty (Definition 2 there), so lambda > 0 keeps a synthetic set
easy. Any loop that has gradients with `create_graph=True` takes the correction in two lines, and needs only
this file:

    sdc = SampleDifficultyCorrection(0.002)  # or AdaptiveSampleDifficultyCorrection(0.002, 0.008, steps=10_000)
    loss = matching_loss + sdc(synthetic_gradients, step)

It uses gradients that the matching loss has already computed, so it costs no further pass over the data. A loop that
records the norm too asks for `sdc.measured(synthetic_gradients, step)`, which has both. A loop that runs an adjoint by
hand instead of building a graph asks for `cotangent`, the derivative with respect to the gradients.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Self, TypedDict, Unpack

import torch
from torch import Tensor

POWERS = (1, 2)
OVER_CLASSES = ("sum", "mean")
PARAMETERS = ("all", "weights_only", "sum_of_layers")
REDUCTIONS = ("batch", "per_sample")
SHAPES = ("geometric", "concave")


class Measured(NamedTuple):
    """What a correction says of one step's gradients.

    Attributes:
        penalty: scalar to add to the matching loss.
        norm: the gradient norm, mean over classes; scalar, detached, still on its device.

    """

    penalty: Tensor
    norm: Tensor


class NormOptions(TypedDict, total=False):
    """Which norm is penalised: the keywords of `SampleDifficultyCorrection`."""

    power: int
    over_classes: Literal["sum", "mean"]
    parameters: Literal["all", "weights_only", "sum_of_layers"]
    reduction: Literal["batch", "per_sample"]


class Gradients(list[Tensor]):
    """A list of per-parameter gradients that knows what stands in front of each parameter's own axes.

    Attributes:
        leading: 0: nothing, one gradient; 1: an axis of classes; 2: axes of classes and of samples in a
            class.

    """

    def __init__(self, tensors: Iterable[Tensor], leading: int = 0):
        super().__init__(tensors)
        self.leading = leading


def _norms(gradients: Gradients, parameters: str) -> Tensor:
    """Norm of each gradient, in the shape of the leading axes. Its derivative at a zero gradient is zero."""
    lead = gradients.leading
    if parameters == "weights_only":
        gradients = Gradients((g for g in gradients if g.dim() - lead > 1), lead)
    each = torch.stack([torch.linalg.vector_norm(g.flatten(lead), dim=-1) for g in gradients])
    return each.sum(0) if parameters == "sum_of_layers" else torch.linalg.vector_norm(each, dim=0)


class SampleDifficultyCorrection:
    """SDC with a constant coefficient.

    Args:
        coefficient: lambda. 0 leaves the plain method bit for bit as it is; below 0 prefers hard samples
            (warned of).
        power: 1 for the norm, 2 for its square.
        over_classes: how the norms of several classes combine: "sum" (as the class-wise losses do) or "mean".
        parameters: "all" as one vector; "weights_only": without biases and norm scales (what the layer-wise
            distance sees); "sum_of_layers": the sum of the norms of the parameters.
        reduction: "batch": norm of the mean gradient of the samples; "per_sample": mean of the samples'
            norms, which needs gradients of single samples.

    Raises:
        ValueError: a setting is not one of those above, or the coefficient is not finite.

    """

    def __init__(
        self,
        coefficient: float,
        *,
        power: int = 1,
        over_classes: Literal["sum", "mean"] = "sum",
        parameters: Literal["all", "weights_only", "sum_of_layers"] = "all",
        reduction: Literal["batch", "per_sample"] = "batch",
    ):
        self._check_coefficient(coefficient)
        for name, value, allowed in (
            ("power", power, POWERS),
            ("over_classes", over_classes, OVER_CLASSES),
            ("parameters", parameters, PARAMETERS),
            ("reduction", reduction, REDUCTIONS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} of the correction is one of {allowed}, not {value!r}")
        self.coefficient = float(coefficient)
        self.power, self.over_classes = power, over_classes
        self.parameters, self.reduction = parameters, reduction

    @staticmethod
    def _check_coefficient(coefficient: float) -> None:
        if not math.isfinite(coefficient):
            raise ValueError(f"the coefficient of the correction is a finite number, not {coefficient}")
        if coefficient < 0:
            warnings.warn(
                f"a negative coefficient ({coefficient:g}) makes the synthetic samples harder, not easier",
                stacklevel=3,
            )

    def coefficient_at(self, step: int) -> float:
        """Lambda at a step (one step = one update of the synthetic images, from 0)."""
        return self.coefficient

    def scaled(self, factor: float) -> Self:
        """The same correction with `factor` times the coefficient at every step."""
        found = copy.copy(self)
        found.coefficient = factor * self.coefficient
        return found

    def settings(self) -> dict[str, float | int | str]:
        """All settings, for a run's record."""
        return {
            "coefficient": self.coefficient,
            "power": self.power,
            "over_classes": self.over_classes,
            "parameters": self.parameters,
            "reduction": self.reduction,
        }

    def __call__(
        self,
        gradients: Sequence[Tensor] | Sequence[Sequence[Tensor]],
        step: int = 0,
        leading: int | None = None,
    ) -> Tensor:
        """The scalar to add to a matching loss: the penalty of `measured`, whose arguments and errors these are."""
        return self.measured(gradients, step, leading).penalty

    def measured(
        self,
        gradients: Sequence[Tensor] | Sequence[Sequence[Tensor]],
        step: int = 0,
        leading: int | None = None,
    ) -> Measured:
        """The scalar to add to a matching loss, and the norm that it is made of.

        Args:
            gradients: one tensor a parameter, of the parameter's shape, with leading axes of classes (and
                samples) or without; or one such list a class.
            step: which update of the synthetic images this is.
            leading: number of leading axes; None: what a `Gradients` list says of itself, 0 for any other
                list.

        Raises:
            ValueError: no gradient carries a graph (create_graph was forgotten), the list is empty, or
                single-sample norms are wanted and the gradients are of batches.

        """
        named = self._named(gradients, leading)
        if not any(g.requires_grad for g in named):
            raise ValueError(
                "none of the gradients carries a graph, so the correction could not reach the images: "
                "compute them with create_graph=True"
            )
        coefficient = self.coefficient_at(step)
        if coefficient == 0:
            nothing = torch.zeros((), dtype=named[0].dtype, device=named[0].device)
            return Measured(nothing, self.norm(named))
        norms = self._norms(named)
        return Measured(coefficient * self._reduced(norms), norms.detach().mean())

    @torch.no_grad()
    def norm(
        self, gradients: Sequence[Tensor] | Sequence[Sequence[Tensor]], leading: int | None = None
    ) -> Tensor:
        """The gradient norm, mean over classes: a scalar on its device. Gradients as in `measured`, without a graph."""
        return self._norms(self._named(gradients, leading)).mean()

    def cotangent(
        self,
        gradients: Sequence[Tensor],
        step: int = 0,
        share: float = 1.0,
        leading: int | None = None,
    ) -> list[Tensor] | None:
        """Derivative of share * correction in the gradients, for a loop that runs its own adjoint.

        Args:
            gradients: as in a call; need no graph. One flat vector of all parameters is a list of one tensor.
            step: which update of the synthetic images this is.
            share: factor, 1 / N when the correction is a mean over N inner steps (Eq. 12).
            leading: as in a call.

        Returns:
            One tensor a gradient, lambda g / |g| for the default settings (0 where |g| is 0); None if lambda
            is 0.

        """
        named = self._named(gradients, leading)
        coefficient = self.coefficient_at(step)
        if coefficient == 0:
            return None
        with torch.enable_grad():
            leaves = Gradients((g.detach().requires_grad_() for g in named), named.leading)
            penalty = share * coefficient * self._reduced(self._norms(leaves))
            found = torch.autograd.grad(penalty, leaves, allow_unused=True, materialize_grads=True)
        return list(found)

    def _named(
        self, gradients: Sequence[Tensor] | Sequence[Sequence[Tensor]], leading: int | None
    ) -> Gradients:
        if not len(gradients):
            raise ValueError("the correction needs at least one gradient, the list is empty")
        if isinstance(gradients[0], Tensor):
            tensors = [g for g in gradients if isinstance(g, Tensor)]
            named = Gradients(tensors, getattr(gradients, "leading", 0) if leading is None else leading)
        else:
            columns = zip(*[tuple(one) for one in gradients], strict=True)
            named = Gradients([torch.stack(column) for column in columns], 1 + (leading or 0))
        if self.reduction == "per_sample" and named.leading < 2:
            raise ValueError(
                "reduction 'per_sample' needs gradients of single samples, "
                "with leading axes of classes and samples"
            )
        return named

    def _norms(self, gradients: Gradients) -> Tensor:
        """A scalar, [C] by class, or [C, samples] where those of single samples are wanted."""
        if gradients.leading == 2 and self.reduction == "batch":
            gradients = Gradients((g.mean(1) for g in gradients), 1)
        return _norms(gradients, self.parameters)

    def _reduced(self, norms: Tensor) -> Tensor:
        """The penalty before lambda."""
        powers = norms if self.power == 1 else norms.square()
        if norms.dim() == 2:
            powers = powers.mean(1)
        return powers.mean() if self.over_classes == "mean" else powers.sum()


class AdaptiveSampleDifficultyCorrection(SampleDifficultyCorrection):
    """ASDC: lambda grows from `start` at step 0 to `end` at step `steps`, and stays there.

    Args:
        start: lambda at step 0; not 0.
        end: lambda from step `steps` on; of the sign of `start`.
        steps: length of the schedule in updates of the synthetic images.
        shape: "geometric": start (end / start)^(t / steps), a straight line in log lambda; "concave":
            start + (end - start) log(1 + t) / log(1 + steps), the other reading of "logarithmically
            increased".
        stop_at_end: whether a step beyond the schedule is an error.
        **norm: power, over_classes, parameters, reduction as in `SampleDifficultyCorrection`.

    Raises:
        ValueError: a setting is not as above.

    """

    def __init__(
        self,
        start: float,
        end: float,
        steps: int,
        shape: Literal["geometric", "concave"] = "geometric",
        *,
        stop_at_end: bool = False,
        **norm: Unpack[NormOptions],
    ):
        if start == 0 or end == 0 or (start < 0) != (end < 0) or not math.isfinite(end):
            raise ValueError(
                "an adaptive correction runs between two coefficients of one sign, neither 0, "
                f"not {start} and {end}"
            )
        if steps < 1:
            raise ValueError(f"an adaptive correction needs at least 1 step, not {steps}")
        if shape not in SHAPES:
            raise ValueError(f"the shape of an adaptive correction is one of {SHAPES}, not {shape!r}")
        super().__init__(start, **norm)
        self.end, self.steps, self.shape, self.stop_at_end = float(end), steps, shape, stop_at_end

    def coefficient_at(self, step: int) -> float:
        """Lambda at a step.

        Raises:
            ValueError: the step is beyond the schedule and `stop_at_end` is set.

        """
        if step > self.steps and self.stop_at_end:
            raise ValueError(f"step {step} is beyond the {self.steps} steps of the adaptive correction")
        if step >= self.steps:
            return self.end
        if self.shape == "geometric":
            return self.coefficient * (self.end / self.coefficient) ** (step / self.steps)
        return self.coefficient + (self.end - self.coefficient) * math.log1p(step) / math.log1p(self.steps)

    def scaled(self, factor: float) -> Self:
        """The same schedule with `factor` times the coefficient at every step."""
        found = super().scaled(factor)
        found.end = factor * self.end
        return found

    def settings(self) -> dict[str, float | int | str]:
        """All settings, for a run's record."""
        schedule = {"end": self.end, "steps": self.steps, "shape": self.shape}
        return {**super().settings(), **schedule}
