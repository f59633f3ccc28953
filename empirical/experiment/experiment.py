"""One synthetic set to be made, and what every family of methods needs of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from empirical import networks, synthetic
from empirical.correction import AdaptiveSampleDifficultyCorrection, SampleDifficultyCorrection
from empirical.data.datasets import Dataset
from empirical.distillation.loop import Distillation, Measurement, Probe, Schedule, Step
from empirical.distillation.method import Method
from empirical.distillation.pull import hold_pull
from empirical.evaluation.difficulty_probe import DifficultyProbe
from empirical.evaluation.protocol import Protocol, evaluate_splits
from empirical.networks.choice import NetworkChoice
from empirical.runtime.seeds import generator
from empirical.settings.identity import identity
from empirical.settings.settings import Distilled, Resolved, narrowed
from empirical.synthetic.synthetic_set import SyntheticSet
from shared.records import metric_names as metric


@dataclass(frozen=True)
class Experiment:
    """One synthetic set to be made.

    Attributes:
        settings: resolved.
        dataset: the real data.
        folder: of the run; the caller holds its lock.
        seed: of this repetition.

    """

    settings: Resolved
    dataset: Dataset
    folder: Path
    seed: int

    @property
    def choice(self) -> NetworkChoice:
        """The network of matching and evaluation."""
        return NetworkChoice(self.settings.network, self.settings.variant)

    @property
    def protocol(self) -> Protocol:
        """How the set is judged."""
        settings = self.settings
        return Protocol(settings.eval_epochs, settings.eval_augmentation, batch=settings.eval_batch)

    @property
    def run_identity(self) -> dict[str, Any]:
        """What a checkpoint of this set must agree with."""
        return {**identity(self.settings), "seed": self.seed, "data": self.dataset.fingerprint}

    def network(self) -> networks.Classifier:
        """A network of the experiment's architecture on the data's device."""
        choice = self.choice
        built = networks.build(choice.name, self.dataset.shape, self.dataset.classes, **choice.variant)
        return built.to(self.dataset.device)

    def start(self, initialisation: str) -> SyntheticSet:
        """Images and labels before the first update."""
        settings = self.settings
        return synthetic.initialise(initialisation, self.dataset, settings.ipc, generator(self.seed, "start"))

    def image_step(self, learning_rate: float) -> Step:
        """How images move."""
        return Step(learning_rate, self.settings.momentum)

    def evaluation(self) -> Probe:
        """Accuracy of fresh networks on test and, if there is one, validation images; for the record."""
        splits: tuple[Literal["test", "validation"], ...] = ("test",)
        if self.dataset.validation is not None:
            splits = ("test", "validation")

        def measured(made: SyntheticSet, steps: int) -> Mapping[str, Any]:
            judged = self.protocol, self.choice, self.settings.eval_networks, self.seed
            found = evaluate_splits(made, self.dataset, *judged, splits)
            return {metric.accuracies(name): list(e.accuracies) for name, e in found.items()}

        return measured

    def probe(self) -> Probe:
        """Difficulty along the way, on networks that are the same for every seed and method."""
        return DifficultyProbe(self.dataset, self.choice, self.settings.ipc, seed=0)

    def probes(self) -> list[Measurement]:
        """That probe, and evaluations on the way, as often as the settings say; nothing where they ask for none."""
        every, along = narrowed(self.settings, Distilled).probe_every, self.settings.eval_along
        found = [Measurement(self.probe(), every)] if every else []
        return [*found, Measurement(self.evaluation(), along)] if along else found

    def distillation(
        self, method: Method, start: SyntheticSet, steps: Mapping[str, Step], measurements: Sequence[Measurement]
    ) -> Distillation:
        """What the loop needs to run a method for this experiment; a correction by its pull gets its lambda here.

        Raises:
            ValueError: the correction is given by its pull, and the method's own has none that can be measured.

        """
        if self.settings.by_pull:
            hold_pull(method, start, generator(self.seed, "pull"), self.folder, self.run_identity)
        return Distillation(
            method=method,
            start=start,
            generator=generator(self.seed, "distillation"),
            steps=steps,
            folder=self.folder,
            identity=self.run_identity,
            resume=self.settings.resume,
            schedule=Schedule(),
            measurements=measurements,
            title=f"{self.settings.method} {self.settings.dataset}",
            quiet=self.settings.quiet,
        )


def correction_of(settings: Resolved) -> SampleDifficultyCorrection:
    """The correction that the settings ask for; one with coefficient 0 if they ask for none.

    One that is given by its pull has the pull for a coefficient, until `Experiment.distillation` has measured what
    lambda that is.
    """
    options: Mapping[str, Any] = {
        "power": settings.sdc_power,
        "over_classes": settings.sdc_over_classes,
        "parameters": settings.sdc_parameters,
        "reduction": settings.sdc_reduction,
    }
    schedule = settings.asdc or settings.asdc_pull
    if schedule is not None:
        shape = cast(Literal["geometric", "concave"], settings.asdc_shape)
        steps = narrowed(settings, Distilled).asdc_steps
        return AdaptiveSampleDifficultyCorrection(*schedule, steps, shape, **options)
    return SampleDifficultyCorrection(settings.sdc or settings.sdc_pull or 0.0, **options)
