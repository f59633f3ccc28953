"""Distribution matching (DM) as a method of the distillation loop (Zhao & Bilen, WACV 2023, arXiv 2110.04181).

    for t in updates:
        theta <- fresh random network, never trained
        L = sum over classes c of | mean f(S_c; theta) - mean f(T_c; theta) |^2,    f: features before the last layer

S_c are all synthetic images of class c and T_c a batch of real ones, augmented by one draw a class (DSA's). All real
images of a batch count alike, so unlike gradient matching it leans on no sample for its difficulty.

The sample difficulty correction is that of the other methods: lambda times the norm of the gradient of the synthetic
training loss with respect to all parameters of the network of the step, class by class, on the same augmented images.
Without a correction that norm is recorded all the same.

Batch norm, which the published program leaves in training mode, is frozen at statistics of real images, as in
gradient matching here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from empirical.correction import Gradients, SampleDifficultyCorrection
from empirical.data.augmentation import SiameseAugmentation
from empirical.data.datasets import Dataset
from empirical.distillation.method import Matched
from empirical.distribution_matching.mean_features import distance_of_means, mean_features
from empirical.gradient_matching.class_gradients import Execution, class_gradients, freeze_norms, sample_gradients
from empirical.gradient_matching.real_batches import draw_real
from empirical.networks import Classifier, initialise
from empirical.networks.cost import measure
from empirical.runtime.threads import SMALL_FLOP, one_thread_if
from empirical.synthetic.synthetic_set import SyntheticSet
from empirical.training.gradient import has_batch_norm, micro_batch
from shared.records import metric_names as metric

NORM_IMAGES = 16
"""Real images a class that set the running statistics of batch norm."""
KEPT = 2
"""Copies of a layer's output that a pass with a graph holds: itself, and its derivative."""


class DistributionMatching:
    """See the module's text; a `Method`.

    Args:
        dataset: the real data.
        network: the architecture; drawn anew for every update. Its parameters are told to ask for no gradient.
        updates: of the synthetic images.
        batch_real: real images a class and update.
        correction: added to the loss.
        augmentation: of both sides; None for none.
        execution: how the correction's gradients are computed, and the bytes that graphs may take.

    """

    def __init__(
        self,
        dataset: Dataset,
        network: Classifier,
        updates: int,
        batch_real: int,
        correction: SampleDifficultyCorrection,
        augmentation: SiameseAugmentation | None,
        execution: Execution,
    ):
        self.dataset, self.network = dataset, network.requires_grad_(False)
        self.updates, self.batch_real = updates, batch_real
        self.correction, self.augmentation, self.execution = correction, augmentation, execution
        self._has_batch_norm = has_batch_norm(network)
        parameter = next(network.parameters())
        cost = measure(network, dataset.shape)
        self._flop = cost.multiply_adds * 2
        kept = cost.outputs * parameter.dtype.itemsize
        self._with_graph = max(1, execution.memory // (KEPT * kept))
        cached = micro_batch(network, dataset.shape, parameter.dtype, parameter.device)
        self._without_graph = max(1, min(cached, execution.memory // kept))

    @property
    def steps(self) -> int:
        """Updates of the synthetic images in a run."""
        return self.updates

    def step(self, synthetic: SyntheticSet, generator: Generator, step: int) -> Matched:
        """One update; see `Method`. Labels are hard, sorted by class, as many of each."""
        initialise(self.network, generator)
        if self._has_batch_norm:
            freeze_norms(self.network, draw_real(self.dataset, NORM_IMAGES, generator).images.flatten(0, 1))
        real = draw_real(self.dataset, self.batch_real, generator)
        images = synthetic.images.detach().requires_grad_()
        by_class, real_images = images.unflatten(0, (synthetic.classes, -1)), real.images
        if self.augmentation is not None and self.augmentation.strategy:
            size = (images.shape[-2], images.shape[-1])
            draw = self.augmentation.draw(generator, size, groups=synthetic.classes, device=images.device)
            by_class, real_images = self.augmentation.apply(draw, by_class), self.augmentation.apply(draw, real_images)
        on_cpu = images.device.type == "cpu"
        with one_thread_if(on_cpu and self._flop * real_images.shape[:2].numel() < SMALL_FLOP):
            target = mean_features(self.network, real_images, real.weights, self._without_graph)
            distance, of_features = distance_of_means(self.network, by_class, target, self._with_graph)
            (of_distance,) = torch.autograd.grad(by_class, images, of_features, retain_graph=True)
            return self._corrected(images, by_class, real.labels, distance, of_distance, step)

    def _corrected(
        self, images: Tensor, by_class: Tensor, labels: Tensor, distance: Tensor, of_distance: Tensor, step: int
    ) -> Matched:
        """Loss and gradient with the correction, if there is one; `by_class` [C, ipc, ...] is made of `images`."""
        coefficient = self.correction.coefficient_at(step)
        metrics: dict[str, Tensor | float] = {metric.DISTANCE: distance, metric.COEFFICIENT: coefficient}
        if coefficient == 0:
            norm = self.correction.norm(self._gradients(by_class.detach(), labels, False))
            return Matched(distance, {"images": of_distance}, {**metrics, metric.NORM: norm})
        measured = self.correction.measured(self._gradients(by_class, labels, True), step)
        (of_penalty,) = torch.autograd.grad(measured.penalty, images)
        metrics |= {metric.NORM: measured.norm, metric.PULL: of_penalty.norm() / of_distance.norm()}
        loss = distance + measured.penalty.detach()
        return Matched(loss, {"images": of_distance + of_penalty}, metrics)

    def _gradients(self, by_class: Tensor, labels: Tensor, graph: bool) -> Gradients:
        """Of the synthetic training loss, by class or, where the correction asks for that, by image."""
        of = sample_gradients if self.correction.reduction == "per_sample" else class_gradients
        return of(self.network, by_class, labels, graph, execution=self.execution)

    def state(self) -> dict[str, Tensor]:
        """Nothing: a network lives for one update."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take up."""
