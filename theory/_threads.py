"""Compiled work in threads, so that Ctrl-C is heard: the main thread waits, and a flag stops the loops.

Python hears a signal only between two steps of its main thread, and a compiled loop is one step. So long work is done
by other threads while the main thread waits, which a signal ends. Whoever leaves early sets the flag (an array of one
boolean that the loops look at), gives the threads `PATIENCE` seconds to see it, and does not wait for what cannot look,
such as a factorisation inside BLAS: threads end with the process.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Flag = NDArray[np.bool_]
Job = TypeVar("Job")
Result = TypeVar("Result")
PATIENCE = 1.0
_own = threading.local()  # .stop: the flag that a thread of `working` looks at


def unset() -> Flag:
    """A flag that nobody has set."""
    return np.zeros(1, np.bool_)


@contextmanager
def working(work: Callable[[Job, Flag], None], jobs: Sequence[Job], workers: int) -> Iterator[Iterator[Job]]:
    """Do `work(job, stop)` for every job in up to `workers` threads; an iterator of the jobs as they are done.

    The iterator raises what a job raised. Leaving the block early stops the work.
    """
    stop = unset()
    waiting = deque(jobs)
    done: queue.SimpleQueue[tuple[Job, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        _own.stop = stop
        while not stop[0]:
            try:
                job = waiting.popleft()
            except IndexError:
                return
            error: BaseException | None = None
            try:
                work(job, stop)
            except BaseException as raised:
                error = raised
            done.put((job, error))

    def finished() -> Iterator[Job]:
        for _ in range(len(jobs)):
            job, error = _next(done)
            if error is not None:
                raise error
            yield job

    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(workers, len(jobs)))]
    try:
        for thread in threads:
            thread.start()
        yield finished()
    finally:
        stop[0] = True
        latest = time.monotonic() + PATIENCE
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, latest - time.monotonic()))


def _next(done: queue.SimpleQueue[tuple[Job, BaseException | None]]) -> tuple[Job, BaseException | None]:
    while True:
        try:
            return done.get(timeout=0.5)  # on some systems only a wait with an end can be interrupted
        except queue.Empty:
            continue


def interruptible(work: Callable[[Flag], Result], long: bool, prepare: Callable[[], object]) -> Result:
    """The result of `work(stop)`: in a thread where it may take `long` and the main thread would have to sit in it.

    In a thread of `working`, the flag is that of the whole work.
    `prepare` is called before such a thread: it compiles what the work needs, which must not be left half done.
    """
    if not long or threading.current_thread() is not threading.main_thread():
        return work(getattr(_own, "stop", unset()))
    prepare()
    found: list[Result] = []
    with working(lambda _, stop: found.append(work(stop)), [None], 1) as finished:
        for _ in finished:
            pass
    return found[0]
