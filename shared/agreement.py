"""Whether recorded runs are one experiment: the same settings, but for what an experiment compares.

Runs of one cell (data set, method, images a class) may differ in the correction, the seed, and what changes no number
(device, folders, display). Any other difference would be read as an effect of the correction, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.grid import family_of
from shared.records import plain

FREE = frozenset(
    (
        "seed", "sdc", "asdc", "asdc_steps", "asdc_shape", "preset", "out", "resume", "dry_run", "quiet", "device",
        "strategy", "compiled", "memory_budget", "data_root", "download", "repetitions", "compare", "probe_every",
    )
)  # fmt: skip
"""Settings in which the runs of a cell may differ."""
_OF_ONE_METHOD = {
    "whole_epochs": "whole", "whole_batch": "whole", "feature_epochs": "herding",
    "forgetting_epochs": "forgetting", "forgetting_keep": "forgetting",
}  # fmt: skip
_EXPERTS = ("make_experts", "experts")
"""Where experts come from; which they are follows from the other settings."""

Settings = Mapping[str, Any]
Cell = tuple[str, str, int]


def cell_of(settings: Settings) -> Cell:
    """(data set, method, images a class); the whole training set has no number of images a class, 0 here.

    Raises:
        KeyError, TypeError, ValueError: the settings are not those of a run.
    """
    method = str(settings["method"])
    return str(settings["dataset"]), method, 0 if method == "whole" else int(settings["ipc"])


def disagreement(one: Settings, two: Settings) -> tuple[str, Any, Any] | None:
    """The first setting in which two runs of a cell must not differ but do, with both values; None if they agree.

    Settings that only one of them recorded are not compared: records may be older than a setting. How the correction
    is computed (`sdc_...`) counts where both have one.
    """
    method = str(one.get("method", "")).lower()
    plain_run = any(s.get("sdc") is None and s.get("asdc") is None for s in (one, two))
    a, b = (_flat(settings, method) for settings in (one, two))
    for name in sorted(a.keys() & b.keys()):
        if a[name] != b[name] and not (plain_run and name.startswith("sdc_")):
            return name, a[name], b[name]
    return None


def _flat(settings: Settings, method: str) -> dict[str, Any]:
    """What counts for a method, nested settings beside the others."""
    found = {
        name: plain(value)
        for name, value in settings.items()
        if name not in FREE and _OF_ONE_METHOD.get(name, method) == method
    }
    if family_of(method) == "trajectory" and isinstance(own := found.pop("trajectory", {}), Mapping):
        found |= {name: value for name, value in own.items() if name not in _EXPERTS}
    found.pop("trajectory", None)
    return found


def short(value: Any) -> str:
    """A setting's value as a sentence has room for it."""
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
