"""`python -m empirical.experts`: train expert trajectories, or go on with a training that was stopped.

Experts that are there already are kept; those of other data, preprocessing, network or recipe are refused. Exit
status: 0; 2 for bad input; 3 for missing or unusable data; 130 if stopped (what is done is kept).
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from empirical import cost, networks
from empirical.checkpoint import FolderInUse, Lock
from empirical.data.augmentation import SiameseAugmentation, default_strategy
from empirical.data.datasets import DataError, load
from empirical.devices import device_named
from empirical.evaluation import NetworkChoice
from empirical.progress import duration
from empirical.trajectory_matching.experts import AT_ONCE, ExpertRecipe, Kind, flop, train_experts
from empirical.trajectory_matching.make import expert_folder, whitened


@dataclass(frozen=True)
class Options:
    """Options of the command; the published values are the defaults.

    Attributes:
        dataset: as in python -m empirical.run.
        kind: sgd (MTT, TESLA) or flat (adaptive GSAM: FTD, DATM).
        count: experts.
        epochs: of each; a snapshot is kept after every one.
        network: architecture.
        width: of the network.
        depth: of the network.
        activation: of the network.
        norm: of the network.
        pooling: of the network.
        rate: learning rate.
        batch: real images a step.
        augmentation: operations, or none; the data set's usual ones if not given.
        rho: radius of GSAM.
        alpha: weight of GSAM's orthogonal part.
        zca: whiten the images.
        validation: share of the training images held out, as in the run that will use the experts.
        seed: of that hold-out.
        expert_seed: of the experts.
        at_once: experts trained side by side.
        data_root: folder of the data files.
        download: fetch missing data.
        device: auto, cpu, cuda, cuda:1, ...
        out: folder; the one where runs look if not given.
        dry_run: print the cost, and stop.
        quiet: no progress.

    """

    dataset: str = "digits"
    kind: Kind = "sgd"
    count: int = 100
    epochs: int = 50
    network: str = "convnet"
    width: int | None = None
    depth: int | None = None
    activation: str | None = None
    norm: str | None = None
    pooling: str | None = None
    rate: float = 0.01
    batch: int = 256
    augmentation: str | None = None
    rho: float = 0.01
    alpha: float = 0.3
    zca: bool = False
    validation: float = 0.0
    seed: int = 0
    expert_seed: int = 0
    at_once: int = AT_ONCE
    data_root: Path | None = None
    download: bool = False
    device: str = "auto"
    out: Path | None = None
    dry_run: bool = False
    quiet: bool = False


def execute(options: Options, console: Console) -> None:
    """Trains what is missing; see `train_experts` for what it raises."""
    if options.count < 1 or options.epochs < 1 or options.at_once < 1:
        raise ValueError(
            f"--count, --epochs and --at-once are at least 1, not {options.count}, {options.epochs}, {options.at_once}"
        )
    recipe = ExpertRecipe(
        options.kind, options.rate, options.batch, options.augmentation or "none", options.rho, options.alpha
    )
    dataset = load(
        options.dataset,
        data_root=options.data_root,
        download=options.download,
        device=device_named(options.device),
        validation=options.validation,
        seed=options.seed,
    )
    if options.augmentation is None:
        usual = SiameseAugmentation(default_strategy(dataset.flip)).name
        recipe = ExpertRecipe(options.kind, options.rate, options.batch, usual, options.rho, options.alpha)
    names = ("width", "depth", "activation", "norm", "pooling")
    choice = NetworkChoice(
        options.network, {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    )
    network = networks.build(choice.name, dataset.shape, dataset.classes, **choice.variant).to(dataset.device)
    work = flop(dataset, network, recipe, options.count, options.epochs)
    size = 4 * (options.epochs + 1) * sum(p.numel() for p in network.parameters()) * options.count
    console.print(
        f"{options.count} {options.kind} experts of {options.epochs} epochs on {options.dataset}: "
        f"{work / 1e12:.3g} TFLOP, about {duration(work / cost.speed(network, dataset))} on {dataset.device}, "
        f"{size / 1e9:.2g} GB of disk",
        highlight=False,
    )
    if options.dry_run:
        return
    dataset = whitened(dataset) if options.zca else dataset
    folder = options.out or expert_folder(dataset, choice, recipe)
    with Lock(folder):
        pool = train_experts(
            dataset,
            choice,
            recipe,
            folder,
            options.count,
            options.epochs,
            options.expert_seed,
            at_once=options.at_once,
            quiet=options.quiet,
        )
    last = [file.header["accuracies"][-1]["test"] for file in pool.files]
    console.print(f"{folder}: test accuracy {100 * sum(last) / len(last):.2f} % on average", highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    options = tyro.cli(Options, args=arguments, prog="python -m empirical.experts", description=__doc__)
    try:
        execute(options, Console())
    except KeyboardInterrupt:
        print("error: stopped; the same command goes on from the last epoch", file=sys.stderr)
        return 130
    except (ValueError, FileNotFoundError, DataError, FolderInUse) as error:
        print(f"error: {error}", file=sys.stderr)
        return int(getattr(error, "exit_status", 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
