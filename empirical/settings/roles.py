"""What a setting counts for, said once, on its field.

Whoever asks (is this the same run? what names a sweep's cell? may runs that are compared differ here? does this
method read that flag?) asks the field, so that a new flag is one field and the line that reads it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

KEY = "role"
COUNT = 10**9
"""More of anything than this is a slip of the keyboard."""


@dataclass(frozen=True)
class Bounds:
    """The values that a number may have.

    Attributes:
        least: smallest value.
        most: largest value.
        above: the number is above this.
        below: the number is below this.

    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (isinstance(value, int) or math.isfinite(value))
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def allowed(self, whole: bool) -> str:
        """In words, for counts (`whole`) and for other numbers."""
        if self.least is not None and self.below is not None:
            return f"in [{self.least:g}, {self.below:g})"
        parts = []
        if self.above is not None:
            parts.append(f"above {self.above:g}")
        if self.least is not None:
            parts.append(f"at least {self.least:g}" if whole else f"of at least {self.least:g}")
        if self.most is not None and not (whole and self.most == COUNT):
            parts.append(f"at most {self.most:.15g}")
        words = " and ".join(parts)
        return words if whole else f"a finite number {words}"


@dataclass(frozen=True)
class Role:
    """What one setting counts for.

    Attributes:
        makes: another value makes another synthetic set, hence another run; `changed`: counts only where it is not
            the default, so that runs older than the setting keep their names.
        judges: another value judges a set otherwise; `changed`: counts only where it is not the default, so that
            records older than the setting keep their names.
        speed: changes how fast a set is made and, but for rounding, nothing else: no part of a sweep's cell.
        axis: a sweep sets it itself.
        compared: runs that are laid side by side may differ in it.
        read_by: tags of the methods that read it (`Method.tags`), any of them; none: every method does.
        needs: tags of the settings (`Settings.tags`) or the method without which it has no effect, any of them.
        bounds: of a number.
        choices: of a word.

    """

    makes: bool | Literal["changed"] = True
    judges: Literal["", "always", "changed"] = ""
    speed: bool = False
    axis: bool = False
    compared: bool = False
    read_by: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    bounds: Bounds | None = None
    choices: tuple[str, ...] = ()

    def names_the_run(self, value: Any, default: Any) -> bool:
        """Whether a value is part of what a run is called."""
        return value != default if self.makes == "changed" else self.makes


def setting(
    default: Any,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    **says: Any,
) -> Any:
    """A dataclass field with its default and its role.

        batch_real: int = setting(256, read_by=("gradient",), least=1)

    Args:
        default: of the field.
        least: smallest value of a number.
        most: largest value.
        above: exclusive lower bound.
        below: exclusive upper bound.
        says: the other attributes of `Role`.

    """
    given = (least, most, above, below)
    role = Role(bounds=Bounds(*given) if any(x is not None for x in given) else None, **says)
    return field(default=default, metadata={KEY: role})


def roles(settings: type) -> dict[str, Role]:
    """Name -> role of the fields of a dataclass, without those of nested ones.

    A class that narrows a field (resolved settings do) need not say its role again; a field of no role counts for
    everything.
    """
    found = {}
    for f in fields(settings):
        stated = (k.__dataclass_fields__.get(f.name) for k in settings.__mro__ if is_dataclass(k))
        found[f.name] = next((own.metadata[KEY] for own in stated if own is not None and KEY in own.metadata), Role())
    return found


def numbered(settings: Any, dotted: bool = False) -> Iterator[tuple[str, Any, Role]]:
    """(name, value, role) of every setting, nested ones included; `dotted` names those as `trajectory.experts`."""
    own = roles(type(settings))
    for f in fields(settings):
        value = getattr(settings, f.name)
        if is_dataclass(value):
            for name, nested, role in numbered(value, dotted):
                yield f"{f.name}.{name}" if dotted else name, nested, role
        else:
            yield f.name, value, own[f.name]


def flag(name: str) -> str:
    """As it is typed."""
    return f"--{name.replace('_', '-')}"


def check_number(name: str, value: Any, bounds: Bounds) -> None:
    """Refuses a number that is out of bounds.

    Raises:
        ValueError: one sentence with the flag and what is allowed.

    """
    if isinstance(value, bool) or not isinstance(value, int | float) or value in bounds:
        return
    whole = isinstance(value, int)
    if whole and bounds.most is not None and value > bounds.most:
        raise ValueError(f"{flag(name)} is at most {bounds.most:.15g}, not {_shown(value)}")
    raise ValueError(f"{flag(name)} is {bounds.allowed(whole)}, not {_shown(value)}")


def _shown(value: float) -> str:
    """A number as a sentence has room for it."""
    text = str(value)
    return text if len(text) <= 30 else f"{text[:10]}... ({len(text)} digits)"


def typed_flags(arguments: Iterable[str]) -> set[str]:
    """Names of the settings that a command line gives, `--no-...` and `--name=value` included."""
    found = set()
    for argument in arguments:
        if argument.startswith("--"):
            name = argument[2:].split("=", 1)[0].replace("-", "_")
            found |= {name, name.removeprefix("no_")}
    return found
