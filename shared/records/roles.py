"""What a run's record says of its own settings, so that runs can be compared without knowing what a setting does.

`config.json` holds, beside `settings`,

    "roles": {"free": [...], "unread": [...], "family": "gradient"}

as `Roles` describes it; whoever writes a record knows its settings and says so. Records of version 0.1 have no such
entry. The tables at the end of this file are for reading those, and for tables of accuracies that do not name a
family; nothing is to be added to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Settings = Mapping[str, Any]
"""Settings as recorded: names to JSON values; nested settings are mappings."""

GRADIENT, TRAJECTORY, CORESET, OTHER = "gradient", "trajectory", "coreset", "other"
"""Families: matches gradients, matches trajectories, chooses real images, distils in another way."""


@dataclass(frozen=True)
class Roles:
    """What the settings of a run are for. A nested setting is named with a dot, `trajectory.experts`.

    Attributes:
        free: settings in which the runs of a comparison may differ: the correction that is compared, the seed, and
            what changes no number (device, folders, display).
        unread: settings that this run did not read, and whose values therefore say nothing: those of other methods,
            and how a correction is computed where there is none. A name stands for everything nested in it.
        family: `GRADIENT`, `TRAJECTORY`, `CORESET` or `OTHER`.

    """

    free: tuple[str, ...]
    unread: tuple[str, ...]
    family: str

    def counted(self, settings: Settings) -> dict[str, Any]:
        """The settings that must agree between the runs of a comparison, nested ones by their dotted names."""
        without = {*self.free, *self.unread}
        return {
            name: value
            for name, value in _flat(settings).items()
            if without.isdisjoint(_with_parents(name))
        }


def roles_in(config: Mapping[str, Any]) -> Roles:
    """The roles that a `config.json` states; for one of version 0.1 those that its settings had.

    Raises:
        KeyError, TypeError, ValueError: the entry is not one that `Roles` describes.

    """
    stated = config.get("roles")
    if stated is None:
        return earlier_roles(config["settings"])
    free, unread, family = stated["free"], stated["unread"], stated["family"]
    names = [*free, *unread, family]
    if isinstance(free, str) or isinstance(unread, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"roles are lists of names and a family, not {stated!r}")
    return Roles(tuple(free), tuple(unread), family)


def _flat(settings: Settings, under: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{under}{name}.") if isinstance(value, Mapping) else {f"{under}{name}": value}
    return found


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:k]) for k in range(1, len(parts) + 1)]


def earlier_roles(settings: Settings) -> Roles:
    """The roles of settings as version 0.1 had them."""
    method = str(settings.get("method", "")).lower()
    family = family_of(method)
    unread = [name for name, own in _OF_ONE_METHOD.items() if own != method]
    if family != TRAJECTORY:
        unread.append("trajectory")
    if settings.get("sdc") is None and settings.get("asdc") is None:
        unread += [name for name in settings if name.startswith("sdc_")]
    return Roles(_FREE, tuple(unread), family)


def family_of(method: str) -> str:
    """The family of a method of version 0.1, or of one that is only known from published tables; else `OTHER`."""
    return next((family for family, names in _FAMILIES.items() if method.lower() in names), OTHER)


# Version 0.1, and published methods. Nothing is to be added: records say this themselves.
_FREE = (
    "seed", "sdc", "asdc", "asdc_steps", "asdc_shape", "preset", "out", "resume", "dry_run", "quiet", "device",
    "strategy", "compiled", "memory_budget", "data_root", "download", "repetitions", "compare", "probe_every",
    "trajectory.make_experts", "trajectory.experts",  # where experts come from; which they are follows from the others
)  # fmt: skip
_OF_ONE_METHOD = {
    "whole_epochs": "whole", "whole_batch": "whole", "feature_epochs": "herding",
    "forgetting_epochs": "forgetting", "forgetting_keep": "forgetting",
}  # fmt: skip
_FAMILIES = {
    GRADIENT: ("dc", "dsa", "dcc", "dsac", "idc", "dream"),  # the last two: known from published tables alone
    TRAJECTORY: ("mtt", "ftd", "tesla", "datm"),
    CORESET: ("random", "herding", "forgetting", "whole"),
}
