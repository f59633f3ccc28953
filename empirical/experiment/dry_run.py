"""What `--dry-run` shows: the settings that this run reads, in groups and in units, those that are not usual marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from empirical.data.datasets import Dataset
from empirical.experiment.families import method_named
from empirical.experiment.resolve import resolve, with_preset
from empirical.settings.roles import Role, numbered
from empirical.settings.settings import NETWORK_VARIANT, Resolved, Settings

UNITS = {
    "ipc": "images a class",
    "iterations": "iterations",
    "asdc_steps": "updates",
    "matching_steps": "updates an iteration",
    "network_epochs": "epochs between updates",
    "batch_real": "images a class",
    "warm_up_iterations": "iterations",
    "warm_up_steps": "updates",
    "eval_networks": "networks",
    "eval_epochs": "epochs",
    "eval_batch": "images",
    "whole_epochs": "epochs",
    "whole_batch": "images",
    "feature_epochs": "epochs",
    "forgetting_epochs": "epochs",
    "probe_every": "updates",
    "train_images": "images",
    "memory_budget": "GB",
}
"""Of settings whose name does not say it."""
_SAYS_WHAT = ("dry_run", "out", "resume", "quiet", "plugin")
_DATA = ("dataset", "validation", "train_images", "data_root", "download")
_EVALUATION = ("eval_", "whole_", "compare", "probe_every")


def _group(name: str, role: Role) -> str:
    if name in ("method", "preset", "ipc", "seed", "repetitions"):
        return "run"
    if name in _DATA:
        return "data"
    if name == "network" or name in NETWORK_VARIANT:
        return "network"
    if name.startswith(_EVALUATION):
        return "evaluation"
    if name.startswith(("sdc", "asdc")) or set(role.needs) & {"correction", "schedule"}:
        return "correction"
    if role.speed or name in ("device", "tf32", "bfloat16", "memory_budget"):
        return "machine"
    return "matching"


def _usual(settings: Settings, dataset: Dataset) -> dict[str, Any]:
    """What the settings would be if only what is made, from what and at which preset had been said."""
    said = ("method", "dataset", "ipc", "preset", "network", "data_root", "download", "device")
    plain = replace(Settings(), **{name: getattr(settings, name) for name in said})
    return {name: value for name, value, _ in numbered(resolve(with_preset(plain, settings.preset), dataset))}


def shown(settings: Resolved, dataset: Dataset) -> Iterator[str]:
    """Lines of the settings that the method reads.

    Args:
        settings: resolved.
        dataset: what they were resolved for.

    Yields:
        A heading a group, and a line a setting: its name, value and unit, with `*` where it is not the preset's.

    """
    method, usual = method_named(settings.method), _usual(settings, dataset)
    tags = settings.tags | method.tags
    groups: dict[str, list[str]] = {}
    for name, value, role in numbered(settings):
        if name in _SAYS_WHAT or not method.reads(role) or (role.needs and not tags & set(role.needs)):
            continue
        changed = "*" if usual.get(name, value) != value else " "
        if value is None and changed == " ":  # not asked for, or the network's own
            continue
        unit = f" {UNITS[name]}" if name in UNITS and value is not None else ""
        groups.setdefault(_group(name, role), []).append(f"{changed} {name:23} {_told(value)}{unit}")
    for title in ("run", "data", "matching", "correction", "network", "evaluation", "machine"):
        if title in groups:
            yield f"{title}:"
            yield from groups[title]
    if any(line.startswith("*") for lines in groups.values() for line in lines):
        yield f"* is not what the preset {settings.preset} gives"


def _told(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return " ".join(map(_told, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
