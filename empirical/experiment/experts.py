"""The experts of trajectory matching: how those of a run are trained, where they lie, which are missing."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import torch

from empirical.data.datasets import Dataset
from empirical.data.whitening import EPSILON, Whitening
from empirical.experiment.experiment import Experiment
from empirical.experiment.families import family_of, method_named
from empirical.networks.choice import NetworkChoice
from empirical.runtime.checkpoint import Lock
from empirical.runtime.seeds import derived_seed
from empirical.settings.settings import Distilled, Resolved
from empirical.settings.trajectory import ResolvedTrajectory
from empirical.trajectory_matching.expert_training import (
    ExpertPool,
    ExpertRecipe,
    Kind,
    Order,
    identity,
    missing_experts,
    train_experts,
)


@dataclass(frozen=True, kw_only=True)
class TrajectoryMatchingSettings(Distilled):
    """Resolved: every number of trajectory matching is there."""

    trajectory: ResolvedTrajectory


def expert_kind(method: str) -> Kind:
    """How the experts of a method are trained.

    Raises:
        ValueError: it needs none.

    """
    tags = method_named(method).tags
    if "trajectory" not in tags:
        raise ValueError(f"{method} needs no experts")
    return "flat" if "flat experts" in tags else "sgd"


def expert_recipe(settings: TrajectoryMatchingSettings) -> ExpertRecipe:
    """How the experts of a run are trained."""
    own = settings.trajectory
    return ExpertRecipe(
        expert_kind(settings.method),
        own.expert_rate,
        own.expert_batch,
        settings.augmentation or "none",
        own.rho,
        own.alpha,
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


def experts_of(dataset: Dataset, choice: NetworkChoice, settings: TrajectoryMatchingSettings) -> ExpertPool:
    """The experts of a run; missing ones are made. Their seed is always 0, so that runs share them.

    Experts that are there may be shorter or longer than those the run would make, if they are long enough for it.
    """
    own, recipe = settings.trajectory, expert_recipe(settings)
    folder = own.experts or expert_folder(dataset, choice, recipe)
    order = Order(folder, own.expert_count, own.expert_training_epochs, at_least=own.epochs_needed)
    with Lock(folder):
        return train_experts(dataset, choice, recipe, order, quiet=settings.quiet)


def experts_folder(experiment: Experiment) -> Path | None:
    """Where the experts of a run lie; None for methods that need none."""
    settings = experiment.settings
    if not isinstance(settings, TrajectoryMatchingSettings):
        return None
    described = family_of(settings).prepared(settings, experiment.dataset, fitted=False)
    return settings.trajectory.experts or expert_folder(described, experiment.choice, expert_recipe(settings))


def experts_missing(experiment: Experiment) -> int:
    """Experts that the run needs and that are not there yet; 0 for methods that need none.

    Raises:
        BadExpert: experts are there, but of another run.

    """
    settings = experiment.settings
    if not isinstance(settings, TrajectoryMatchingSettings):
        return 0
    described = family_of(settings).prepared(settings, experiment.dataset, fitted=False)
    own, recipe, choice = settings.trajectory, expert_recipe(settings), experiment.choice
    folder = own.experts or expert_folder(described, choice, recipe)
    return len(missing_experts(folder, own.expert_count, identity(described, choice, recipe), own.epochs_needed))


def experts_command(settings: Resolved) -> str:
    """The command that makes the experts of a run, exactly and safe to paste into a shell; empty if it needs none."""
    if not isinstance(settings, TrajectoryMatchingSettings):
        return ""
    own = settings.trajectory
    options: dict[str, object] = {
        "dataset": settings.dataset,
        "kind": expert_kind(settings.method),
        "count": own.expert_count,
        "epochs": own.expert_training_epochs,
        "network": settings.network,
        "augmentation": settings.augmentation,
        "validation": settings.validation,
        "rate": own.expert_rate,
        "batch": own.expert_batch,
    }
    if expert_kind(settings.method) == "flat":
        options |= {"rho": own.rho, "alpha": own.alpha}
    options |= {"zca": own.zca, "preset": settings.preset, **settings.variant}
    given = {"out": own.experts, "data-root": settings.data_root, "train-images": settings.train_images}
    options |= {name: value for name, value in given.items() if value}
    words = []
    for name, value in options.items():
        # a value that looks like a flag is one word with its own
        words += [f"--{name}={value}"] if str(value).startswith("-") else [f"--{name}", str(value)]
    return shlex.join(["python", "-m", "empirical.experts", *words])
