"""Trajectory matching as a method of the distillation loop: an expert's segment, a student's rollout, its gradients.

MTT (Cazenavette et al., CVPR 2022), FTD (Du et al., CVPR 2023), TESLA (Cui et al., ICML 2023) and DATM (Guo et al.,
ICLR 2024) differ in where the start epoch comes from, how experts were trained, whether the adjoint is propagated,
what a label is, and which iterations count: all of it arguments here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from empirical.correction import SampleDifficultyCorrection
from empirical.data.augmentation import SiameseAugmentation
from empirical.distillation.method import Matched, StepFailed
from empirical.networks import Functional
from empirical.runtime.threads import one_thread_if
from empirical.synthetic.synthetic_set import SyntheticSet
from empirical.trajectory_matching.adjoint import InnerLoop, InnerStep, SyntheticInputs, pull_back, student_rollout
from empirical.trajectory_matching.expert_training import ExpertPool
from empirical.trajectory_matching.penalty import InnerSteps, TrajectoryPenalty
from empirical.trajectory_matching.starts import StartEpochs
from empirical.trajectory_matching.student import Student
from shared.records import metric_names as metric


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Numbers of one iteration.

    Attributes:
        iterations: updates of the synthetic set.
        syn_steps: inner steps N.
        expert_epochs: M, from start to target.
        batch_syn: synthetic images an inner step; None: all.
        propagate: the exact gradient; false is TESLA's.
        half_gradient: halve the image and label gradients, as TESLA's published program does by accident.
        skip_above: matching loss above which an iteration changes nothing (DATM); None: never.
        target_labels: labels are what the target snapshot says of the images (an option of TESLA).
        correction_steps: which inner steps the correction counts.
        small: whether a step is too small to be split over threads.

    """

    iterations: int
    syn_steps: int
    expert_epochs: int
    batch_syn: int | None = None
    propagate: bool = True
    half_gradient: bool = False
    skip_above: float | None = None
    target_labels: bool = False
    correction_steps: InnerSteps = "all"
    small: bool = False


def draw_batches(generator: Generator, count: int, batch: int | None, steps: int) -> list[Tensor]:
    """Indices of each inner step: chunks of a permutation of the set, permuted anew when exhausted.

    The last chunk of a permutation may be short.
    """
    if batch is None or batch >= count:
        return [torch.arange(count)] * steps
    found: list[Tensor] = []
    while len(found) < steps:
        found += torch.randperm(count, generator=generator).split(batch)
    return found[:steps]


class TrajectoryMatching:
    """See the module's text; a `Method`.

    Args:
        pool: the experts.
        functional: the student's network.
        student: derivatives of its training loss.
        starts: of start epochs.
        engine: the rest.
        correction: added to the loss.
        augmentation: of the student's batches; None for none.

    """

    def __init__(
        self,
        pool: ExpertPool,
        functional: Functional,
        student: Student,
        starts: StartEpochs,
        engine: Engine,
        correction: SampleDifficultyCorrection,
        augmentation: SiameseAugmentation | None = None,
    ):
        self.pool, self.functional, self.student, self.starts = pool, functional, student, starts
        self.engine, self.correction, self.augmentation = engine, correction, augmentation

    @property
    def steps(self) -> int:
        """Updates of the synthetic set in a run."""
        return self.engine.iterations

    def step(self, synthetic: SyntheticSet, generator: Generator, step: int) -> Matched:
        """One iteration; see `Method`.

        Raises:
            StepFailed: the expert did not move between start and target.

        """
        assert synthetic.learning_rate is not None
        engine, device = self.engine, synthetic.images.device
        expert = int(torch.randint(len(self.pool.files), (), generator=generator))
        epoch = self.starts.draw(generator, step)
        start, target = self.pool.files[expert].rows(epoch, epoch + engine.expert_epochs)
        distance = float((start.double() - target.double()).square().sum())
        if not distance > 0:
            raise StepFailed(
                f"{self.pool.files[expert].path} did not move between epochs {epoch} and "
                f"{epoch + engine.expert_epochs}, so the matching loss is 0/0: make that expert again"
            )
        start, target = (t.to(device, synthetic.images.dtype, non_blocking=True) for t in (start, target))
        labels = synthetic.labels.detach()
        if engine.target_labels:
            with torch.no_grad():
                parameters = self.functional.unflatten(target)
                labels = self.functional(parameters, synthetic.images.detach()).softmax(1)
        inputs = SyntheticInputs(synthetic.images.detach(), labels, self.augmentation)
        inner = self._inner_steps(synthetic, generator)
        loop = InnerLoop(self.student, inputs, inner, synthetic.learning_rate)
        penalty = TrajectoryPenalty(self.correction, step, engine.correction_steps, self.functional.unflatten)
        learn = synthetic.label_kind == "logits"
        with one_thread_if(engine.small):
            rollout = student_rollout(loop, start)
            pulled = pull_back(
                loop, rollout, target, propagate=engine.propagate, penalty=penalty, learn_labels=learn
            )
        half = 0.5 if engine.half_gradient else 1.0
        gradients = {"images": half * pulled.images, "learning_rate": pulled.rate}
        if learn and pulled.labels is not None:
            gradients["labels"] = half * pulled.labels
        if engine.target_labels:  # a full step (rate 1, no momentum) puts the new labels in place of the old
            gradients["labels"] = synthetic.labels.detach() - labels
        accept = None if engine.skip_above is None else pulled.loss <= engine.skip_above
        metrics: dict[str, Tensor | float] = {
            metric.MATCHING_LOSS: pulled.loss,
            metric.NORM: rollout.norms.mean(),
            metric.STUDENT_RATE: synthetic.learning_rate.detach().clone(),
            metric.INNER_LOSS_FIRST: rollout.losses[0],
            metric.INNER_LOSS_LAST: rollout.losses[-1],
            metric.MOVED: (rollout.thetas[-1] - start).norm() / math.sqrt(distance),
            metric.COEFFICIENT: self.correction.coefficient_at(step),
            metric.START_EPOCH: float(epoch),
            metric.EXPERT: float(expert),
        }
        if accept is not None:
            metrics[metric.SKIPPED] = (~accept).float()
        return Matched(pulled.loss + penalty.value(pulled.penalised), gradients, metrics, accept)

    def _inner_steps(self, synthetic: SyntheticSet, generator: Generator) -> list[InnerStep]:
        device, size = synthetic.images.device, synthetic.shape[1:]
        found = []
        for indices in draw_batches(generator, len(synthetic), self.engine.batch_syn, self.engine.syn_steps):
            draw = None
            if self.augmentation is not None:
                draw = self.augmentation.draw(generator, size, images=len(indices), device=device)
            found.append(InnerStep(indices.to(device, non_blocking=True), draw))
        return found

    def state(self) -> dict[str, Tensor]:
        """Nothing: an iteration depends on its arguments alone."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take up."""
