"""How far the work of a cell is, read from its files without loading tensors; what an attempt must move to be one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from empirical.distillation.state import CHECKPOINT
from empirical.experiment.families import method_named
from empirical.sweep.cells import Cell
from shared.records.decoding import METRICS

_TAIL = 4096


def saved_steps(folder: Path) -> int:
    """Steps that the checkpoint of a cell counts; 0 without one that can be read."""
    try:
        with safe_open(str(folder / CHECKPOINT), framework="numpy") as file:
            return int(json.loads((file.metadata() or {})["document"])["done"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return 0


def steps_of(folder: Path, cell: Cell) -> tuple[int, int]:
    """Steps recorded, and of how many; (0, 0) for what is not made in steps."""
    settings = cell.settings
    distilled = "distilled" in method_named(settings.method).tags
    total = int(getattr(settings, "updates", settings.iterations)) if distilled else 0
    return (min(total, max(saved_steps(folder), _recorded(folder / METRICS))), total) if total else (0, 0)


def _recorded(path: Path) -> int:
    """One more than the step of the last whole row."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            rows = file.read().splitlines()
    except OSError:
        return 0
    for row in reversed(rows):
        try:
            return int(json.loads(row)["step"]) + 1
        except (ValueError, KeyError, TypeError):
            continue
    return 0


def mark_of(folders: Sequence[Path]) -> list[Any]:
    """What another attempt must change to have got anywhere: steps, finished files, snapshots of experts."""
    found: list[Any] = []
    for folder in folders:
        rows = sum(path.stat().st_size for path in folder.glob(".expert-*.rows"))
        names = sorted(p.name for p in folder.glob("*") if p.suffix in (".safetensors", ".json") and p.is_file())
        found.append([saved_steps(folder), _recorded(folder / METRICS), rows, names])
    return found
