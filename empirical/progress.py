"""Progress of a long run: a bar with the time left on a terminal, a plain line now and then elsewhere."""

import sys
import threading
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS = 30.0
"""Shortest time between two plain lines."""


def duration(seconds: float) -> str:
    """Like "45 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class Reporter:
    """Context manager that shows how far a run of `total` steps is.

    Args:
        title: what runs.
        total: number of steps.
        start: steps done before (a resumed run); the time left is estimated from what is done since.
        quiet: show nothing.

    """

    def __init__(self, title: str, total: int, start: int = 0, quiet: bool = False):
        self._title, self._total, self._start = title, total, start
        self._quiet, self._done = quiet, start
        self._bar: Progress | None = None
        self._begun = self._spoken = time.monotonic()

    def __enter__(self) -> "Reporter":
        console = Console(stderr=True)
        if console.is_terminal and not self._quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[numbers]}"),
            )
            self._bar = Progress(*columns, console=console)
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total, completed=self._start, numbers="")
        return self

    def update(self, done: int, numbers: dict[str, float]) -> None:
        """Shows that `done` steps are behind us, with the numbers that matter now."""
        self._done = done
        text = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=done, numbers=text)
            return
        now = time.monotonic()
        if self._quiet or (now - self._spoken < LINE_SECONDS and done < self._total):
            return
        self._spoken = now
        left = (now - self._begun) / max(1, done - self._start) * (self._total - done)
        print(
            f"{self._title} {done}/{self._total}, {duration(left)} left  {text}", file=sys.stderr, flush=True
        )

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
            self._reporter.update(self._done, {})
