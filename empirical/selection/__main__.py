"""`python -m empirical.selection`: the error of easy, hard and random subsets of real images, into one CSV.

Goes on from the rows that the file holds. `python -m figures selection` draws such files beside the theory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from empirical.data.datasets import load
from empirical.runtime.devices import device_named
from empirical.selection.scores import MEASURES, Scoring
from empirical.selection.selected import FOLDER, scored_alone
from empirical.selection.study import Study, Table, described, error_of, remaining, subsets
from shared.terminal.arguments import read_arguments
from shared.terminal.command import command, leave, refuse_file
from shared.terminal.progress import Reporter


@dataclass(frozen=True)
class Options:
    """Test error against images kept.

    Attributes:
        dataset: digits, mnist, ... or a path.
        data_root: folder of the data files.
        out: the CSV; output/selection/DATASET.csv if not given.
        by: measure of difficulty: gradn, el2n, misclassification, loss or margin.
        probe_networks: of the ensemble that ranks the images, crossed; two networks after one epoch are a poor probe.
        probe_epochs: of their training.
        network: of probe and students.
        per_class: sizes, in images a class.
        fractions: kept fractions of the pool.
        seeds: how many pools and students.
        steps: of a student's training.
        scores: folder of the probe's scores.
        device: auto, cpu, cuda, ...
        quick: three sizes, two fractions, two seeds: to look at.
        quiet: no progress.

    """

    dataset: str = "digits"
    data_root: Path | None = None
    out: Path | None = None
    by: str = "margin"
    probe_networks: int = 8
    probe_epochs: int = 10
    network: str = "mlp"
    per_class: tuple[int, ...] = Study.per_class
    fractions: tuple[float, ...] = Study.fractions
    seeds: int = 10
    steps: int = Study.steps
    scores: Path = FOLDER
    device: str = "auto"
    quick: bool = False
    quiet: bool = False


def measure(options: Options) -> Path:
    """Measure what is missing.

    Raises:
        ValueError: an option is out of range, or the file is of another study.

    """
    if options.by not in MEASURES:
        raise ValueError(f"--by is one of {', '.join(MEASURES)}, not {options.by}")
    if options.seeds < 1:
        raise ValueError(f"--seeds is at least 1, not {options.seeds}")
    sizes, fractions, seeds = options.per_class, options.fractions, options.seeds
    if options.quick:
        sizes, fractions, seeds = sizes[:5:2], fractions[1:3], min(2, seeds)
    study = Study(sizes, fractions, tuple(range(seeds)), options.network, (), options.steps, options.by)
    scoring = Scoring("crossed", options.probe_networks, options.network, (), options.probe_epochs)
    device = device_named(options.device)
    dataset = load(options.dataset, data_root=options.data_root, device=device)
    out = options.out or Path("output/selection") / f"{Path(dataset.name).name}.csv"
    refuse_file(out)
    probe = f"{options.probe_networks} networks, {options.probe_epochs} epochs"
    print(f"subsets of {options.dataset} ranked by {probe}, into {out}")
    scores = scored_alone(scoring, dataset, options.scores, options.quiet)
    table = Table(out, described(dataset, study, scores, probe))
    todo = remaining(subsets(study, dataset.train.class_sizes), table)
    difficulty = scores.difficulty(study.by)
    with Reporter(f"subsets of {options.dataset}", len(todo), 0, options.quiet) as progress:
        for k, point in enumerate(todo):
            table.add(point, *error_of(study, dataset, difficulty, point))
            progress.update(k + 1, {})
    print(f"next: python -m figures selection {out} draws it beside the theory")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""

    def work() -> None:
        options = read_arguments(
            lambda: tyro.cli(Options, args=arguments, prog="python -m empirical.selection", description=__doc__)
        )
        measure(options)

    return command(work, "the same command goes on from the last subset")


if __name__ == "__main__":
    leave(main)
