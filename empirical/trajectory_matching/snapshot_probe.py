"""The gradient norm of the whole synthetic set at fixed expert snapshots, un-augmented.

The norm of the inner gradients depends strongly on the start epoch that an iteration draws; here the snapshots stay
the same all along a run, which shows what the set itself does (Figure 1(c) of arXiv 2408.12483).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from empirical.networks import Functional
from empirical.synthetic.synthetic_set import SyntheticSet
from empirical.trajectory_matching.expert_training import ExpertPool
from empirical.trajectory_matching.starts import StartEpochs
from empirical.trajectory_matching.student import Eager, TrainingLoss
from shared.records import metric_names as metric

EXPERTS, EPOCHS = 4, 4


class SnapshotProbe:
    """Callable `(synthetic set, steps) -> numbers`; at most 4 experts at 4 epochs spread over the start range."""

    def __init__(self, pool: ExpertPool, network: nn.Module, starts: StartEpochs):
        epochs = torch.linspace(starts.low, starts.high - 1, EPOCHS).round().int().unique().tolist()
        self._snapshots = [row for file in pool.files[:EXPERTS] for row in file.rows(*epochs)]
        self._functional = Functional(network)

    def __call__(self, synthetic: SyntheticSet, steps: int) -> Mapping[str, float]:
        """Mean over the snapshots of |grad of the training loss on all of S|."""
        student = Eager(TrainingLoss(self._functional, synthetic.label_kind))
        images, labels = synthetic.images.detach(), synthetic.labels.detach()
        norms = [student.first(row.to(images), images, labels)[1].norm() for row in self._snapshots]
        return {metric.NORM_AT_FIXED_SNAPSHOTS: float(torch.stack(norms).mean())}
