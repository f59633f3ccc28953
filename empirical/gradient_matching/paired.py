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

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from empirical.correction import Gradients
from empirical.gradient_matching.class_gradients import (
    class_gradients,
    freeze_norms,
    is_small,
    joint_gradient,
    sample_gradients,
)
from empirical.gradient_matching.method import NORM_IMAGES, GradientMatching, Loops
from empirical.gradient_matching.methods import GradientMatchingLoss, MatchedGradients
from empirical.gradient_matching.real_batches import RealBatch, draw_real
from empirical.matched import Matched
from empirical.synthetic import SyntheticSet
from empirical.threads import one_thread_if


def common_network(loops: Loops, step: int) -> bool:
    """Whether the network of an update does not depend on the synthetic images."""
    return not loops.network_epochs or step % loops.matching_steps == 0


def common_share(loops: Loops) -> float:
    """Share of the updates of a run whose real gradients are common to all coefficients."""
    return 1.0 if not loops.network_epochs else 1 / loops.matching_steps


@dataclass(frozen=True)
class _Together:
    """The matching loss of several synthetic sets at one network against one real batch.

    The arithmetic is that of `GradientMatchingLoss`, with one more axis in front.
    """

    loss: GradientMatchingLoss

    def __call__(
        self, images: Tensor, network: nn.Module, real: RealBatch, generator: Generator, step: int
    ) -> list[MatchedGradients]:
        """One result a set of images [sets, C, ipc, channels, height, width]; their graphs are connected."""
        loss, (sets, classes, ipc) = self.loss, images.shape[:3]
        real_images = real.images
        if loss.augmentation is not None and loss.augmentation.strategy:
            size = images.shape[-2], images.shape[-1]
            draw = loss.augmentation.draw(generator, size, groups=classes, device=images.device)
            real_images = loss.augmentation.apply(draw, real_images)
            side_by_side = loss.augmentation.apply(draw, images.transpose(0, 1).flatten(1, 2))
            images = side_by_side.unflatten(1, (sets, ipc)).transpose(0, 1)
        metrics: dict[str, Tensor] = {}
        weights, synthetic_weights = real.weights, None
        if loss.threshold is not None:
            kept = loss.threshold.keep(network, real_images, real.labels, weights, ipc)
            weights, synthetic_weights, metrics["kept"] = kept.real, kept.synthetic, kept.share
        contrastive = loss.contrastive and loss.warm_up.contrastive(*divmod(step, loss.matching_steps))
        of_real = joint_gradient if contrastive else class_gradients
        target = of_real(network, real_images, real.labels, False, weights, loss.execution)
        each = [torch.linalg.vector_norm(g.flatten(target.leading), dim=-1) for g in target]
        metrics["real_norm"] = torch.stack(each).norm(dim=0).mean()
        of_sets = self._synthetic(network, images, real.labels, synthetic_weights, contrastive)
        found = []
        for own in of_sets:
            distance = loss.distance(_of_batch(own, contrastive), target).sum()
            found.append(MatchedGradients(distance, own, {**metrics, "distance": distance.detach()}))
        return found

    def _synthetic(
        self, network: nn.Module, images: Tensor, labels: Tensor, weights: Tensor | None, contrastive: bool
    ) -> list[Gradients]:
        sets, execution = len(images), self.loss.execution
        if contrastive and not (self.loss.single_samples and weights is None):
            return [joint_gradient(network, own, labels, True, weights, execution) for own in images]
        x, y = images.flatten(0, 1), labels.repeat(sets)
        if self.loss.single_samples and weights is None:
            singles = sample_gradients(network, x, y, True, execution)
            split = zip(*(g.unflatten(0, (sets, -1)).unbind() for g in singles), strict=True)
            if contrastive:
                return [Gradients([g.flatten(0, 1)[None] for g in own], 2) for own in split]
            return [Gradients(own, 2) for own in split]
        w = None if weights is None else weights.repeat(sets, 1)
        gradients = class_gradients(network, x, y, True, w, execution)
        split = zip(*(g.unflatten(0, (sets, -1)).unbind() for g in gradients), strict=True)
        return [Gradients(own, 1) for own in split]


def _of_batch(gradients: Gradients, contrastive: bool) -> Gradients:
    """What the distance compares, where gradients are of single samples."""
    if gradients.leading < 2:
        return gradients
    if contrastive:
        return Gradients([g.mean((0, 1)) for g in gradients])
    return Gradients([g.mean(1) for g in gradients], 1)


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
        self._together = _Together(first.loss)

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
        first._move_network(synthetics[0], generator, step)
        if first._has_batch_norm:
            images = draw_real(first.dataset, NORM_IMAGES, generator).images
            freeze_norms(first.network, images.flatten(0, 1))
        leaf = torch.stack([s.images.detach() for s in synthetics]).requires_grad_()
        by_class = leaf.unflatten(1, (synthetics[0].classes, -1))
        real = draw_real(first.dataset, first.loops.batch_real, generator)
        matched = self._together(by_class, first.network, real, generator, step)
        penalties = [
            m.correction(own.synthetic_gradients, step) for m, own in zip(methods, matched, strict=True)
        ]
        distances = torch.stack([own.loss for own in matched]).sum()
        corrected = [p for p in penalties if p.requires_grad]
        with one_thread_if(is_small(first.network, by_class.flatten(0, 1))):
            # Each set's losses depend on its own images alone, so the gradient of a sum holds all of theirs.
            (gradient,) = torch.autograd.grad(distances, leaf, retain_graph=bool(corrected))
            pulls: Tensor | None = None
            if corrected:
                (of_penalty,) = torch.autograd.grad(torch.stack(corrected).sum(), leaf)
                pulls = of_penalty.flatten(1).norm(dim=1) / gradient.flatten(1).norm(dim=1)
                gradient = gradient + of_penalty
        found = []
        for i, (method, own, penalty) in enumerate(zip(methods, matched, penalties, strict=True)):
            metrics: dict[str, Tensor | float] = {
                **own.metrics,
                "coefficient": method.correction.coefficient_at(step),
            }
            if method.correction.last_norm is not None:
                metrics["norm"] = method.correction.last_norm
            if pulls is not None and penalty.requires_grad and method.measure_pull:
                metrics["pull"] = pulls[i]
            found.append(Matched((own.loss + penalty).detach(), {"images": gradient[i]}, metrics))
        return found
