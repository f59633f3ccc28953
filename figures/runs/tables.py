"""``python -m figures.tables ROOT...``: accuracy of recorded runs as a table, paired by seed, beside the published one.

Runs are found under each ROOT by their records.  Cells are (data set, images a class, method); within a cell every seed
is one distillation, evaluated on several networks.  The gain of the correction is the mean over seeds of the paired
difference (same seed: same real batches, networks, augmentation and evaluation seeds), with a 95 % t interval.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray
from scipy.stats import t as student

from figures.runs.published import CORRECTED, published
from figures.runs.recorded import PLAIN, Cells, read_cells
from shared.terminal.arguments import read_arguments
from shared.terminal.command import command

Array = NDArray[np.float64]
Cell = tuple[str, int, str]  # data set, images a class, method


@dataclass(frozen=True)
class Measured:
    """Accuracies in percent of one cell by seed: each an array over evaluation networks; lambda 0 and the corrected.

    `strength` says of the corrected how it was: lambda, or the pull that lambda was measured from; None without one.
    """

    plain: dict[int, Array]
    corrected: dict[int, Array]
    strength: str | None


def collect(roots: Sequence[Path]) -> dict[Cell, Measured]:
    """Finished runs below the folders, by cell.

    Raises:
        ValueError: there is none, a record is damaged, two runs of a cell differ in a setting that is not compared, or
            a cell holds two strengths of the correction other than 0: one table is one comparison.
    """
    return measured_cells(read_cells(roots)[0])


def measured_cells(cells: Cells) -> dict[Cell, Measured]:
    """Plain and corrected runs of every cell; schedules of lambda have no place in the table."""
    found: dict[Cell, Measured] = {}
    for (dataset, method, ipc), variants in cells.items():
        by_seed = {c: {s: r.percent for s, r in v.items()} for c, v in variants.items() if not c.adaptive}
        others = [c for c in by_seed if c != PLAIN]
        if len(others) > 1:
            one, two = ("pull " * c.pull + f"{c.start:g}" for c in others[:2])
            raise ValueError(
                f"{method} on {dataset} was run with lambda {one} and {two}: name folders that hold one of them"
            )
        strength = "pull " * others[0].pull + f"{others[0].start:g}" if others else None
        if by_seed:
            corrected = by_seed[others[0]] if others else {}
            found[dataset, ipc, method] = Measured(by_seed.get(PLAIN, {}), corrected, strength)
    return {cell: found[cell] for cell in sorted(found)}


def over_seeds(accuracies: dict[int, Array]) -> tuple[float, float, float, int]:
    """(mean, standard deviation over distillation seeds, mean standard deviation over networks, seeds)."""
    means = np.array([a.mean() for a in accuracies.values()])
    networks = [a.std(ddof=1) for a in accuracies.values() if a.size > 1]
    spread = float(means.std(ddof=1)) if means.size > 1 else math.nan
    return float(means.mean()), spread, float(np.mean(networks)) if networks else math.nan, means.size


def paired_gain(measured: Measured) -> tuple[float, float, int] | None:
    """(mean gain of the correction, half width of its 95 % interval, pairs), in points; None without a pair."""
    seeds = sorted(set(measured.plain) & set(measured.corrected))
    if not seeds:
        return None
    gains = np.array([measured.corrected[s].mean() - measured.plain[s].mean() for s in seeds])
    if gains.size == 1:
        return float(gains[0]), math.nan, 1
    half = student.ppf(0.975, gains.size - 1) * gains.std(ddof=1) / math.sqrt(gains.size)
    return float(gains.mean()), float(half), gains.size


def _number(value: float) -> str:
    """Two decimals; one seed or one network has no spread."""
    return "-" if math.isnan(value) else f"{value:.2f}"


def table(measured: dict[Cell, Measured]) -> str:
    """The Markdown table."""
    reference = published()

    def entry(accuracies: dict[int, Array]) -> str:
        if not accuracies:
            return "-"
        mean, seeds, networks, count = over_seeds(accuracies)
        return f"{mean:.2f} (seeds {_number(seeds)}, networks {_number(networks)}; n = {count})"

    def stated(method: str, dataset: str, ipc: int) -> str:
        name = Path(dataset).name.replace("_", "-")  # a path that ends in a known name is that data set
        found = reference.get((method, name, ipc or None))  # the whole set has no images a class
        return str(found) if found else "-"

    lines = [
        "| data set | ipc | method | lambda | plain % | with SDC % | paired gain (95 %) | published plain | + SDC |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (dataset, ipc, method), cell in measured.items():
        gain = paired_gain(cell)
        difference = "-" if gain is None else f"{gain[0]:+.2f} ± {_number(gain[1])} (n = {gain[2]})"
        lines.append(
            f"| {dataset} | {ipc} | {method} | {cell.strength or '-'} | {entry(cell.plain)} | "
            f"{entry(cell.corrected)} | {difference} | {stated(method, dataset, ipc)} | "
            f"{stated(method + CORRECTED, dataset, ipc)} |"
        )
    return "\n".join(lines)


def show(roots: Sequence[Path]) -> None:
    """Prints the table of the runs below some folders.

    Raises:
        ValueError: there are none, or a record is damaged.

    """
    if not roots:
        raise ValueError("no finished run under no folder at all: name folders that hold recorded runs")
    cells, left_out = read_cells(roots)
    print(table(measured_cells(cells)))
    left_out += [f"{cell[1]} on {cell[0]}, ipc {cell[2]}: {c}" for cell, v in cells.items() for c in v if c.adaptive]
    if left_out:
        print("left out: " + "; ".join(left_out), file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit status: 2 if there is nothing to show or a record is damaged."""

    def body() -> None:
        kind = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(name="roots")]
        show(
            read_arguments(
                lambda: tyro.cli(kind, prog="python -m figures.tables", description=__doc__, args=arguments)
            )
        )

    return command(body)
