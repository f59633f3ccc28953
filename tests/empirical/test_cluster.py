"""Sweeps on a cluster with a Slurm that is pretended: what is submitted, what is not, and every state."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from empirical.runtime.checkpoint import Lock
from empirical.sweep import __main__ as sweep_command
from empirical.sweep import cluster, work
from empirical.sweep.__main__ import main, planned
from empirical.sweep.cells import Cell
from empirical.sweep.cluster_settings import ClusterSettings
from empirical.sweep.data_card import card_of, stand_in
from empirical.sweep.ledger import folder_of, state_of
from empirical.sweep.options import parse
from empirical.sweep.slurm import SlurmError
from empirical.sweep.standing import states_of
from empirical.sweep.submission import Submission, submissions
from empirical.sweep.work import data_of, run_group
from shared.records.records import failure_of, write_failure

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


def queue(place: Path, one: Submission, *rows: str) -> None:
    (place / "queue").write_text("".join(f"{one.name}|{one.job}|{row}\n" for row in rows))


def test_submitting_names_jobs_logs_and_what_to_do_next(
    pretended: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(out, *TWO, "--slurm", "account=lab", "--slurm", "exclusive", "--slurm-setup", "module load cuda") == 5
    said = capsys.readouterr().out
    assert "2 cells in 1 array: jobs 101" in said and f"{out}/jobs" in said
    assert "--status" in said and "--cancel" in said and "scancel 101" in said
    options = (pretended / "submitted").read_text()
    for option in ("--account=lab", "--exclusive", "--array=0-1", "--requeue", "--signal=B:USR2@120", "--time=720"):
        assert f"{option} " in options
    assert "--gpus" not in options and "module load cuda\n" in (pretended / "script-101").read_text()
    assert not list(out.rglob("*.pkl"))


def test_the_same_command_submits_only_what_neither_waits_nor_runs(pretended: Path, out: Path) -> None:
    assert sweep(out) == 5
    (one,) = submissions(out)
    queue(pretended, one, "0|PENDING||Priority", "1|RUNNING|node7|None")
    assert sweep(out) == 5 and len(submissions(out)) == 1
    assert [name for name, _ in says(out)] == ["queued", "running"]
    assert "job 101_0, Priority" in says(out)[0][1] and "node7" in says(out)[1][1]
    queue(pretended, one, "1|RUNNING|node7|None")
    (pretended / "accounts").write_text("101_0|CANCELLED by 0|0:0\n101_1|RUNNING|0:0\n")
    assert says(out)[0] == ("missing", "cancelled (101_0)")
    assert sweep(out) == 5
    assert [len(s.plan["tasks"]) for s in submissions(out)] == [2, 1]
    assert sweep(out, *TWO, "--seeds", "0", "1", "2") == 5  # the two of the record, of which Slurm says nothing more


def test_the_id_may_be_lost(pretended: Path, out: Path) -> None:
    assert sweep(out) == 5
    (one,) = submissions(out)
    queue(pretended, one, "0|PENDING||Priority", "1|PENDING||Priority")
    (one.folder / "job").unlink()  # killed between sbatch and the record
    assert {name for name, _ in says(out)} == {"queued"}


START = {"job": "101_0", "node": "n1", "mark": [], "steps": {}, "pid": 1}
ENDS: dict[str, tuple[str, Any, str, str, str]] = {
    # accounts, what the job wrote last, its log -> state, what is said
    "cancelled": ("CANCELLED by 0|0:15", None, "", "missing", "cancelled"),
    "time limit": ("TIMEOUT|0:0", "start", "", "missing", "time limit"),
    "preempted": ("PREEMPTED|0:0", "start", "", "missing", "preempted"),
    "node": ("NODE_FAIL|0:0", "start", "", "missing", "node failed"),
    "memory": ("OUT_OF_MEMORY|0:125", "start", "", "failed", "out of memory: 16 GB (--slurm-memory)"),
    "memory, by the log": ("CANCELLED|0:9", "start", "", "missing", "cancelled"),
    "memory, without accounts": ("", "start", "error: exceeded memory limit (5 > 4)", "failed", "out of memory"),
    "killed": ("FAILED|0:9", "start", "", "failed", "killed by signal 9"),
    "killed below a shell": ("FAILED|137:0", "start", "", "failed", "killed by signal 9"),
    "status": ("FAILED|3:0", "start", "", "failed", "exit status 3"),
    "error": ("FAILED|4:0", "the code is not what it was", "", "failed", "the code is not what it was"),
    "nobody knows": ("", "start", "", "failed", "no accounts say which"),
    "never began": ("", None, "", "missing", "never began"),
}


@pytest.mark.parametrize("case", ENDS.values(), ids=ENDS)
def test_how_a_job_ended(case: tuple[str, Any, str, str, str], pretended: Path, out: Path) -> None:
    accounts, wrote, log, state, said = case
    assert sweep(out) == 5
    (one,) = submissions(out)
    if accounts:
        (pretended / "accounts").write_text(f"101_0|{accounts}\n101_1|{accounts}\n")
    else:
        (pretended / "no-sacct").touch()
    if wrote:
        one.note(0, 0, "start", **START)
    if wrote and wrote != "start":
        one.note(0, 0, "end", outcome="failed", reason=wrote, seconds=1.0)
    one.log(0).write_text(log)
    found, text = says(out)[0]
    assert found == state and said in text
    if state == "failed":
        assert "101_0" in text and str(one.log(0)) in text


def test_without_squeue_and_accounts_nothing_is_called_ended(pretended: Path, out: Path) -> None:
    assert sweep(out) == 5
    for name in ("no-squeue", "no-sacct"):
        (pretended / name).touch()
    submissions(out)[0].note(0, 0, "start", **START)
    assert [name for name, _ in says(out)] == ["running", "queued"]
    assert sweep(out) == 5 and len(submissions(out)) == 1


def test_results_are_believed_before_slurm_and_a_newer_summary_before_an_older_failure(
    pretended: Path, out: Path
) -> None:
    assert sweep(out) == 5
    first = cells(out)[0]
    assert run_group([first], out) == {first.name: "done"}
    (pretended / "accounts").write_text("101_0|FAILED|0:9\n")
    assert says(out)[0] == ("done", "")
    folder = folder_of(out, first)
    write_failure(folder, "failed", "an older accident")
    os.utime(folder / "failure.json", (1, 1))
    assert failure_of(folder) is None and state_of(folder).name == "done"
    os.utime(folder / "failure.json")
    time.sleep(0.01)
    write_failure(folder, "failed", "a newer one")
    assert state_of(folder).name == "failed"


def test_a_lock_without_slurm_is_a_run_of_this_machine(pretended: Path, out: Path) -> None:
    with Lock(folder_of(out, cells(out)[0])):
        assert [name for name, _ in says(out)] == ["running", "missing"]


def test_arrays_are_cut_and_groups_packed(pretended: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_ARRAY", "2")
    seeds = ["--methods", "random", "--seeds", *map(str, range(7))]
    assert sweep(out, *seeds, "--cells-per-gpu", "2", "--workers", "3") == 5
    assert [len(one.plan["tasks"]) for one in submissions(out)] == [2, 2]
    assert [len(task) for one in submissions(out) for task in one.plan["tasks"]] == [2, 2, 2, 1]
    options = (pretended / "submitted").read_text().splitlines()
    assert all("--array=0-1%3 " in line and "--cpus-per-task=2 " in line for line in options)


MTT = [
    *("--methods", "mtt", "--expert-count", "1", "--expert-training-epochs", "1", "--expert-epochs", "1"),
    *("--max-start-epoch", "1", "--syn-steps", "1", "--eval-it", "1"),
]


def test_experts_are_a_job_and_only_their_cells_depend_on_it(
    pretended: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sweep(out, *MTT, "--methods", "mtt", "random") == 5
    made, *others = (pretended / "submitted").read_text().splitlines()
    assert "--dependency" not in made and "--array=0-0 " in made
    after = ["--dependency=afterok:101_0 --kill-on-invalid-dep=yes" in line for line in others]
    assert sorted(after) == [False, True]
    kinds = {one.plan["kind"]: one for one in submissions(out)}
    queue(pretended, kinds["experts"], "0|RUNNING|n1|None")
    assert sweep(out, *MTT, "--seeds", "5") == 5  # made already: the new cell waits for the same job
    last = (pretended / "submitted").read_text().splitlines()[-1]
    assert "--dependency=afterok:101_0 " in last
    assert sum(one.plan["kind"] == "experts" for one in submissions(out)) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--slurm", "array=1-2"], "gives this option itself"),
        (["--slurm-hours", "0"], "above 0"),
        (["--cells-per-gpu", "0"], "at least 1"),
        (["--slurm-signal", "0"], "at least 1"),
    ],
)
def test_bad_settings_are_refused_before_anything(
    arguments: list[str], said: str, pretended: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(out, *TWO, *arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not out.exists()


def test_what_slurm_refuses_leaves_nothing(
    pretended: Path, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (pretended / "refusal").write_text("sbatch: error: invalid partition specified: x\nallocation failure: Bad name\n")
    assert sweep(out) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "error: Slurm refuses these jobs: invalid partition specified: x; Bad name"
    assert not out.exists()
    monkeypatch.setenv("PATH", "/nowhere")
    assert sweep(out) == 2
    assert "sbatch does not answer" in capsys.readouterr().err and not out.exists()


def test_the_file_is_read_and_what_is_typed_counts_over_it(
    pretended: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out.mkdir()
    text = 'partition = "gpu"\nhours = 4\nsetup = ["module load x"]\n[sbatch]\naccount = "lab"\ngres = "gpu:a100:1"\n'
    (out / "cluster.toml").write_text(text)
    assert main([*TINY, *TWO, "--launcher", "slurm", "--out", str(out), "--slurm-hours", "1"]) == 5
    options = (pretended / "submitted").read_text()
    for option in ("--partition=gpu", "--time=60", "--account=lab", "--gres=gpu:a100:1"):
        assert f"{option} " in options
    assert "--gpus-per-node" not in options
    for wrong, said in (("partion = 'x'", "partition"), ("hours = 'x'", "hours"), ("sbatch = 1", "[sbatch]")):
        (out / "cluster.toml").write_text(wrong)
        capsys.readouterr()
        assert sweep(out) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


def test_cancel_ends_the_jobs_and_the_record_knows(pretended: Path, out: Path) -> None:
    assert sweep(out) == 5
    (one,) = submissions(out)
    queue(pretended, one, "0|PENDING||Priority", "1|RUNNING|n|None")
    assert sweep(out, *TWO, "--cancel") == 0
    assert sorted((pretended / "cancelled").read_text().split()) == ["101_0", "101_1"]
    (pretended / "queue").unlink()
    (pretended / "no-sacct").touch()
    assert says(out) == [("missing", "cancelled (101_0)"), ("missing", "cancelled (101_1)")]


def test_only_failed_cells_are_run_again_if_asked(pretended: Path, out: Path) -> None:
    first = cells(out)[0]
    write_failure(folder_of(out, first), "failed", "an accident")
    assert sweep(out, *TWO, "--retry-failed", "--slurm-memory", "32") == 5
    (one,) = submissions(out)
    assert one.plan["tasks"] == [[[first.name]]] and "--mem=32768M " in (pretended / "submitted").read_text()


def test_waiting_only_looks(pretended: Path, out: Path) -> None:
    assert sweep(out) == 5
    (one,) = submissions(out)
    queue(pretended, one, "0|RUNNING|n|None", "1|PENDING||Priority")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    turns: list[float] = []

    def pause(seconds: float) -> None:
        turns.append(seconds)
        if len(turns) == 3:
            (pretended / "queue").unlink()

    cluster.watch(out, cells(out), True, pause)
    assert len(turns) == 3
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_status_and_dry_run_load_no_data_once_they_are_known(
    pretended: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(out) == 5

    def load(_: Any) -> Any:
        raise AssertionError("data were loaded")

    monkeypatch.setattr(sweep_command, "data_of", load)
    assert main([*TINY, *TWO, "--status", "--out", str(out)]) == 5
    assert sweep(out, *TWO, "--dry-run") == 0
    assert sweep(out) == 5
    capsys.readouterr()


def test_a_stand_in_names_the_same_cells(out: Path) -> None:
    arguments = ["--methods", "dsa", "mtt", "random", "--lambdas", "0", "0.1", "--validation", "0.1"]
    real = cells(out, *arguments)
    settings = real[0].settings
    card = card_of(settings, data_of(settings))
    assert card is not None
    made = stand_in(json.loads(json.dumps(card)))
    again = planned(parse([*TINY, *arguments, "--out", str(out)]), lambda _: made)
    assert [cell.name for cell in again] == [cell.name for cell in real]


def test_an_error_of_slurm_says_what_is_allowed() -> None:
    assert SlurmError("x").exit_status == 2
    assert ClusterSettings(options={"mem-per-cpu": "4G"}).sbatch().count("--mem=16384M") == 0
    assert work.run_group([], Path("nowhere")) == {}
