"""Submitting, watching and cancelling the jobs of a sweep on a Slurm cluster.

An own layer over sbatch, not submitit: that hands work over as pickles and reads results back as pickles, knows a
job's state from sacct alone and cannot say what an earlier command submitted. Here a job reads a JSON plan, leaves its
results in the cells' folders, as any process does, and is known by the record (`submission`).
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empirical.experiment.experts import experts_command
from empirical.runtime.checkpoint import FolderInUse, Lock
from empirical.sweep import slurm
from empirical.sweep.cells import Cell
from empirical.sweep.cluster_settings import ClusterSettings
from empirical.sweep.data_card import Cards, source_of
from empirical.sweep.frozen import code_sum
from empirical.sweep.ledger import State
from empirical.sweep.missing_experts import Missing
from empirical.sweep.options import Request
from empirical.sweep.slurm import SlurmError
from empirical.sweep.speeds import kind_of
from empirical.sweep.standing import Standing, states_of
from empirical.sweep.submission import CELLS, EXPERTS, JOBS, PROBE, Submission
from shared.records.records import git_revision
from shared.terminal.progress import Reporter

LOOK_SECONDS = 5.0
"""Between two looks of `--wait`."""
TURN_SECONDS = 120.0
"""That a command waits for another one which is submitting into the same folder."""
PROBE_MINUTES = 5

_SCRIPT = """#!/bin/bash
trap '' USR1 USR2
{setup}
# signals are ignored until the program listens; what came before, it knows by the time that is left
(trap '' USR1 USR2; exec {python} -m empirical.sweep.job {plan}) &
child=$!
trap 'kill -USR1 $child 2>/dev/null' USR2  # Slurm may send it a minute early: the program asks how long it has
trap 'kill -TERM $child 2>/dev/null' TERM
wait $child; status=$?
while kill -0 $child 2>/dev/null; do wait $child; status=$?; done
if [ $status -eq 137 ]; then  # killed: it goes on from its checkpoint, and stops by itself if that leads nowhere
    echo "killed by signal 9"
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID" && sleep 60
fi
exit $status
"""
"""What sbatch runs; {{ }} are the shell's."""


def my_turn(root: Path, locks: ExitStack) -> None:
    """Waits for other commands that submit into the folder.

    Raises:
        FolderInUse: one does so for minutes.
        NoLocks: the file system has no locks.

    """
    end = time.monotonic() + TURN_SECONDS
    while True:
        try:
            locks.enter_context(Lock(root / JOBS))
            return
        except FolderInUse:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


@dataclass(frozen=True)
class Cluster:
    """How this command submits.

    Attributes:
        request: what was typed.
        root: the sweep's folder.
        settings: of the jobs.
        cards: of the data.

    """

    request: Request
    root: Path
    settings: ClusterSettings
    cards: Cards

    def submit(self, groups: Sequence[Sequence[Cell]], missing: Sequence[Missing], standing: Standing) -> list[str]:
        """Experts first, then the cells that depend on them; the caller has its turn (`my_turn`).

        Returns:
            The ids of the arrays.

        Raises:
            SlurmError: it refuses the jobs; what it took before stays and is in the record.

        """
        slurm.refuse_unsubmittable(_script(self.settings, "plan.json"), self.settings.sbatch())
        made = self._experts([m for m in missing if not standing.holds(m.command)])
        ids = list(dict.fromkeys(task.split("_")[0] for task in made.values()))
        waiting = {name: p.task for name, p in standing.places.items() if standing.holds(name) and p.task}
        by_need: dict[str, list[Sequence[Cell]]] = {}
        for group in groups:
            recipe = experts_command(group[0].settings)
            by_need.setdefault({**waiting, **made}.get(recipe, ""), []).append(group)
        for need, of_need in by_need.items():
            names = [[cell.name for cell in group] for group in of_need]
            size = self.settings.cells_per_gpu
            tasks = [names[start : start + size] for start in range(0, len(names), size)]
            after = [f"--dependency=afterok:{need}", "--kill-on-invalid-dep=yes"] if need else []
            ids += [one.job for one in self._arrays(CELLS, tasks, after)]
        return ids

    def probe(self, cells: Sequence[Cell]) -> str:
        """A short job that measures the speed of each kind of network; returns its id."""
        kinds = {kind_of(cell.settings): [cell.name] for cell in cells}
        (one,) = self._arrays(PROBE, [list(kinds.values())], [f"--time={PROBE_MINUTES}"])
        return one.job

    def _experts(self, missing: Sequence[Missing]) -> dict[str, str]:
        """Recipe -> JOB_INDEX of the job that makes its experts."""
        own = ["--device", self.request.common.device, "--quiet"]
        for plugin in self.request.common.plugin:
            own += ["--plugin", str(plugin)]
        tasks = [
            {"recipe": m.command, "arguments": [*shlex.split(m.command)[3:], *own], "folder": str(m.folder.absolute())}
            for m in missing
        ]
        found: dict[str, str] = {}
        for one in self._arrays(EXPERTS, tasks, []):
            found |= {recipe: f"{one.job}_{index}" for recipe, index, _ in one.places}
        return found

    def _arrays(self, kind: str, tasks: Sequence[Any], more: Sequence[str]) -> list[Submission]:
        size = slurm.largest_array() if tasks else 1
        return [self._array(kind, tasks[start : start + size], more) for start in range(0, len(tasks), size)]

    def _array(self, kind: str, tasks: Sequence[Any], more: Sequence[str]) -> Submission:
        at_once = f"%{self.request.axes.workers}" if self.request.axes.workers and kind == CELLS else ""
        one = Submission.new(self.root, self._plan(kind, tasks))
        options = [
            *self.settings.sbatch(), *more, f"--array=0-{len(tasks) - 1}{at_once}", f"--job-name={one.name}",
            f"--output={_literal(one.folder)}/%a.log", "--open-mode=append", "--requeue",
            f"--signal=B:USR2@{self.settings.signal}", f"--chdir={Path.cwd()}",
        ]  # fmt: skip
        try:
            job = slurm.sbatch(_script(self.settings, str((one.folder / "plan.json").absolute())), options)
        except SlurmError:
            one.withdraw()
            raise
        return one.submitted(job)

    def _plan(self, kind: str, tasks: Sequence[Any]) -> Mapping[str, Any]:
        axes, common, revision = self.request.axes, self.request.common, git_revision(Path(__file__).parent)
        return {
            "kind": kind,
            "tasks": list(tasks),
            "arguments": list(self.request.arguments),
            "code": code_sum(),
            "revision": (revision or {}).get("revision"),
            "cards": self._cards(tasks) if kind != EXPERTS else [],
            "device": common.device,
            "gpu": self.settings.wants_gpu,
            "threads": axes.threads if axes.threads != 1 else self.settings.threads,
            "retry_diverged": axes.retry_diverged,
            "hours": self.settings.hours,
            "lead": self.settings.signal,
            "memory": self.settings.memory,
        }

    def _cards(self, tasks: Sequence[Any]) -> list[dict[str, Any]]:
        wanted = {name for task in tasks for group in task for name in group}
        names: dict[str, list[str]] = {}
        for cell in self.planned:
            if cell.name in wanted:
                names.setdefault(str(source_of(cell.settings)), []).append(cell.name)
        cards = [{**card, "names": names.get(str(card["source"]), [])} for card in self.cards.cards]
        return [card for card in cards if card["names"]]

    planned: Sequence[Cell] = ()
    """All cells of the command."""


def _script(settings: ClusterSettings, plan: str) -> str:
    setup = "\n".join(settings.setup)
    return _SCRIPT.format(setup=setup, python=shlex.quote(sys.executable), plan=shlex.quote(plan))


def _literal(folder: Path) -> str:
    """A path in which sbatch replaces nothing."""
    return str(folder.absolute()).replace("%", "%%")


def told(root: Path, ids: Sequence[str], cells: int) -> str:
    """What a command says when it has submitted."""
    arrays = f"{len(ids)} array{'s' if len(ids) != 1 else ''}"
    return (
        f"{cells} cells in {arrays}: jobs {' '.join(ids)}\n"
        f"logs: {root / JOBS}/sweep-*/INDEX.log\n"
        f"look: the same command with --status\n"
        f"stop: the same command with --cancel, or scancel {' '.join(ids)}"
    )


def watch(root: Path, cells: Sequence[Cell], quiet: bool, pause: Callable[[float], None] = time.sleep) -> None:
    """Looks on until no cell waits or runs."""
    with Reporter("sweep", len(cells), quiet=quiet) as reporter:
        while True:
            states = states_of(root, cells)
            names = [state.name for state in states.values()]
            counts = {name: float(names.count(name)) for name in dict.fromkeys(names)}
            reporter.update(names.count("done") + names.count("diverged") + names.count("failed"), counts)
            if not {"queued", "running"} & set(names):
                return
            pause(LOOK_SECONDS)


def cancel(root: Path, cells: Sequence[Cell]) -> int:
    """Ends the jobs of these cells, and notes it; experts whose cells are all cancelled go too.

    Returns:
        How many tasks were ended.

    Raises:
        SlurmError: Slurm does not.

    """
    standing = Standing.of(root)
    names = [cell.name for cell in cells if standing.state(root, cell).name in ("queued", "running")]
    recipes = dict.fromkeys(experts_command(cell.settings) for cell in cells)
    held = [standing.places[n] for n in [*names, *recipes] if n and standing.holds(n)]
    found = {(place.submission.name, place.index): place for place in held}
    for place in found.values():
        place.submission.cancel([place.index])
    tasks = [place.task for place in found.values() if place.task]
    if tasks:
        slurm.cancel(tasks)
    return len(tasks)


def unfinished(states: Mapping[str, State]) -> bool:
    """Whether a cell is neither done nor diverged nor failed."""
    return any(state.name not in ("done", "diverged", "failed") for state in states.values())


def environment_note() -> str:
    """A warning where the command itself runs inside a job, whose options sbatch would inherit."""
    inside = os.environ.get("SLURM_JOB_ID")
    return f"this command runs inside job {inside}; its jobs are submitted beside it" if inside else ""
