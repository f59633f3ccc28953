"""Groups of cells spread over the processes of this machine (joblib).

A worker that dies (killed, out of memory) takes nothing with it: what it worked on goes on from its checkpoint in
a fresh worker, and is noted as failed if that dies too. Locks keep two commands, or a command and a cluster's
job, from doing the same cell twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empirical.runtime.devices import device_named
from empirical.sweep.cells import Cell
from empirical.sweep.ledger import folder_of, stored_state
from empirical.sweep.options import Axes
from empirical.sweep.work import run_group
from shared.records.records import write_failure

Group = Sequence[Cell]
States = Mapping[str, str]
"""Cell name -> its state."""
DEATHS = 2
"""Times that the workers may die on one group of cells before it is given up."""


class NotInstalled(ImportError):  # noqa: N818
    """An optional package is missing."""

    exit_status = 2


@dataclass(frozen=True)
class Local:
    """Processes on this machine.

    Attributes:
        workers: how many; 1 runs everything in this process.
        threads: arithmetic threads of each.
        retry_diverged: whether diverged cells are run again.
        work: what a process does with a group.

    """

    workers: int
    threads: int
    retry_diverged: bool = False
    work: Callable[..., dict[str, str]] = run_group

    def __call__(self, groups: Sequence[Group], root: Path) -> Iterator[States]:
        """Runs groups, in any order, and yields the states of each group's cells as it ends.

        Raises:
            NotInstalled: several workers, and joblib is missing.

        """
        if self.workers == 1:
            for group in groups:
                yield self.work(group, root, self.threads, self.retry_diverged)
            return
        left = dict(enumerate(groups))
        deaths = dict.fromkeys(left, 0)
        while left:
            try:
                yield from self._pool(left, root)
            except _worker_died():
                yield from self._after_death(left, deaths, root)

    def _pool(self, left: dict[int, Group], root: Path) -> Iterator[States]:
        joblib = _joblib()
        jobs = (
            joblib.delayed(_numbered)(i, self.work, group, root, self.threads, self.retry_diverged)
            for i, group in list(left.items())  # joblib draws from this while `left` shrinks
        )
        pool = joblib.Parallel(n_jobs=self.workers, return_as="generator_unordered", pre_dispatch=self.workers)
        for i, states in pool(jobs):
            del left[i]
            yield states

    def _after_death(self, left: dict[int, Group], deaths: dict[int, int], root: Path) -> Iterator[States]:
        """Counts the death against the groups that were under way, and gives up those that had too many."""
        for i, group in list(left.items()):
            states = {cell.name: stored_state(folder_of(root, cell)).name for cell in group}
            if "begun" not in states.values():
                continue
            deaths[i] += 1
            if deaths[i] >= DEATHS:
                for cell in group:
                    if states[cell.name] == "begun":
                        write_failure(folder_of(root, cell), "failed", "its process died, out of memory perhaps")
                        states[cell.name] = "failed"
                del left[i]
                yield states


def _numbered(
    i: int, work: Callable[..., dict[str, str]], group: Group, root: Path, threads: int, retry_diverged: bool
) -> tuple[int, dict[str, str]]:
    return i, work(group, root, threads, retry_diverged)


def _joblib() -> Any:
    try:
        import joblib
    except ImportError as error:
        raise NotInstalled("several workers need joblib (pip install joblib); or give --workers 1") from error
    return joblib


def _worker_died() -> type[BaseException]:
    _joblib()
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    died: type[BaseException] = TerminatedWorkerError
    return died


def launcher_of(axes: Axes, device: str, groups: int) -> Local:
    """The local launcher that the flags ask for.

    Args:
        axes: the flags.
        device: of the cells; on a GPU one worker at a time unless asked for more.
        groups: how many there are.

    """
    by_threads = max(1, len(os.sched_getaffinity(0)) // axes.threads)
    default = by_threads if device_named(device).type == "cpu" else 1
    return Local(max(1, min(axes.workers or default, groups)), axes.threads, axes.retry_diverged)
