"""Which settings make two runs the same run, and which say how a set is judged: read from the settings' roles."""

from __future__ import annotations

from typing import Any

from empirical.settings.roles import numbered, roles
from empirical.settings.settings import Resolved, Settings
from empirical.settings.trajectory import ResolvedTrajectory


def identity(settings: Resolved) -> dict[str, Any]:
    """What makes two runs the same run: the settings that the synthetic set depends on.

    Settings of trajectory matching count where that is the method.
    """
    plain = Settings()
    values = {
        name: getattr(settings, name)
        for name, role in roles(Settings).items()
        if role.names_the_run(getattr(settings, name), getattr(plain, name))
    }
    values.pop("trajectory")
    if isinstance(settings.trajectory, ResolvedTrajectory):
        own = {
            name: value
            for name, value, role in numbered(settings.trajectory)
            if role.names_the_run(value, getattr(plain.trajectory, name))
        }
        values.update({f"trajectory {name}": value for name, value in own.items()})
    return values


def judgement(settings: Settings) -> dict[str, Any]:
    """The settings that a set is judged by, as far as they name a sweep's cell."""
    found = {}
    for name, role in roles(Settings).items():
        value = getattr(settings, name)
        if role.judges == "always" or (role.judges == "changed" and value != getattr(Settings(), name)):
            found[name] = value
    return found


JUDGED = tuple(name for name, role in roles(Settings).items() if role.judges and not role.needs)
"""Settings of the evaluation of a set: another value asks for another evaluation of the same set."""
