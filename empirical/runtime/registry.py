"""What is known by name: networks, data sets, augmentations; the project's own and those of a user's file.

Names are compared without case, hyphens, underscores and blanks, so that `FashionMNIST`, `fashion-mnist` and
`fashion_mnist` are one. A name is given once: a second registration is refused, but for the same function of the
same file, so that a file may be imported again.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_SEPARATORS = re.compile(r"[-_ ]")


def key(name: str) -> str:
    """What of a name is compared."""
    return _SEPARATORS.sub("", name.lower())


def unknown(what: str, name: str, choices: Iterable[str]) -> ValueError:
    """The error for a name that is none of the choices: the nearest one, and all."""
    known = list(choices)
    near = _nearest(name, known, 0.0)
    return ValueError(f"unknown {what} {name!r}; the nearest is {near!r}, all are: {', '.join(known)}")


def _nearest(name: str, known: Iterable[str], cutoff: float) -> str | None:
    keys = {key(choice): choice for choice in known}
    near = difflib.get_close_matches(key(name), list(keys), n=1, cutoff=cutoff)
    return keys[near[0]] if near else None


class Registry(dict[str, T]):
    """Name, as it was registered -> what bears it.

    Args:
        kind: what is registered, as errors call it: "network".

    """

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind
        self._origins: dict[str, object] = {}

    def add(self, name: str, value: T, maker: object = None) -> None:
        """Give a name to a value.

        Args:
            name: letters and digits, perhaps with hyphens, underscores and blanks between them.
            value: what bears the name from now on.
            maker: the function or class that the value was made of; the value itself if None.

        Raises:
            ValueError: the name is no name, or is taken.

        """
        if not re.fullmatch(r"\w+([- ]+\w+)*", name) or not key(name):
            raise ValueError(f"{name!r} cannot name a {self.kind}: a name is letters and digits, with - or _ between")
        origin = _origin(value if maker is None else maker)
        taken = self.spelled(name)
        if taken is not None and self._origins.get(taken) != origin and self[taken] != value:
            raise ValueError(
                f"a {self.kind} named {taken!r} is registered already{_place(self._origins.get(taken))}: "
                "give yours another name"
            )
        if taken is not None and taken != name:
            del self[taken]
        self[name] = value
        self._origins[name] = origin

    def spelled(self, name: str) -> str | None:
        """The name as it was registered, or None."""
        wanted = key(name)
        return next((known for known in self if key(known) == wanted), None)

    def find(self, name: str) -> T | None:
        """What bears the name, or None."""
        known = self.spelled(name)
        return None if known is None else self[known]

    def nearest(self, name: str, cutoff: float = 0.0) -> str | None:
        """The registered name most like it; None if none is as like as `cutoff` in [0, 1]."""
        return _nearest(name, self, cutoff)


def _origin(maker: Any) -> object:
    """File and qualified name of a function or class, else the thing itself."""
    name = getattr(maker, "__qualname__", None)
    try:
        file = inspect.getsourcefile(maker)
    except TypeError:
        return maker
    if name is None or file is None:
        return maker
    # all lambdas bear one name
    line = maker.__code__.co_firstlineno if name.endswith("<lambda>") else 0
    return str(Path(file).resolve()), name, line


def _place(origin: object) -> str:
    return f" by {origin[0]}" if isinstance(origin, tuple) else ""
