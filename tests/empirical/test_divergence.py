"""Every way to diverge stops every method, in status 4, whatever a threshold would let pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import empirical
from empirical import evaluate, networks, run
from empirical.gradient_matching.hard_threshold import HardThreshold
from empirical.gradient_matching.method import GradientMatching
from empirical.sweep import __main__ as sweep
from empirical.trajectory_matching import method as trajectories

SMALL = (
    "--no-compare --quiet --width 4 --depth 1 --iterations 3 --probe-every 0 --device cpu --eval-epochs 1 "
    "--eval-networks 1 --learning-rate 10"
)
MATCHING = ["--batch-real", "4"]
TRAJECTORY = (
    "--eval-it 3 --syn-steps 2 --expert-count 1 --expert-training-epochs 2 --max-start-epoch 1 --threshold 1.0 "
    "--expansion-end-epoch 1 --current-max-start-epoch 1"
)
METHODS = ("dc", "dsa", "dcc", "dsac", "mtt", "ftd", "tesla", "datm")
NAN, INFINITE, HUGE = float("nan"), float("inf"), 3e38

Poison = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(loss, gradient of the images) of a step -> what it finds instead."""
WAYS: dict[str, Poison] = {
    "a loss that is no number": lambda loss, images: (loss * NAN, images),
    "an infinite loss": lambda loss, images: (loss + INFINITE, images),
    "a gradient that is no number": lambda loss, images: (loss, images * NAN),
    "an infinite gradient": lambda loss, images: (loss, images - INFINITE),
    "an update that overflows": lambda loss, images: (loss * 0, torch.full_like(images, HUGE)),
}


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("experts")


def arguments(method: str, folder: Path, experts: Path) -> list[str]:
    if method in ("dc", "dsa", "dcc", "dsac"):
        own = MATCHING
    else:
        own = [*TRAJECTORY.split(), "--experts", str(experts / ("sgd" if method in ("mtt", "tesla") else "flat"))]
    return ["--method", method, *SMALL.split(), *own, "--out", str(folder)]


def poisoned(monkeypatch: pytest.MonkeyPatch, poison: Poison) -> None:
    """From the second step on, gradient matching and trajectory matching find what the poison makes of it."""
    step, pull_back = GradientMatching.step, trajectories.pull_back

    def poisoned_step(self: GradientMatching, synthetic: Any, generator: Any, number: int) -> Any:
        found = step(self, synthetic, generator, number)
        if not number:
            return found
        loss, images = poison(found.loss, found.gradients["images"])
        return replace(found, loss=loss, gradients={"images": images})

    calls = []

    def poisoned_pull_back(*given: Any, **options: Any) -> Any:
        calls.append(1)
        found = pull_back(*given, **options)
        if len(calls) < 2:
            return found
        loss, images = poison(found.loss, found.images)
        return replace(found, loss=loss, images=images)

    monkeypatch.setattr(GradientMatching, "step", poisoned_step)
    monkeypatch.setattr(trajectories, "pull_back", poisoned_pull_back)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
def test_it_is_status_four_with_the_last_finite_set(
    tmp_path: Path, experts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    method: str, way: str,
) -> None:  # fmt: skip
    poisoned(monkeypatch, WAYS[way])
    folder = tmp_path / "run"
    assert run.main(arguments(method, folder, experts)) == 4
    assert "finite" in capsys.readouterr().err
    assert not (folder / "summary.json").exists()
    kept = empirical.load(folder)
    assert torch.isfinite(kept.images).all()
    assert "finite" in kept.recipe["diverged"]


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("dsa", ["--learning-rate", "1e38"]),
        ("dc", ["--sdc", "1e38"]),
        ("dcc", ["--matching-steps", "2", "--network-epochs", "20", "--network-rate", "1e30"]),
        ("dc", ["--ipc", "2", "--matching-steps", "2", "--network-epochs", "20", "--network-rate", "1e30",
                "--hard-threshold", "1e3"]),
        ("mtt", ["--lr-teacher", "1e30"]),
        ("tesla", ["--lr-teacher", "1e30"]),
        ("datm", ["--learning-rate", "1e38"]),
        ("ftd", ["--sdc", "1e38"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)  # fmt: skip
def test_settings_that_diverge_by_themselves_stop_too(
    tmp_path: Path, experts: Path, capsys: pytest.CaptureFixture[str], method: str, more: list[str]
) -> None:
    assert run.main([*arguments(method, tmp_path / "run", experts), *more]) == 4
    assert "finite" in capsys.readouterr().err


def test_a_diverged_cell_is_not_a_measured_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poisoned(monkeypatch, WAYS["a loss that is no number"])
    command = arguments("datm", tmp_path, tmp_path / "experts")[2:-2]
    axes = ["--methods", "datm", "--lambdas", "0", "--ipcs", "1", "--workers", "1", "--out", str(tmp_path / "sweep")]
    assert sweep.main([*axes, *(a for a in command if a != "--no-compare")]) == 4
    (cell,) = (tmp_path / "sweep" / "cells").iterdir()
    assert json.loads((cell / "failure.json").read_text(encoding="utf-8"))["kind"] == "diverged"
    assert not (cell / "summary.json").exists()


def test_a_judged_set_says_that_it_diverged(
    tmp_path: Path, experts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([*arguments("dsa", tmp_path / "run", experts), "--learning-rate", "1e38"]) == 4
    assert run.main(arguments("dsa", tmp_path / "good", experts)) == 0
    capsys.readouterr()
    assert evaluate.main([str(tmp_path / "run")]) == 0
    assert "the distillation diverged (" in capsys.readouterr().err
    assert evaluate.main([str(tmp_path / "good")]) == 0
    assert "diverged" not in capsys.readouterr().err


def test_the_hard_threshold_does_not_drop_what_a_diverged_network_says() -> None:
    network = networks.build("convnet", (1, 8, 8), 3, width=4, depth=1)
    with torch.no_grad():
        next(network.parameters()).fill_(NAN)
    kept = HardThreshold(1e6).keep(network, torch.randn(3, 2, 1, 8, 8), torch.arange(3), None, 1)
    assert float(kept.share) == 1.0


@pytest.mark.parametrize("more", [[], ["--method", "dsac"], ["--iterations", "2", "--sdc", "0.1"]], ids=" ".join)
def test_a_threshold_that_keeps_no_real_image_at_any_step_makes_no_set(
    tmp_path: Path, experts: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    command = [*arguments("dc", tmp_path / "run", experts), *more, "--hard-threshold", "1e-30"]
    assert run.main(command) == 2
    assert "--hard-threshold 1e-30 kept no real image" in capsys.readouterr().err
    assert not (tmp_path / "run" / "synthetic.safetensors").exists()
    assert run.main([*command, "--resume"]) == 2
    assert "kept no real image" in capsys.readouterr().err


def test_a_sweep_has_no_accuracy_of_a_threshold_that_keeps_nothing(tmp_path: Path) -> None:
    command = arguments("dc", tmp_path, tmp_path / "experts")[2:-2]
    axes = ["--methods", "dc", "--lambdas", "0", "0.1", "--ipcs", "1", "--workers", "1", "--out", str(tmp_path / "s")]
    tiny = [a for a in command if a != "--no-compare"]
    assert sweep.main([*axes, *tiny, "--hard-threshold", "1e-30"]) == 4
    assert not list((tmp_path / "s" / "cells").glob("*/summary.json"))
