"""Both derivatives of the student's loss inside one compiled function.

A compiled region cannot be differentiated twice from outside, so the forward-mode derivative of the loss along v,
which is <v, g>, and its reverse-mode derivative are compiled together. Forward mode needs a cross-entropy written out
(the library's raises there) and norms written out or by the library's group norm (its batch, instance and layer norm
have a wrong mixed second derivative); `networks.elementary` writes out what the compiler makes slow loops of, too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from empirical.networks import Functional
from empirical.networks.elementary import elementary
from empirical.runtime.compiler import compiling, refuse_missing
from empirical.training.gradient import has_batch_norm
from empirical.trajectory_matching.student import Cotangent, Eager, Loss, Second, TrainingLoss


def written_out(loss: TrainingLoss) -> Loss:
    """The same loss by elementary operations only."""
    functional = Functional(elementary(loss.functional.network))

    def value(theta: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        logits = functional(functional.unflatten(theta), inputs)
        shifted = logits - logits.detach().amax(1, keepdim=True)
        log_probabilities = shifted - shifted.exp().sum(1, keepdim=True).log()
        if loss.label_kind == "hard":
            targets = torch.nn.functional.one_hot(labels, logits.shape[1]).to(logits)
        elif loss.label_kind == "logits":
            weights = (labels - labels.detach().amax(1, keepdim=True)).exp()
            targets = weights / weights.sum(1, keepdim=True)
        else:
            targets = labels
        return -(targets * log_probabilities).sum(1).mean()

    return value


def _refuse_batch_norm(network: nn.Module) -> None:
    if has_batch_norm(network):
        raise ValueError("a compiled student is wrong for batch norm: leave out --compiled-student")


def refuse_uncompilable(network: nn.Module, device: torch.device) -> None:
    """Says before any work that a student of this network cannot be compiled here.

    Raises:
        ValueError: the network has batch norm, or no compiler works.

    """
    _refuse_batch_norm(network)
    refuse_missing(device, "--compiled-student")


class Compiled:
    """A `Student`; equal to `Eager` up to rounding. The first call of each batch size compiles (half a minute).

    Args:
        loss: of a network without batch norm.
        options: handed to torch.compile, such as mode="reduce-overhead" for CUDA graphs.

    Raises:
        ValueError: the network has batch norm.

    """

    keeps_gradients = True

    def __init__(self, loss: TrainingLoss, **options: Any):
        _refuse_batch_norm(loss.functional.network)
        value = written_out(loss)
        self._eager = Eager(loss)

        def second(theta: Tensor, inputs: Tensor, labels: Tensor, v: Tensor, wanted: tuple[int, ...]) -> Any:
            def along(theta: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
                return torch.func.jvp(lambda at: value(at, inputs, labels), (theta,), (v,))[1]

            return torch.func.grad(along, argnums=wanted)(theta, inputs, labels)

        def first(theta: Tensor, inputs: Tensor, labels: Tensor) -> Any:
            gradient, loss_value = torch.func.grad_and_value(value)(theta, inputs, labels)
            return loss_value, gradient

        self._first = compiling(first, **options)
        self._second = compiling(second, **options)

    def first(self, theta: Tensor, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Student`."""
        loss, gradient = self._first(theta.detach(), inputs.detach().contiguous(), labels.detach())
        return loss.clone(), gradient.clone()

    def second(
        self,
        theta: Tensor,
        inputs: Tensor,
        labels: Tensor,
        cotangent: Cotangent,
        gradient: Tensor | None,
        wants_theta: bool,
        wants_labels: bool,
    ) -> Second:
        """See `Student`."""
        if gradient is None:
            raise ValueError("a compiled student needs the gradient of the first pass")
        wanted = (1, *((0,) if wants_theta else ()), *((2,) if wants_labels else ()))
        found = list(
            self._second(theta.detach(), inputs.detach().contiguous(), labels.detach(), cotangent(gradient), wanted)
        )
        of_inputs = found.pop(0).clone()
        of_theta = found.pop(0).clone() if wants_theta else None
        return Second(gradient, of_theta, of_inputs, found.pop(0).clone() if wants_labels else None)
