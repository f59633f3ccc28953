"""What is typed: a path with `~` is expanded and a seed is in range, whichever command it is, and a command line that
cannot be read is refused in one sentence, like every other bad input.

The parser (tyro) explains itself in a box of several lines. Its words are kept: what was wrong, what it takes, the flag
nearest to an unknown one, and where the help is. (Its hook for such errors is private and bound to one version; what it
prints is what its users see.)
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from shared.terminal.command import one_line

Parsed = TypeVar("Parsed")
LARGEST_SEED = 2**63 - 1
"""The largest seed that every generator takes."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = re.compile(r"^[│ ] ?| *│$")
_REFUSED = "\0"
"""Begins a path that stands for why a typed one is refused; no typed text holds it."""
_PATHS = ConstructorRegistry()


def read_arguments(parse: Callable[[], Parsed]) -> Parsed:
    """What the parser makes of the arguments.

    Args:
        parse: calls the parser, which writes to standard error and exits if it cannot.

    Raises:
        SystemExit: the parser's; if its status is an error, after one line on standard error.
        ValueError: a path is empty, or begins with the `~` of an unknown user; a seed is out of range.

    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), _PATHS:
            found = parse()
    except SystemExit as stop:
        if stop.code:
            said = io.StringIO(f"error: {one_line(one_sentence(said.getvalue()))}\n")
        raise
    finally:
        sys.stderr.write(said.getvalue())
    _check(found, "the path")
    return found


@contextlib.contextmanager
def flags_named(options: Any) -> Iterator[None]:
    """Make a refusal in the block name the flag: what the library calls `steps` was typed as `--steps`.

    Args:
        options: what was read, a dataclass (of dataclasses).

    Raises:
        ValueError: the same error; if it begins with the name of an option, with that of its flag.

    """
    try:
        yield
    except ValueError as error:
        name = str(error).partition(" ")[0]
        if type(error) is ValueError and name in set(_names(options)):
            error.args = (f"--{name.replace('_', '-')}{str(error).removeprefix(name)}",)
        raise


def typed_path(text: str, name: str = "the path") -> Path:
    """A path as it is typed, with `~` and `~name` expanded.

    Args:
        text: what was typed.
        name: of the option, for a refusal.

    Raises:
        ValueError: it is empty, or there is no such user.

    """
    if not text:
        raise ValueError(f"{name} is empty: name a file or folder, or `.` for the one that you are in")
    try:
        return Path(text).expanduser() if text.startswith("~") else Path(text)
    except RuntimeError as error:
        raise ValueError(f"{name} is {text}, but there is no such user; ./{text} is a file of that name") from error


def check_seed(seed: int, flag: str = "--seed") -> None:
    """Refuse a seed that not every generator takes.

    Raises:
        ValueError: it is below 0 or above 2^63 - 1.

    """
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"{flag} is a whole number from 0 to {LARGEST_SEED}, not {seed}")


@_PATHS.primitive_rule
def _path(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path] | None:
    """For every field that is a `Path`, also among others or as an item of a tuple."""
    if kind.type is not Path:
        return None

    def read(texts: list[str]) -> Path:
        try:
            return typed_path(texts[0], _REFUSED)
        except ValueError as error:
            return Path(str(error))  # said when the option's name is known

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


def _names(options: Any) -> Iterator[str]:
    for field in fields(options):
        yield field.name
        if is_dataclass(inner := getattr(options, field.name)):
            yield from _names(inner)


def _check(value: Any, name: str) -> None:
    """Look at all that was read, however deep."""
    if isinstance(value, Path) and str(value).startswith(_REFUSED):
        raise ValueError(f"{name}{str(value).removeprefix(_REFUSED)}")
    if isinstance(value, int) and name == "--seed":
        check_seed(value)
    if isinstance(value, tuple):
        for item in value:
            if isinstance(item, int) and name == "--seeds":
                check_seed(item, name)
            _check(item, name)
    if is_dataclass(value):
        for field in fields(value):
            positional = "Positional" in str(field.type)
            flag = field.name.upper() if positional else f"--{field.name.replace('_', '-')}"
            _check(getattr(value, field.name), flag)


def one_sentence(box: str) -> str:
    """The text of the parser's box, its sections joined by semicolons."""
    lines = _COLOURS.sub("", box).splitlines()
    if lines and not lines[0].startswith("╭"):  # without UTF-8: a title and a rule in place of the frame
        lines = lines[2:]
    sections: list[list[str]] = [[]]
    for line in (_FRAME.sub("", line) for line in lines if line[:1] not in ("╭", "╰")):
        if set(line.strip()) in ({"─"}, {"-"}):
            sections.append([])
        else:
            sections[-1].append(line)
    said = [_section(lines) for lines in sections]
    return "; ".join(part for part in said if part) or "the arguments cannot be read"


def _section(lines: list[str]) -> str:
    """One section in one line: of proposals only the flags, of a failed conversion only that it failed."""
    head = lines[0].strip() if lines else ""
    if head.startswith("Perhaps you meant"):
        # flags stand four columns in, their descriptions further
        flags = [line.split()[0].strip(",") for line in lines if re.match(r" {4}-", line)]
        return "perhaps you meant " + " or ".join(flags)
    kept = []
    for line in lines:
        if not line.strip():  # a blank line comes before how each possible type failed
            break
        kept.append(line.strip())
    text = " ".join(" ".join(kept).split()).rstrip(".")
    text = text.removeprefix("Argument helptext: ").removeprefix("Error parsing ").replace(". Expected", "; expected")
    return text[:1].lower() + text[1:]
