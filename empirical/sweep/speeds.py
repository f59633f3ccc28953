"""How fast a cluster is, for the forecast: what its jobs took for cells that are done, else what a probe job measured.

`speeds.json` in `jobs` holds what probes measured, operations a second by kind of network. Of finished cells the
attempts say how long they took; the arithmetic that a cell stands for (`forecast`) over that time is a speed with all
that a real job loses.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from empirical.runtime.checkpoint import Lock
from empirical.settings.settings import Resolved
from empirical.sweep.submission import CELLS, JOBS, submissions
from shared.records.records import write_json

FILE = "speeds.json"


def kind_of(settings: Resolved) -> str:
    """What a speed is of: data set and network."""
    return " ".join([settings.dataset, settings.network, *(f"{k}={v}" for k, v in settings.variant.items())])


def keep_speed(root: Path, kind: str, speed: float, device: str) -> None:
    """Notes what a probe measured; the caller is the only one."""
    folder = root / JOBS
    with Lock(folder / "speed"):
        write_json(folder / FILE, {**_kept(root), kind: {"speed": speed, "device": device}})


def _kept(root: Path) -> dict[str, Any]:
    path = root / JOBS / FILE
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def probed(root: Path) -> Mapping[str, float]:
    """Kind -> operations a second that a probe measured."""
    return {kind: float(found["speed"]) for kind, found in _kept(root).items()}


def seconds_taken(root: Path) -> Mapping[frozenset[str], float]:
    """Groups of cells -> seconds of all attempts, where the groups were settled and every attempt said how it ended."""
    found = {}
    for one in submissions(root):
        if one.plan["kind"] != CELLS:
            continue
        for index, task in enumerate(one.plan["tasks"]):
            for group, names in enumerate(task):
                events = one.events(index, group)
                ends = [e for e in events if e["event"] == "end"]
                if ends and ends[-1]["outcome"] == "settled" and 2 * len(ends) == len(events):
                    found[frozenset(names)] = sum(float(e["seconds"]) for e in ends)
    return found


def from_done(
    groups: Sequence[Sequence[Any]], taken: Mapping[frozenset[str], float], flop_of: Callable[[Sequence[Any]], float]
) -> dict[tuple[str, str], float]:
    """(method, kind) -> median speed of the groups of cells that are done.

    Args:
        groups: of cells.
        taken: of `seconds_taken`.
        flop_of: group -> its arithmetic.

    """
    speeds: dict[tuple[str, str], list[float]] = {}
    for group in groups:
        if seconds := taken.get(frozenset(cell.name for cell in group)):
            s = group[0].settings
            speeds.setdefault((s.method, kind_of(s)), []).append(flop_of(group) / seconds)
    return {key: statistics.median(values) for key, values in speeds.items()}
