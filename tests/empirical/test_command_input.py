"""What is typed: bounds before any work, names that are free, commands that can be pasted, sweeps by their name."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from empirical import experts, networks, run
from empirical.data.datasets import load
from empirical.experiment.experts import experts_command
from empirical.experiment.resolve import resolve, with_preset
from empirical.settings.roles import Bounds, check_number, numbered
from empirical.settings.settings import Settings
from empirical.settings.trajectory import TrajectorySettings
from empirical.sweep import __main__ as sweep
from empirical.sweep.options import parse

EARLIER_DEMO = [
    *("--iterations", "20", "--matching-steps", "1", "--network-epochs", "1", "--batch-real", "32", "--width", "16"),
    *("--eval-networks", "2", "--eval-epochs", "100"),
]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--width", "100000"], "--width is at most 16384, not 100000"),
        (["--depth", "1000000000"], "--depth is at most 64"),
        (["--ipc", "100000000000"], "--ipc is at most 1000000000"),
        (["--eval-batch", "1" + "0" * 21], "--eval-batch is at most 1000000000"),
        (["--iterations", "1" + "0" * 400], "--iterations is at most 1000000000"),
        (["--eval-networks", "2000000000"], "--eval-networks is at most 1000000000"),
        (["--method", "mtt", "--syn-steps", "1" + "0" * 12], "--syn-steps is at most 1000000000"),
        (["--method", "mtt", "--rho", "-1"], "--rho is a finite number above 0"),
        (["--momentum", "nan"], "--momentum is in [0, 1)"),
        (["--memory-budget", "nan"], "--memory-budget is a finite number above 0"),
        (["--width", "0"], "--width is at least 1 and at most 16384, not 0"),
    ],
)
def test_a_number_out_of_bounds_is_refused_before_any_work(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([*arguments, "--out", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err.strip().split("\n")[-1]
    assert words in error
    assert not (tmp_path / "r").exists()


def test_every_number_that_may_be_typed_has_bounds() -> None:
    """Counts above all: what is allocated, or looped over, follows from them."""
    free = {"seed", "sdc_power", "hard_threshold", "validation", "train_images", "current_max_start_epoch"}
    for settings in (Settings(), TrajectorySettings()):
        for name, value, role in numbered(settings):
            if isinstance(value, int | float) and not isinstance(value, bool):
                assert role.bounds is not None or name in free, name


def test_a_network_that_no_memory_holds_is_counted_not_built() -> None:
    with pytest.raises(ValueError, match=r"a network of .* parameters \(width 10000000\).*a smaller --width"):
        networks.build("mlp", (1, 8, 8), 10, width=10_000_000)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0])
def test_bounds_refuse_what_is_no_number(value: float) -> None:
    with pytest.raises(ValueError, match="--network-rate is a finite number above 0"):
        check_number("network_rate", value, Bounds(above=0.0))


def test_runs_that_start_at_once_take_different_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    taken: list[Path] = []
    threads = [threading.Thread(target=lambda: taken.append(run._taken_folder(Settings()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 8
    assert {path.name for path in taken} == {
        "digits-dsa-ipc1-seed0",
        *(f"digits-dsa-ipc1-seed0-{n}" for n in range(2, 9)),
    }


def test_a_dry_run_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run.main(["--dry-run"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_the_demo_is_a_sweep_by_its_name() -> None:
    by_name = sweep.planned(parse(["--sweep", "demo"]))
    as_typed = sweep.planned(parse(["--sweep", "demo", *EARLIER_DEMO]))
    assert [cell.name for cell in by_name] == [cell.name for cell in as_typed]
    assert len(by_name) == 111


def test_what_is_typed_comes_before_a_named_sweeps_own_settings() -> None:
    cells = sweep.planned(parse(["--sweep", "demo", "--iterations", "7", "--width", "8"]))
    assert {(cell.settings.iterations, cell.settings.width) for cell in cells} == {(7, 8)}


@pytest.mark.parametrize("odd", ["a b;c", "$(touch x)", "it's", "[red]", "*", "-x"])
@pytest.mark.parametrize("share", [0.1, 1 / 3, 0.123456789012345])
def test_the_command_that_makes_experts_can_be_pasted(odd: str, share: float, tmp_path: Path) -> None:
    digits = load("digits")
    typed = with_preset(Settings(method="ftd"), "laptop")
    nested = replace(typed.trajectory, experts=tmp_path / odd, rho=share)
    typed = replace(typed, validation=share, data_root=Path(odd), trajectory=nested)
    words = shlex.split(experts_command(resolve(typed, digits)))
    assert words[:3] == ["python", "-m", "empirical.experts"]
    read = experts.parse(words[3:])
    assert read.out == tmp_path / odd
    assert (read.validation, read.rho) == (share, share)


@pytest.mark.parametrize(("kind", "told"), [("sgd", 2), ("flat", 0)])
def test_experts_are_told_what_they_do_not_read(
    kind: str, told: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--rho", "0.02", "--alpha", "0.1", "--width", "4", "--count", "1", "--dry-run"]
    assert experts.main(["--kind", kind, *flags, "--out", str(tmp_path / "e")]) == 0
    assert capsys.readouterr().err.count("is read by ftd, datm, not by mtt") == told


@pytest.mark.parametrize("name", ["\udcff", "a/\udce9/b"])
@pytest.mark.parametrize("command", [run.main, experts.main, sweep.main], ids=["run", "experts", "sweep"])
def test_a_folder_that_no_tensors_can_be_written_to_is_refused_before_the_work(
    command: Callable[[list[str]], int], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["--quiet", "--out", str(tmp_path / name)]) == 2
    assert "not text in UTF-8, as safetensors needs; name another with --out" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
