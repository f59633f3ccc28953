"""Which figures there are: each says so itself, by a decorator in its own file, and no other file names it.

    @figure("mine", group="theory")
    def draw(desk: Desk) -> list[Path]:
        '''One sentence, which --list shows.'''
        ...                                   # draws, writes below desk.out, returns what it wrote

    @command("mine")
    @dataclass(frozen=True)
    class Mine:                               # with flags of its own, each field one, and a method run()
        ...

The house's own files are found by reading their text, not by importing them: a list of figures needs no torch, and a
figure imports what it needs when it is drawn. So a decorator's arguments are written out there, as literals. Figures of
others come from files (`load_plugin`) or from installed packages that name a module under the entry point group
`easy_or_hard.figures`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import figures
from figures.desk import Desk
from shared.terminal.plugins import load_file

ENTRY_POINTS = "easy_or_hard.figures"
Draw = Callable[[Desk], list[Path]]
Made = TypeVar("Made")


class Command(Protocol):
    """What the command line makes of the arguments of a command of its own."""

    def run(self) -> None:
        """Do it; ValueError for a wrong value."""
        ...


@dataclass(frozen=True)
class Entry:
    """A figure or a command.

    Attributes:
        name: on the command line.
        module: where it is.
        is_command: whether it has flags of its own, rather than being one of the figures that share theirs.
        group: name that stands for all figures of the group; empty for none.
        writes: stems of the files that it writes; of a command, which names them by what it reads, none.
        said: what it shows, in a sentence.
    """

    name: str
    module: str
    is_command: bool
    group: str = ""
    writes: tuple[str, ...] = ()
    said: str = ""
    made: Any = field(default=None, compare=False)


_registered: dict[str, Entry] = {}


def figure(name: str, *, group: str = "", writes: tuple[str, ...] = ()) -> Callable[[Draw], Draw]:
    """Registers a function that draws on a `Desk`.

    Args:
        name: on the command line.
        group: drawn with the others of that name, too.
        writes: stems of its files; by default the name, with _ for -.
    """

    def register(draw: Draw) -> Draw:
        said = _first_sentence(draw.__doc__)
        stems = writes or _stems(name)
        _register(Entry(name, draw.__module__, False, group, stems, said, draw))
        return draw

    return register


def command(name: str) -> Callable[[type[Made]], type[Made]]:
    """Registers a class whose fields are flags, with a method `run`: `python -m figures NAME`."""

    def register(kind: type[Made]) -> type[Made]:
        _register(Entry(name, kind.__module__, True, said=_first_sentence(kind.__doc__), made=kind))
        return kind

    return register


def _register(entry: Entry) -> None:
    there = _registered.get(entry.name) or _own().get(entry.name)
    if there is not None and (there.module != entry.module or _other(there.made, entry.made)):
        raise ValueError(
            f"two figures are called {entry.name!r}: in {there.module} and in {entry.module}; give one another name"
        )
    if entry.name in groups() or entry.group in entries():
        raise ValueError(f"{entry.module}: a group and a figure must not have the same name ({entry.name!r})")
    _registered[entry.name] = entry


def _other(one: Any, two: Any) -> bool:
    """Whether two functions or classes of a module are different ones, and not one that was imported twice."""
    return one is not None and one.__qualname__ != two.__qualname__


def entries() -> dict[str, Entry]:
    """All that there are, by name: the house's, then those of plugins."""
    return {**_own(), **{name: e for name, e in _registered.items() if name not in _own()}}


def groups() -> dict[str, tuple[str, ...]]:
    """Names of figures by group."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in entries().values():
        if entry.group:
            found[entry.group] = (*found.get(entry.group, ()), entry.name)
    return found


def draw_of(name: str) -> Draw:
    """The function that draws a figure; its file is imported now.

    Raises:
        ValueError: it needs a library that is not installed.
    """
    return cast(Draw, _made(name))


def command_of(name: str) -> type[Command]:
    """The class of a command; its file is imported now. Raises as `draw_of`."""
    return cast(type[Command], _made(name))


def _made(name: str) -> Any:
    if name not in _registered:
        try:
            import_module(entries()[name].module)
        except ModuleNotFoundError as error:
            raise ValueError(
                f"{name} needs {error.name}, which is not installed: pip install 'easy-or-hard[empirical]'"
            ) from error
    return _registered[name].made


def load_plugin(path: Path) -> None:
    """Imports a file that registers figures; the same file again does nothing.

    Raises:
        ValueError: it is no file, cannot be imported, registers nothing, or a name that is taken.
    """
    module = load_file(path.expanduser())
    if not any(entry.module == module for entry in _registered.values()):
        raise ValueError(f"--plugin {path} registers no figure: decorate a function with figures.registry.figure")


@cache
def _own() -> dict[str, Entry]:
    """The house's own, from the text of its files."""
    root = Path(figures.__file__).parent
    found: dict[str, Entry] = {}
    for path in sorted(root.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if re.search(r"^@(\w+\.)?(figure|command)\(", text, re.MULTILINE):
            module = ".".join((root.name, *path.relative_to(root).with_suffix("").parts))
            for entry in _entries_in(ast.parse(text), module):
                if entry.name in found:
                    raise ValueError(f"two figures are called {entry.name!r}: in {found[entry.name].module}, {module}")
                found[entry.name] = entry
    return found


def _entries_in(tree: ast.Module, module: str) -> Iterator[Entry]:
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            kind = _called(decorator)
            if kind not in ("figure", "command") or not isinstance(decorator, ast.Call):
                continue
            try:
                name = ast.literal_eval(decorator.args[0])
                more = {str(k.arg): ast.literal_eval(k.value) for k in decorator.keywords}
            except (ValueError, IndexError) as error:
                raise ValueError(f"{module}, line {node.lineno}: what @{kind} is given must be literals") from error
            stems = () if kind == "command" else more.get("writes") or _stems(name)
            said = _first_sentence(ast.get_docstring(node))
            yield Entry(name, module, kind == "command", more.get("group", ""), stems, said)


def _called(decorator: ast.expr) -> str:
    """The name of a decorator that is called, `figure` of `registry.figure(...)`."""
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _stems(name: str) -> tuple[str, ...]:
    return (name.replace("-", "_"),)


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())
