"""A command line that cannot be read is refused in one sentence, like every other bad input.

The parser (tyro) explains itself in a box of several lines. Its words are kept: what was wrong, what it takes, the flag
nearest to an unknown one, and where the help is.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Callable
from typing import TypeVar

Parsed = TypeVar("Parsed")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = re.compile(r"^[│ ] ?| *│$")


def read_arguments(parse: Callable[[], Parsed]) -> Parsed:
    """What the parser makes of the arguments.

    Args:
        parse: calls the parser, which writes to standard error and exits if it cannot.

    Raises:
        SystemExit: the parser's; if its status is an error, after one line on standard error.

    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parse()
    except SystemExit as stop:
        if stop.code:
            said = io.StringIO(f"error: {one_sentence(said.getvalue())}\n")
        raise
    finally:
        sys.stderr.write(said.getvalue())


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
