"""DC, DSA, DCC and DSAC as settings of one matching loss.

    class-wise (DC, DSA):        L = sum over c of D( g(S_c), g(T_c) )
    contrastive (DCC, DSAC):     L = D( g(S), mean over c of g(T_c) ), after a class-wise warm-up

g is the gradient of mean cross-entropy with respect to all parameters, S_c the synthetic and T_c a batch of
real images of class c. DSA and DSAC augment both of a class by one draw (Zhao, Mopuri & Bilen, ICLR 2021;
Zhao & Bilen, ICML 2021; Lee et al., ICML 2022). The methods are rows of the table in
`empirical.experiment.gradient_matching`; another loss is any object with the `MatchingLoss` face.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from empirical.correction import Gradients
from empirical.data.augmentation import SiameseAugmentation
from empirical.gradient_matching.class_gradients import (
    DEFAULT,
    Execution,
    class_gradients,
    joint_gradient,
    sample_gradients,
)
from empirical.gradient_matching.distances import Distance, layerwise
from empirical.gradient_matching.hard_threshold import HardThreshold
from empirical.gradient_matching.real_batches import RealBatch
from empirical.gradient_matching.schedule import PUBLISHED_WARM_UP, WarmUp
from shared.records import metric_names as metric


@dataclass(frozen=True)
class MatchedGradients:
    """A matching loss that still carries its graph.

    Attributes:
        loss: scalar, differentiable with respect to the synthetic images.
        synthetic_gradients: what a correction takes; they carry the same graph.
        metrics: detached scalars for the record.

    """

    loss: Tensor
    synthetic_gradients: Gradients
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


class MatchingLoss(Protocol):
    """A loss between a synthetic set and real batches at one network."""

    def __call__(
        self, images: Tensor, network: nn.Module, real: RealBatch, generator: Generator, step: int
    ) -> MatchedGradients:
        """Loss of images [C, ipc, channels, height, width] at update number `step`."""
        ...


@dataclass(frozen=True)
class GradientMatchingLoss:
    """The four published methods, by their differences.

    Attributes:
        contrastive: whether one distance of means over classes replaces the sum of distances, after the
            warm-up.
        augmentation: applied to both batches of a class with one draw a class; None for none.
        matching_steps: N_match, to tell outer iteration and matching step from the number of the update.
        warm_up: when the contrastive form starts.
        distance: of two gradients.
        execution: how gradients are computed.
        threshold: the hard threshold on real samples; None keeps all.
        single_samples: whether the synthetic gradients are handed on for every single image (for corrections
            with `reduction="per_sample"`).

    """

    contrastive: bool = False
    augmentation: SiameseAugmentation | None = None
    matching_steps: int = 1
    warm_up: WarmUp = PUBLISHED_WARM_UP
    distance: Distance = layerwise
    execution: Execution = DEFAULT
    threshold: HardThreshold | None = None
    single_samples: bool = False

    def __call__(
        self, images: Tensor, network: nn.Module, real: RealBatch, generator: Generator, step: int
    ) -> MatchedGradients:
        """See `MatchingLoss`."""
        return self.of_sets(images[None], network, real, generator, step)[0]

    def of_sets(
        self, images: Tensor, network: nn.Module, real: RealBatch, generator: Generator, step: int
    ) -> list[MatchedGradients]:
        """The losses of several synthetic sets at one network, against one real batch and under one draw.

        The real gradient is computed once, and the sets go through the network side by side, as more classes.

        Args:
            images: [sets, C, ipc, channels, height, width].
            network: of all.
            real: one batch a class.
            generator: of the augmentation's draw.
            step: number of the update.

        Returns:
            One result a set; their graphs are connected.

        """
        ipc, real_images = images.shape[2], real.images
        if self.augmentation is not None and self.augmentation.strategy:
            images, real_images = self._augmented(self.augmentation, images, real_images, generator)
        kept_share: dict[str, Tensor] = {}
        weights, labels, synthetic_weights = real.weights, real.labels, None
        if self.threshold is not None:
            kept = self.threshold.keep(network, real_images, labels, weights, ipc)
            weights, synthetic_weights, kept_share[metric.KEPT] = kept.real, kept.synthetic, kept.share
        contrastive = self.contrastive and self.warm_up.contrastive(*divmod(step, self.matching_steps))
        of_real = joint_gradient if contrastive else class_gradients
        target = of_real(network, real_images, labels, False, weights, self.execution)
        norms = [torch.linalg.vector_norm(g.flatten(target.leading), dim=-1) for g in target]
        real_norm = torch.stack(norms).norm(dim=0).mean()
        found = []
        for own in self._synthetic(network, images, labels, synthetic_weights, contrastive):
            loss = self.distance(_of_batches(own, contrastive), target).sum()
            metrics = {**kept_share, metric.DISTANCE: loss.detach(), metric.REAL_NORM: real_norm}
            found.append(MatchedGradients(loss, own, metrics))
        return found

    @staticmethod
    def _augmented(
        augmentation: SiameseAugmentation, images: Tensor, real_images: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Both sides by one draw a class, which all sets share."""
        sets, classes, ipc = images.shape[:3]
        draw = augmentation.draw(
            generator, (images.shape[-2], images.shape[-1]), groups=classes, device=images.device
        )
        side_by_side = augmentation.apply(draw, images.transpose(0, 1).flatten(1, 2))
        images = side_by_side.unflatten(1, (sets, ipc)).transpose(0, 1)
        return images, augmentation.apply(draw, real_images)

    def _synthetic(
        self, network: nn.Module, images: Tensor, labels: Tensor, weights: Tensor | None, contrastive: bool
    ) -> list[Gradients]:
        """Of each set: its class gradients, or those of its single samples."""
        each = self.single_samples and weights is None
        if contrastive and not each:
            return [joint_gradient(network, own, labels, True, weights, self.execution) for own in images]
        sets = len(images)
        x, y = images.flatten(0, 1), labels.repeat(sets)
        if each:
            gradients = sample_gradients(network, x, y, True, self.execution)
        else:
            w = None if weights is None else weights.repeat(sets, 1)
            gradients = class_gradients(network, x, y, True, w, self.execution)
        split = zip(*(g.unflatten(0, (sets, -1)).unbind() for g in gradients), strict=True)
        if each and contrastive:
            return [Gradients([g.flatten(0, 1)[None] for g in own], 2) for own in split]
        return [Gradients(own, 2 if each else 1) for own in split]


def _of_batches(gradients: Gradients, contrastive: bool) -> Gradients:
    """Gradients of single samples averaged to those of the batches that the distance compares."""
    if gradients.leading < 2:
        return gradients
    if contrastive:
        return Gradients([g.mean((0, 1)) for g in gradients])
    return Gradients([g.mean(1) for g in gradients], 1)
