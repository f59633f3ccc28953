"""How every command speaks and ends: errors and warnings in a line each, its exit status, no traceback when its
reader leaves.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

READER_GONE = 128 + signal.SIGPIPE
"""Exit status when standard output was closed by its reader, as a shell reports a program killed by SIGPIPE."""


def leave(main: Callable[[], int]) -> NoReturn:
    """Run a command and exit with its status; `command | head` ends it quietly with status `READER_GONE`."""
    status: int | str | None
    try:
        try:
            status = main()
        except SystemExit as stop:  # of the parser: help or a wrong flag
            status = stop.code
        sys.stdout.flush()
    except BrokenPipeError:
        # what is still buffered goes nowhere, so that the interpreter's own last flush has nothing to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = READER_GONE
    sys.exit(status)


def refuse_folder(folder: Path) -> None:
    """Says beforehand that a folder cannot be made or written in; makes nothing.

    Raises:
        ValueError: it, or what it would lie in, is a file or may not be written to.

    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise ValueError(f"{there} is a file; --out needs a folder there")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{there} may not be written to; name another place with --out")


def plain_warnings() -> Callable[..., None]:
    """A `warnings.showwarning` for commands: one line a warning, the first time it comes."""
    seen: set[str] = set()

    def show(message: Warning | str, *rest: Any) -> None:
        if str(message) not in seen:
            seen.add(str(message))
            print(f"warning: {message}", file=sys.stderr)

    return show


def sentence(error: BaseException) -> str:
    """The error in one line for a person: a failed system call as `file: what is wrong`, without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())
