"""A changed bit, an absurd count, a file that proves another: refused in one sentence at every door, or made again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import empirical
from empirical import run, synthetic
from empirical.data.datasets import Dataset, load
from empirical.distillation.loop import CHECKPOINT, Distillation, Schedule, Step, distil
from empirical.distillation.method import Matched
from empirical.evaluation.protocol import NetworkChoice
from empirical.runtime import checkpoint
from empirical.runtime.checkpoint import BadCheckpoint
from empirical.sweep import __main__ as sweep
from empirical.sweep.ledger import stored_state
from empirical.synthetic.synthetic_set import BadSyntheticSet, SyntheticSet
from empirical.trajectory_matching import expert_training as experts_module
from empirical.trajectory_matching.expert_file import BadExpert, ExpertFile, file_of
from empirical.trajectory_matching.expert_member import DivergedExpert
from empirical.trajectory_matching.expert_training import ExpertRecipe, Order, train_experts

CHOICE = NetworkChoice("convnet", {"width": 4, "depth": 1})
RECIPE = ExpertRecipe(batch=50)
TINY = (
    "--no-compare --quiet --width 4 --depth 1 --iterations 3 --batch-real 4 --probe-every 0 --device cpu "
    "--eval-epochs 1 --eval-networks 1"
)

CELLS = (
    "--methods dc random whole --lambdas 0 --ipcs 1 --workers 1 --width 4 --depth 1 --eval-networks 1 "
    "--eval-epochs 1 --whole-epochs 1 --iterations 2 --batch-real 4 --device cpu --quiet"
)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = load("digits")
    return replace(data, train=data.train.subset(torch.arange(60)), test=data.test.subset(torch.arange(20)))


def flipped(raw: bytes, place: int) -> bytes:
    changed = bytearray(raw)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def each_flip(path: Path, read: Callable[[], object], refusal: type[Exception]) -> None:
    """40 single bits, spread over the file by a fixed seed: none may be read as if nothing had happened."""
    raw = path.read_bytes()
    for place in random.Random(0).sample(range(8 * len(raw)), 40):
        path.write_bytes(flipped(raw, place))
        with pytest.raises(refusal):
            read()
    path.write_bytes(raw)
    read()


def test_a_changed_bit_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    tensors = {"x": torch.arange(6.0), "flag": torch.tensor(True), "none": torch.zeros(0)}
    path = checkpoint.atomic_save(tmp_path / "c", tensors, {"done": 7, "identity": {"seed": 1}})
    each_flip(path, lambda: checkpoint.load(path), BadCheckpoint)


def test_a_changed_bit_of_a_set_is_refused(tmp_path: Path) -> None:
    made = SyntheticSet(torch.randn(4, 1, 3, 3), torch.tensor([0, 0, 1, 1]), 2, learning_rate=torch.tensor(0.1))
    path = synthetic.save(tmp_path, made, {"made_by": {"method": "dsa"}})
    each_flip(path, lambda: empirical.load(path), BadSyntheticSet)


def test_a_changed_bit_of_an_expert_is_refused(digits: Dataset, tmp_path: Path) -> None:
    (file,) = train_experts(digits, CHOICE, RECIPE, Order(tmp_path, 1, 2), quiet=True).files
    each_flip(file.path, lambda: ExpertFile.open(file.path).rows(0, 1, 2), BadExpert)


def half_made(digits: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expert whose training was stopped after two of its three epochs."""
    original, calls = experts_module._epoch, []

    def stop(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        original(*arguments)

    monkeypatch.setattr(experts_module, "_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        train_experts(digits, CHOICE, RECIPE, Order(folder, 1, 3), quiet=True)
    monkeypatch.setattr(experts_module, "_epoch", original)


@pytest.mark.parametrize("name", ["rows", "state"])
def test_a_changed_bit_of_a_half_made_expert_is_refused_and_gets_no_fresh_checksum(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    half_made(digits, tmp_path, monkeypatch)
    path = tmp_path / f".expert-0000.{name}"
    raw = path.read_bytes()
    for place in random.Random(1).sample(range(8 * len(raw)), 8):
        path.write_bytes(flipped(raw, place))
        with pytest.raises((BadExpert, BadCheckpoint), match=r"damaged|not a readable"):
            train_experts(digits, CHOICE, RECIPE, Order(tmp_path, 1, 3), quiet=True)
        assert not file_of(tmp_path, 0).exists()


@pytest.mark.parametrize("done", [-2, 3, 10**9, "two", None, 1.5])
def test_an_absurd_count_of_a_half_made_expert_is_refused(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: object
) -> None:
    half_made(digits, tmp_path, monkeypatch)
    path = tmp_path / ".expert-0000.state"
    tensors, document = checkpoint.load(path)
    checkpoint.atomic_save(path, tensors, {**document, "done": done})
    with pytest.raises(BadExpert, match="damaged"):
        train_experts(digits, CHOICE, RECIPE, Order(tmp_path, 1, 3), quiet=True)


def test_a_half_made_expert_without_checksums_is_gone_on_with(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_experts(digits, CHOICE, RECIPE, Order(tmp_path / "whole", 1, 3), quiet=True).files[0]
    half_made(digits, tmp_path / "cut", monkeypatch)
    path = tmp_path / "cut" / ".expert-0000.state"
    tensors, document = checkpoint.load(path)
    del document["sums"]
    checkpoint.atomic_save(path, tensors, document)
    (again,) = train_experts(digits, CHOICE, RECIPE, Order(tmp_path / "cut", 1, 3), quiet=True).files
    assert all(torch.equal(a, b) for a, b in zip(whole.rows(0, 3), again.rows(0, 3), strict=True))


def test_an_expert_that_diverges_is_not_kept(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DivergedExpert, match="not finite after epoch") as failure:
        train_experts(digits, CHOICE, replace(RECIPE, rate=1e30), Order(tmp_path, 1, 3), quiet=True)
    assert failure.value.exit_status == 4
    assert list(tmp_path.iterdir()) == []


def test_experts_of_two_seeds_are_not_mixed(digits: Dataset, tmp_path: Path) -> None:
    train_experts(digits, CHOICE, RECIPE, Order(tmp_path, 1, 1), quiet=True)
    with pytest.raises(BadExpert, match=r"made with seed 0, the experts to be made beside it have 5.*--seed 0"):
        train_experts(digits, CHOICE, RECIPE, Order(tmp_path, 2, 1, seed=5), quiet=True)
    train_experts(digits, CHOICE, RECIPE, Order(tmp_path / "other", 2, 1, seed=5), quiet=True)
    file_of(tmp_path / "other", 1).replace(file_of(tmp_path, 1))
    with pytest.raises(BadExpert, match=r"seed 5, expert-0000\.safetensors has 0"):
        train_experts(digits, CHOICE, RECIPE, Order(tmp_path, 2, 1), quiet=True)


class Falling:
    """A method without state: the images fall to 0."""

    steps = 6

    def step(self, made: SyntheticSet, generator: torch.Generator, step: int) -> Matched:
        if step == self.stop_at:
            raise KeyboardInterrupt
        return Matched(made.images.square().sum(), {"images": made.images + torch.randn((), generator=generator)})

    def __init__(self, stop_at: int | None = None):
        self.stop_at = stop_at

    def state(self) -> dict[str, torch.Tensor]:
        return {}

    def load_state(self, state: object) -> None: ...


def fall(folder: Path, stop_at: int | None = None, resume: bool = False) -> SyntheticSet:
    task = Distillation(
        method=Falling(stop_at),
        start=SyntheticSet(torch.ones(2, 1, 2, 2), torch.tensor([0, 1]), 2),
        generator=torch.Generator().manual_seed(0),
        steps={"images": Step(0.1)},
        folder=folder,
        identity={"seed": 0},
        resume=resume,
        schedule=Schedule(checkpoint_seconds=-1.0),
        quiet=True,
    )
    return distil(task)


def cut(folder: Path) -> Path:
    with pytest.raises(KeyboardInterrupt):
        fall(folder, stop_at=4)
    return folder


@pytest.mark.parametrize("done", [-1, 7, 10**12, "4", None, 2.5])
def test_an_absurd_count_of_finished_steps_is_refused(tmp_path: Path, done: object) -> None:
    path = cut(tmp_path) / CHECKPOINT
    tensors, document = checkpoint.load(path)
    checkpoint.atomic_save(path, tensors, {**document, "done": done})
    with pytest.raises(BadCheckpoint, match=rf"damaged.*{done}.*remove the file"):
        fall(tmp_path, resume=True)


@pytest.mark.parametrize("lost", ["synthetic.images", "velocity.images", "generator"])
def test_a_checkpoint_without_one_of_its_tensors_is_refused(tmp_path: Path, lost: str) -> None:
    path = cut(tmp_path) / CHECKPOINT
    tensors, document = checkpoint.load(path)
    del tensors[lost]
    checkpoint.atomic_save(path, tensors, document)
    with pytest.raises(BadCheckpoint, match=f"damaged.*{lost}"):
        fall(tmp_path, resume=True)


@pytest.mark.parametrize("kept", [0, 2, 3])
def test_a_checkpoint_that_counts_more_steps_than_are_recorded_is_refused(tmp_path: Path, kept: int) -> None:
    whole = fall(tmp_path / "whole")
    rows = cut(tmp_path / "cut") / "metrics.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:kept]))
    with pytest.raises(BadCheckpoint, match=f"lacks step {kept}"):
        fall(tmp_path / "cut", resume=True)
    (tmp_path / "cut" / CHECKPOINT).unlink()  # the cure that the message names
    assert torch.equal(fall(tmp_path / "cut", resume=True).images, whole.images)


def test_rows_are_on_the_disk_before_the_checkpoint_that_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    from empirical.distillation import loop as distillation

    save, sync = distillation.save, distillation.MetricsWriter.sync
    monkeypatch.setattr(distillation, "save", lambda *given: (order.append("checkpoint"), save(*given)))
    monkeypatch.setattr(distillation.MetricsWriter, "sync", lambda self: (order.append("rows"), sync(self)))
    fall(tmp_path)
    assert order == ["rows", "checkpoint"] * 6 + ["rows"]


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    assert run.main([*TINY.split(), "--out", str(folder)]) == 0
    return folder


def test_a_summary_without_its_set_is_no_finished_run(finished: Path) -> None:
    images = empirical.load(finished).images
    (finished / "synthetic.safetensors").unlink()
    assert run.main(["--quiet", "--resume", "--out", str(finished)]) == 0
    assert torch.equal(empirical.load(finished).images, images)


def test_a_damaged_set_is_not_taken_for_a_finished_run(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = finished / "synthetic.safetensors"
    path.write_bytes(flipped(path.read_bytes(), 8 * (path.stat().st_size - 9)))
    assert run.main(["--quiet", "--resume", "--out", str(finished)]) == 2
    assert "make the set again" in capsys.readouterr().err
    path.unlink()
    assert run.main(["--quiet", "--resume", "--out", str(finished)]) == 0


@pytest.mark.parametrize("kept", [None, 0, 1, 2])
def test_a_finished_run_whose_record_lost_steps_is_not_passed_over(
    finished: Path, capsys: pytest.CaptureFixture[str], kept: int | None
) -> None:
    metrics = finished / "metrics.jsonl"
    lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True)
    if kept is None:
        metrics.unlink()
    else:
        metrics.write_text("".join(lines[:kept]), encoding="utf-8")
    assert run.main(["--quiet", "--resume", "--out", str(finished)]) == 2
    assert f"metrics.jsonl lacks step {kept or 0}" in capsys.readouterr().err
    metrics.write_text("".join(lines), encoding="utf-8")
    assert run.main(["--quiet", "--resume", "--out", str(finished)]) == 0


@pytest.mark.parametrize(
    "content", ["{}", '{"settings": {}}', '{"identity": {}}', "[]", "", '{"settings": 3, "identity": 4}']
)
def test_a_run_that_does_not_say_what_it_is_is_not_resumed(
    finished: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    before = {p.name: p.read_bytes() for p in finished.iterdir()}
    (finished / "settings.json").write_text(content)
    capsys.readouterr()
    for more in ([], TINY.split(), ["--dataset", "digits"]):
        assert run.main(["--quiet", "--resume", "--out", str(finished), *more]) == 2
        assert "settings.json is damaged" in capsys.readouterr().err
    after = {p.name: p.read_bytes() for p in finished.iterdir() if p.name != "settings.json"}
    assert after == {name: raw for name, raw in before.items() if name != "settings.json"}


@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1)])
def test_one_run_does_not_become_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], first: int, then: int
) -> None:
    folder = ["--out", str(tmp_path / "run")]
    assert run.main([*TINY.split(), *folder, "--repetitions", str(first)]) == 0
    capsys.readouterr()
    assert run.main([*folder, "--resume", "--repetitions", str(then)]) == 2
    assert f"--repetitions {first}, not {then}" in capsys.readouterr().err


def test_several_runs_may_become_more(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run.main([*TINY.split(), "--out", str(folder), "--repetitions", "2"]) == 0
    first = (folder / "seed0" / "synthetic.safetensors").read_bytes()
    assert run.main(["--out", str(folder), "--resume", "--repetitions", "3"]) == 0
    assert (folder / "seed0" / "synthetic.safetensors").read_bytes() == first
    results = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["results"]
    assert len(results["dsa"]["accuracies"]) == 3


def test_a_cell_without_its_set_is_run_again(tmp_path: Path) -> None:
    command = [*CELLS.split(), "--out", str(tmp_path)]
    assert sweep.main(command) == 0
    cells = sorted((tmp_path / "cells").iterdir())
    assert [stored_state(cell).name for cell in cells] == ["done"] * 3
    sets = {cell.name: (cell / "synthetic.safetensors") for cell in cells if "whole" not in cell.name}
    before = {name: empirical.load(path).images for name, path in sets.items()}
    for path in sets.values():
        path.unlink()
    assert [stored_state(cell).name for cell in cells] == ["begun", "begun", "done"]
    assert sweep.main(command) == 0
    assert all(torch.equal(empirical.load(path).images, before[name]) for name, path in sets.items())
