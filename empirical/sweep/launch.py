"""Groups of cells spread over local processes (joblib) or over the jobs of a cluster (submitit).

A worker that dies (killed, out of memory) takes nothing with it: what it worked on goes on from its checkpoint in
a fresh worker, and is noted as failed if that dies too. Locks keep two commands, or a command and a cluster's
job, from doing the same cell twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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


class Launcher(Protocol):
    """Runs groups, in any order, and yields the states of each group's cells as it ends."""

    def __call__(self, groups: Sequence[Group], root: Path) -> Iterator[States]:
        """See the class."""
        ...


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
        """See `Launcher`.

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


@dataclass(frozen=True)
class Cluster:
    """Jobs of a Slurm cluster, one a group, as one job array.

    Attributes:
        axes: the flags.
        cluster: slurm, or local: processes of this machine behind the same interface.

    """

    axes: Axes
    cluster: str

    def __call__(self, groups: Sequence[Group], root: Path) -> Iterator[States]:
        """See `Launcher`; yields nothing if the jobs are to be left alone.

        Raises:
            NotInstalled: submitit is missing.

        """
        jobs = self._submitted(groups, root)
        if self.axes.detach:
            return
        for job, group in zip(jobs, groups, strict=True):
            try:
                yield job.result()
            except Exception as error:  # cancelled, timed out, or gone: the package raises what it likes
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                states = {}
                for cell in group:
                    state = stored_state(folder_of(root, cell)).name
                    if state in ("missing", "begun"):
                        write_failure(folder_of(root, cell), "failed", f"its job ended: {reason}", str(error))
                        state = "failed"
                    states[cell.name] = state
                yield states

    def _submitted(self, groups: Sequence[Group], root: Path) -> list[Any]:
        try:
            import submitit
        except ImportError as error:
            raise NotInstalled("a cluster needs submitit: pip install 'easy-or-hard[cluster]'") from error
        axes = self.axes
        executor = submitit.AutoExecutor(folder=root / "jobs", cluster=self.cluster)
        executor.update_parameters(
            name="sweep",
            timeout_min=max(1, round(60 * axes.slurm_hours)),
            gpus_per_node=axes.slurm_gpus if self.cluster == "slurm" else 0,
            cpus_per_task=axes.threads,
            mem_gb=axes.slurm_memory,
        )
        if self.cluster == "slurm":
            executor.update_parameters(
                slurm_array_parallelism=axes.workers or 256,
                **({"slurm_partition": axes.slurm_partition} if axes.slurm_partition else {}),
            )
        count = len(groups)
        settings = [axes.threads] * count, [axes.retry_diverged] * count
        return list(executor.map_array(run_group, groups, [root] * count, *settings))


def launcher_of(axes: Axes, device: str, groups: int) -> Launcher:
    """The launcher that the flags ask for.

    Args:
        axes: the flags.
        device: of the cells; on a GPU one worker at a time unless asked for more.
        groups: how many there are.

    """
    if axes.launcher != "local":
        return Cluster(axes, {"slurm": "slurm", "submitit-local": "local"}[axes.launcher])
    by_threads = max(1, len(os.sched_getaffinity(0)) // axes.threads)
    default = by_threads if device_named(device).type == "cpu" else 1
    return Local(max(1, min(axes.workers or default, groups)), axes.threads, axes.retry_diverged)
