"""Gradient matching as a method of the distillation loop: networks, real batches, one matching step at a time.

    for k in outer iterations:
        theta <- fresh network
        for j in matching steps:
            unless j is 0: train theta for some epochs on the synthetic set
            match at theta; the loop takes the step

This is the published order (match, update, train, match, ...) seen from the step. The correction is added in
one line, and nothing else here knows of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from empirical.correction import SampleDifficultyCorrection
from empirical.data.augmentation import SiameseAugmentation
from empirical.data.datasets import Dataset
from empirical.distillation.method import Matched
from empirical.gradient_matching.class_gradients import freeze_norms, is_small
from empirical.gradient_matching.matching_loss import MatchingLoss
from empirical.gradient_matching.real_batches import draw_real
from empirical.networks import initialise
from empirical.runtime.threads import one_thread_if
from empirical.synthetic.synthetic_set import SyntheticSet
from empirical.training.gradient import has_batch_norm
from empirical.training.sgd import Job, Recipe, train
from shared.records import metric_names as metric

NORM_IMAGES = 16
"""Real images a class that set the running statistics of batch norm."""


@dataclass(frozen=True)
class Loops:
    """How long everything is; the published numbers are the defaults.

    Attributes:
        iterations: outer iterations K, each with a fresh network.
        matching_steps: updates of the synthetic images an outer iteration, N_match.
        network_epochs: epochs of network training between two of them, N_net.
        batch_real: real images a class and step.
        network_rate: learning rate of the network training (no momentum, no weight decay).

    """

    iterations: int = 1000
    matching_steps: int = 1
    network_epochs: int = 1
    batch_real: int = 256
    network_rate: float = 0.01


class GradientMatching:
    """See the module's text; a `Method`.

    Args:
        dataset: the real data.
        network: the architecture; its parameters are drawn anew every outer iteration.
        loss: what is matched, and how.
        loops: how often.
        correction: added to the loss.
        training_augmentation: of the network training; None for none.
        measure_pull: whether to record the ratio of the correction's to the distance's image gradient, which
            needs a backward pass of its own (through the synthetic side only).

    """

    def __init__(
        self,
        dataset: Dataset,
        network: nn.Module,
        loss: MatchingLoss,
        loops: Loops,
        correction: SampleDifficultyCorrection,
        training_augmentation: SiameseAugmentation | None = None,
        measure_pull: bool = True,
    ):
        self.dataset, self.network, self.loss, self.loops = dataset, network, loss, loops
        self.correction, self.measure_pull = correction, measure_pull
        self.training_augmentation = training_augmentation
        self._recipe = Recipe(loops.network_epochs, loops.network_rate, momentum=0.0, weight_decay=0.0)
        self._has_batch_norm = has_batch_norm(network)

    @property
    def steps(self) -> int:
        """Updates of the synthetic images in a run: outer iterations times matching steps."""
        return self.loops.iterations * self.loops.matching_steps

    def step(self, synthetic: SyntheticSet, generator: Generator, step: int) -> Matched:
        """One matching step; see `Method`. Labels are hard, sorted by class, as many of each."""
        self.advance_network(synthetic, generator, step)
        images = synthetic.images.detach().requires_grad_()
        by_class = images.unflatten(0, (synthetic.classes, -1))
        with one_thread_if(is_small(self.network, by_class)):
            return self._match(images, by_class, generator, step)

    def _match(self, images: Tensor, by_class: Tensor, generator: Generator, step: int) -> Matched:
        """Matching at the network as it stands; `by_class` is a view of `images`, one row a class."""
        real = draw_real(self.dataset, self.loops.batch_real, generator)
        matched = self.loss(by_class, self.network, real, generator, step)
        penalty, norm = self.correction.measured(matched.synthetic_gradients, step)
        coefficient = self.correction.coefficient_at(step)
        metrics: dict[str, Tensor | float] = {**matched.metrics, metric.COEFFICIENT: coefficient, metric.NORM: norm}
        if penalty.requires_grad and self.measure_pull:
            (of_distance,) = torch.autograd.grad(matched.loss, images, retain_graph=True)
            (of_penalty,) = torch.autograd.grad(penalty, images)
            metrics[metric.PULL] = of_penalty.norm() / of_distance.norm()
            gradient = of_distance + of_penalty
        else:
            (gradient,) = torch.autograd.grad(matched.loss + penalty, images)
        return Matched((matched.loss + penalty).detach(), {"images": gradient}, metrics)

    def advance_network(self, synthetic: SyntheticSet, generator: Generator, step: int) -> None:
        """Makes the network what a step matches at: fresh, or trained on; batch norm, if any, frozen on real images."""
        if step % self.loops.matching_steps == 0:
            initialise(self.network, generator)
        elif self.loops.network_epochs:
            images, labels = synthetic.tensors
            train(
                [self.network],
                Job(images, labels, self._recipe, augmentation=self.training_augmentation),
                [generator],
            )
        if self._has_batch_norm:
            freeze_norms(self.network, draw_real(self.dataset, NORM_IMAGES, generator).images.flatten(0, 1))

    def state(self) -> dict[str, Tensor]:
        """The network: parameters and running statistics; nothing where every update begins with a fresh one."""
        if self.loops.matching_steps == 1:
            return {}
        return {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes the network up again, if there is one."""
        prefix = "network."
        if own := {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}:
            self.network.load_state_dict(own)
