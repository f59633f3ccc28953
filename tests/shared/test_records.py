"""Run records: written, flushed, resumed, read and selected; foreign or damaged ones refused."""

import json
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from shared.records import records
from shared.records.records import BadRecord, MetricsWriter, git_revision


@dataclass(frozen=True)
class Correction:
    coefficient: float = 0.002


@dataclass(frozen=True)
class Settings:
    method: str = "dsa"
    ipc: int = 1
    correction: Correction = Correction()
    out: Path = Path("runs") / "a"


def write_run(folder: Path, finished: bool = True, **changes: object) -> None:
    records.write_config(folder, Settings(**changes), seeds={"run": 3}, device="cpu")  # type: ignore[arg-type]
    with MetricsWriter(folder) as writer:
        for step in range(3):
            writer.write(step, loss=1.0 / (step + 1), other=float("nan"))
    if finished:
        records.write_summary(folder, {"accuracy": np.float32(0.5), "list": np.arange(2)})


def test_a_run_comes_back(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    run = records.read(tmp_path / "a")
    assert run.settings == {"method": "dsa", "ipc": 1, "correction": {"coefficient": 0.002}, "out": "runs/a"}
    assert run.summary == {"schema": 1, "accuracy": 0.5, "list": [0, 1]}
    steps, values = run.series("loss")
    assert steps.tolist() == [0, 1, 2] and values == pytest.approx([1, 1 / 2, 1 / 3])
    assert np.isnan(run.series("other")[1]).all()
    environment = run.config["environment"]
    assert {"python", "versions", "platform", "time", "git"} <= set(environment)
    assert environment["versions"]["numpy"] == np.__version__ and run.config["seeds"] == {"run": 3}


def test_every_line_is_on_disk_as_it_is_written(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path)
    writer.write(0, loss=1.5)
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"schema": 1, "step": 0, "loss": 1.5}
    writer.close()


def test_line_cut_by_a_kill_is_dropped_and_resuming_repeats_no_step(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = tmp_path / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"schema": 1, "step": 3, "lo')
    assert [row["step"] for row in records.read(tmp_path).metrics()] == [0, 1, 2]
    with MetricsWriter(tmp_path, resume_at=1) as writer:
        for step in (1, 2):
            writer.write(step, loss=1.0 / (step + 1), other=float("nan"))
    assert path.read_text() == whole


def test_damaged_middle_line_is_an_error(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = tmp_path / "metrics.jsonl"
    path.write_text("nonsense\n" + path.read_text())
    with pytest.raises(BadRecord, match="line 1"):
        records.read(tmp_path).metrics()


def test_other_schema_and_absent_run(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match="holds no run"):
        records.read(tmp_path)
    (tmp_path / "config.json").write_text('{"schema": 99, "settings": {}}')
    with pytest.raises(BadRecord, match="schema 99, this version reads schema 1"):
        records.read(tmp_path)


def test_select(tmp_path: Path) -> None:
    write_run(tmp_path / "b", ipc=10)
    write_run(tmp_path / "a")
    write_run(tmp_path / "deep" / "c", method="dc", finished=False)
    names = lambda **wanted: [run.folder.name for run in records.select(tmp_path, **wanted)]  # noqa: E731
    assert names() == ["a", "b", "c"]
    assert names(method="dsa") == ["a", "b"] and names(method="dsa", ipc=10) == ["b"]
    assert names(ipc=lambda ipc: ipc < 5) == ["a", "c"]
    assert names(correction__coefficient=0.002) == ["a", "b", "c"]
    assert names(correction__power=1) == [] and names(absent=None) == []
    assert names(finished=True) == ["a", "b"]


def test_plain_values() -> None:
    found = records.plain({"a": (1, 2), "b": float("inf"), 3: np.float64(2.5), "p": Path("x"), "t": True})
    assert found == {"a": [1, 2], "b": None, "3": 2.5, "p": "x", "t": True}


def test_asking_for_the_revision_leaves_no_lock_where_there_is_no_room(tmp_path):
    def git(*words):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)

    git("init", "-q")
    for n in range(30):
        (tmp_path / f"file{n}").write_text("a")
    git("add", ".")
    git("-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "-m", "x")
    for n in range(30):
        (tmp_path / f"file{n}").write_text("a")  # other times, the same content: the index would be refreshed
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        found = git_revision(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert found is not None
    assert not found["modified"]
    assert not (tmp_path / ".git" / "index.lock").exists()
