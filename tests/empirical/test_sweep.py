"""Sweeps: what is expanded, what is run again and what is not, kills, locks, failures, launchers, the CSV."""

import csv
import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from empirical.data.datasets import Dataset, Split
from empirical.data.preprocessing import Normalisation
from empirical.data.whitening import Whitening
from empirical.experiment.experts import experts_command
from empirical.experiment.families import names
from empirical.experiment.resolve import published_coefficient
from empirical.runtime.checkpoint import FolderInUse, Lock
from empirical.settings.settings import Settings
from empirical.sweep import launch, ledger, work
from empirical.sweep.__main__ import GRID, execute, main, planned
from empirical.sweep.cells import Cell, expand, groups
from empirical.sweep.forecast import group_forecast
from empirical.sweep.launch import Local
from empirical.sweep.options import Axes, blocks_of, named, parse
from empirical.sweep.work import data_of, run_group
from shared.comparison.grid import grids, read_csv
from shared.comparison.run_grid import read_runs

TINY = [
    *("--iterations", "2", "--batch-real", "4", "--width", "4", "--depth", "2", "--eval-networks", "2"),
    *("--eval-epochs", "1", "--probe-every", "0", "--whole-epochs", "1"),
    *("--device", "cpu", "--quiet", "--workers", "1"),
]
THREE = ["--methods", "dsa", "--lambdas", "0", "-1e-2", "0.1"]


def cells_of(*arguments: str) -> list[Cell]:
    return planned(parse([*TINY, *arguments]))


def test_axes_multiply_and_coresets_take_no_coefficient() -> None:
    cells = cells_of("--methods", "dsa", "random", "whole", "--ipcs", "1", "10", "--lambdas", "0", "-1e-2", "--seeds",
                     "3", "4")  # fmt: skip
    count = {m: sum(c.settings.method == m for c in cells) for m in ("dsa", "random", "whole")}
    assert count == {"dsa": 8, "random": 4, "whole": 2}
    assert {c.strength for c in cells} == {0.0, -0.01}
    assert len({c.name for c in cells}) == len(cells)


def test_the_hash_sees_what_matters_and_nothing_else() -> None:
    (cell,) = cells_of()
    changes: dict[str, Any] = {"out": Path("elsewhere"), "quiet": False, "strategy": "loop", "memory_budget": 1.0}
    assert Cell(replace(cell.settings, **changes), cell.fingerprint).digest() == cell.digest()
    for name, value in {"sdc": 0.1, "seed": 1, "eval_epochs": 2, "network_rate": 0.1}.items():
        changed: dict[str, Any] = {name: value}
        assert Cell(replace(cell.settings, **changed), cell.fingerprint).digest() != cell.digest()
    assert Cell(replace(cell.settings, eval_batch=128), cell.fingerprint).digest() != cell.digest()
    assert Cell(cell.settings, "other data").digest() != cell.digest()


def test_published_coefficients_and_typed_ones_are_one_cell() -> None:
    assert len(cells_of("--lambdas", "published", "0.002")) == 1  # digits have none published: the usual 0.002


def test_coefficients_of_a_seed_are_one_job_where_they_share_work() -> None:
    shared = cells_of(*THREE, "--seeds", "0", "1")
    assert [len(g) for g in groups(shared)] == [3, 3]
    assert all(len({c.settings.seed for c in g}) == 1 for g in groups(shared))
    assert [len(g) for g in groups(shared, separate=True)] == [1] * 6
    assert [len(g) for g in groups(cells_of(*THREE, "--ipcs", "10"))] == [1] * 3  # a tenth is shared: not worth it
    untrained = cells_of(*THREE, "--ipcs", "10", "--network-epochs", "0")
    assert [len(g) for g in groups(untrained)] == [3]


def test_table_1_is_complete() -> None:
    blocks = blocks_of(Axes(sweep="table1"))
    cells = {
        (d, m, i, coefficient)
        for b in blocks
        for d in b.datasets
        for m in b.methods
        for i in b.ipcs
        for coefficient in b.lambdas
    }
    corrected = {c for c in cells if c[3] == "published"}
    assert len(corrected) == 3 * 3 * 3
    assert len(cells) == 2 * 27 + 27 + 3
    assert {"mnist", "fashion-mnist", "svhn"} == {c[0] for c in cells}


def test_table_2_lacks_what_the_table_lacks() -> None:
    blocks = blocks_of(Axes(sweep="table2"))
    plain = {(m, d, i) for b in blocks for m in b.methods for d in b.datasets for i in b.ipcs}
    ours = {m for m, *_ in plain} - {"random", "whole"}
    assert ours == {"mtt", "ftd", "tesla", "datm"}
    assert len([c for c in plain if c[0] in ours]) == 4 * 9 - 4
    assert ("ftd", "tiny-imagenet", 50) not in plain


SIZES = {"cifar10": (10, 32), "cifar100": (100, 32), "tiny-imagenet": (200, 64), "mnist": (10, 28),
         "fashion-mnist": (10, 28), "svhn": (10, 32)}  # fmt: skip


def stand_in(settings: Settings) -> Dataset:
    """A data set with the right classes and size of image, and two images a class."""
    classes, size = SIZES[settings.dataset]
    labels = torch.arange(classes).repeat_interleave(2)
    split = Split(torch.zeros(len(labels), 3, size, size, dtype=torch.uint8), labels, classes)
    names = tuple(map(str, range(classes)))
    pixels = Normalisation((0.0,) * 3, (1.0,) * 3)
    return Dataset(settings.dataset, split, split, None, names, pixels, False, "nowhere", settings.dataset)


@pytest.mark.parametrize(("name", "count"), [("table1", 27), ("table2", 32)])
def test_every_row_of_the_tables_resolves_as_published(name: str, count: int) -> None:
    request = parse(["--sweep", name, "--seeds", "0"])
    rows: dict[tuple[str, str, int], list[Cell]] = {}
    for cell in expand(blocks_of(request.axes), request.settings, stand_in):
        if cell.settings.method in names("distilled"):
            rows.setdefault((cell.settings.dataset, cell.settings.method, cell.settings.ipc), []).append(cell)
    assert len(rows) == count
    for (dataset, method, ipc), (plain, corrected) in rows.items():
        assert plain.strength == 0.0
        assert corrected.strength == published_coefficient(dataset, method, ipc)[0] > 0
        assert plain.settings.preset == {"table1": "table1", "table2": "published"}[name]
    if name == "table2":
        zca = {row for row, (cell, _) in rows.items() if cell.settings.trajectory.zca}
        assert {r for r in rows if r[1] in ("ftd", "datm")} <= zca  # Tables 7 and 8: all
        of_mtt = {row[0::2] for row in zca if row[1] == "mtt"}
        assert of_mtt == {("cifar10", 1), ("cifar10", 10), ("cifar100", 1), ("cifar100", 50)}  # Table 5
        for row, (cell, _) in rows.items():
            assert f"--zca {row in zca}" in experts_command(cell.settings)


MTT = [
    *("--methods", "mtt", "--expert-count", "1", "--expert-training-epochs", "1", "--expert-epochs", "1"),
    *("--max-start-epoch", "1", "--syn-steps", "1", "--eval-it", "1", "--validation", "0.1", "--zca", "True"),
]


def test_trajectories_are_whitened_and_have_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [*TINY, *MTT, "--lambdas", "0", "0.1", "--out", "sweep"]
    console = Console(record=True, width=300, file=io.StringIO())
    assert execute(parse([*arguments, "--dry-run"]), console) == 0
    assert "1 experts are missing" in (said := console.export_text()) and "python -m empirical.experts" in said
    with pytest.raises(ValueError, match="--make-experts True"):
        execute(parse([*arguments, "--make-experts", "False"]), Console(quiet=True))
    assert not (tmp_path / "sweep").exists()

    tried = []
    plain = work.make

    def busy_at_first(experiment: Any) -> Any:
        tried.append(experiment)
        if len(tried) == 1:
            raise FolderInUse("another worker makes the experts")
        return plain(experiment)

    monkeypatch.setattr(work, "make", busy_at_first)
    assert execute(parse(arguments), Console(quiet=True)) == 0
    assert len(tried) == 3
    with (tmp_path / "sweep" / GRID).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert {r["family"] for r in rows} == {"trajectory"}
    for coefficient in ("0.0", "0.1"):
        best, last, validated = (
            sum(float(r[c]) for r in rows if r["lambda"] == coefficient)
            for c in ("accuracy", "accuracy_last", "accuracy_validated")
        )
        assert best >= max(last, validated)
    assert all(isinstance(experiment.dataset.preprocessing, Whitening) for experiment in tried)


def test_a_schedule_of_the_coefficient_has_no_place_in_the_grid(tmp_path: Path) -> None:
    arguments = [*TINY, "--asdc", "0.1", "1", "--out", str(tmp_path)]
    assert execute(parse(arguments), Console(quiet=True)) == 0
    assert len((tmp_path / GRID).read_text().splitlines()) == 1  # the header


def test_a_named_sweep_is_restricted_by_what_is_typed() -> None:
    assert set(named()) >= {"table1", "table2"}
    blocks = blocks_of(Axes(sweep="table1", methods=("dsa",), datasets=("mnist",), ipcs=(1,), seeds=(7,)))
    assert [(b.methods, b.datasets, b.ipcs, b.seeds) for b in blocks] == [(("dsa",), ("mnist",), (1,), (7,))]
    settings = parse(["--sweep", "table1", "--width", "16"]).settings("mnist")
    assert (settings.batch_real, settings.width) == (256, 16)  # the preset, and what is typed over it


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--method dsa", "--methods"),
        ("--methods dsb", "'dsa'"),
        ("--sweep table3", "nearest"),
        ("--sweep table1 --methods dcc", "nothing"),
        ("--workers 0", "at least 1"),
        ("--ipcs 3", "--matching-steps"),
        ("--datasets digit", "digits"),
        ("--preset desktop", "nearest"),
        ("--lambdas 1 --asdc 0.1 1", "one of them"),
        ("--methods mtt --datasets digits --norm batch --compiled-student", "wrong for batch norm"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*arguments.split(), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def run(tmp_path: Path, *arguments: str) -> int:
    return execute(parse([*TINY, *THREE, "--out", str(tmp_path), *arguments]), Console(quiet=True))


def test_the_same_command_runs_only_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--methods", "dsa", "random") == 0
    assert capsys.readouterr().err.count("negative lambda") == 1
    with (tmp_path / GRID).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 2  # three coefficients and random, two networks each
    assert {(r["method"], float(r["lambda"])) for r in rows} == {
        ("dsa", 0.0), ("dsa", -0.01), ("dsa", 0.1), ("random", 0.0),
    }  # fmt: skip
    assert all(0 <= float(r["accuracy"]) <= 1 and r["classes"] == "10" for r in rows)
    assert all(float(r["relative_pull"]) > 0 for r in rows if float(r["lambda"]))
    before = (tmp_path / GRID).read_bytes()

    ran: list[str] = []
    plain = work._run
    monkeypatch.setattr(work, "_run", lambda cells, *more: (ran.extend(c.name for c in cells), plain(cells, *more)))
    execute(parse([*TINY, *THREE, "--methods", "dsa", "random", "--out", str(tmp_path)]), Console(quiet=True))
    assert ran == []
    assert (tmp_path / GRID).read_bytes() == before

    (victim,) = (tmp_path / "cells").glob("digits-dsa-ipc1-lambda0.1-*")
    (victim / "summary.json").unlink()
    execute(parse([*TINY, *THREE, "--methods", "dsa", "random", "--out", str(tmp_path)]), Console(quiet=True))
    assert ran == [victim.name]
    assert (tmp_path / GRID).read_bytes() == before


def test_the_grid_is_what_the_comparison_reads(tmp_path: Path) -> None:
    run(tmp_path)
    (found,) = grids(read_csv(tmp_path / GRID))
    (from_runs,) = grids(read_runs(tmp_path)[0])
    assert np.array_equal(found.accuracy, from_runs.accuracy)
    assert all(np.array_equal(found.per_run[c], from_runs.per_run[c], equal_nan=True) for c in found.per_run)
    assert found.coefficient.tolist() == [-0.01, 0.0, 0.1]
    assert found.accuracy.shape == (1, 3, 1, 2)
    assert found.family == "gradient"


def test_divergence_is_a_result_and_failure_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [*TINY, "--lambdas", "0", "1e38", "--learning-rate", "1", "--out", str(tmp_path)]
    console = Console(record=True, width=300, file=io.StringIO())
    assert execute(parse(arguments), console) == 4
    assert "not finite" in console.export_text()
    cells = planned(parse(arguments))
    states = [ledger.state_of(ledger.folder_of(tmp_path, c)).name for c in cells]
    assert states == ["done", "diverged"]
    assert ledger.to_run(tmp_path, cells) == []
    assert ledger.to_run(tmp_path, cells, retry_diverged=True) == [cells[1]]

    def broken(*_: Any) -> Any:
        raise RuntimeError("no such luck")

    (other,) = planned(parse([*arguments[:-4], "--lambdas", "0", "--seeds", "5", "--out", str(tmp_path)]))
    with monkeypatch.context() as patch:
        patch.setattr(work, "make", broken)
        assert run_group([other], tmp_path) == {other.name: "failed"}
    assert "no such luck" in ledger.state_of(ledger.folder_of(tmp_path, other)).reason
    assert ledger.to_run(tmp_path, [other]) == [other]
    assert run_group([other], tmp_path) == {other.name: "done"}


def test_a_cell_in_use_is_left_to_its_holder(tmp_path: Path) -> None:
    (cell,) = cells_of("--methods", "random")
    folder = ledger.folder_of(tmp_path, cell)
    with Lock(folder):
        assert ledger.state_of(folder).name == "running"
        assert run_group([cell], tmp_path) == {cell.name: "running"}
    assert ledger.state_of(folder).name == "missing"
    (folder / ".lock").write_text("process of a machine that is gone")
    assert run_group([cell], tmp_path) == {cell.name: "done"}


def test_dry_run_and_status_run_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    for flag, status in (("--dry-run", 0), ("--status", 5)):  # nothing of it is done
        assert main([*TINY, *THREE, "--out", str(out), flag]) == status
        assert "3" in capsys.readouterr().out
    assert not out.exists()


def test_sharing_makes_a_forecast_cheaper() -> None:
    cells = cells_of(*THREE, "--batch-real", "64")
    dataset = data_of(cells[0].settings)
    together = group_forecast(cells, dataset, 1e9)
    alone = [group_forecast([c], dataset, 1e9) for c in cells]
    assert together.seconds < 0.8 * sum(f.seconds for f in alone)
    assert together.disk == pytest.approx(sum(f.disk for f in alone))


@pytest.mark.slow
def test_kill_and_again_is_as_if_undisturbed(tmp_path: Path) -> None:
    arguments = [*TINY, "--methods", "dsa", "--lambdas", "0", "0.1", "--iterations", "60"]
    command = [sys.executable, "-m", "empirical.sweep", *arguments, "--out", str(tmp_path / "killed")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    begun = time.monotonic()
    while not list((tmp_path / "killed").glob("cells/*/metrics.jsonl")) and time.monotonic() - begun < 120:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for name in ("killed", "whole"):
        assert main([*arguments, "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "killed" / GRID).read_bytes() == (tmp_path / "whole" / GRID).read_bytes()


def _says_done(group: Any, root: Path, threads: int, retry_diverged: bool) -> dict[str, str]:
    return dict.fromkeys((cell.name for cell in group), "done")


def test_many_more_jobs_than_workers(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    cells = cells_of("--methods", "random", "--seeds", *map(str, range(30)))
    launcher = Local(2, 1, work=_says_done)
    states = [name for found in launcher(groups(cells), tmp_path) for name in found]
    assert sorted(states) == sorted(cell.name for cell in cells)


def _dies_once(group: Any, root: Path, threads: int, retry_diverged: bool) -> dict[str, str]:
    mark = root / "died"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return run_group(group, root, threads, retry_diverged)


@pytest.mark.slow
def test_a_worker_that_dies_stops_nothing(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    cells = cells_of("--methods", "random", "--seeds", "0", "1", "2")
    tmp_path.mkdir(exist_ok=True)
    launcher = Local(2, 1, work=_dies_once)
    states = {name: s for found in launcher(groups(cells), tmp_path) for name, s in found.items()}
    assert set(states.values()) == {"done"}
    assert len(states) == 3


def test_a_cell_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    (cell,) = cells_of("--methods", "random")
    folder = ledger.folder_of(tmp_path, cell)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    left, deaths = {0: [cell]}, {0: 0}
    assert list(Local(2, 1)._after_death(left, deaths, tmp_path)) == []
    (states,) = Local(2, 1)._after_death(left, deaths, tmp_path)
    assert states == {cell.name: "failed"}
    assert left == {}
    assert launch.DEATHS == 2
