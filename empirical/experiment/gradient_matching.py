"""Gradient matching as a family of methods: DC, DSA, DCC and DSAC are its rows, and another one is one row more.

    register("mine", MethodSettings(contrastive=False, augmented=True, initialisation="real"), "what it does")

What a row cannot say (another loss between gradients, other batches) is a `MatchingLoss` of one's own: see
`MethodSettings.loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch

from empirical import networks
from empirical.data.augmentation import SiameseAugmentation, default_strategy, parse_strategy
from empirical.data.datasets import Dataset
from empirical.distillation.loop import Distillation, Interruption, Lane, Measurement, distil, lane
from empirical.distillation.pull import lend
from empirical.distillation.together import Outcome, drive
from empirical.experiment import families
from empirical.experiment.experiment import Experiment, correction_of
from empirical.experiment.families import Family, Method, Work, along_the_run, evaluations_along, method_named
from empirical.gradient_matching.class_gradients import Execution
from empirical.gradient_matching.class_gradients import Strategy as GradientStrategy
from empirical.gradient_matching.distances import DISTANCES
from empirical.gradient_matching.hard_threshold import HardThreshold
from empirical.gradient_matching.matching_loss import GradientMatchingLoss, MatchingLoss
from empirical.gradient_matching.method import GradientMatching, Loops
from empirical.gradient_matching.paired import PairedGradientMatching, common_share
from empirical.gradient_matching.schedule import PUBLISHED_WARM_UP, WarmUp, loop_lengths
from empirical.networks.cost import Cost, measure
from empirical.settings.settings import Distilled, Resolved, Settings, narrowed
from empirical.synthetic.synthetic_set import SyntheticSet
from empirical.training.sgd import COMPILE_FROM_FLOP
from shared.records.roles import GRADIENT

SECOND_ORDER = 3
"""Arithmetic of a gradient's gradient over that of a gradient (forward and backward)."""
PUBLISHED_ITERATIONS = 1000
"""Outer iterations of the published runs, for which the published warm-up was chosen."""


@dataclass(frozen=True)
class MethodSettings:
    """What tells the methods of the family apart.

    Attributes:
        contrastive: match means over classes, after a class-wise warm-up (`GradientMatchingLoss`).
        augmented: whether matching, network training and evaluation use differentiable siamese augmentation.
        initialisation: what the synthetic images start from.
        loss: another matching loss, made of the published one; None keeps that. One that is no
            `GradientMatchingLoss` shares no work between coefficients.

    """

    contrastive: bool
    augmented: bool
    initialisation: Literal["noise", "real"]
    loss: Callable[[GradientMatchingLoss], MatchingLoss] | None = None


@dataclass(frozen=True, kw_only=True)
class GradientMatchingSettings(Distilled):
    """Resolved: both loops have their lengths."""

    matching_steps: int
    network_epochs: int

    @property
    def loops(self) -> Loops:
        """Lengths of the loops."""
        return Loops(self.iterations, self.matching_steps, self.network_epochs, self.batch_real, self.network_rate)

    @property
    def updates(self) -> int:
        """Of the synthetic images in a run."""
        return self.iterations * self.matching_steps


class GradientMatchingFamily(Family):
    """See the module."""

    name = GRADIENT
    tags = frozenset({"set", "distilled", "gradient"})
    resolved = GradientMatchingSettings

    def own_tags(self, method: Method) -> frozenset[str]:
        """`contrastive` has a warm-up."""
        return frozenset({"contrastive"}) if _row(method).contrastive else frozenset()

    def check(self, method: Method, settings: Settings) -> None:
        """Loop lengths that no table has, and a threshold out of range."""
        loop_lengths(_row(method).contrastive, settings.ipc, settings.matching_steps, settings.network_epochs)
        if settings.hard_threshold is not None:
            HardThreshold(settings.hard_threshold)

    def resolve(self, method: Method, settings: Settings, dataset: Dataset) -> dict[str, Any]:
        """Loops, augmentation, start and rate as published for the method and the number of images a class."""
        own = _row(method)
        steps, epochs = loop_lengths(own.contrastive, settings.ipc, settings.matching_steps, settings.network_epochs)
        strategy = default_strategy(dataset.flip) if own.augmented else ()
        updates = settings.iterations * steps
        return {
            "matching_steps": steps,
            "network_epochs": epochs,
            "augmentation": (
                settings.augmentation if settings.augmentation is not None else SiameseAugmentation(strategy).name
            ),
            "initialisation": settings.initialisation or own.initialisation,
            "learning_rate": settings.learning_rate or (0.01 if settings.network == "mlp" else 0.1),
            **along_the_run(settings, updates),
        }

    def work(self, settings: Resolved, dataset: Dataset, image: Cost) -> Work:
        """Real gradients, synthetic ones with their second order, and the training of networks in between."""
        own = narrowed(settings, GradientMatchingSettings)
        synthetic = dataset.classes * own.ipc
        real = sum(min(own.batch_real, size) for size in dataset.train.class_sizes)
        training = own.iterations * (own.matching_steps - 1) * own.network_epochs * synthetic
        parts = {
            "real gradients": own.updates * real * image.training_flop,
            "synthetic gradients": own.updates * synthetic * image.training_flop * SECOND_ORDER,
            "network training": training * image.training_flop,
        }
        return Work(parts, evaluations_along(own, own.updates), own.updates)

    def notes(self, settings: Resolved) -> list[str]:
        """A contrastive method whose warm-up is longer than the run: the laptop preset is a 25th of the published."""
        own = narrowed(settings, GradientMatchingSettings)
        warm_up = WarmUp(own.warm_up_iterations, own.warm_up_steps)
        if not _row(method_named(own.method)).contrastive or warm_up.contrastive(
            own.iterations - 1, own.matching_steps - 1
        ):
            return []
        quarter = own.iterations * PUBLISHED_WARM_UP.iterations // PUBLISHED_ITERATIONS
        told = (
            f"{own.method} is never contrastive in this run: {own.iterations} outer iterations of {own.matching_steps} "
            f"matching steps end before its warm-up does (--warm-up-iterations {own.warm_up_iterations}, "
            f"--warm-up-steps {own.warm_up_steps}), so it matches class by class throughout; --warm-up-iterations "
            f"{quarter} makes it contrastive after a quarter of the run, as at the published length"
        )
        return [told]

    def refuse(self, settings: Resolved, dataset: Dataset) -> None:
        """A memory budget that does not hold one image's pass."""
        network = networks.build(settings.network, dataset.shape, dataset.classes, **settings.variant)
        least = graph_bytes(measure(network, dataset.shape))
        if settings.memory_budget * 1e9 < least:
            raise ValueError(
                f"--memory-budget {settings.memory_budget:g} GB does not hold the pass of one image: "
                f"at least {-(-least // 1000) / 1e6:g} is needed"
            )

    def shared(self, settings: Resolved) -> float | None:
        """See `common_share`; none for a loss of one's own."""
        if _row(method_named(settings.method)).loss is not None:
            return None
        return common_share(narrowed(settings, GradientMatchingSettings).loops)

    def make(self, experiment: Experiment) -> SyntheticSet:
        """One distillation."""
        return distil(_distillation(experiment, _matching(experiment), experiment.probes()))

    def make_together(self, experiments: Sequence[Experiment]) -> list[Outcome]:
        """Several distillations in step, which share the real gradients."""
        first = experiments[0]
        matchings, measurements = [_matching(experiment) for experiment in experiments], first.probes()
        with Interruption() as interruption:
            lanes: list[Lane] = []
            lender: Path | None = None
            for experiment, matching in zip(experiments, matchings, strict=True):
                if lender is not None and experiment.settings.by_pull:
                    lend(lender, experiment.folder)
                # One progress bar stands for all: they go in step.
                quiet = experiment.settings.quiet or experiment is not first
                task = replace(_distillation(experiment, matching, measurements), quiet=quiet)
                lanes.append(lane(task, interruption))
                lender = experiment.folder if experiment.settings.by_pull else lender
            return drive(PairedGradientMatching(matchings), lanes)


FAMILY = GradientMatchingFamily()


def register(name: str, own: MethodSettings, summary: str = "") -> Method:
    """Makes a method of the family known.

    Raises:
        ValueError: the name is taken.

    """
    return families.register(Method(name, FAMILY, summary, own))


def _row(method: Method) -> MethodSettings:
    return cast(MethodSettings, method.own)


def graph_bytes(image: Cost) -> int:
    """Of one image's second-order pass: no chunk can be smaller."""
    return image.outputs * 4 * 2 * SECOND_ORDER


def _execution(experiment: Experiment, network: networks.Classifier) -> Execution:
    settings, dataset = narrowed(experiment.settings, GradientMatchingSettings), experiment.dataset
    compiled = settings.compiled == "on"
    if settings.compiled == "auto":
        images = settings.updates * dataset.classes * settings.batch_real
        flop = images * measure(network, dataset.shape).training_flop
        compiled = dataset.device.type == "cpu" and flop > COMPILE_FROM_FLOP
    strategy = cast(GradientStrategy, settings.strategy)
    memory = int(settings.memory_budget * 1e9)
    workers = torch.get_num_threads()
    return Execution(strategy, None, compiled, settings.bfloat16, memory, workers)


def _matching(experiment: Experiment) -> GradientMatching:
    settings, dataset = narrowed(experiment.settings, GradientMatchingSettings), experiment.dataset
    own = _row(method_named(settings.method))
    network = experiment.network()
    strategy = parse_strategy(settings.augmentation)
    augmentation = SiameseAugmentation(strategy) if strategy else None
    correction = correction_of(settings)
    published = GradientMatchingLoss(
        contrastive=own.contrastive,
        augmentation=augmentation,
        matching_steps=settings.matching_steps,
        warm_up=WarmUp(settings.warm_up_iterations, settings.warm_up_steps),
        distance=DISTANCES[settings.distance],
        execution=_execution(experiment, network),
        threshold=HardThreshold(settings.hard_threshold) if settings.hard_threshold is not None else None,
        single_samples=correction.reduction == "per_sample",
    )
    loss = published if own.loss is None else own.loss(published)
    return GradientMatching(dataset, network, loss, settings.loops, correction, augmentation)


def _distillation(
    experiment: Experiment, method: GradientMatching, measurements: Sequence[Measurement]
) -> Distillation:
    settings = narrowed(experiment.settings, GradientMatchingSettings)
    steps = {"images": experiment.image_step(settings.learning_rate)}
    return experiment.distillation(method, experiment.start(settings.initialisation), steps, measurements)


register("dc", MethodSettings(False, False, "noise"), "gradient matching (Zhao, Mopuri & Bilen, ICLR 2021)")
register("dsa", MethodSettings(False, True, "real"), "DC with siamese augmentation (Zhao & Bilen, ICML 2021)")
register("dcc", MethodSettings(True, False, "real"), "contrastive gradient matching (Lee et al., ICML 2022)")
register("dsac", MethodSettings(True, True, "real"), "DCC with siamese augmentation")
