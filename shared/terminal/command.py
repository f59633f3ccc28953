"""How every command speaks and ends: errors and warnings in a line each, an exit status that says which kind of end it
was, no traceback.

    0    done
    1    a computation did not reach its result (equations that do not converge, a margin that cannot be certified)
    2    bad input: what was typed, or a file it names
    3    data that are missing or cannot be used
    4    the work failed: a loss is no longer finite, a cell of a sweep failed, no memory or no space is left
    5    cells of a sweep are unfinished: queued, running on a cluster, or stopped on the way
    70   an error of the program itself; `EASY_OR_HARD_TRACEBACK=1` shows where it arose
    130  stopped by Ctrl-C or SIGTERM; the line says how to go on
    141  standard output was closed by its reader (`command | head`); the work is done all the same

An exception says its own status (`exit_status`). Of those that have none, failed system calls are told apart by their
number, and a ValueError is a refusal if it was raised here rather than inside a library.
"""

from __future__ import annotations

import contextlib
import dis
import errno
import os
import signal
import sys
import sysconfig
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from shared.terminal.start import STOPPED, loaded
from shared.terminal.streams import Lasting, lasting_streams

BAD_INPUT, FAILED, INTERNAL = 2, 4, 70
READER_GONE = 128 + signal.SIGPIPE
"""Exit status when standard output was closed by its reader, as a shell reports a program killed by SIGPIPE."""
TRACEBACK = "EASY_OR_HARD_TRACEBACK"
"""Environment variable that shows an error's traceback before its sentence."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}
_ROOT = Path(__file__).resolve().parents[2]


def command(
    body: Callable[[], int | None],
    stopped: str = "the same command starts again",
    *,
    last: bool = False,
    loads: bool = False,
) -> int:
    """Run the body of a command, and say in one line on standard error how it ended if it did not end well.

    Args:
        body: parses and works; returns an exit status, None for 0.
        stopped: how to go on after Ctrl-C or SIGTERM; `when_stopped` says it better for a part of the work.
        last: whether the process ends with this. Otherwise an end that nobody expects (an error of the program itself,
            no memory) is the caller's to handle, with its traceback; `leave` is the last caller.
        loads: whether the body first loads more modules; it then calls `shared.terminal.start.loaded` itself.

    Returns:
        The exit status; see the module.

    Raises:
        SystemExit: the parser's, for help or a wrong flag.
        Exception: what nobody expects, unless this is the last to see it.

    """
    if not loads:
        loaded()
    with lasting_streams() as (stdout, _), _stoppable(), _plain_warnings():
        try:
            status = body() or 0
        except SystemExit:
            stdout.flush()
            if stdout.error is not None:
                raise SystemExit(_unprinted(stdout.error)) from None
            raise
        except BaseException as error:
            status = _ended(error, stopped, last)
        stdout.flush()
        if stdout.error is not None and status == 0:
            status = _unprinted(stdout.error)
    return status


def leave(main: Callable[[], int]) -> NoReturn:
    """Run a command and exit with its status; from here on a signal ends the process as it ends any other."""
    status = command(main, last=True, loads=True)  # `main` is a command itself
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    sys.exit(status)


@contextlib.contextmanager
def when_stopped(how: str) -> Iterator[None]:
    """Say for the block how to go on after Ctrl-C or SIGTERM."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(*(stop.args or (how,))) from None


def ending(error: BaseException) -> tuple[int, str]:
    """Exit status and sentence of an exception that ended a command; see the module."""
    status = getattr(error, "exit_status", None)
    if status is not None:
        return int(status), sentence(error)
    if isinstance(error, KeyboardInterrupt):
        return STOPPED, "; ".join(("stopped", *map(str, error.args)))
    if _no_memory(error):
        return FAILED, f"not enough memory: {sentence(error)}"
    if isinstance(error, OSError):
        return FAILED if error.errno in _NO_ROOM else BAD_INPUT, sentence(error)
    if isinstance(error, ModuleNotFoundError) and error.name and not (_ROOT / error.name.split(".")[0]).exists():
        return BAD_INPUT, f"{error.name} is not installed: pip install 'easy-or-hard[empirical]'"
    if isinstance(error, ValueError) and _refused(error.__traceback__):
        return BAD_INPUT, sentence(error)
    place = next((f for f in reversed(traceback.extract_tb(error.__traceback__)) if _ours(f.filename)), None)
    where = f" in {Path(place.filename).name}, line {place.lineno}" if place else ""
    return INTERNAL, (
        f"internal: {type(error).__name__}{where}: {sentence(error)}; this is a fault of the program, "
        f"{TRACEBACK}=1 shows where it arose"
    )


def sentence(error: BaseException) -> str:
    """The error in one line for a person: a failed system call as `file: what is wrong`, without its number."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return one_line(text)


def one_line(text: str) -> str:
    """Text of any kind in one line; what cannot be printed is written as an escape."""
    joined = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in joined)


def refuse_folder(folder: Path, flag: str = "--out") -> None:
    """Say beforehand that a folder cannot be made or written in; makes nothing.

    Raises:
        ValueError: it, or what it would lie in, is a file or may not be written to.

    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise ValueError(f"{there} is a file; {flag} needs a folder there")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{there} may not be written to; name another place with {flag}")


def refuse_file(path: Path, flag: str = "--out") -> None:
    """Say beforehand that a file cannot be written; makes nothing.

    Raises:
        ValueError: it is a folder, or what it would lie in is a file or may not be written to.

    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; {flag} names a file")
    refuse_folder(path.parent, flag)


def plain_warnings() -> Callable[..., None]:
    """A `warnings.showwarning` for commands: one line a warning, the first time it comes."""
    seen: set[str] = set()

    def show(message: Warning | str, *rest: Any) -> None:
        if str(message) not in seen:
            seen.add(str(message))
            print(f"warning: {one_line(str(message))}", file=sys.stderr)

    return show


def _ended(error: BaseException, stopped: str, last: bool) -> int:
    if isinstance(error, KeyboardInterrupt) and not error.args:
        error.args = (stopped,)
    status, said = ending(error)
    if not last and (status == INTERNAL or _no_memory(error)):
        raise error
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    print(f"error: {said}", file=sys.stderr)
    return status


def _no_memory(error: BaseException) -> bool:
    """Of the machine, or of a GPU, whose library is not loaded here."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _unprinted(error: OSError) -> int:
    """Of a command that is done, but could not print all it had to say."""
    if isinstance(error, BrokenPipeError):
        return READER_GONE
    print(f"error: standard output: {error.strerror or error}", file=sys.stderr)
    return FAILED


def _ours(filename: str) -> bool:
    """Whether code is neither Python's own nor of an installed library."""
    path = Path(filename).resolve()
    if path.is_relative_to(_ROOT) and ".venv" not in path.relative_to(_ROOT).parts:
        return True
    libraries = (Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return path.exists() and not any(path.is_relative_to(place) for place in libraries)


def _refused(trace: TracebackType | None) -> bool:
    """Whether an exception comes from a `raise` of our own code, not from what a library found amiss inside it."""
    if trace is None:
        return True
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    raised = dis.opname[code.co_code[trace.tb_lasti]] in ("RAISE_VARARGS", "RERAISE")
    return raised and _ours(code.co_filename)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does; a signal that the caller of the program ignores stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: set by other than Python code
                signal.signal(number, handler)


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    before = warnings.showwarning
    warnings.showwarning = plain_warnings()
    try:
        yield
    finally:
        warnings.showwarning = before


__all__ = [
    "BAD_INPUT",
    "FAILED",
    "INTERNAL",
    "READER_GONE",
    "STOPPED",
    "Lasting",
    "command",
    "ending",
    "leave",
    "one_line",
    "plain_warnings",
    "refuse_file",
    "refuse_folder",
    "sentence",
    "when_stopped",
]
