"""`python -m empirical.experts`: train expert trajectories, or go on with a training that was stopped.

Experts that are there already are kept; those of other data, preprocessing, network or recipe are refused. Exit
status: 0; 2 for bad input; 3 for missing or unusable data; 130 if stopped (what is done is kept).
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn

import tyro
from rich.console import Console

from empirical import networks
from empirical.data.datasets import load
from empirical.experiment import cost
from empirical.experiment.experts import (
    TrajectoryMatchingSettings,
    expert_folder,
    expert_kind,
    expert_recipe,
    whitened,
)
from empirical.experiment.families import names, unread
from empirical.experiment.resolve import resolve, with_preset
from empirical.networks.choice import NetworkChoice
from empirical.runtime.checkpoint import Lock
from empirical.runtime.devices import device_named
from empirical.runtime.heap import keep_freed_memory
from empirical.runtime.places import refuse_place
from empirical.runtime.registry import unknown
from empirical.settings.roles import COUNT, Bounds, check_number, flag
from empirical.settings.settings import NETWORK_VARIANT, Settings, narrowed
from empirical.trajectory_matching.expert_training import (
    AT_ONCE,
    Kind,
    Order,
    flop,
    identity,
    missing_experts,
    train_experts,
)
from shared.terminal.arguments import read_arguments
from shared.terminal.command import command, leave
from shared.terminal.plugins import load_plugins
from shared.terminal.printing import Plain
from shared.terminal.progress import duration


@dataclass(frozen=True)
class Options:
    """Options of the command. What is not given is as in a run of the method on the data set, so that the run's own
    defaults fit the experts.

    Attributes:
        dataset: as in python -m empirical.run.
        kind: sgd (MTT, TESLA) or flat (adaptive GSAM: FTD, DATM); that of the method if not given.
        method: mtt, tesla, ftd or datm, whose settings are taken; mtt for sgd and ftd for flat if not given.
        ipc: images a class of the run whose settings are taken.
        preset: of that run.
        count: how many there are to be; those in the folder count.
        epochs: of each; a snapshot is kept after every one.
        network: architecture, as in python -m empirical.run.
        width: channels of a ConvNet.
        depth: blocks of a ConvNet; 3 if not given.
        activation: relu, leaky-relu, sigmoid or swish; relu if not given.
        norm: instance, batch, layer, group or none; instance if not given.
        pooling: average, max or none; average if not given.
        rate: learning rate.
        batch: real images a step.
        augmentation: operations, or none.
        rho: radius of GSAM.
        alpha: weight of GSAM's orthogonal part.
        zca: whiten the images.
        validation: share of the training images held out, as in the run that will use the experts.
        train_images: training images used, as in that run.
        seed: of the experts; runs that make their own take 0.
        at_once: experts trained side by side.
        data_root: folder of the data files.
        download: fetch missing data.
        device: auto, cpu, cuda, cuda:1, ...
        out: folder; the one where runs look if not given.
        plugin: a Python file that registers a network, a data set or a method; may be given several times.
        dry_run: print the cost, and stop.
        quiet: no progress.

    """

    dataset: str = "digits"
    kind: Kind | None = None
    method: str | None = None
    ipc: int = 1
    preset: str | None = None
    count: int | None = None
    epochs: int | None = None
    network: str | None = None
    width: int | None = None
    depth: int | None = None
    activation: str | None = None
    norm: str | None = None
    pooling: str | None = None
    rate: float | None = None
    batch: int | None = None
    augmentation: str | None = None
    rho: float | None = None
    alpha: float | None = None
    zca: bool | None = None
    validation: float | None = None
    train_images: int | None = None
    seed: int = 0
    at_once: int = AT_ONCE
    data_root: Path | None = None
    download: bool = False
    device: str = "auto"
    out: Path | None = None
    plugin: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    dry_run: bool = False
    quiet: bool = False


def _method(options: Options) -> str:
    """The method whose settings are taken.

    Raises:
        ValueError: unknown, or its experts are of another kind.

    """
    if options.method is None:
        return next(name for name in names("trajectory") if expert_kind(name) == (options.kind or "sgd"))
    if options.method not in names("trajectory"):
        raise unknown("method", options.method, names("trajectory"))
    kind = expert_kind(options.method)
    if options.kind not in (None, kind):
        raise ValueError(f"experts of {options.method} are of kind {kind}, not {options.kind}: leave one of both out")
    return options.method


def _settings(options: Options) -> Settings:
    """Of the run that the experts are for, as far as they are known without the data."""
    usual = Settings(method=_method(options), dataset=options.dataset, ipc=options.ipc)
    run = with_preset(replace(usual, network=options.network or usual.network), options.preset)
    taken = ("network", *NETWORK_VARIANT, "validation", "train_images", "augmentation")
    given: dict[str, Any] = {n: getattr(options, n) for n in taken if getattr(options, n) is not None}
    return replace(run, **given)


def execute(options: Options, console: Console) -> None:
    """Trains what is missing; see `train_experts` for what it raises."""
    for name in ("count", "epochs", "at_once", "ipc"):
        check_number(name, getattr(options, name), Bounds(least=1, most=COUNT))
    settings = _settings(options)
    dataset = load(
        options.dataset,
        data_root=options.data_root,
        download=options.download,
        device=device_named(options.device),
        validation=settings.validation,
        train_images=settings.train_images,
    )
    run = narrowed(resolve(settings, dataset), TrajectoryMatchingSettings)
    own, settings = run.trajectory, run
    typed = [flag(f.name) for f in fields(options) if getattr(options, f.name) != f.default]
    for told in unread(typed, [run]):
        print(f"note: {told}", file=sys.stderr)
    recipe = expert_recipe(run)
    given: dict[str, Any] = {f.name: getattr(options, f.name, None) for f in fields(recipe)}
    recipe = replace(recipe, **{n: v for n, v in given.items() if v is not None and n not in ("kind", "augmentation")})
    count, epochs = options.count or own.expert_count, options.epochs or own.expert_training_epochs
    zca = own.zca if options.zca is None else options.zca
    choice = NetworkChoice(settings.network, settings.variant)
    network = networks.build(choice.name, dataset.shape, dataset.classes, **choice.variant).to(dataset.device)
    described = whitened(dataset, fitted=False) if zca else dataset
    folder = options.out or expert_folder(described, choice, recipe)
    refuse_place(folder)
    missing = len(missing_experts(folder, count, identity(described, choice, recipe), epochs, options.seed))
    work = flop(dataset, network, recipe, missing, epochs)
    size = 4 * (epochs + 1) * sum(p.numel() for p in network.parameters()) * missing
    console.print(
        f"{count} {recipe.kind} experts of {epochs} epochs on {options.dataset}, "
        f"{missing} of them to be made in {folder}: {work / 1e12:.3g} TFLOP, "
        f"about {duration(work / cost.speed(network, dataset))} on {dataset.device}, {size / 1e6:.3g} MB of disk",
    )
    if options.dry_run:
        return
    dataset = whitened(dataset) if zca else dataset
    with Lock(folder):
        order = Order(folder, count, epochs, options.seed)
        pool = train_experts(dataset, choice, recipe, order, at_once=options.at_once, quiet=options.quiet)
    last = [file.header["accuracies"][-1]["test"] for file in pool.files]
    console.print(
        f"{folder}: test accuracy {100 * sum(last) / len(last):.2f} % on average"
    )


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Reads the command line.

    Raises:
        SystemExit: status 2, unknown flag or a value of the wrong type.

    """
    load_plugins(sys.argv[1:] if arguments is None else arguments)
    return read_arguments(
        lambda: tyro.cli(Options, args=arguments, prog="python -m empirical.experts", description=__doc__)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    keep_freed_memory()
    return command(lambda: execute(parse(arguments), Plain()), "the same command goes on from the last epoch")


def console() -> NoReturn:
    """The installed command `easy-or-hard-experts`: the same as `python -m empirical.experts`."""
    leave(main)


if __name__ == "__main__":
    console()
