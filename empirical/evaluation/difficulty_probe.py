"""Difficulty of the synthetic samples along a distillation, on networks never used in matching.

The networks stay the same all along: some random, some trained for a little on real images. For each kind: mean GraDN
(gradient norm of a single sample) and misclassification rate of the synthetic images, and the same of a fixed batch of
real images, so that "harder samples" can be told from "larger gradients".
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from empirical.data.datasets import Dataset
from empirical.evaluation.protocol import fresh_networks
from empirical.networks.choice import NetworkChoice
from empirical.runtime.seeds import derived_seed, generator
from empirical.synthetic.synthetic_set import SyntheticSet
from empirical.training import sgd as training
from shared.measures.difficulty import gradn, misclassification_rate
from shared.records import metric_names as metric

NETWORKS = 3
"""Networks of each kind."""
EPOCHS = 2
REAL_IMAGES = 1000
"""Most real images that the trained kind sees an epoch."""


class DifficultyProbe:
    """Callable `(synthetic set, steps) -> numbers` for the record; draws from no generator of the run.

    Args:
        dataset: the real data.
        choice: the architecture.
        ipc: real images a class that are measured for comparison.
        seed: of the networks; the same for all runs that are to be compared.

    """

    def __init__(self, dataset: Dataset, choice: NetworkChoice, ipc: int, seed: int = 0):
        self._networks = {
            kind: fresh_networks(choice, dataset, NETWORKS, derived_seed(seed, "probe", kind))
            for kind in (metric.UNTRAINED, metric.TRAINED)
        }
        order = torch.randperm(len(dataset.train), generator=generator(seed, "probe", "images"))
        chosen = dataset.train.subset(order[:REAL_IMAGES])
        training.train(
            self._networks[metric.TRAINED],
            training.Job(dataset.normalise(chosen.images), chosen.labels, training.Recipe(EPOCHS)),
            [generator(seed, "probe", "training", i) for i in range(NETWORKS)],
        )
        indices = torch.cat(dataset.train.draw(generator(seed, "probe", "real"), max(ipc, 10)))
        real = dataset.normalise(dataset.train.images[indices]), dataset.train.labels[indices]
        self._of_real = self._measured(*real, metric.REAL)

    def _measured(self, images: torch.Tensor, labels: torch.Tensor, of: str) -> dict[str, float]:
        found = {}
        for kind, members in self._networks.items():
            found[metric.gradn(of, kind)] = float(gradn(members, images, labels).mean())
            found[metric.misclassified(of, kind)] = float(
                misclassification_rate(members, images, labels).mean()
            )
        return found

    def __call__(self, synthetic: SyntheticSet, steps: int) -> Mapping[str, float]:
        """The numbers of a synthetic set."""
        return {
            **self._measured(synthetic.images.detach(), synthetic.hard_labels, metric.SYNTHETIC),
            **self._of_real,
        }
