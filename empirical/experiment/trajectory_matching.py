"""Trajectory matching as a family of methods: MTT, FTD, TESLA and DATM are its rows, and another one is one row more.

    register("mine", MethodSettings("sgd", propagate=True, labels="hard"), "what it does")

What a row cannot say is a `change` of the engine that matches: see `MethodSettings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import nn

from empirical import networks
from empirical.correction import SampleDifficultyCorrection
from empirical.data.augmentation import SiameseAugmentation, default_strategy, parse_strategy
from empirical.data.datasets import Dataset
from empirical.distillation.loop import Measurement, Probe, Step, distil
from empirical.experiment import families
from empirical.experiment.experiment import Experiment, correction_of
from empirical.experiment.experts import TrajectoryMatchingSettings, experts_of, whitened
from empirical.experiment.families import Family, Method, Work, along_the_run, method_named
from empirical.experiment.gradient_matching import SECOND_ORDER
from empirical.networks import Functional
from empirical.networks.cost import Cost, measure
from empirical.runtime.seeds import generator
from empirical.runtime.threads import SMALL_FLOP
from empirical.settings.presets import table_name
from empirical.settings.settings import Resolved, Settings, narrowed
from empirical.settings.trajectory_presets import filled, published_lambda, row, run_values
from empirical.synthetic.synthetic_set import SyntheticSet
from empirical.trajectory_matching.compiled_student import Compiled, refuse_uncompilable
from empirical.trajectory_matching.expert_training import ExpertPool, Kind
from empirical.trajectory_matching.method import Engine, TrajectoryMatching
from empirical.trajectory_matching.selection import selected_start, with_logits
from empirical.trajectory_matching.snapshot_probe import SnapshotProbe
from empirical.trajectory_matching.student import Chunked, Eager, Student, TrainingLoss
from shared.records.roles import TRAJECTORY

_RATE_ADVICE = "--syn-lr-min keeps it above a bound, a smaller --lr-lr moves it less"
PUBLISHED_HOLD_OUT = 0.02
"""Share of the training images that chooses among the evaluation points."""


@dataclass(frozen=True)
class MethodSettings:
    """What tells the methods of the family apart.

    Attributes:
        experts: how they are trained.
        propagate: the exact gradient; false is TESLA's.
        labels: hard, or learned logits.
        change: makes another matching of the engine that would run; None keeps it.

    """

    experts: Kind
    propagate: bool
    labels: Literal["hard", "learned"]
    change: Callable[[TrajectoryMatching], TrajectoryMatching] | None = None


class TrajectoryMatchingFamily(Family):
    """See the module."""

    name = TRAJECTORY
    tags = frozenset({"set", "distilled", "trajectory"})
    resolved = TrajectoryMatchingSettings
    judged_along = True

    def own_tags(self, method: Method) -> frozenset[str]:
        """How its experts are trained, and whether labels are learnt."""
        own, found = _row(method), set()
        if own.experts == "flat":
            found.add("flat experts")
        if own.labels == "learned":
            found.add("learned labels")
        return frozenset(found)

    def preset(self, method: Method, settings: Settings, preset: str) -> dict[str, Any]:
        """The method's row, and of the preset what does not concern gradient matching."""
        values = super().preset(method, settings, preset)
        dataset = table_name(settings.dataset)
        kept = {k: v for k, v in values.items() if k in ("width", "repetitions")}
        own = run_values(method.name, dataset, settings.ipc, preset)
        found = {"validation": PUBLISHED_HOLD_OUT, **kept, **own}
        if dataset == "tiny-imagenet" and preset != "laptop":
            found["network"] = "convnetd4"
        return found

    def published_lambda(self, method: Method, dataset: str, ipc: int) -> float | None:
        """Of Tables 5 to 8."""
        return published_lambda(method.name, dataset, ipc)

    def check(self, method: Method, settings: Settings) -> None:
        """What needs gradients of single real images or hard labels."""
        own = _row(method)
        if settings.hard_threshold is not None or settings.sdc_reduction == "per_sample":
            raise ValueError("--hard-threshold and --sdc-reduction per_sample need gradient matching, not trajectories")
        if settings.trajectory.teacher_label and own.labels == "learned":
            raise ValueError(f"--teacher-label does not go with {method.name}, which learns its labels")

    def resolve(self, method: Method, settings: Settings, dataset: Dataset) -> dict[str, Any]:
        """As published for the method, the data set and the number of images a class."""
        own, typed = _row(method), settings
        values = row(method.name, table_name(settings.dataset), settings.ipc, settings.preset)
        strategy = SiameseAugmentation(default_strategy(dataset.flip)).name
        usual_start = "selected" if own.labels == "learned" else "real"
        gradient: Literal["exact", "frozen"] = "exact" if own.propagate else "frozen"
        small = settings.preset == "laptop"
        return {
            "trajectory": filled(typed.trajectory, values, gradient, len(dataset.train), small),
            "augmentation": strategy if typed.augmentation is None else typed.augmentation,
            "initialisation": typed.initialisation or values.get("initialisation", usual_start),
            "learning_rate": typed.learning_rate or values["learning_rate"],
            **along_the_run(typed, typed.iterations),
        }

    def work(self, settings: Resolved, dataset: Dataset, image: Cost) -> Work:
        """Inner steps there and back."""
        own = narrowed(settings, TrajectoryMatchingSettings)
        inner, synthetic = own.trajectory, dataset.classes * own.ipc
        passes = own.iterations * inner.syn_steps * min(inner.batch_syn or synthetic, synthetic)
        flop = float(passes * image.training_flop * (1 + SECOND_ORDER))
        return Work({"trajectories": flop}, own.iterations // inner.eval_it, own.iterations)

    def prepared(self, settings: Resolved, dataset: Dataset, fitted: bool = True) -> Dataset:
        """Whitened where the settings ask for that."""
        zca = narrowed(settings, TrajectoryMatchingSettings).trajectory.zca
        return whitened(dataset, fitted) if zca else dataset

    def notes(self, settings: Resolved) -> list[str]:
        """Images held out under a preset that is called published, where none are."""
        if settings.preset == "laptop" or not settings.validation:
            return []
        told = (
            f"{100 * settings.validation:g} % of the training images are held out, from the experts too, to choose "
            "among the evaluation points; the published runs hold none out and report the best test accuracy: "
            "--validation 0"
        )
        return [told]

    def refuse(self, settings: Resolved, dataset: Dataset) -> None:
        """A student that is to be compiled where nothing can be."""
        if settings.trajectory.compiled_student:
            network = networks.build(settings.network, dataset.shape, dataset.classes, **settings.variant)
            refuse_uncompilable(network, dataset.device)

    def make(self, experiment: Experiment) -> SyntheticSet:
        """One distillation, its experts made first where they are missing."""
        settings, dataset = narrowed(experiment.settings, TrajectoryMatchingSettings), experiment.dataset
        own, network = settings.trajectory, experiment.network()
        pool = experts_of(dataset, experiment.choice, settings)
        start = starting_set(experiment, pool, network)
        matching = _matching(experiment, start, pool, network)
        steps = {
            "images": replace(experiment.image_step(settings.learning_rate), average=own.ema_decay or None),
            "learning_rate": Step(own.lr_lr, 0.5, above=0.0, lowest=own.syn_lr_min, advice=_RATE_ADVICE),
        }
        if start.label_kind == "logits":
            steps["labels"] = Step(own.lr_y, 0.9)
        elif own.teacher_label:
            steps["labels"] = Step(1.0, 0.0)
        measurements = [Measurement(experiment.evaluation(), own.eval_it)]
        if settings.probe_every:
            measurements.insert(0, Measurement(_probes(experiment, pool, network), settings.probe_every))
        return distil(experiment.distillation(matching, start, steps, measurements))


FAMILY = TrajectoryMatchingFamily()


def register(name: str, own: MethodSettings, summary: str = "") -> Method:
    """Makes a method of the family known. Where no table has it, presets are MTT's.

    Raises:
        ValueError: the name is taken.

    """
    return families.register(Method(name, FAMILY, summary, own))


def _row(method: Method) -> MethodSettings:
    return cast(MethodSettings, method.own)


def starting_set(experiment: Experiment, pool: ExpertPool, network: nn.Module) -> SyntheticSet:
    """Images, labels and beta at iteration 0: from noise, real images, or real images that the experts select."""
    settings, dataset = narrowed(experiment.settings, TrajectoryMatchingSettings), experiment.dataset
    own, kind = settings.trajectory, settings.initialisation
    if _row(method_named(settings.method)).labels == "hard":
        start = experiment.start(kind)
        if own.teacher_label:
            one_hot = torch.nn.functional.one_hot(start.labels, start.classes).to(start.images)
            start = SyntheticSet(start.images, one_hot, start.classes, "probabilities")
    elif kind == "selected":
        start = selected_start(dataset, pool, network, settings.ipc, generator(experiment.seed, "start"))
    else:
        start = with_logits(experiment.start(kind), pool, network)
    rate = torch.tensor(own.lr_teacher, dtype=start.images.dtype, device=start.images.device)
    return replace(start, learning_rate=rate)


def _probes(experiment: Experiment, pool: ExpertPool, network: nn.Module) -> Probe:
    """Difficulty on fixed networks as in every distillation, and the gradient norm at fixed expert snapshots."""
    settings = narrowed(experiment.settings, TrajectoryMatchingSettings)
    own, common = SnapshotProbe(pool, network, settings.trajectory.starts), experiment.probe()
    return lambda made, steps: {**common(made, steps), **own(made, steps)}


def _matching(
    experiment: Experiment, start: SyntheticSet, pool: ExpertPool, network: nn.Module
) -> TrajectoryMatching:
    settings, dataset = narrowed(experiment.settings, TrajectoryMatchingSettings), experiment.dataset
    own, functional = settings.trajectory, Functional(network)
    make: Callable[..., Student] = Compiled if own.compiled_student else Eager
    student = make(TrainingLoss(functional, start.label_kind))
    if own.chunk:
        student = Chunked(student, own.chunk)
    batch = own.batch_syn or len(start)
    small = measure(network, dataset.shape).training_flop * batch < SMALL_FLOP
    engine = Engine(
        iterations=settings.iterations,
        syn_steps=own.syn_steps,
        expert_epochs=own.expert_epochs,
        batch_syn=own.batch_syn or None,
        propagate=own.gradient == "exact",
        half_gradient=own.legacy_half_gradient,
        skip_above=own.threshold or None,
        target_labels=own.teacher_label,
        correction_steps=own.sdc_steps,
        small=dataset.device.type == "cpu" and small,
    )
    strategy = parse_strategy(settings.augmentation)
    augmentation = SiameseAugmentation(strategy) if strategy else None
    correction: SampleDifficultyCorrection = correction_of(settings)
    matching = TrajectoryMatching(pool, functional, student, own.starts, engine, correction, augmentation)
    change = _row(method_named(settings.method)).change
    return matching if change is None else change(matching)


register("mtt", MethodSettings("sgd", True, "hard"), "matching training trajectories (Cazenavette et al., CVPR 2022)")
register("ftd", MethodSettings("flat", True, "hard"), "MTT with flat experts (Du et al., CVPR 2023)")
register("tesla", MethodSettings("sgd", False, "hard"), "MTT with constant memory (Cui et al., ICML 2023)")
register("datm", MethodSettings("flat", True, "learned"), "difficulty-aligned MTT (Guo et al., ICLR 2024)")
