"""A distillation method of one's own, in one file that the commands load: it matches the mean features of each class.

    python -m empirical.run --plugin examples/method_of_your_own.py --method means --sdc 0.01

The loop, checkpoints, `--resume`, the record, evaluation and sweeps are those of every other method.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from empirical.distillation.method import Matched
from empirical.experiment import Experiment, correction_of, register_method
from empirical.gradient_matching.class_gradients import class_gradients
from empirical.gradient_matching.real_batches import draw_real
from empirical.networks import initialise
from empirical.synthetic import SyntheticSet


class MeanMatching:
    """Distance between mean features of real and synthetic images at a fresh network a step (Zhao & Bilen, 2023)."""

    def __init__(self, experiment: Experiment):
        self.dataset, self.network = experiment.dataset, experiment.network()
        self.settings, self.correction = experiment.settings, correction_of(experiment.settings)
        self.steps = experiment.settings.iterations

    def step(self, synthetic: SyntheticSet, generator: Generator, step: int) -> Matched:
        """Loss and gradient at a step; everything random comes from the generator."""
        initialise(self.network, generator)
        real = draw_real(self.dataset, self.settings.batch_real, generator)
        images = synthetic.images.detach().requires_grad_()
        by_class = images.unflatten(0, (synthetic.classes, -1))
        loss = torch.zeros((), device=images.device)
        for own, theirs in zip(by_class, real.images, strict=True):
            difference = self.network.features(own).mean(0) - self.network.features(theirs).detach().mean(0)
            loss = loss + difference.square().sum()
        gradients = class_gradients(self.network, by_class, real.labels, True)
        penalty, norm = self.correction.measured(gradients, step)
        (gradient,) = torch.autograd.grad(loss + penalty, images)
        return Matched((loss + penalty).detach(), {"images": gradient}, {"distance": loss.detach(), "norm": norm})

    def state(self) -> dict[str, Tensor]:
        """Nothing is carried from step to step."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take up again."""


register_method("means", summary="mean features of each class")(MeanMatching)
