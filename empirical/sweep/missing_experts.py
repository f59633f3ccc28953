"""Experts that the trajectory matching of a sweep needs and that are not there yet: how many, how long, made by what.

Experts do not depend on lambda, so cells share them: the first that needs them makes them and the others wait. What
would take long is not begun unasked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from empirical.data.datasets import Dataset
from empirical.experiment import cost
from empirical.experiment.cost import LONG
from empirical.experiment.experiment import Experiment
from empirical.experiment.experts import experts_command, experts_folder, experts_missing
from empirical.settings.settings import Resolved, Settings
from empirical.sweep.cells import Cell
from shared.terminal.progress import duration


@dataclass(frozen=True)
class Missing:
    """Experts of one recipe.

    Attributes:
        count: how many are not there.
        seconds: that making them takes on this device, about.
        command: that makes them.
        folder: where they will lie.
        settings: of a cell that needs them.
        flop: of making them.

    """

    count: int
    seconds: float
    command: str
    folder: Path
    settings: Resolved
    flop: float

    def __str__(self) -> str:
        return f"{self.count} experts are missing, about {duration(self.seconds)}: {self.command}"


def missing_of(
    cells: Iterable[Cell],
    data_of: Callable[[Settings], Dataset],
    speed_of: Callable[[Resolved], float | None] = lambda _: None,
) -> list[Missing]:
    """One entry for each recipe of which experts are missing.

    Args:
        cells: that need them.
        data_of: settings -> their data set.
        speed_of: settings -> operations a second, where they are known; measured on this device otherwise.

    Raises:
        BadExpert: experts are there, but made otherwise.

    """
    needing = {experts_command(c.settings): c.settings for c in cells}
    found = []
    for command, settings in needing.items():
        if not command:
            continue
        dataset = data_of(settings)
        experiment = Experiment(settings, dataset, Path(), settings.seed)
        count = experts_missing(experiment)
        if count:
            network = experiment.network()
            flop = cost.estimate(settings, dataset, network, 1, False, count).flop["experts"]
            folder = experts_folder(experiment)
            assert folder is not None
            reached = speed_of(settings) or cost.speed(network, dataset)
            found.append(Missing(count, flop / reached, command, folder, settings, flop))
    return found


def refuse_long(missing: Sequence[Missing], allowed: bool | None) -> None:
    """Refuses to make experts if that is not allowed or, unasked, long.

    Args:
        missing: of the whole sweep.
        allowed: the flag --make-experts; None if it was not given.

    Raises:
        ValueError: says what to run, or to allow.

    """
    seconds = sum(m.seconds for m in missing)
    if missing and (allowed is False or (allowed is None and seconds > LONG)):
        commands = "; ".join(m.command for m in missing)
        raise ValueError(
            f"{sum(m.count for m in missing)} experts are missing, which take about {duration(seconds)}: "
            f"allow them here with --make-experts True, or make them by {commands}"
        )
