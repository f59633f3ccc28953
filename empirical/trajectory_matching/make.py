"""From a resolved experiment to a set distilled by trajectory matching: experts, start, engine, evaluation points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from empirical import synthetic
from empirical.checkpoint import Lock
from empirical.correction import SampleDifficultyCorrection
from empirical.data.augmentation import SiameseAugmentation, parse_strategy
from empirical.data.datasets import Dataset
from empirical.data.whitening import EPSILON, Whitening
from empirical.distillation import Distillation, Measurement, Probe, Schedule, Step, distil
from empirical.evaluation import NetworkChoice, Protocol, evaluate_splits
from empirical.network_cost import measure
from empirical.networks import Functional
from empirical.probe import DifficultyProbe
from empirical.seeds import derived_seed, generator
from empirical.synthetic import SyntheticSet
from empirical.threads import SMALL_FLOP
from empirical.trajectory_matching.compiled import Compiled
from empirical.trajectory_matching.experts import (
    ExpertPool,
    ExpertRecipe,
    Order,
    identity,
    missing_experts,
    train_experts,
)
from empirical.trajectory_matching.method import Engine, TrajectoryMatching
from empirical.trajectory_matching.selection import selected_start, with_logits
from empirical.trajectory_matching.settings import METHODS, TrajectorySettings
from empirical.trajectory_matching.snapshot_probe import SnapshotProbe
from empirical.trajectory_matching.student import Chunked, Eager, Student, TrainingLoss


def expert_recipe(method: str, settings: TrajectorySettings, augmentation: str) -> ExpertRecipe:
    """How the experts of a method are trained; settings are filled."""
    return ExpertRecipe(
        METHODS[method].experts,
        settings.expert_rate or 0.01,
        settings.expert_batch or 256,
        augmentation or "none",
        settings.rho or 0.01,
        settings.alpha if settings.alpha is not None else 0.3,
    )


def whitened(dataset: Dataset, fitted: bool = True) -> Dataset:
    """The data behind ZCA whitening of its training split; `fitted` false: a stand-in with its description only."""
    if fitted:
        return dataset.with_preprocessing(Whitening.fit(dataset.train.images))
    nothing = torch.zeros(0)
    return dataset.with_preprocessing(Whitening(nothing, nothing, nothing, EPSILON, len(dataset.train)))


def expert_folder(dataset: Dataset, choice: NetworkChoice, recipe: ExpertRecipe) -> Path:
    """Where experts lie unless a folder is named: one folder for each identity and length."""
    mark = derived_seed(0, repr(sorted(identity(dataset, choice, recipe).items())))
    return Path("experts") / f"{Path(dataset.name).name}-{recipe.kind}-{mark:016x}"


def experts_of(
    dataset: Dataset,
    choice: NetworkChoice,
    method: str,
    settings: TrajectorySettings,
    augmentation: str,
    quiet: bool = False,
) -> ExpertPool:
    """The experts of a run; missing ones are made. Their seed is always 0, so that runs share them.

    Experts that are there may be shorter or longer than those the run would make, if they are long enough for it.
    """
    recipe = expert_recipe(method, settings, augmentation)
    folder = settings.experts or expert_folder(dataset, choice, recipe)
    count, epochs = settings.expert_count or 1, settings.expert_training_epochs or 1
    with Lock(folder):
        order = Order(folder, count, epochs, at_least=settings.epochs_needed)
        return train_experts(dataset, choice, recipe, order, quiet=quiet)


def experts_to_make(
    dataset: Dataset, choice: NetworkChoice, method: str, settings: TrajectorySettings, augmentation: str
) -> int:
    """How many experts a run would have to make; `dataset` may be a stand-in that only describes the whitening.

    Raises:
        BadExpert: some are there, but not for this run.

    """
    recipe = expert_recipe(method, settings, augmentation)
    folder = settings.experts or expert_folder(dataset, choice, recipe)
    own = identity(dataset, choice, recipe)
    return len(missing_experts(folder, settings.expert_count or 1, own, settings.epochs_needed))


def starting_set(
    dataset: Dataset,
    pool: ExpertPool,
    network: nn.Module,
    method: str,
    settings: TrajectorySettings,
    ipc: int,
    kind: str,
    seed: int,
) -> SyntheticSet:
    """Images, labels and beta at iteration 0; `kind` is noise, real, or selected (by the experts, with logits)."""
    source = generator(seed, "start")
    if METHODS[method].labels == "hard":
        start = synthetic.initialise(kind, dataset, ipc, source)
        if settings.teacher_label:
            one_hot = torch.nn.functional.one_hot(start.labels, start.classes).to(start.images)
            start = SyntheticSet(start.images, one_hot, start.classes, "probabilities")
    elif kind == "selected":
        start = selected_start(dataset, pool, network, ipc, source)
    else:
        start = with_logits(synthetic.initialise(kind, dataset, ipc, source), pool, network)
    rate = torch.tensor(settings.lr_teacher, dtype=start.images.dtype, device=start.images.device)
    return replace(start, learning_rate=rate)


def probes(
    dataset: Dataset,
    choice: NetworkChoice,
    pool: ExpertPool,
    network: nn.Module,
    settings: TrajectorySettings,
    ipc: int,
) -> Probe:
    """Difficulty on fixed networks as in every distillation, and the gradient norm at fixed expert snapshots."""
    own = SnapshotProbe(pool, network, settings.starts)
    common = DifficultyProbe(dataset, choice, ipc, seed=0)
    return lambda made, steps: {**common(made, steps), **own(made, steps)}


def evaluation_points(
    dataset: Dataset, protocol: Protocol, choice: NetworkChoice, count: int, seed: int
) -> Probe:
    """Accuracy of fresh networks on test and, if there is one, validation images; for the record."""
    splits: tuple[Literal["test", "validation"], ...] = ("test",)
    if dataset.validation is not None:
        splits = ("test", "validation")

    def measured(made: SyntheticSet, steps: int) -> Mapping[str, Any]:
        found = evaluate_splits(made, dataset, protocol, choice, count, seed, splits)
        return {f"{name}_accuracies": list(e.accuracies) for name, e in found.items()}

    return measured


def distilled(
    dataset: Dataset,
    network: nn.Module,
    pool: ExpertPool,
    start: SyntheticSet,
    method: str,
    settings: TrajectorySettings,
    *,
    iterations: int,
    image_step: Step,
    correction: SampleDifficultyCorrection,
    augmentation: str,
    seed: int,
    folder: Path,
    run_identity: Mapping[str, Any],
    resume: bool = False,
    probe_every: int = 0,
    probe: Probe | None = None,
    evaluation: Probe | None = None,
    title: str = "distilling",
    quiet: bool = False,
) -> SyntheticSet:
    """Runs one of the four methods; see `distil` for what it raises."""
    functional = Functional(network)
    make: Callable[..., Student] = Compiled if settings.compiled_student else Eager
    student = make(TrainingLoss(functional, start.label_kind))
    if settings.chunk:
        student = Chunked(student, settings.chunk)
    strategy = parse_strategy(augmentation)
    batch = settings.batch_syn or len(start)
    engine = Engine(
        iterations=iterations,
        syn_steps=settings.syn_steps or 1,
        expert_epochs=settings.expert_epochs or 1,
        batch_syn=settings.batch_syn or None,
        propagate=settings.gradient == "exact",
        half_gradient=settings.legacy_half_gradient,
        skip_above=settings.threshold or None,
        target_labels=settings.teacher_label,
        correction_steps=settings.sdc_steps,
        small=dataset.device.type == "cpu" and measure(network, dataset.shape).training_flop * batch < SMALL_FLOP,
    )
    augmented = SiameseAugmentation(strategy) if strategy else None
    matching = TrajectoryMatching(pool, functional, student, settings.starts, engine, correction, augmented)
    steps = {
        "images": replace(image_step, average=settings.ema_decay or None),
        "learning_rate": Step(settings.lr_lr or 0.0, 0.5, above=0.0, lowest=settings.syn_lr_min),
    }
    if start.label_kind == "logits":
        steps["labels"] = Step(settings.lr_y or 0.0, 0.9)
    elif settings.teacher_label:
        steps["labels"] = Step(1.0, 0.0)
    measured = ((probe, probe_every), (evaluation, settings.eval_it or 0))
    task = Distillation(
        method=matching,
        start=start,
        generator=generator(seed, "distillation"),
        steps=steps,
        folder=folder,
        identity=run_identity,
        resume=resume,
        schedule=Schedule(),
        measurements=[Measurement(probe, every) for probe, every in measured if probe is not None],
        title=title,
        quiet=quiet,
    )
    return distil(task)
