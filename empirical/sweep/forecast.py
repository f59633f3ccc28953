"""What a sweep will cost before it is run: hours at the speed of cells that are done, of a probe job or of this device;
and disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from empirical.data.datasets import Dataset
from empirical.experiment import cost
from empirical.experiment.experiment import Experiment
from empirical.experiment.families import family_of
from empirical.networks.cost import measure
from empirical.settings.settings import Resolved, Settings
from empirical.sweep.cells import Cell, has_ipc, shares_work
from empirical.sweep.speeds import kind_of
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


@dataclass(frozen=True)
class Speeds:
    """How fast what is.

    Attributes:
        done: (method, kind of network) -> operations a second of cells that are done.
        probed: kind of network -> the same of a probe job.

    """

    done: Mapping[tuple[str, str], float] = field(default_factory=dict)
    probed: Mapping[str, float] = field(default_factory=dict)

    def of(self, settings: Resolved) -> float | None:
        """Of a cell's settings; None: it has to be measured here."""
        kind = kind_of(settings)
        return self.done.get((settings.method, kind)) or self.probed.get(kind)

    def source(self, settings: Resolved) -> str:
        """Where that comes from."""
        kind = kind_of(settings)
        if (settings.method, kind) in self.done:
            return "cells that are done"
        return "a probe job" if kind in self.probed else "this machine"


@dataclass(frozen=True)
class Jobs:
    """Among how many workers the time is divided, and, on a cluster, the limit of a job in hours."""

    workers: int
    limit: float | None = None


def forecast_table(
    groups: Sequence[Sequence[Cell]], data_of: Callable[[Settings], Dataset], jobs: Jobs, speeds: Speeds
) -> Sheet:
    """Cells, time and disk by data set, method and images a class; and the sum.

    Args:
        groups: what is to be run.
        data_of: settings -> their data set.
        jobs: how they are run.
        speeds: known ones; others are measured on this device.

    """
    here: dict[str, float] = {}
    sums: dict[tuple[str, str, int], list[float]] = {}
    sources = []
    for group in groups:
        s = group[0].settings
        dataset, speed, kind = data_of(s), speeds.of(s), kind_of(s)
        if speed is None:
            if kind not in here:
                here[kind] = cost.speed(Experiment(s, dataset, Path(), s.seed).network(), dataset)
            speed = here[kind]
        if (source := speeds.source(s)) not in sources:
            sources.append(source)
        found = group_forecast(group, dataset, speed)
        row = sums.setdefault((s.dataset, s.method, s.ipc), [0, 0, 0.0, 0.0, 0.0])
        for place, value in enumerate((len(group), 1, found.seconds, found.disk)):
            row[place] += value
        row[4] = max(row[4], found.seconds)
    columns = ["data set", "method", "ipc", "cells", "jobs", "time of one worker", "longest job", "MB"]
    drawn = Sheet(columns, "to be run", names=3)
    total = [sum(column) for column in zip(*sums.values(), strict=True)] or [0, 0, 0.0, 0.0, 0.0]
    total[4] = max((row[4] for row in sums.values()), default=0.0)
    for (dataset_name, method, ipc), row in sums.items():
        shown = str(ipc) if has_ipc(method) else "-"
        drawn.add_row(dataset_name, method, shown, *_shown(row))
    drawn.add_section()
    drawn.add_row("all", "", "", *_shown(total))
    hours = total[2] / 3600 / max(1, min(jobs.workers, int(total[1]) or 1))
    many = f"{jobs.workers} worker{'s' if jobs.workers != 1 else ''}"
    drawn.caption = f"about {hours:.3g} h with {many}, at the speed of {' and '.join(sources) or 'nothing'}"
    if jobs.limit is not None:
        parts = total[4] / 3600 / jobs.limit
        drawn.caption += f"; {total[2] / 3600:.3g} job hours, limit {jobs.limit:g} h"
        if parts > 1:
            drawn.caption += f": the longest job takes about {math.ceil(parts)} limits, and runs itself again"
    return drawn


def _shown(row: Sequence[float]) -> list[str]:
    return [str(int(row[0])), str(int(row[1])), duration(row[2]), duration(row[4]), f"{row[3] / 1e6:.1f}"]
