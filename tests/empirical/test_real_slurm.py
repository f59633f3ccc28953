"""Sweeps on a real Slurm of one node (`one_node_slurm`): whatever is done to jobs, the grid is that of a local run."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from empirical.sweep.__main__ import GRID, main, planned
from empirical.sweep.ledger import State
from empirical.sweep.options import parse
from empirical.sweep.standing import states_of
from empirical.sweep.submission import submissions


def _node() -> Any:
    """The module beside this file, which is no package."""
    spec = importlib.util.spec_from_file_location("one_node_slurm", Path(__file__).with_name("one_node_slurm.py"))
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


one_node = _node()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.skipif(bool(one_node.missing()), reason=f"Slurm is not installed: {one_node.missing()}"),
]

TINY = [
    *("--batch-real", "4", "--width", "4", "--depth", "2", "--eval-networks", "2", "--eval-epochs", "1"),
    *("--probe-every", "0", "--device", "cpu", "--quiet", "--workers", "2"),
]
CELLS = ["--methods", "dsa", "--seeds", "0", "1", "--iterations", "120"]
ONE = ["--methods", "dsa", "--seeds", "0", "--iterations", "120"]
SLURM = ["--launcher", "slurm", "--slurm-gpus", "0", "--slurm-memory", "1.5"]
PATIENCE = 600.0


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch, one_node.OneNode(tmp_path_factory.mktemp("slurm")) as up:
        for name in [n for n in os.environ if n.startswith(("SLURM_", "SBATCH_"))]:
            patch.delenv(name)
        for name in ("PATH", "SLURM_CONF"):
            patch.setenv(name, up.environment[name])
        patch.setenv("OMP_NUM_THREADS", "1")
        yield up


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """The grid of a local run of the same cells, each made once."""
    known: dict[tuple[str, ...], bytes] = {}

    def grid(*arguments: str) -> bytes:
        if arguments not in known:
            out = tmp_path_factory.mktemp("local")
            assert main([*TINY, *arguments, "--workers", "1", "--out", str(out)]) == 0
            known[arguments] = (out / GRID).read_bytes()
        return known[arguments]

    return grid


def sweep(out: Path, *arguments: str) -> int:
    return main([*TINY, *SLURM, "--out", str(out), *arguments])


def states(out: Path, *arguments: str) -> dict[str, State]:
    return states_of(out, planned(parse([*TINY, *arguments, "--out", str(out)])))


def until(out: Path, arguments: list[str], ready: Callable[[list[State]], bool]) -> list[State]:
    end = time.monotonic() + PATIENCE
    while not ready(found := list(states(out, *arguments).values())):
        assert time.monotonic() < end, found
        time.sleep(0.5)
    return found


def settled(found: list[State]) -> bool:
    return not {"queued", "running"} & {state.name for state in found}


def stepping(found: list[State]) -> bool:
    return all(s.name == "running" and "step" in s.where and "step 0 " not in s.where for s in found)


def end_like(out: Path, arguments: list[str], expected: bytes) -> None:
    found = until(out, arguments, settled)
    assert [state.name for state in found] == ["done"] * len(found), found
    assert sweep(out, *arguments, "--status") == 0
    assert (out / GRID).read_bytes() == expected


def pid_of(out: Path) -> int:
    (one,) = submissions(out)
    return int(one.events(0, 0)[-1]["pid"])


def test_killed(slurm: Any, local: Any, tmp_path: Path) -> None:
    assert sweep(tmp_path, *ONE) == 5
    until(tmp_path, ONE, stepping)
    os.kill(pid_of(tmp_path), signal.SIGKILL)
    end_like(tmp_path, ONE, local(*ONE))  # by itself
    (one,) = submissions(tmp_path)
    assert "killed by signal 9" in one.log(0).read_text()
    assert [event["event"] for event in one.events(0, 0)] == ["start", "start", "end"]


def test_run_again_by_slurm_while_another_runs(slurm: Any, local: Any, tmp_path: Path) -> None:
    assert sweep(tmp_path, *CELLS) == 5
    until(tmp_path, CELLS, stepping)
    (one,) = submissions(tmp_path)
    subprocess.run(["scontrol", "requeue", f"{one.job}_1"], check=True)
    until(tmp_path, CELLS, lambda found: found[1].name == "queued")
    assert sweep(tmp_path, *CELLS) == 5 and len(submissions(tmp_path)) == 1  # nothing is submitted again
    end_like(tmp_path, CELLS, local(*CELLS))
    assert [event["event"] for event in one.events(1, 0)].count("start") == 2


LONG = ["--methods", "dsa", "--seeds", "0", "--iterations", "900"]


def test_a_limit_shorter_than_the_cell(slurm: Any, local: Any, tmp_path: Path) -> None:
    assert sweep(tmp_path, *LONG, "--slurm-hours", "0.016", "--slurm-signal", "30") == 5
    end_like(tmp_path, LONG, local(*LONG))
    (one,) = submissions(tmp_path)
    ends = [event["outcome"] for event in one.events(0, 0) if event["event"] == "end"]
    assert len(ends) > 1 and set(ends[:-1]) == {"stopped"} and ends[-1] == "settled"


def test_out_of_memory(slurm: Any, local: Any, tmp_path: Path) -> None:
    assert sweep(tmp_path, *ONE, "--slurm-memory", "0.1") == 5
    (state,) = until(tmp_path, ONE, settled)
    assert state.name == "failed" and "out of memory: 0.1 GB (--slurm-memory)" in state.reason, state
    assert sweep(tmp_path, *ONE, "--retry-failed", "--wait") == 0
    end_like(tmp_path, ONE, local(*ONE))


def test_cancelled(slurm: Any, local: Any, tmp_path: Path) -> None:
    assert sweep(tmp_path, *CELLS) == 5
    until(tmp_path, CELLS, stepping)
    assert sweep(tmp_path, *CELLS, "--cancel") == 0
    found = until(tmp_path, CELLS, settled)
    assert {s.name for s in found} == {"begun"} and all("cancelled" in s.where for s in found), found
    assert sweep(tmp_path, *CELLS, "--status") == 5
    assert sweep(tmp_path, *CELLS, "--wait") == 0
    end_like(tmp_path, CELLS, local(*CELLS))


def test_two_commands_at_once_submit_once(slurm: Any, local: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "empirical.sweep", *TINY, *SLURM, *CELLS, "--out", str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [5, 5]
    assert sum("2 cells in 1 array" in text for text in said) == 1
    assert len(submissions(tmp_path)) == 1
    end_like(tmp_path, CELLS, local(*CELLS))


def test_without_accounts(slurm: Any, local: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    sacct = tmp_path / "bin" / "sacct"
    sacct.write_text("#!/bin/sh\necho Slurm accounting storage is disabled >&2\nexit 1\n")
    sacct.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    out = tmp_path / "out"
    assert sweep(out, *ONE) == 5
    until(out, ONE, stepping)
    (one,) = submissions(out)
    subprocess.run(["scancel", one.job], check=True)  # by hand: the record knows nothing of it
    (state,) = until(out, ONE, settled)
    assert state.name == "begun" and "cancelled" in state.where, state
    assert sweep(out, *ONE, "--wait") == 0
    end_like(out, ONE, local(*ONE))


NO_LOCKS = "#include <errno.h>\nint flock(int file, int how) { (void)file; (void)how; errno = ENOSYS; return -1; }\n"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_without_file_locks(slurm: Any, local: Any, tmp_path: Path) -> None:
    source, library, out = tmp_path / "none.c", tmp_path / "none.so", tmp_path / "out"
    source.write_text(NO_LOCKS)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    command = [sys.executable, "-m", "empirical.sweep", *TINY, *SLURM, *ONE, "--out", str(out)]
    refused = subprocess.run(
        command, env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2 and "-o flock" in refused.stderr and not submissions(out)
    assert sweep(out, *ONE, "--slurm-setup", f"export LD_PRELOAD={library}") == 5
    (state,) = until(out, ONE, settled)
    assert state.name == "failed" and "-o flock" in state.reason and "0.log" in state.reason, state
    assert sweep(out, *ONE, "--wait") == 0
    end_like(out, ONE, local(*ONE))


def test_what_slurm_refuses_is_one_sentence(
    slurm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (["--slurm-partition", "nowhere"], ["--slurm-gpus", "5"], ["--slurm", "no-such-option=1"]):
        capsys.readouterr()
        assert sweep(tmp_path / "out", *ONE, *wrong) == 2
        said = capsys.readouterr().err.strip()
        assert said.count("\n") == 0 and said.startswith("error: Slurm refuses"), said
    assert not (tmp_path / "out").exists()


def test_a_gpu_that_cannot_be_used_is_a_failure_at_once(slurm: Any, tmp_path: Path) -> None:
    asked = [*TINY, *ONE, "--launcher", "slurm", "--slurm-memory", "2", "--device", "cuda"]
    assert main([*asked, "--out", str(tmp_path), "--wait"]) == 4
    (state,) = states(tmp_path, *ONE).values()
    assert state.name == "failed" and "none can be used on" in state.reason, state


EXPERTS = [
    *("--methods", "mtt", "--iterations", "2", "--expert-count", "1", "--expert-training-epochs", "2"),
    *("--expert-epochs", "1", "--max-start-epoch", "1", "--syn-steps", "1", "--eval-it", "2", "--lambdas", "0", "0.1"),
]


def test_experts_are_a_job_of_their_own_that_the_cells_wait_for(
    slurm: Any, local: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    two = ["--cells-per-gpu", "2", "--slurm-memory", "4"]  # two processes of one job
    assert sweep(tmp_path / "out", *EXPERTS, *two) == 5
    assert [one.plan["kind"] for one in submissions(tmp_path / "out")] == ["experts", "cells"]
    found = until(tmp_path / "out", EXPERTS, lambda own: all("Dependency" in state.where for state in own))
    assert {state.name for state in found} == {"queued"}, found
    until(tmp_path / "out", EXPERTS, settled)
    end_like(tmp_path / "out", EXPERTS, local(*EXPERTS))


STORM = [
    *("--methods", "dc", "dsa", "--lambdas", "0", "0.01", "0.1", "1", "--seeds", "0", "1", "2"),
    *("--iterations", "150"),
]


def test_a_sweep_of_24_cells_in_a_storm(slurm: Any, local: Any, tmp_path: Path) -> None:
    """Kills, requeues, a limit shorter than a cell and a job cancelled by hand; then the same command once more."""
    expected, chance = local(*STORM), random.Random(0)
    assert sweep(tmp_path, *STORM, "--slurm-hours", "0.016", "--slurm-signal", "30") == 5
    (one,) = submissions(tmp_path)
    assert sum(len(group) for task in one.plan["tasks"] for group in task) == 24
    done = {"kill": 0, "requeue": 0, "cancel": 0}
    end = time.monotonic() + 3 * PATIENCE
    while time.monotonic() < end:
        found = list(states(tmp_path, *STORM).values())
        assert not any(s.name == "diverged" for s in found)
        if all(s.name == "done" for s in found):
            break
        if settled(found):
            assert sweep(tmp_path, *STORM, "--slurm-hours", "0.016", "--slurm-signal", "30") == 5
        running = [place for place in _running(tmp_path) if place[1]]
        if running and sum(done.values()) < 6:
            what = "cancel" if not done["cancel"] else chance.choice(["kill", "requeue"])
            task, pid = chance.choice(running)
            done[what] += 1
            if what == "kill":
                os.kill(pid, signal.SIGKILL)
            else:
                subprocess.run([*{"requeue": ["scontrol", "requeue"], "cancel": ["scancel"]}[what], task], check=False)
            time.sleep(chance.uniform(3, 10))
        time.sleep(1)
    assert done["cancel"] == 1 and done["kill"] and done["requeue"], done
    ends = [e["outcome"] for s in submissions(tmp_path) for i in range(len(s.plan["tasks"])) for e in s.events(i, 0)
            if e["event"] == "end"]  # fmt: skip
    assert "stopped" in ends
    end_like(tmp_path, STORM, expected)


def _running(out: Path) -> list[tuple[str, int]]:
    """(JOB_INDEX, process) of attempts that have begun and not ended."""
    found = []
    for one in submissions(out):
        for index in range(len(one.plan["tasks"])):
            events = one.events(index, 0)
            if events and events[-1]["event"] == "start" and Path(f"/proc/{events[-1]['pid']}").exists():
                found.append((f"{one.job}_{index}", int(events[-1]["pid"])))
    return found
