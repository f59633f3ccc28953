"""What a sweep will cost before it is run: hours at this device's measured speed, and disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from empirical.data.datasets import Dataset
from empirical.experiment import cost
from empirical.experiment.experiment import Experiment
from empirical.experiment.families import family_of
from empirical.networks.cost import measure
from empirical.settings.settings import Settings
from empirical.sweep.cells import Cell, has_ipc, shares_work
from shared.terminal.printing import Sheet
from shared.terminal.progress import duration

ROW_BYTES = 330
"""A step's line in metrics.jsonl."""
FILES_BYTES = 20_000
"""config.json, summary.json and the picture."""


@dataclass(frozen=True)
class Forecast:
    """Of a group of cells: `seconds` of one worker, `disk` in bytes."""

    seconds: float
    disk: float


def group_forecast(group: Sequence[Cell], dataset: Dataset, speed: float) -> Forecast:
    """Of one group.

    Args:
        group: cells that share work, or one.
        dataset: theirs.
        speed: floating-point operations a second.

    """
    settings = group[0].settings
    network = Experiment(settings, dataset, Path(), settings.seed).network()
    flop = dict(cost.estimate(settings, dataset, network, 1, False).flop)
    builder = family_of(settings)
    share = builder.shared(settings)
    if share is not None and len(group) > 1 and shares_work(settings):
        flop["real gradients"] *= share / len(group) + 1 - share
    channels, height, width = dataset.shape
    images = 4 * dataset.classes * settings.ipc * channels * height * width
    parameters = 4 * sum(p.numel() for p in network.parameters())
    disk = FILES_BYTES + images
    if rows := builder.work(settings, dataset, measure(network, dataset.shape)).rows:
        disk += 2 * images + parameters + ROW_BYTES * rows
    return Forecast(len(group) * sum(flop.values()) / speed, len(group) * float(disk))


def forecast_table(
    groups: Sequence[Sequence[Cell]], data_of: Callable[[Settings], Dataset], workers: int
) -> Sheet:
    """Cells, hours of one worker and disk, by data set, method and images a class; and the sum.

    Args:
        groups: what is to be run.
        data_of: settings -> their data set.
        workers: among which the sum's time is divided.

    """
    speeds: dict[tuple[object, ...], float] = {}
    sums: dict[tuple[str, str, int], list[float]] = {}
    for group in groups:
        s = group[0].settings
        dataset = data_of(s)
        kind = (s.dataset, s.network, *s.variant.items())
        if kind not in speeds:
            speeds[kind] = cost.speed(Experiment(s, dataset, Path(), s.seed).network(), dataset)
        found = group_forecast(group, dataset, speeds[kind])
        row = sums.setdefault((s.dataset, s.method, s.ipc), [0, 0, 0.0, 0.0])
        for place, value in enumerate((len(group), 1, found.seconds, found.disk)):
            row[place] += value
    drawn = Sheet(("data set", "method", "ipc", "cells", "jobs", "time of one worker", "MB"), "to be run", names=3)
    total = [sum(column) for column in zip(*sums.values(), strict=True)] or [0, 0, 0.0, 0.0]
    for (dataset_name, method, ipc), row in sums.items():
        shown = str(ipc) if has_ipc(method) else "-"
        drawn.add_row(dataset_name, method, shown, *_shown(row))
    drawn.add_section()
    drawn.add_row("all", "", "", *_shown(total))
    hours = total[2] / 3600 / max(1, min(workers, int(total[1]) or 1))
    drawn.caption = f"about {hours:.3g} h with {workers} worker{'s' if workers != 1 else ''}, measured on this device"
    return drawn


def _shown(row: Sequence[float]) -> list[str]:
    return [str(int(row[0])), str(int(row[1])), duration(row[2]), f"{row[3] / 1e6:.1f}"]
