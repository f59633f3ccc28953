"""What a sweep's folder holds: all that was run into it, of one kind, and its readers agree on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from empirical.sweep.__main__ import GRID, main
from figures.compare.compare import read
from shared.comparison.grid import grids, read_csv

TINY = [
    *("--iterations", "2", "--batch-real", "4", "--width", "4", "--depth", "2", "--eval-networks", "2"),
    *("--eval-epochs", "1", "--probe-every", "0", "--whole-epochs", "1"),
    *("--device", "cpu", "--quiet", "--workers", "1"),
]


def sweep(folder: Path, *arguments: str) -> int:
    return main([*TINY, "--out", str(folder), *arguments])


def test_the_grid_holds_the_cells_of_every_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(tmp_path, "--lambdas", "0", "0.1", "--seeds", "0") == 0
    assert sweep(tmp_path, "--methods", "random", "--seeds", "3") == 0
    assert "3 cells, all of the folder" in capsys.readouterr().out
    rows = read_csv(tmp_path / GRID)
    assert {(m.method, m.coefficient, m.seed) for m in rows} == {("dsa", 0.0, 0), ("dsa", 0.1, 0), ("random", 0.0, 3)}
    of_folder, left_out = read([tmp_path])
    assert left_out == [] and sorted(map(str, of_folder)) == sorted(map(str, rows))
    before = (tmp_path / GRID).read_bytes()
    assert sweep(tmp_path, "--lambdas", "0", "--status") == 0 and (tmp_path / GRID).read_bytes() == before


def test_a_diverged_cell_is_told_of_by_all_readers(tmp_path: Path) -> None:
    assert sweep(tmp_path, "--lambdas", "0", "0.1", "1e38", "--learning-rate", "1") == 4
    for source in (tmp_path, tmp_path / GRID):
        measurements, left_out = read([source])
        assert grids(measurements)[0].coefficient.tolist() == [0.0, 0.1]
        assert left_out[0] == "1 run was left out: 1 diverged"
        assert "lambda 1e+38, seed 0: diverged (" in left_out[1] and "not finite" in left_out[1]
    assert np.array_equal(*[grids(read([s])[0])[0].accuracy for s in (tmp_path, tmp_path / GRID)])


@pytest.mark.parametrize(
    ("changed", "said"),
    [(("--width", "5"), "width = 4, not 5"), (("--eval-networks", "3"), "eval_networks = 2, not 3")],
)
def test_a_folder_of_other_settings_is_refused(
    changed: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path, "--methods", "random") == 0
    capsys.readouterr()
    for more in ((), ("--status",), ("--dry-run",)):
        assert sweep(tmp_path, "--methods", "random", "--seeds", "1", *changed, *more) == 2
        error = capsys.readouterr().err
        assert said in error and "--out" in error and error.count("\n") == 1
    assert len(list((tmp_path / "cells").iterdir())) == 1
    # Another number of images a class is another cell: nothing is compared across it.
    assert sweep(tmp_path, "--methods", "random", "--ipcs", "2", *changed) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [("--lambdas nan", "finite"), ("--lambdas 0 -inf", "finite"), ("--ipcs 0", "at least 1")],
)
def test_values_out_of_range_are_refused(
    arguments: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path / "out", *arguments.split()) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_value_typed_twice_is_one_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(tmp_path, "--lambdas", "0", "0.0", "-0.0", "--seeds", "1", "1", "--status") == 5
    assert "1 cells in" in capsys.readouterr().out
