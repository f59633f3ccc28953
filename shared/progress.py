"""Progress of long work with a time estimate: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Report = Callable[[float, float], None]
_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def reporting(progress: bool | Report | None, label: str) -> Iterator[Report]:
    """A function `report(done, total)` for the block.

    `progress`: a function of that kind; True for a display on stderr; False for silence; None for a display
    on a terminal only.
    """
    if not (callable(progress) or progress is None or isinstance(progress, bool)):
        raise ValueError(
            f"progress is {progress!r}, must be True, False, None or a function of (done, total)"
        )
    if callable(progress):
        yield progress
    elif progress is False or (progress is None and not sys.stderr.isatty()):
        yield lambda done, total: None
    elif sys.stderr.isatty():
        times = (TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(TextColumn(label), BarColumn(), *times, console=Console(stderr=True)) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        yield _Lines(label)


class _Lines:
    """Plain lines: `label: 40 %, 12 s passed, about 18 s left`."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.start = self.last = time.monotonic()

    def __call__(self, done: float, total: float) -> None:
        now = time.monotonic()
        if done <= 0.0 or (now - self.last < _SECONDS_BETWEEN_LINES and done < total):
            return
        self.last = now
        passed = now - self.start
        left = passed * (total - done) / done
        line = f"{self.label}: {done / total:.0%}, {passed:.0f} s passed, about {left:.0f} s left"
        print(line, file=sys.stderr, flush=True)
