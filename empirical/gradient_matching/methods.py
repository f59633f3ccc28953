"""DC, DSA, DCC and DSAC as settings of one matching loss.

    class-wise (DC, DSA):        L = sum over c of D( g(S_c), g(T_c) )
    contrastive (DCC, DSAC):     L = D( g(S), mean over c of g(T_c) ), after a class-wise warm-up

g is the gradient of mean cross-entropy with respect to all parameters, S_c the synthetic and T_c a batch of
real images of class c. DSA and DSAC augment both of a class by one draw (Zhao, Mopuri & Bilen, ICLR 2021;
Zhao & Bilen, ICML 2021; Lee et al., ICML 2022). A new method is one row of `METHODS`, or any other object
with the `MatchingLoss` face.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

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
        real_images = real.images
        if self.augmentation is not None and self.augmentation.strategy:
            height, width = images.shape[-2:]
            draw = self.augmentation.draw(
                generator, (height, width), groups=len(images), device=images.device
            )
            images, real_images = (
                self.augmentation.apply(draw, images),
                self.augmentation.apply(draw, real_images),
            )
        metrics: dict[str, Tensor] = {}
        weights, labels, synthetic_weights = real.weights, real.labels, None
        if self.threshold is not None:
            kept = self.threshold.keep(network, real_images, labels, weights, images.shape[1])
            weights, synthetic_weights, metrics["kept"] = kept.real, kept.synthetic, kept.share
        contrastive = self.contrastive and self.warm_up.contrastive(*divmod(step, self.matching_steps))
        synthetic = self._synthetic(network, images, labels, synthetic_weights, contrastive)
        of_real = joint_gradient if contrastive else class_gradients
        target = of_real(network, real_images, labels, False, weights, self.execution)
        whole = _of_batches(synthetic, contrastive)
        loss = self.distance(whole, target).sum()
        metrics["distance"] = loss.detach()
        metrics["real_norm"] = (
            torch.stack([torch.linalg.vector_norm(g.flatten(target.leading), dim=-1) for g in target])
            .norm(dim=0)
            .mean()
        )
        return MatchedGradients(loss, synthetic, metrics)

    def _synthetic(
        self, network: nn.Module, images: Tensor, labels: Tensor, weights: Tensor | None, contrastive: bool
    ) -> Gradients:
        if self.single_samples and weights is None:
            each = sample_gradients(network, images, labels, True, self.execution)
            return Gradients([g.flatten(0, 1)[None] for g in each], 2) if contrastive else each
        of_synthetic = joint_gradient if contrastive else class_gradients
        return of_synthetic(network, images, labels, True, weights, self.execution)


def _of_batches(gradients: Gradients, contrastive: bool) -> Gradients:
    """Gradients of single samples averaged to those of the batches that the distance compares."""
    if gradients.leading < 2:
        return gradients
    if contrastive:
        return Gradients([g.mean((0, 1)) for g in gradients])
    return Gradients([g.mean(1) for g in gradients], 1)


@dataclass(frozen=True)
class MethodSettings:
    """What tells the published methods apart.

    Attributes:
        contrastive: see the module's text.
        augmented: whether matching, network training and evaluation use differentiable siamese augmentation.
        initialisation: what the synthetic images start from.

    """

    contrastive: bool
    augmented: bool
    initialisation: Literal["noise", "real"]


METHODS: dict[str, MethodSettings] = {
    "dc": MethodSettings(contrastive=False, augmented=False, initialisation="noise"),
    "dsa": MethodSettings(contrastive=False, augmented=True, initialisation="real"),
    "dcc": MethodSettings(contrastive=True, augmented=False, initialisation="real"),
    "dsac": MethodSettings(contrastive=True, augmented=True, initialisation="real"),
}
