"""Several distillations that differ in the correction alone, one matching step of all at once.

With one seed they have the same start, networks, real batches and augmentation draws. Where the network does
not depend on the synthetic images (the first matching step of an outer iteration, and every step if the
network is not trained in between) the gradient of the real batches is the same for all: it is computed once,
and the synthetic sets go through the network side by side, as more classes. Where the network was trained on
the synthetic set, every distillation has a network of its own and nothing but the draws is common: these
steps are done one by one, at full price. Published schedules: all of DC and DSA at 1 image a class is shared,
a tenth of it at 10.

The result is that of separate runs up to rounding, step by step (tested).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from empirical.distillation.method import Matched
from empirical.gradient_matching.class_gradients import is_small
from empirical.gradient_matching.matching_loss import GradientMatchingLoss
from empirical.gradient_matching.method import GradientMatching, Loops
from empirical.gradient_matching.real_batches import draw_real
from empirical.runtime.threads import one_thread_if
from empirical.synthetic.synthetic_set import SyntheticSet
from shared.records import metric_names as metric


def common_network(loops: Loops, step: int) -> bool:
    """Whether the network of an update does not depend on the synthetic images."""
    return not loops.network_epochs or step % loops.matching_steps == 0


def common_share(loops: Loops) -> float:
    """Share of the updates of a run whose real gradients are common to all coefficients."""
    return 1.0 if not loops.network_epochs else 1 / loops.matching_steps


class PairedGradientMatching:
    """Steps of several `GradientMatching` methods that differ in the correction alone.

    Args:
        methods: one a distillation, each with a network of its own.

    Raises:
        ValueError: a method's loss is not a `GradientMatchingLoss`, or they have not the same loops.

    """

    def __init__(self, methods: Sequence[GradientMatching]):
        self.methods = list(methods)
        first = self.methods[0]
        if any(m.loops != first.loops or m.dataset is not first.dataset for m in self.methods):
            raise ValueError("distillations that share work have the same loops and the same data")
        if not isinstance(first.loss, GradientMatchingLoss):
            raise ValueError(f"work is shared under a GradientMatchingLoss, not {type(first.loss).__name__}")
        self._loss = first.loss

    def step(
        self,
        members: Sequence[int],
        synthetics: Sequence[SyntheticSet],
        generators: Sequence[Generator],
        step: int,
    ) -> list[Matched]:
        """Loss and gradients of some of the distillations at one step.

        Args:
            members: which of the methods, in any number.
            synthetics: their synthetic sets.
            generators: theirs, all in one state before the step and after it.
            step: number of the update.

        """
        methods = [self.methods[i] for i in members]
        if len(methods) == 1 or not common_network(methods[0].loops, step):
            arguments = zip(methods, synthetics, generators, strict=True)
            return [method.step(synthetic, generator, step) for method, synthetic, generator in arguments]
        found = self._common_step(methods, synthetics, generators[0], step)
        network, state = methods[0].network.state_dict(), generators[0].get_state()
        for method, generator in zip(methods[1:], generators[1:], strict=True):
            method.network.load_state_dict(network)
            generator.set_state(state)
        return found

    def _common_step(
        self,
        methods: Sequence[GradientMatching],
        synthetics: Sequence[SyntheticSet],
        generator: Generator,
        step: int,
    ) -> list[Matched]:
        first = methods[0]
        first.advance_network(synthetics[0], generator, step)
        leaf = torch.stack([s.images.detach() for s in synthetics]).requires_grad_()
        by_class = leaf.unflatten(1, (synthetics[0].classes, -1))
        real = draw_real(first.dataset, first.loops.batch_real, generator)
        matched = self._loss.of_sets(by_class, first.network, real, generator, step)
        measured = [
            m.correction.measured(own.synthetic_gradients, step) for m, own in zip(methods, matched, strict=True)
        ]
        distances = torch.stack([own.loss for own in matched]).sum()
        corrected = [m.penalty for m in measured if m.penalty.requires_grad]
        with one_thread_if(is_small(first.network, by_class.flatten(0, 1))):
            # Each set's losses depend on its own images alone, so the gradient of a sum holds all of theirs.
            (gradient,) = torch.autograd.grad(distances, leaf, retain_graph=bool(corrected))
            pulls: Tensor | None = None
            if corrected:
                (of_penalty,) = torch.autograd.grad(torch.stack(corrected).sum(), leaf)
                pulls = of_penalty.flatten(1).norm(dim=1) / gradient.flatten(1).norm(dim=1)
                gradient = gradient + of_penalty
        found = []
        for i, (method, own, (penalty, norm)) in enumerate(zip(methods, matched, measured, strict=True)):
            metrics: dict[str, Tensor | float] = {
                **own.metrics,
                metric.COEFFICIENT: method.correction.coefficient_at(step),
                metric.NORM: norm,
            }
            if pulls is not None and penalty.requires_grad and method.measure_pull:
                metrics[metric.PULL] = pulls[i]
            found.append(Matched((own.loss + penalty).detach(), {"images": gradient[i]}, metrics))
        return found
