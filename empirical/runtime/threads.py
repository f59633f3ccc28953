"""Sharing the machine's arithmetic threads out among workers that each run a whole task."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from shared.records.decoding import CONFIG
from shared.records.records import read

SMALL_FLOP = 3e8
"""Arithmetic of one pass under which splitting it over threads costs more than it gains."""


@contextmanager
def one_thread_if(small: bool) -> Iterator[None]:
    """Run the block on one arithmetic thread if the work is small, when threads mostly wait."""
    threads = torch.get_num_threads()
    if small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def shared_out(tasks: int, each: int | None = None) -> Iterator[tuple[int, Callable[[], None]]]:
    """Context of (workers, what each worker calls first), for `tasks` independent tasks.

    A worker has its share of the threads, or `each`. Sums that the arithmetic splits over threads (weight gradients of
    a convolution) are added in another order with another number: what must not depend on the machine, or on how many
    tasks there are, asks for one.

    Two tasks with one thread each beat one task with two: nothing waits at the end of every layer. The
    number of threads is a property of a thread and, for threads yet to start, of the process; both are
    restored.
    """
    threads = torch.get_num_threads()
    workers = max(1, min(tasks, threads))
    share = max(1, threads // workers) if each is None else each
    torch.set_num_threads(share)
    try:
        yield workers, lambda: torch.set_num_threads(share)
    finally:
        torch.set_num_threads(threads)


def tell_of_other_threads(folder: Path) -> None:
    """Prints a note if the run in a folder was begun on a CPU with another number of arithmetic threads.

    Its weight gradients are sums that a CPU splits over its threads: another number, other last digits.
    """
    if not (folder / CONFIG).is_file():
        return
    device, now = read(folder).config.get("device", {}), torch.get_num_threads()
    before = device.get("threads", now)
    if device.get("name") == "cpu" and before != now:
        print(
            f"note: {folder} was begun with {before} arithmetic threads and goes on with {now}: the result is that of "
            f"an uninterrupted run up to rounding (OMP_NUM_THREADS={before} gives the same bits)",
            file=sys.stderr,
        )
