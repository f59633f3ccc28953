"""A method from a user's own file: any `empirical.distillation.method.Method`, run by the one loop.

    @register_method("mine", summary="matches means of features")
    def mine(experiment):
        return MeanMatching(experiment.dataset, experiment.network(), experiment.settings)

The loop, checkpoints, the record, evaluation, sweeps and `python -m empirical.evaluate` are those of every other
method. Its settings are resolved like those of DSA, without a table of loops: `matching_steps` and `network_epochs` are
1 if not typed. `correction_of(experiment.settings)` is the correction that the user asked for, to be added in the step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from empirical.data.augmentation import SiameseAugmentation, default_strategy
from empirical.data.datasets import Dataset
from empirical.distillation import method as matched
from empirical.distillation.loop import distil
from empirical.experiment import families
from empirical.experiment.experiment import Experiment
from empirical.experiment.families import Family, Method, Work, along_the_run, evaluations_along, method_named
from empirical.experiment.gradient_matching import SECOND_ORDER, GradientMatchingSettings
from empirical.networks.cost import Cost
from empirical.settings.settings import Resolved, Settings, narrowed
from empirical.synthetic.synthetic_set import SyntheticSet
from shared.records.roles import OTHER

Maker = Callable[[Experiment], matched.Method]


@dataclass(frozen=True)
class OwnMethod:
    """What a file registers.

    Attributes:
        make: from an experiment to the object whose `step` the loop calls.
        augmented: whether evaluation uses the siamese augmentation, as for DSA.
        initialisation: noise or real.

    """

    make: Maker
    augmented: bool
    initialisation: str


class OwnFamily(Family):
    """See the module."""

    name = OTHER
    tags = frozenset({"set", "distilled", "gradient", "contrastive"})
    resolved = GradientMatchingSettings

    def resolve(self, method: Method, settings: Settings, dataset: Dataset) -> dict[str, Any]:
        """As the row says, and one update a network."""
        own = _own(method)
        strategy = default_strategy(dataset.flip) if own.augmented else ()
        steps = settings.matching_steps or 1
        updates = settings.iterations * steps
        return {
            "matching_steps": steps,
            "network_epochs": 1 if settings.network_epochs is None else settings.network_epochs,
            "augmentation": settings.augmentation or SiameseAugmentation(strategy).name,
            "initialisation": settings.initialisation or own.initialisation,
            "learning_rate": settings.learning_rate or 0.1,
            **along_the_run(settings, updates),
        }

    def work(self, settings: Resolved, dataset: Dataset, image: Cost) -> Work:
        """As if every update took gradients of a real batch and second derivatives of the synthetic images."""
        own = narrowed(settings, GradientMatchingSettings)
        synthetic = dataset.classes * own.ipc
        real = sum(min(own.batch_real, size) for size in dataset.train.class_sizes)
        flop = own.updates * (real + SECOND_ORDER * synthetic) * image.training_flop
        return Work({"distillation": flop}, evaluations_along(own, own.updates), own.updates)

    def make(self, experiment: Experiment) -> SyntheticSet:
        """One distillation."""
        settings = narrowed(experiment.settings, GradientMatchingSettings)
        method = _own(method_named(settings.method)).make(experiment)
        steps = {"images": experiment.image_step(settings.learning_rate)}
        start = experiment.start(settings.initialisation)
        return distil(experiment.distillation(method, start, steps, experiment.probes()))


FAMILY = OwnFamily()


def _own(method: Method) -> OwnMethod:
    return cast(OwnMethod, method.own)


def register_method(
    name: str, *, summary: str = "", augmented: bool = False, initialisation: str = "real"
) -> Callable[[Maker], Maker]:
    """Decorator: the function makes the method of that name; see the module.

    Raises:
        ValueError: the name is taken.

    """

    def decorate(make: Maker) -> Maker:
        families.register(Method(name, FAMILY, summary, OwnMethod(make, augmented, initialisation)))
        return make

    return decorate
