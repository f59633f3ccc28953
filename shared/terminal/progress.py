"""Progress of long work with a time estimate: a bar on a terminal, a plain line now and then elsewhere.

`Reporter` is the one display. `EpochCounter` feeds it from several threads; `reporting` gives functions that take a
`progress` argument what they call.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

Report = Callable[[float, float], None]
"""(done, total), in whatever unit the work is counted."""
LINE_SECONDS = 30.0
"""Shortest time between two plain lines."""


def duration(seconds: float) -> str:
    """Like "45 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class Reporter:
    """Context manager that shows on standard error how far some work is.

    Args:
        title: what runs; shown as it is.
        total: number of steps; None: every `update` says it, as a share of the work, shown in per cent.
        start: steps done before (a resumed run); the time left is estimated from what is done since.
        quiet: show nothing.

    """

    def __init__(self, title: str, total: float | None = None, start: float = 0, quiet: bool = False):
        self._title, self._total, self._start, self._quiet = title, total, start, quiet
        self._counted = total is not None
        self._bar: Progress | None = None
        self._begun = self._spoken = time.monotonic()

    def __enter__(self) -> Reporter:
        if not self._quiet and on_terminal():
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn() if self._counted else TaskProgressColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[numbers]}", markup=False),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total, numbers="")
            self._bar.update(self._task, completed=self._start)
        return self

    def update(self, done: float, numbers: Mapping[str, float] | None = None, total: float | None = None) -> None:
        """Show that `done` steps (of `total`, if that has changed) are behind us, with the numbers that matter now."""
        self._total = self._total if total is None else total
        text = "  ".join(f"{name} {value:.4g}" for name, value in (numbers or {}).items())
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=self._total, numbers=text)
            return
        now, whole = time.monotonic(), self._total or 1.0
        since = done - self._start
        if self._quiet or since <= 0 or (now - self._spoken < LINE_SECONDS and done < whole):
            return
        self._spoken = now
        passed = now - self._begun
        left = passed / since * (whole - done)
        far = f"{done}/{whole}" if self._counted else f"{done / whole:.0%}"
        line = f"{self._title}: {far}, {duration(passed)} passed, about {duration(left)} left  {text}".rstrip()
        print(line, file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


class EpochCounter:
    """Adds up epochs, from whatever thread they are reported, and shows the sum."""

    def __init__(self, reporter: Reporter):
        self._reporter, self._done, self._lock = reporter, 0, threading.Lock()

    def __call__(self, epochs: int) -> None:
        """So many more epochs are done."""
        with self._lock:
            self._done += epochs
            self._reporter.update(self._done)


@contextmanager
def reporting(progress: bool | Report | None, label: str) -> Iterator[Report]:
    """A function `report(done, total)` for the block.

    Args:
        progress: a function of that kind; True for a display on standard error; False for silence; None for a
            display on a terminal only.
        label: what runs.

    Raises:
        ValueError: `progress` is none of these.

    """
    if not (callable(progress) or progress is None or isinstance(progress, bool)):
        raise ValueError(f"progress is {progress!r}, must be True, False, None or a function of (done, total)")
    if callable(progress):
        yield progress
        return
    quiet = progress is False or (progress is None and not on_terminal())
    with Reporter(label, quiet=quiet) as reporter:
        yield lambda done, total: reporter.update(done, total=total)


def on_terminal() -> bool:
    """Whether standard error is one."""
    return sys.stderr is not None and sys.stderr.isatty()
