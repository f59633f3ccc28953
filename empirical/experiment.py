"""From resolved settings to a synthetic set in a folder: the parts are put together here, and only here.

A method is a maker: a function from an `Experiment` to a `SyntheticSet`. Another family of methods registers
its own with `@maker("name")`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch

from empirical import networks, synthetic
from empirical.config import Settings, identity
from empirical.coresets import Forgetting, Herding, Random
from empirical.correction import AdaptiveSampleDifficultyCorrection, SampleDifficultyCorrection
from empirical.data.augmentation import SiameseAugmentation, parse_strategy
from empirical.data.datasets import Dataset
from empirical.distillation import Distillation, Diverged, Interruption, Measurement, Schedule, Step, distil, lane
from empirical.evaluation import NetworkChoice, Protocol, stored_recipe
from empirical.export import to_picture
from empirical.gradient_matching.class_gradients import Execution
from empirical.gradient_matching.class_gradients import Strategy as GradientStrategy
from empirical.gradient_matching.distances import DISTANCES
from empirical.gradient_matching.hard_threshold import HardThreshold
from empirical.gradient_matching.method import GradientMatching, Loops
from empirical.gradient_matching.methods import METHODS, GradientMatchingLoss
from empirical.gradient_matching.paired import PairedGradientMatching
from empirical.gradient_matching.schedule import WarmUp
from empirical.network_cost import measure
from empirical.paired_distillation import Outcome, drive
from empirical.probe import DifficultyProbe
from empirical.seeds import generator
from empirical.synthetic import SyntheticSet
from empirical.training import COMPILE_FROM_FLOP
from empirical.trajectory_matching import make as trajectory
from empirical.trajectory_matching.settings import METHODS as TRAJECTORIES
from shared.records import write_config


@dataclass(frozen=True)
class Experiment:
    """One synthetic set to be made.

    Attributes:
        settings: resolved.
        dataset: the real data.
        folder: of the run; the caller holds its lock.
        seed: of this repetition.

    """

    settings: Settings
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
        return Protocol(
            settings.eval_epochs or 0, settings.eval_augmentation or "none", batch=settings.eval_batch
        )

    def network(self) -> networks.Classifier:
        """A network of the experiment's architecture on the data's device."""
        choice = self.choice
        built = networks.build(choice.name, self.dataset.shape, self.dataset.classes, **choice.variant)
        return built.to(self.dataset.device)


Maker = Callable[[Experiment], SyntheticSet]
MAKERS: dict[str, Maker] = {}
TOGETHER: dict[str, Callable[[Sequence[Experiment]], list[Outcome]]] = {}
"""Makers of sets that differ in the coefficient of the correction alone, sharing the work that is common."""


def maker(name: str) -> Callable[[Maker], Maker]:
    """Decorator: the function makes the sets of the method of that name."""

    def decorate(make: Maker) -> Maker:
        MAKERS[name] = make
        return make

    return decorate


def correction_of(settings: Settings) -> SampleDifficultyCorrection:
    """The correction that the settings ask for; one with coefficient 0 if they ask for none."""
    options: Mapping[str, Any] = {
        "power": settings.sdc_power,
        "over_classes": settings.sdc_over_classes,
        "parameters": settings.sdc_parameters,
        "reduction": settings.sdc_reduction,
    }
    if settings.asdc is not None:
        shape = cast(Literal["geometric", "concave"], settings.asdc_shape)
        return AdaptiveSampleDifficultyCorrection(*settings.asdc, settings.asdc_steps or 1, shape, **options)
    return SampleDifficultyCorrection(float(settings.sdc or 0.0), **options)


def _execution(experiment: Experiment, network: networks.Classifier) -> Execution:
    settings, dataset = experiment.settings, experiment.dataset
    compiled = settings.compiled == "on"
    if settings.compiled == "auto":
        updates = settings.iterations * (settings.matching_steps or 1)
        images = updates * dataset.classes * settings.batch_real
        flop = images * measure(network, dataset.shape).training_flop
        compiled = dataset.device.type == "cpu" and flop > COMPILE_FROM_FLOP
    strategy = cast(GradientStrategy, settings.strategy)
    memory = int(settings.memory_budget * 1e9)
    workers = torch.get_num_threads()
    return Execution(strategy, None, compiled, settings.bfloat16, memory, workers)


def _matching_method(experiment: Experiment) -> GradientMatching:
    settings, dataset = experiment.settings, experiment.dataset
    network = experiment.network()
    strategy = parse_strategy(settings.augmentation or "none")
    augmentation = SiameseAugmentation(strategy) if strategy else None
    correction = correction_of(settings)
    loops = loops_of(settings)
    loss = GradientMatchingLoss(
        contrastive=METHODS[settings.method].contrastive,
        augmentation=augmentation,
        matching_steps=loops.matching_steps,
        warm_up=WarmUp(settings.warm_up_iterations, settings.warm_up_steps),
        distance=DISTANCES[settings.distance],
        execution=_execution(experiment, network),
        threshold=HardThreshold(settings.hard_threshold) if settings.hard_threshold is not None else None,
        single_samples=correction.reduction == "per_sample",
    )
    return GradientMatching(dataset, network, loss, loops, correction, augmentation)


def loops_of(settings: Settings) -> Loops:
    """Lengths of the loops of gradient matching, from resolved settings."""
    return Loops(
        settings.iterations,
        settings.matching_steps or 1,
        settings.network_epochs or 0,
        settings.batch_real,
        settings.network_rate,
    )


def _measurements(experiment: Experiment) -> list[Measurement]:
    if not (every := experiment.settings.probe_every):
        return []
    probe = DifficultyProbe(experiment.dataset, experiment.choice, experiment.settings.ipc, seed=0)
    return [Measurement(probe, every)]


def _distillation(
    experiment: Experiment, method: GradientMatching, measurements: Sequence[Measurement]
) -> Distillation:
    settings, dataset = experiment.settings, experiment.dataset
    return Distillation(
        method=method,
        start=synthetic.initialise(
            settings.initialisation or "real", dataset, settings.ipc, generator(experiment.seed, "start")
        ),
        generator=generator(experiment.seed, "distillation"),
        steps={"images": Step(settings.learning_rate or 0.1, settings.momentum)},
        folder=experiment.folder,
        identity={**identity(settings), "seed": experiment.seed, "data": dataset.fingerprint},
        resume=settings.resume,
        schedule=Schedule(),
        measurements=measurements,
        title=f"{settings.method} {settings.dataset}",
        quiet=settings.quiet,
    )


def _gradient_matching(experiment: Experiment) -> SyntheticSet:
    method = _matching_method(experiment)
    return distil(_distillation(experiment, method, _measurements(experiment)))


def _gradient_matching_together(experiments: Sequence[Experiment]) -> list[Outcome]:
    methods = [_matching_method(experiment) for experiment in experiments]
    measurements = _measurements(experiments[0])
    with Interruption() as interruption:
        lanes = []
        for experiment, method in zip(experiments, methods, strict=True):
            # One progress bar stands for all: they go in step.
            quiet = experiment.settings.quiet or experiment is not experiments[0]
            task = replace(_distillation(experiment, method, measurements), quiet=quiet)
            lanes.append(lane(task, interruption))
        return drive(PairedGradientMatching(methods), lanes)


for _name in METHODS:
    maker(_name)(_gradient_matching)
    TOGETHER[_name] = _gradient_matching_together


def _trajectory_matching(experiment: Experiment) -> SyntheticSet:
    settings, dataset = experiment.settings, experiment.dataset
    own, strategy = settings.trajectory, settings.augmentation or "none"
    network = experiment.network()
    pool = trajectory.experts_of(dataset, experiment.choice, settings.method, own, strategy, settings.quiet)
    start = trajectory.starting_set(
        dataset,
        pool,
        network,
        settings.method,
        own,
        settings.ipc,
        settings.initialisation or "real",
        experiment.seed,
    )
    every = settings.probe_every or 0
    protocol, choice = experiment.protocol, experiment.choice
    return trajectory.distilled(
        dataset,
        network,
        pool,
        start,
        settings.method,
        own,
        iterations=settings.iterations,
        image_step=Step(settings.learning_rate or 0.1, settings.momentum),
        correction=correction_of(settings),
        augmentation=strategy,
        seed=experiment.seed,
        folder=experiment.folder,
        run_identity={**identity(settings), "seed": experiment.seed, "data": dataset.fingerprint},
        resume=settings.resume,
        probe_every=every,
        probe=trajectory.probes(dataset, choice, pool, network, own, settings.ipc) if every else None,
        evaluation=trajectory.evaluation_points(
            dataset, protocol, choice, settings.eval_networks, experiment.seed
        ),
        title=f"{settings.method} {settings.dataset}",
        quiet=settings.quiet,
    )


def missing_experts(experiment: Experiment) -> int:
    """Experts that the run needs and that are not there yet; 0 for other methods.

    Raises:
        BadExpert: experts are there, but of another run.

    """
    settings = experiment.settings
    if settings.method not in TRAJECTORIES:
        return 0
    described = prepared(settings, experiment.dataset, fitted=False)
    return trajectory.experts_to_make(
        described, experiment.choice, settings.method, settings.trajectory, settings.augmentation or "none"
    )


def experts_command(settings: Settings) -> str:
    """The command that makes the experts of a run."""
    own = settings.trajectory
    words = [
        "python -m empirical.experts",
        f"--dataset {settings.dataset}",
        f"--kind {TRAJECTORIES[settings.method].experts}",
        f"--count {own.expert_count}",
        f"--epochs {own.expert_training_epochs}",
        f"--network {settings.network}",
        f"--augmentation {settings.augmentation}",
        f"--validation {settings.validation:g}",
        f"--rate {own.expert_rate:g} --batch {own.expert_batch}",
        f"--rho {own.rho:g} --alpha {own.alpha:g}" if TRAJECTORIES[settings.method].experts == "flat" else "",
        f"--zca {own.zca} --preset {settings.preset}",
        *(f"--{name} {value}" for name, value in settings.variant.items()),
        f"--out {own.experts}" if own.experts else "",
        f"--data-root {settings.data_root}" if settings.data_root else "",
        f"--train-images {settings.train_images}" if settings.train_images else "",
    ]
    return " ".join(word for word in words if word)


def prepared(settings: Settings, dataset: Dataset, fitted: bool = True) -> Dataset:
    """The data as the method sees them: whitened where it asks for that.

    `fitted` false: only the description is right, which is quick and enough to find a folder.
    """
    if settings.method not in TRAJECTORIES or not settings.trajectory.zca:
        return dataset
    return trajectory.whitened(dataset, fitted)


for _name in TRAJECTORIES:
    maker(_name)(_trajectory_matching)


@maker("random")
def _random(experiment: Experiment) -> SyntheticSet:
    return Random()(experiment.dataset, experiment.settings.ipc, generator(experiment.seed, "coreset"))


@maker("herding")
def _herding(experiment: Experiment) -> SyntheticSet:
    settings = experiment.settings
    chosen = Herding(settings.network, settings.variant, settings.feature_epochs)
    return chosen(experiment.dataset, settings.ipc, generator(experiment.seed, "coreset"))


@maker("forgetting")
def _forgetting(experiment: Experiment) -> SyntheticSet:
    settings = experiment.settings
    keep = cast(Literal["highest", "lowest"], settings.forgetting_keep)
    chosen = Forgetting(settings.network, settings.variant, settings.forgetting_epochs, keep)
    return chosen(experiment.dataset, settings.ipc, generator(experiment.seed, "coreset"))


def _write_config(experiment: Experiment) -> None:
    write_config(
        experiment.folder,
        experiment.settings,
        seed=experiment.seed,
        device={"name": str(experiment.dataset.device), "threads": torch.get_num_threads()},
        data=experiment.dataset.describe(),
        correction=correction_of(experiment.settings).settings(),
    )


def make(experiment: Experiment) -> SyntheticSet:
    """Makes the set and leaves `config.json`, `synthetic.safetensors` and `synthetic.png` in the folder.

    Raises:
        Diverged: the last finite set is stored all the same.

    """
    _write_config(experiment)
    try:
        made = MAKERS[experiment.settings.method](experiment)
    except Diverged as failure:
        store(experiment, failure.synthetic)
        raise
    store(experiment, made)
    return made


def make_together(experiments: Sequence[Experiment]) -> list[Outcome]:
    """`make` of experiments that differ in the coefficient alone, with shared work; each in its own folder.

    Returns:
        For each the set, or why it diverged (the last finite set is stored then).

    Raises:
        ValueError: they differ in more, or their method shares nothing.

    """
    first = experiments[0]
    if first.settings.method not in TOGETHER:
        raise ValueError(f"{first.settings.method} shares no work between coefficients")
    for other in experiments[1:]:
        ours, theirs = identity(first.settings), identity(other.settings)
        different = [name for name in ours if name != "sdc" and ours[name] != theirs[name]]
        if other.seed != first.seed or different:
            raise ValueError(f"runs that share work differ in sdc alone, not in {(different or ['seed'])[0]}")
    for experiment in experiments:
        _write_config(experiment)
    outcomes = TOGETHER[first.settings.method](experiments)
    for experiment, outcome in zip(experiments, outcomes, strict=True):
        store(experiment, outcome.synthetic if isinstance(outcome, Diverged) else outcome)
    return outcomes


def store(experiment: Experiment, made: SyntheticSet) -> None:
    """Writes a set with the recipe to judge it by, and its picture."""
    settings = experiment.settings
    recipe = {
        **stored_recipe(
            experiment.dataset,
            experiment.protocol,
            experiment.choice,
            settings.eval_networks,
            experiment.seed,
        ),
        "made_by": {"method": settings.method, **identity(settings), "seed": experiment.seed},
    }
    file = synthetic.save(experiment.folder, made, recipe, experiment.dataset.preprocessing)
    to_picture(synthetic.load(file), experiment.folder / "synthetic.png")
