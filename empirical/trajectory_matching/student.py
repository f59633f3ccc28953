"""The student's training loss as a function of one flat parameter vector, and its first and second derivatives.

The engine (`adjoint`) asks for two things: the gradient g of the loss in the parameters, and, given a vector v,
the derivatives of <v, g> in the parameters, the images and the labels. How they are computed is an object:
`Eager` (double backward), `Chunked` (the same, a few images at a time), or `compiled.Compiled`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from empirical.networks import Functional
from empirical.synthetic.synthetic_set import LabelKind

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`loss(theta [P], inputs [b, ...], labels [b] or [b, classes]) -> scalar`, a mean over the b samples."""
Cotangent = Callable[[Tensor], Tensor]
"""From a gradient g [P] to the vector v [P] that it is contracted with."""


class TrainingLoss:
    """Mean cross-entropy of a network whose parameters are one flat vector; a `Loss`.

    Labels are class indices [b] (`hard`), probabilities [b, classes], or logits [b, classes] whose softmax is the
    target (DATM); gradients reach probabilities and logits.
    """

    def __init__(self, functional: Functional, label_kind: LabelKind = "hard"):
        self.functional, self.label_kind = functional, label_kind

    def __call__(self, theta: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """See `Loss`."""
        logits = self.functional(self.functional.unflatten(theta), inputs)
        return cross_entropy(logits, labels.softmax(1) if self.label_kind == "logits" else labels)


@dataclass(frozen=True)
class Second:
    """Derivatives of <v, g>, v constant: in the parameters, the inputs and the labels (None: not asked for); and g."""

    gradient: Tensor
    theta: Tensor | None
    inputs: Tensor
    labels: Tensor | None


class Student(Protocol):
    """First and second derivatives of a training loss.

    Attributes:
        keeps_gradients: whether `second` must be handed the gradient that `first` found, because it does not
            compute it again.

    """

    keeps_gradients: bool

    def first(self, theta: Tensor, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (scalar) and its gradient [P], both without a graph."""
        ...

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
        """See `Second`; `gradient` is g from the first pass if `keeps_gradients`."""
        ...


class Eager:
    """By double backward: the second pass rebuilds the graph of one step, so g is there without being kept."""

    keeps_gradients = False

    def __init__(self, loss: Loss):
        self.loss = loss

    def first(self, theta: Tensor, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Student`."""
        leaf = theta.detach().requires_grad_()
        with torch.enable_grad():
            loss = self.loss(leaf, inputs.detach(), labels.detach())
            (gradient,) = torch.autograd.grad(loss, leaf)
        return loss.detach(), gradient

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
        at = theta.detach().requires_grad_()
        x = inputs.detach().requires_grad_()
        y = labels.detach().requires_grad_(wants_labels)
        with torch.enable_grad():
            (g,) = torch.autograd.grad(self.loss(at, x, y), at, create_graph=True)
            v = cotangent(g.detach() if gradient is None else gradient)
            wanted = [x, *([at] if wants_theta else []), *([y] if wants_labels else [])]
            found = list(torch.autograd.grad(g, wanted, v, allow_unused=True, materialize_grads=True))
        of_inputs = found.pop(0)
        of_theta = found.pop(0) if wants_theta else None
        return Second(g.detach(), of_theta, of_inputs, found.pop(0) if wants_labels else None)


class Chunked:
    """Another student, at most `limit` samples at a time: activation memory that the batch does not set.

    The loss being a mean, g is the chunks' gradients weighted by their sizes, and so is what contracts it.
    """

    keeps_gradients = True

    def __init__(self, student: Student, limit: int):
        if limit < 1:
            raise ValueError(f"a chunk holds at least 1 sample, not {limit}")
        self.student, self.limit = student, limit

    def first(self, theta: Tensor, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Student`."""
        loss, gradient = torch.zeros_like(theta[0]), torch.zeros_like(theta)
        for x, y in zip(inputs.split(self.limit), labels.split(self.limit), strict=True):
            part, of_part = self.student.first(theta, x, y)
            loss = loss + part * (len(x) / len(inputs))
            gradient.add_(of_part, alpha=len(x) / len(inputs))
        return loss, gradient

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
            raise ValueError("a chunked student needs the gradient of the first pass")
        v = cotangent(gradient)
        of_theta = torch.zeros_like(theta) if wants_theta else None
        of_inputs, of_labels = [], []
        for x, y in zip(inputs.split(self.limit), labels.split(self.limit), strict=True):
            share = v * (len(x) / len(inputs))
            part = self.student.second(
                theta, x, y, lambda g, share=share: share, gradient, wants_theta, wants_labels  # type: ignore[misc]
            )
            of_inputs.append(part.inputs)
            if of_theta is not None and part.theta is not None:
                of_theta += part.theta
            if part.labels is not None:
                of_labels.append(part.labels)
        return Second(gradient, of_theta, torch.cat(of_inputs), torch.cat(of_labels) if of_labels else None)
