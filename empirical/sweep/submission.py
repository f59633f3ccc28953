"""What was submitted to a cluster, kept in the sweep's folder: one folder an array below `jobs`.

    jobs/NAME/plan.json     what each task of the array does, written before the array is submitted under that name
    jobs/NAME/job           the id that Slurm gave it
    jobs/NAME/INDEX.log     what a task printed
    jobs/NAME/INDEX.N.jsonl attempts of group N of a task: where each began, and how it ended if it could say so
    jobs/NAME/cancelled     indices that `--cancel` ended

Since Slurm knows arrays by NAME too, a submission that was killed before it wrote the id is found all the same. Nothing
here is a pickle.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from shared.records.records import write_json
from shared.terminal.atomic import write_atomically

JOBS = "jobs"
CELLS, EXPERTS, PROBE = "cells", "experts", "probe"
Event = Mapping[str, Any]


def now() -> str:
    """The time (UTC), to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Submission:
    """One array.

    Attributes:
        folder: below `jobs`; its name is the array's.
        plan: `kind` (cells, experts, probe), `time`, `tasks`: for cells a list of groups of names each; for experts
            {"recipe", "arguments", "folder"}; and what a job has to know.

    """

    folder: Path
    plan: Mapping[str, Any]

    @staticmethod
    def new(root: Path, plan: Mapping[str, Any]) -> Submission:
        """Writes the plan of an array that is about to be submitted."""
        folder = root / JOBS / f"sweep-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        write_json(folder / "plan.json", {**plan, "time": datetime.now(UTC).isoformat(timespec="microseconds")})
        return Submission.read(folder)

    @staticmethod
    def read(folder: Path) -> Submission:
        """What was written."""
        return Submission(folder, json.loads((folder / "plan.json").read_text(encoding="utf-8")))

    @property
    def name(self) -> str:
        """By which Slurm knows the array."""
        return self.folder.name

    @cached_property
    def job(self) -> str:
        """Slurm's id; empty if it was never written down."""
        path = self.folder / "job"
        return path.read_text(encoding="utf-8").strip() if path.exists() else ""

    def submitted(self, job: str) -> Submission:
        """Notes the id."""
        write_atomically(self.folder / "job", job)
        return Submission(self.folder, self.plan)

    def withdraw(self) -> None:
        """Of a plan that Slurm refused nothing stays."""
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()

    def log(self, index: int) -> Path:
        """What a task prints."""
        return self.folder / f"{index}.log"

    def note(self, index: int, group: int, event: str, **more: Any) -> None:
        """Adds to the attempts of a group."""
        line = json.dumps({"event": event, "time": now(), **more}) + "\n"
        with (self.folder / f"{index}.{group}.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def events(self, index: int, group: int) -> list[Event]:
        """All of a group, in order; a line cut by a kill is left out."""
        path = self.folder / f"{index}.{group}.jsonl"
        found = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    @property
    def cancelled(self) -> set[int]:
        """Indices that `--cancel` ended."""
        path = self.folder / "cancelled"
        return set(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else set()

    def cancel(self, indices: Sequence[int]) -> None:
        """Notes that these were ended on purpose."""
        write_json(self.folder / "cancelled", sorted(self.cancelled | set(indices)))

    @property
    def places(self) -> Iterator[tuple[str, int, int]]:
        """(cell or recipe, index, group) of all that the array does."""
        for index, task in enumerate(self.plan["tasks"]):
            if self.plan["kind"] == CELLS:
                yield from ((name, index, group) for group, names in enumerate(task) for name in names)
            elif self.plan["kind"] == EXPERTS:
                yield task["recipe"], index, 0


def submissions(root: Path) -> list[Submission]:
    """All of a sweep's folder, oldest first."""
    folders = sorted((root / JOBS).glob("sweep-*/plan.json"))
    found = [Submission.read(path.parent) for path in folders]
    return sorted(found, key=lambda one: (one.plan["time"], one.name))


@dataclass(frozen=True)
class Place:
    """Where a cell was submitted last."""

    submission: Submission
    index: int
    group: int

    @property
    def task(self) -> str:
        """JOB_INDEX, as Slurm writes it."""
        return f"{self.submission.job}_{self.index}" if self.submission.job else ""

    @property
    def events(self) -> list[Event]:
        """Attempts."""
        return self.submission.events(self.index, self.group)


def latest(found: Sequence[Submission]) -> dict[str, Place]:
    """Cell or recipe -> where it was submitted last."""
    return {name: Place(one, index, group) for one in found for name, index, group in one.places}
