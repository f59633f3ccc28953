"""What one task of an array does on its node: `python -m empirical.sweep.job PLAN`, its index in SLURM_ARRAY_TASK_ID.

It reads the plan that the submitting command wrote, refuses to go on with other code or other data than it was
submitted with, with a device that is not there or without file locks, runs its groups of cells (or trains experts), and
writes the sweep's grid. SIGUSR2, before the time limit, and SIGTERM, which Slurm sends to a job that is preempted, make
a distillation save at its next step; everything else is broken off, since it goes on from its last
epoch (experts) or is repeated (coresets, evaluations: minutes). The job then asks to be run again, unless two attempts
in a row got nowhere.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from empirical import experts
from empirical.data.datasets import Dataset
from empirical.distillation.loop import Interrupted
from empirical.experiment import cost
from empirical.experiment.experiment import Experiment
from empirical.runtime.checkpoint import FolderInUse, Lock
from empirical.runtime.devices import device_named
from empirical.settings.settings import Settings
from empirical.sweep import ledger, slurm
from empirical.sweep.cells import Cell, expand
from empirical.sweep.data_card import source_of, stand_in
from empirical.sweep.frozen import code_sum
from empirical.sweep.options import blocks_of, parse
from empirical.sweep.progress import mark_of, saved_steps
from empirical.sweep.speeds import keep_speed, kind_of
from empirical.sweep.submission import CELLS, EXPERTS, Submission
from empirical.sweep.work import data_of, run_group
from shared.terminal.command import command, ending, leave
from shared.terminal.printing import Plain

SETTLED, STOPPED, WAITS, FAILED = "settled", "stopped", "waits", "failed"
STATUS = {SETTLED: 0, FAILED: 4, STOPPED: 75, WAITS: 76}
ATTEMPTS = 2
"""In a row without a step, after which a job is not run again."""
PATIENCE = 60.0
"""Seconds before another look at experts that another process makes, and that a grid is waited for."""


class Refused(RuntimeError):  # noqa: N818
    """This job cannot be what was submitted; one sentence."""

    exit_status = 4


class _Stop(KeyboardInterrupt):
    """A signal outside a distillation; passes whatever handles errors."""


@dataclass
class _Signals:
    """Whether Slurm asked to stop: raised at once, but for a distillation, which has handlers of its own."""

    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    seen: bool = False

    def listen(self, task: str, lead: float) -> None:
        """From now on; Slurm's own warning, up to a minute early and perhaps sent while the program was loaded, is only
        a reason to ask again how long the job has.

        Args:
            task: JOB_INDEX.
            lead: seconds before the limit at which to stop.

        """

        def ask(*_: object) -> None:
            left = slurm.seconds_left(task)
            if left is not None or _:  # a warning without an answer is believed
                timer = threading.Timer(max(0.0, (left or 0.0) - lead), os.kill, (os.getpid(), signal.SIGUSR2))
                timer.daemon = True
                timer.start()

        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, self._note)
        signal.signal(signal.SIGUSR1, ask)
        ask()

    def ignore(self) -> None:
        """What comes now changes nothing: all is saved."""
        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.seen:
            return
        self.seen = True
        for child in self.children:
            child.send_signal(signal.SIGUSR2)
        if not self.children:
            raise _Stop("asked to stop by the cluster")


def cells_of(submission: Submission, names: Sequence[str]) -> list[Cell]:
    """The cells of a plan by name, with the settings that the node's device resolves them to.

    Raises:
        Refused: the data are others than they were, or these settings name other cells.

    """
    plan, request = submission.plan, parse(submission.plan["arguments"])
    cards = [card for card in plan["cards"] if set(card["names"]) & set(names)]

    def real(settings: Settings) -> Dataset:
        dataset = data_of(settings)
        card = next((c for c in plan["cards"] if c["source"] == source_of(settings)), None)
        if card is not None and card["fingerprint"] != dataset.fingerprint:
            raise Refused(
                f"the data of {settings.dataset} are not those that the sweep was submitted with (fingerprint "
                f"{dataset.fingerprint[:12]}, not {card['fingerprint'][:12]}): put them back, or remove "
                f"{submission.folder.parent.parent / 'data.json'} and submit again"
            )
        return dataset

    datasets = {card["source"]["name"] for card in cards}
    blocks = [replace(b, datasets=tuple(d for d in b.datasets if d in datasets or not cards))
              for b in blocks_of(request.axes)]  # fmt: skip
    found = {cell.name: cell for cell in expand(blocks, request.settings, real)}
    if not set(names) <= set(found) and cards:  # a device may resolve a setting of speed otherwise
        made = {card["source"]["name"]: stand_in(card) for card in cards}
        planned = expand(blocks, request.settings, lambda settings: made[settings.dataset])
        found = {cell.name: cell for cell in planned} | found
    if lost := [name for name in names if name not in found]:
        raise Refused(f"{lost[0]} is not among the cells that its command names now: submit again")
    return [found[name] for name in names]


def _refuse_other(plan: Any) -> None:
    """Code, device and locks as they were asked for.

    Raises:
        Refused: one of them is not.
        ValueError: the device.

    """
    if (there := code_sum()) != plan["code"]:
        raise Refused(
            f"the code is not what the sweep was submitted with (revision {plan['revision'] or 'unknown'}, sum "
            f"{plan['code'][:12]}, not {there[:12]}): put it back, or cancel the jobs and submit again"
        )
    if plan["gpu"] and plan["device"] != "cpu" and not torch.cuda.is_available():
        raise Refused(
            f"a GPU was asked for and none can be used on {socket.gethostname()}: look at the setup lines, or give "
            "--slurm-gpus 0 --device cpu"
        )
    device_named(plan["device"])


@dataclass
class Job:
    """One task: its plan, and its index."""

    submission: Submission
    index: int
    signals: _Signals = field(default_factory=_Signals)
    failed: bool = False

    @property
    def root(self) -> Path:
        """The sweep's folder."""
        return self.submission.folder.parent.parent

    @property
    def task(self) -> str:
        """JOB_INDEX."""
        return f"{os.environ.get('SLURM_ARRAY_JOB_ID', self.submission.job)}_{self.index}"

    def run(self, group: int | None = None) -> int:
        """All groups of the task, or one; returns the exit status."""
        plan = self.submission.plan
        self.signals.listen(self.task, plan["lead"])
        parts = plan["tasks"][self.index] if plan["kind"] == CELLS else [None]
        if group is None and len(parts) > 1:
            outcomes = self._side_by_side(len(parts))
        else:
            outcomes = [self._attempt(group or 0, parts[group or 0])]
        self.signals.ignore()
        if group is not None:
            return STATUS[FAILED] if self.failed else STATUS[outcomes[0]]
        self._write_grid()
        if STOPPED in outcomes or WAITS in outcomes:
            return self._again(PATIENCE if STOPPED not in outcomes else 0.0)
        return STATUS[FAILED] if self.failed or FAILED in outcomes else 0

    def _side_by_side(self, count: int) -> list[str]:
        base = [sys.executable, "-m", "empirical.sweep.job", str(self.submission.folder / "plan.json")]
        for number in range(count):
            self.signals.children.append(subprocess.Popen([*base, str(number)]))
        named = {status: name for name, status in STATUS.items()}
        return [named.get(child.wait(), FAILED) for child in self.signals.children]

    def _attempt(self, group: int, part: Any) -> str:
        one, before = self.submission, self.submission.events(self.index, group)
        folders = self._folders(part)
        mark = mark_of(folders)
        again = bool(before) and before[-1].get("outcome", STOPPED) == STOPPED  # without an outcome it was killed
        marks = [e["mark"] for e in before if e["event"] == "start"]
        stuck = again and marks[-ATTEMPTS:] == [mark] * ATTEMPTS
        steps = {folder.name: saved_steps(folder) for folder in folders}
        place = {"job": self.task, "node": socket.gethostname(), "pid": os.getpid(), "mark": mark, "steps": steps}
        one.note(self.index, group, "start", **place)
        begun = time.monotonic()
        try:
            if stuck:
                raise Refused(
                    f"{ATTEMPTS} attempts in a row got no step further within --slurm-hours {one.plan['hours']:g}: "
                    "give more"
                )
            outcome, reason = self._work(part)
        except (Interrupted, _Stop) as stop:
            outcome, reason = STOPPED, str(stop)
        except FolderInUse as busy:
            outcome, reason = WAITS, str(busy)
        except Exception as error:
            outcome, reason = FAILED, ending(error)[1]
            print(f"error: {reason}", file=sys.stderr, flush=True)
        self.signals.ignore()
        one.note(self.index, group, "end", outcome=outcome, reason=reason, seconds=round(time.monotonic() - begun, 1))
        return outcome

    def _folders(self, part: Any) -> list[Path]:
        if self.submission.plan["kind"] == CELLS:
            return [self.root / "cells" / name for name in part]
        task = self.submission.plan["tasks"][self.index]
        return [Path(task["folder"])] if self.submission.plan["kind"] == EXPERTS else []

    def _work(self, part: Any) -> tuple[str, str]:
        plan = self.submission.plan
        _refuse_other(plan)
        if plan["kind"] == EXPERTS:
            task = plan["tasks"][self.index]
            experts.execute(experts.parse(task["arguments"]), Plain())
            return SETTLED, ""
        if plan["kind"] != CELLS:
            self._measure()
            return SETTLED, ""
        cells = cells_of(self.submission, part)
        states = run_group(cells, self.root, plan["threads"], plan["retry_diverged"], wait=False)
        self.failed = "failed" in states.values()
        left = [name for name, state in states.items() if state not in ("done", "diverged", "failed")]
        return (WAITS, f"another process works on {left[0]}") if left else (SETTLED, "")

    def _measure(self) -> None:
        """The speed of each kind of network of the plan on this node's device."""
        for names in self.submission.plan["tasks"][self.index]:
            (cell,) = cells_of(self.submission, names)
            dataset = data_of(cell.settings)
            network = Experiment(cell.settings, dataset, Path(), cell.settings.seed).network()
            keep_speed(self.root, kind_of(cell.settings), cost.speed(network, dataset), str(dataset.device))

    def _write_grid(self) -> None:
        """As the command does at its end; one job at a time, so that no older content comes last."""
        end = time.monotonic() + PATIENCE
        while (self.root / "cells").is_dir():
            try:
                with Lock(self.submission.folder.parent / "grid"):
                    ledger.write_grid(self.root / ledger.GRID, self.root)
                return
            except FolderInUse:
                if time.monotonic() > end:
                    return
                time.sleep(0.2)

    def _again(self, delay: float) -> int:
        """Asks to be run again, unless Slurm does so by itself or somebody ended the job on purpose."""
        if self.index in self.submission.cancelled or slurm.state_of(self.task) not in ("RUNNING", ""):
            return STATUS[STOPPED]
        if refused := slurm.run_again(self.task, delay):
            print(f"error: this job cannot be run again: {refused}", file=sys.stderr, flush=True)
            return STATUS[STOPPED]
        time.sleep(PATIENCE)  # Slurm ends this process, and runs the job again
        return STATUS[STOPPED]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a task; returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    index = int(os.environ["SLURM_ARRAY_TASK_ID"])
    group = int(given[1]) if len(given) > 1 else None
    work: Callable[[], int] = lambda: Job(Submission.read(Path(given[0]).parent), index).run(group)  # noqa: E731
    return command(work, "the job is run again")


if __name__ == "__main__":
    leave(main)
