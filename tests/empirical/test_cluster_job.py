"""What a job of a sweep does on its node: its cells, or one sentence; and whether it is run again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from empirical.distillation import loop
from empirical.distillation.loop import Interrupted, Interruption
from empirical.runtime.checkpoint import Lock
from empirical.sweep import job
from empirical.sweep.__main__ import GRID, main, planned
from empirical.sweep.cells import Cell
from empirical.sweep.job import Job
from empirical.sweep.options import parse
from empirical.sweep.standing import states_of
from empirical.sweep.submission import Submission, submissions

TINY = [
    *("--iterations", "2", "--batch-real", "4", "--width", "4", "--depth", "2", "--eval-networks", "2"),
    *("--eval-epochs", "1", "--probe-every", "0", "--device", "cpu", "--quiet"),
]
TWO = ["--methods", "random", "--seeds", "0", "1"]
SLURM = ["--launcher", "slurm", "--slurm-gpus", "0"]

def sweep(out: Path, *arguments: str) -> int:
    return main([*TINY, *SLURM, *(arguments or TWO), "--out", str(out)])


def cells(out: Path, *arguments: str) -> list[Cell]:
    return planned(parse([*TINY, *(arguments or TWO), "--out", str(out)]))


def says(out: Path) -> list[tuple[str, str]]:
    """(state, what else is said) of both cells."""
    return [(s.name, s.reason or s.where) for s in states_of(out, cells(out)).values()]


MTT = [
    *("--methods", "mtt", "--expert-count", "1", "--expert-training-epochs", "1", "--expert-epochs", "1"),
    *("--max-start-epoch", "1", "--syn-steps", "1", "--eval-it", "1"),
]


@pytest.fixture
def on_node(pretended: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """Submits and hands over the first job, as its node runs it."""

    def made(*arguments: str) -> Job:
        assert sweep(out, *(arguments or TWO)) == 5
        monkeypatch.setattr(job._Signals, "listen", lambda *_: None)
        monkeypatch.setattr(job._Signals, "ignore", lambda *_: None)
        monkeypatch.setattr(job, "PATIENCE", 0.01)
        return Job(submissions(out)[-1], 0)

    return made


def test_a_job_runs_its_cells_and_writes_the_grid(on_node: Callable[..., Job], out: Path) -> None:
    one = on_node()
    assert one.run() == 0
    assert [name for name, _ in says(out)] == ["done", "missing"]
    assert len((out / GRID).read_text().splitlines()) == 3
    assert [e["event"] for e in one.submission.events(0, 0)] == ["start", "end"]


def test_other_code_other_data_and_no_gpu_are_failures_at_once(
    on_node: Callable[..., Job], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = on_node()
    for change, said in (
        ({"code": "0" * 64}, "the code is not what the sweep was submitted with"),
        ({"cards": [{**one.submission.plan["cards"][0], "fingerprint": "f" * 64}]}, "the data of digits are not"),
        ({"gpu": True, "device": "auto"}, "a GPU was asked for and none can be used"),
    ):
        changed = Submission(one.submission.folder, {**one.submission.plan, **change})
        assert Job(changed, 0).run() == 4
        state, reason = says(out)[0]
        assert state == "failed" and said in reason and not (out / "cells").exists()


def test_a_stopped_job_is_run_again_until_it_gets_nowhere(
    on_node: Callable[..., Job], pretended: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = on_node()

    def stopped(*_: Any, **__: Any) -> Any:
        raise Interrupted("stopped after 1 of 2 steps")

    monkeypatch.setattr(job, "run_group", stopped)
    assert [one.run(), one.run()] == [75, 75]
    assert (pretended / "controlled").read_text().count("requeue 101_0") == 2
    assert one.run() == 4
    assert "2 attempts in a row got no step further within --slurm-hours 12" in says(out)[0][1]


def test_a_job_that_was_cancelled_does_not_come_back(
    on_node: Callable[..., Job], pretended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = on_node()

    def stopped(*_: Any, **__: Any) -> Any:
        raise Interrupted("stopped")

    monkeypatch.setattr(job, "run_group", stopped)
    one.submission.cancel([0])
    assert one.run() == 75
    assert "requeue" not in (pretended / "controlled").read_text()


def test_experts_in_use_are_not_waited_for(on_node: Callable[..., Job], pretended: Path, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    one = on_node(*MTT)
    experts = next(s for s in submissions(one.root) if s.plan["kind"] == "experts")
    one = Job(next(s for s in submissions(one.root) if s.plan["kind"] == "cells"), 0)
    folder = Path(experts.plan["tasks"][0]["folder"])
    with Lock(folder):
        assert one.run() == 75
    assert one.submission.events(0, 0)[-1]["outcome"] == "waits"
    assert "StartTime=now+" in (pretended / "controlled").read_text()


def test_a_measurement_is_broken_off_at_once_and_a_step_is_not() -> None:
    interruption = Interruption()
    interruption._before = {15: None, 12: None}  # a job listens to SIGUSR2
    interruption._note(15, None)
    assert interruption.seen
    with pytest.raises(loop._AtOnce), interruption.at_once():
        raise AssertionError("not reached")
    assert not issubclass(loop._AtOnce, Exception)  # nothing that handles errors takes it for one
