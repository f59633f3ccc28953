"""Runs, sweep cells and experts made by an earlier version of the program are read and gone on with.

`tests/golden/earlier_version.zip` holds what version 0.1 left on bundled digits at width 4: a DSA run stopped after 12
of 30 updates, an MTT run stopped after 6 of 10, the expert that it used, and a sweep with its two DC cells done.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

import empirical
from empirical import evaluate, run
from empirical.sweep import __main__ as sweep
from shared.records.records import read

FIXTURE = Path(__file__).parent.parent / "golden" / "earlier_version.zip"
SWEEP = (
    "--methods dc random --lambdas 0 0.01 --ipcs 1 --workers 1 --width 4 --depth 1 --eval-networks 1 --eval-epochs 2 "
    "--device cpu --compiled off --quiet --batch-real 8 --iterations 30 --out sweep"
)


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what was left, as the current folder."""
    with zipfile.ZipFile(FIXTURE) as stored:
        stored.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "done", "steps"), [("run", 12, 30), ("run-mtt", 6, 10)])
def test_a_stopped_run_goes_on_where_it_was(earlier: Path, name: str, done: int, steps: int) -> None:
    before = [row for row in read(earlier / name).metrics() if "loss" in row]
    assert len(before) == done
    assert run.main(["--resume", "--out", name]) == 0
    after = [row for row in read(earlier / name).metrics() if "loss" in row]
    assert [row["step"] for row in after] == list(range(steps))
    assert after[:done] == before
    assert read(earlier / name).summary is not None


def test_an_expert_made_before_is_used(earlier: Path) -> None:
    file = earlier / "experts" / "expert-0000.safetensors"
    before = file.read_bytes()
    assert run.main(["--resume", "--out", "run-mtt"]) == 0
    assert file.read_bytes() == before
    assert [p.name for p in (earlier / "experts").glob("*.safetensors")] == [file.name]


def test_finished_cells_of_a_sweep_are_not_run_again(earlier: Path) -> None:
    done = {p: p.read_bytes() for p in (earlier / "sweep" / "cells").rglob("*") if p.is_file()}
    assert sweep.main(SWEEP.split()) == 0
    assert {p: p.read_bytes() for p in done} == done
    assert len(list((earlier / "sweep" / "cells").iterdir())) == 3
    grid = (earlier / "sweep" / "grid.csv").read_text(encoding="utf-8")
    assert grid.count("\n") == 4


def test_a_stored_set_is_judged_again(earlier: Path) -> None:
    cell = next((earlier / "sweep" / "cells").glob("*lambda0-*"))
    assert len(empirical.load(cell)) == 10
    assert evaluate.main([str(cell), "--count", "1", "--out", "again.json"]) == 0
    again = json.loads((earlier / "again.json").read_text(encoding="utf-8"))
    before = (read(cell).summary or {})["evaluation"]["accuracies"]
    # another processor rounds otherwise, and two epochs of training carry that on
    assert again["convnet"]["accuracies"] == pytest.approx(before, abs=0.05)
