"""How each cell stands on a cluster: from its folder, the record of submissions, squeue and sacct, whichever there are.

What a folder says (done, diverged) is believed before anybody else; then what squeue says; then, of a task that is no
more, how it ended: what it wrote itself, sacct, scontrol, its log. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from empirical.sweep import slurm
from empirical.sweep.cells import Cell
from empirical.sweep.ledger import State, folder_of, state_of, stored_state
from empirical.sweep.progress import steps_of
from empirical.sweep.slurm import Ended, Live, Task
from empirical.sweep.submission import Event, Place, latest, submissions
from shared.terminal.progress import duration

_INTERRUPTED = ("CANCELLED", "PREEMPTED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "REVOKED")
"""Ends that say nothing about the cell: it goes on with the next command."""
_ALIVE = ("PENDING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED")
_SAID = {"CANCELLED": "cancelled", "TIMEOUT": "time limit", "PREEMPTED": "preempted", "NODE_FAIL": "its node failed"}
_NO_MEMORY = ("exceeded memory limit", "oom-kill", "oom_kill", "out-of-memory", "Out of memory")
_LOG_BYTES = 20_000


@dataclass(frozen=True)
class Standing:
    """What is known of a sweep's tasks.

    Attributes:
        places: cell or recipe -> where it was submitted last.
        live: what Slurm's queue holds; None if nobody says.
        ended: how tasks that left the queue ended.

    """

    places: Mapping[str, Place]
    live: Mapping[Task, Live] | None
    ended: Mapping[Task, Ended]

    @staticmethod
    def of(root: Path) -> Standing:
        """Asks Slurm once for all; not at all where nothing was submitted."""
        places = latest(submissions(root))
        if not places:
            return Standing({}, {}, {})
        live = slurm.queue()
        over = {p.submission.job for p in places.values() if live is None or _key(p) not in live}
        return Standing(places, live, slurm.ended(over - {""}))

    def state(self, root: Path, cell: Cell) -> State:
        """Of a cell."""
        folder = folder_of(root, cell)
        stored, place = stored_state(folder), self.places.get(cell.name)
        if stored.name == "done" or place is None:
            return stored if stored.name == "done" else state_of(folder)
        live = self.live.get(_key(place)) if self.live is not None else None
        if live is not None:
            return self._alive(folder, cell, stored, place, live)
        if state_of(folder).name == "running":  # of this machine, or of a cluster that does not answer
            return State("running", where=_running(place, "", folder, cell))
        if stored.name == "diverged":
            return stored
        if stored.name == "failed":
            return State("failed", f"{stored.reason} ({_job_log(place)})")
        return self._over(stored, place)

    def _alive(self, folder: Path, cell: Cell, stored: State, place: Place, live: Live) -> State:
        over = place.events and place.events[-1]["event"] == "end" and place.events[-1]["outcome"] == "settled"
        if stored.name in ("diverged", "failed") and live.runs and over:
            return stored  # other groups of the same job still run
        if live.runs:
            return State("running", where=_running(place, live.node, folder, cell, live.job))
        again = ", goes on by itself" if stored.name == "begun" else ""
        return State("queued", where=f"job {live.job}, {live.reason}{again}")

    def _over(self, stored: State, place: Place) -> State:
        """Of a task that Slurm no longer holds, or that nobody can be asked about."""
        events, told = place.events, self.ended.get((place.submission.job, place.index))
        last = events[-1] if events else None
        if place.index in place.submission.cancelled:
            return State(stored.name, where=f"cancelled ({place.task})")
        if last is not None and last["event"] == "end" and last["outcome"] == "failed":
            return State("failed", f"{last['reason']} ({_job_log(place)})")
        if told is None and self.live is None:
            where = f"job {place.task}; Slurm does not answer"
            begun = last is not None and last["event"] == "start"
            return State("running" if begun else "queued" if last is None else stored.name, where=where)
        return self._gone(stored, place, told, last)

    def _gone(self, stored: State, place: Place, told: Ended | None, last: Event | None) -> State:
        """As Slurm tells it, or what is left of the task."""
        if told is not None and told.state in _ALIVE:  # of accounts that squeue could not confirm
            return State("queued" if told.state == "PENDING" else "running", where=f"job {place.task}, says sacct")
        if told is not None and told.state in _INTERRUPTED:
            return State(stored.name, where=f"{_SAID.get(told.state, told.state.lower())} ({place.task})")
        if reason := _killed(place, told):
            return State("failed", f"{reason} ({_job_log(place)})")
        if last is None:
            return State(stored.name, where=f"never began ({place.task or place.submission.name})")
        if last["event"] == "start":
            return State("failed", f"it was killed, or its node failed; no accounts say which ({_job_log(place)})")
        return State(stored.name, where=f"{last.get('reason') or last['outcome']} ({place.task})")

    def holds(self, name: str) -> bool:
        """Whether a task for this cell or recipe waits or runs."""
        place = self.places.get(name)
        if place is None or place.index in place.submission.cancelled:
            return False
        if self.live is not None:
            return _key(place) in self.live
        told = self.ended.get((place.submission.job, place.index))
        return told is None or told.state in _ALIVE


def _key(place: Place) -> Task:
    return place.submission.name, place.index


def _job_log(place: Place) -> str:
    return f"job {place.task or place.submission.name}, log {place.submission.log(place.index)}"


def _killed(place: Place, told: Ended | None) -> str:
    """Why a task was killed; empty if it was not."""
    try:
        with place.submission.log(place.index).open("rb") as file:
            file.seek(max(0, place.submission.log(place.index).stat().st_size - _LOG_BYTES))
            said = file.read().decode(errors="replace")
    except OSError:
        said = ""
    if (told is not None and told.state == "OUT_OF_MEMORY") or any(mark in said for mark in _NO_MEMORY):
        return f"out of memory: {place.submission.plan['memory']:g} GB (--slurm-memory)"
    if told is not None and (told.signal or told.status > 128):
        return f"killed by signal {told.signal or told.status - 128}"
    if told is not None and told.status:
        return f"exit status {told.status}"
    return ""


def _running(place: Place, node: str, folder: Path, cell: Cell, job: str = "") -> str:
    """Where, and how far: the end is reckoned from the steps of this attempt."""
    found = [f"job {job or place.task}"] + ([node] if node else [])
    done, total = steps_of(folder, cell)
    if total:
        found.append(f"step {done} of {total}")
        start = next((e for e in reversed(place.events) if e["event"] == "start"), None)
        made = done - int(start.get("steps", {}).get(cell.name, 0)) if start else 0
        if start and made > 0 and done < total:
            since = (datetime.now(UTC) - datetime.fromisoformat(start["time"])).total_seconds()
            found.append(f"about {duration(since / made * (total - done))} left")
    return ", ".join(found)


def states_of(root: Path, cells: Sequence[Cell]) -> dict[str, State]:
    """Cell name -> state."""
    standing = Standing.of(root)
    return {cell.name: standing.state(root, cell) for cell in cells}
