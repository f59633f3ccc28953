"""The exact gradient of a matched trajectory at the activation memory of one inner step.

A student starts at theta_0 and takes N steps theta_{i+1} = theta_i - beta g_i on batches B_i of the synthetic set,
g_i = grad_theta l(A_i(S[B_i]), y[B_i]; theta_i). The matching loss is

    L = |theta_N - theta*|^2 / D,    D = |theta_0 - theta*|^2.

`InnerLoop` says what a student is trained on, step by step. `student_rollout` runs the steps and keeps the theta_i
only; `pull_back` visits them backwards:

    a_N = 2 (theta_N - theta*) / D
    v_i = -beta a_{i+1} + (what a penalty on g_i adds)
    dL/dS[B_i] += d<v_i, g_i>/dS,    dL/dy[B_i] += d<v_i, g_i>/dy,    dL/dbeta -= <a_{i+1}, g_i>
    a_i = a_{i+1} + d<v_i, g_i>/dtheta_i         exact (MTT, FTD, DATM)
    a_i = a_{i+1}                                frozen: TESLA (Cui et al., ICML 2023), an approximation if N > 1

This is reverse mode written out, so it equals automatic differentiation of the whole unrolled loop up to rounding
(tested in float64), but it holds the graph of one step at a time. The sample difficulty correction (arXiv
2408.12483, Eq. 12) enters through v_i, without a pass of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from empirical.trajectory_matching.student import Cotangent, Student


class Augment(Protocol):
    """What `empirical.data.augmentation.SiameseAugmentation` offers: applying a draw is pure."""

    def apply(self, draw: Any, images: Tensor) -> Tensor:
        """Images [b, C, H, W] augmented by a draw."""
        ...


class Penalty(Protocol):
    """A scalar that depends on the inner gradients and is added to the matching loss."""

    def cotangent(self, i: int, gradient: Tensor, steps: int) -> Tensor | None:
        """Its derivative in g_i [P] of inner step i of `steps`; None for zero."""
        ...

    def term(self, i: int, gradient: Tensor, steps: int) -> Tensor | None:
        """What g_i [P] adds to what is penalised, a scalar; None for nothing."""
        ...


@dataclass(frozen=True)
class InnerStep:
    """What one step of the student sees.

    Attributes:
        indices: int64 [b], which synthetic samples.
        draw: their augmentation, as data: the second pass replays it. None for none.

    """

    indices: Tensor
    draw: Any = None


@dataclass(frozen=True)
class SyntheticInputs:
    """What the student is trained on.

    Attributes:
        images: [n, C, H, W].
        labels: [n] or [n, classes], as the student's loss takes them.
        augmentation: applies the steps' draws.

    """

    images: Tensor
    labels: Tensor
    augmentation: Augment | None = None

    def batch(self, step: InnerStep) -> Tensor:
        """Network inputs of a step, differentiable with respect to `images`."""
        chosen = self.images[step.indices]
        if step.draw is None or self.augmentation is None:
            return chosen
        return self.augmentation.apply(step.draw, chosen)


@dataclass(frozen=True)
class InnerLoop:
    """A student's training: N steps of plain gradient descent.

    Attributes:
        student: the derivatives of its loss.
        inputs: the synthetic set.
        steps: one a step, in order; at least one.
        rate: beta, a scalar tensor.

    Raises:
        ValueError: no steps.

    """

    student: Student
    inputs: SyntheticInputs
    steps: Sequence[InnerStep]
    rate: Tensor

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("a student needs at least one step")


@dataclass(frozen=True)
class Rollout:
    """A student's trajectory.

    Attributes:
        thetas: theta_0 .. theta_N, each [P].
        losses: [N], the training loss before each step.
        norms: [N], 2-norms of the inner gradients g_i over all parameters.
        gradients: g_0 .. g_{N-1} if the student needs them again, else empty.

    """

    thetas: list[Tensor]
    losses: Tensor
    norms: Tensor
    gradients: list[Tensor] = field(default_factory=list)


@torch.no_grad()
def student_rollout(loop: InnerLoop, start: Tensor) -> Rollout:
    """Trains the student from theta_0 [P], with first-order gradients only."""
    student, inputs = loop.student, loop.inputs
    theta = start.detach()
    thetas, losses, norms, gradients = [theta], [], [], []
    rate = loop.rate.detach().to(theta)
    for step in loop.steps:
        loss, gradient = student.first(theta, inputs.batch(step), inputs.labels[step.indices])
        theta = theta - rate * gradient
        thetas.append(theta)
        losses.append(loss)
        norms.append(torch.linalg.vector_norm(gradient))
        if student.keeps_gradients:
            gradients.append(gradient)
    return Rollout(thetas, torch.stack(losses), torch.stack(norms), gradients)


@dataclass(frozen=True)
class Pulled:
    """The matching loss and the gradients of matching loss + penalty.

    Attributes:
        loss: |theta_N - theta*|^2 / |theta_0 - theta*|^2, without the penalty.
        images: gradient [n, C, H, W].
        rate: gradient in the student's step size beta, scalar.
        labels: gradient [n, classes]; None where labels are not learned.
        penalised: the penalty's terms, one scalar for each inner step that has one, the last step's first.

    """

    loss: Tensor
    images: Tensor
    rate: Tensor
    labels: Tensor | None
    penalised: Sequence[Tensor] = ()


@torch.no_grad()
def pull_back(
    loop: InnerLoop,
    rollout: Rollout,
    target: Tensor,
    *,
    propagate: bool = True,
    penalty: Penalty | None = None,
    learn_labels: bool = False,
) -> Pulled:
    """Gradients of the matching loss (plus a penalty) through a trajectory that `student_rollout` made.

    Args:
        loop: as in the rollout.
        rollout: what it returned.
        target: theta* [P].
        propagate: exact if true; TESLA's gradient if false (theta_i held constant inside g_i).
        penalty: on the inner gradients.
        learn_labels: whether the labels get a gradient.

    """
    student, inputs, steps = loop.student, loop.inputs, loop.steps
    rate = loop.rate.detach().to(target)
    difference = rollout.thetas[-1] - target
    scale = (rollout.thetas[0] - target).square().sum()
    adjoint = 2 * difference / scale
    of_images, of_rate = torch.zeros_like(inputs.images), torch.zeros_like(rate)
    of_labels = torch.zeros_like(inputs.labels) if learn_labels else None
    penalised: list[Tensor] = []
    for i in reversed(range(len(steps))):
        leaf = inputs.images.detach()[steps[i].indices].requires_grad_()
        with torch.enable_grad():
            seen = _augmented(inputs, steps[i], leaf)
        second = student.second(
            rollout.thetas[i],
            seen,
            inputs.labels[steps[i].indices],
            _contracted(-rate * adjoint, penalty, i, len(steps)),
            rollout.gradients[i] if rollout.gradients else None,
            propagate and i > 0,
            learn_labels,
        )
        of_batch = second.inputs if seen is leaf else torch.autograd.grad(seen, leaf, second.inputs)[0]
        of_images.index_add_(0, steps[i].indices, of_batch)
        if of_labels is not None and second.labels is not None:
            of_labels.index_add_(0, steps[i].indices, second.labels)
        of_rate -= adjoint @ second.gradient
        if penalty is not None and (term := penalty.term(i, second.gradient, len(steps))) is not None:
            penalised.append(term)
        if second.theta is not None:
            adjoint = adjoint + second.theta
    return Pulled(difference.square().sum() / scale, of_images, of_rate, of_labels, penalised)


def _augmented(inputs: SyntheticInputs, step: InnerStep, leaf: Tensor) -> Tensor:
    if step.draw is None or inputs.augmentation is None:
        return leaf
    return inputs.augmentation.apply(step.draw, leaf)


def _contracted(vector: Tensor, penalty: Penalty | None, i: int, steps: int) -> Cotangent:
    """What g_i is contracted with, as a function of g_i: the vector, and what the penalty adds."""

    def cotangent(gradient: Tensor) -> Tensor:
        added = penalty.cotangent(i, gradient, steps) if penalty is not None else None
        return vector if added is None else vector + added

    return cotangent
