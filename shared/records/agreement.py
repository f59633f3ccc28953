"""Whether recorded runs are one experiment: the same settings, but for what an experiment compares.

Runs of one cell (data set, method, images a class) may differ in the correction, the seed, and what changes no number
(device, folders, display): each record says which settings those are (`shared.records.roles`). Any other difference
would be read as an effect of the correction, and is refused.
"""

from __future__ import annotations

from typing import Any

from shared.records import metric_names as metric
from shared.records.records import plain
from shared.records.roles import Roles, Settings, earlier_roles

Cell = tuple[str, str, int]


def cell_of(settings: Settings) -> Cell:
    """(data set, method, images a class); the whole training set has no number of images a class, 0 here.

    Raises:
        KeyError, TypeError, ValueError: the settings are not those of a run.

    """
    method = str(settings["method"])
    return str(settings["dataset"]), method, 0 if method == metric.WHOLE else int(settings["ipc"])


def disagreement(
    one: Settings, two: Settings, roles: tuple[Roles | None, Roles | None] = (None, None)
) -> tuple[str, Any, Any] | None:
    """The first setting in which two runs of a cell must not differ but do, with both values; None if they agree.

    Settings that only one of them recorded are not compared: records may be older than a setting. Nor are those that
    one of them did not read, such as how the correction is computed (`sdc_...`) where there is none.

    Args:
        one: settings as recorded, or as they would be.
        two: the same of the other run.
        roles: of each (`Run.roles`); None for settings of version 0.1.
    """
    a, b = (
        (stated or earlier_roles(settings)).counted(plain(settings))
        for settings, stated in zip((one, two), roles, strict=True)
    )
    for name in sorted(a.keys() & b.keys()):
        if a[name] != b[name]:
            return name.rpartition(".")[2], a[name], b[name]
    return None


def short(value: Any) -> str:
    """A setting's value as a sentence has room for it."""
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
