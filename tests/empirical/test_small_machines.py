"""Little data, few threads: defaults that hold on tens of images, and what does not depend on the threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from empirical import run
from empirical.data.datasets import Dataset, load
from empirical.experiment.families import names
from empirical.experiment.resolve import resolve, with_preset
from empirical.networks.choice import NetworkChoice
from empirical.settings.settings import Settings
from empirical.settings.trajectory import TrajectorySettings
from empirical.trajectory_matching.expert_training import ExpertRecipe, Order, train_experts

METHODS = names("trajectory")
FAST = (
    "--preset laptop --no-compare --quiet --probe-every 0 --eval-epochs 1 --eval-networks 1 --device cpu "
    "--iterations 8 --eval-it 8"
)


def small_set(prefix: Path, count: int, classes: int = 3, side: int = 16) -> Path:
    """A pair of files with so many training images, of a brightness and a pattern for each class."""
    rng = np.random.default_rng(0)
    for part, size in (("train", count), ("test", 12)):
        labels = np.arange(size) % classes
        images = rng.integers(0, 80, (size, side, side)) + 50 * labels[:, None, None]
        np.savez(f"{prefix}_{part}.npz", images=images.astype(np.uint8), labels=labels)
    return prefix


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [12, 24, 100])
def test_laptop_defaults_hold_on_tens_of_images(tmp_path: Path, method: str, count: int) -> None:
    prefix = small_set(tmp_path / "few", count)
    command = ["--dataset", str(prefix), "--method", method, *FAST.split(), "--width", "8", "--depth", "2"]
    assert run.main([*command, "--out", str(tmp_path / "run"), "--experts", str(tmp_path / "experts")]) == 0


def resolved(dataset: Dataset, method: str = "mtt", **own: Any) -> TrajectorySettings:
    settings = with_preset(Settings(method=method, trajectory=TrajectorySettings(**own)), "laptop")
    return resolve(settings, dataset).trajectory


@pytest.mark.parametrize("method", METHODS)
def test_a_student_starts_slower_where_an_expert_has_few_steps(method: str) -> None:
    digits = load("digits", validation=0.1)
    usual = resolved(digits, method)
    assert (usual.lr_teacher, usual.lr_lr, usual.syn_lr_min) == (0.008, 1e-5, None)
    before = usual.lr_teacher or 0.0
    for count in (740, 200, 22):
        few = resolved(replace(digits, train=digits.train.subset(torch.arange(count))), method)
        assert few.lr_teacher is not None and few.lr_lr is not None and few.syn_lr_min is not None
        assert few.syn_lr_min < few.lr_teacher < before
        assert few.lr_lr == pytest.approx(1e-5 * (few.lr_teacher / 0.008) ** 2)
        before = few.lr_teacher


def test_what_is_typed_counts_on_little_data_too() -> None:
    digits = load("digits", validation=0.1)
    few = replace(digits, train=digits.train.subset(torch.arange(30)))
    own = resolved(few, lr_teacher=0.5, lr_lr=1e-3, syn_lr_min=0.1)
    assert (own.lr_teacher, own.lr_lr, own.syn_lr_min) == (0.5, 1e-3, 0.1)
    assert resolved(digits, syn_steps=40).lr_teacher == 0.008  # a matter of the data, not of the flags


@pytest.fixture
def threads() -> Iterator[Any]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", ["sgd", "flat"])
def test_an_expert_has_the_same_bits_on_any_threads_and_beside_any_others(
    tmp_path: Path, threads: Any, kind: Any
) -> None:
    digits = load("digits")
    digits = replace(digits, train=digits.train.subset(torch.arange(300)))
    choice, recipe = NetworkChoice("convnet", {"width": 16}), ExpertRecipe(kind, batch=100)
    found = []
    for number, count in ((1, 1), (2, 1), (2, 2), (3, 2)):
        threads(number)
        order = Order(tmp_path / f"{number}-{count}", count, 1)
        found.append(train_experts(digits, choice, recipe, order, quiet=True).files[0].path.read_bytes())
    assert found.count(found[0]) == 4


def test_a_run_that_goes_on_with_other_threads_says_so(
    tmp_path: Path, threads: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = small_set(tmp_path / "few", 24)
    folder = ["--out", str(tmp_path / "run")]
    threads(1)
    command = ["--dataset", str(prefix), "--method", "mtt", *FAST.split(), "--width", "4", "--depth", "2"]
    assert run.main([*command, *folder, "--experts", str(tmp_path / "experts")]) == 0
    (tmp_path / "run" / "summary.json").unlink()
    for number, said in ((1, False), (2, True)):
        threads(number)
        capsys.readouterr()
        assert run.main(["--quiet", "--resume", *folder]) == 0
        assert ("begun with 1 arithmetic threads and goes on with 2" in capsys.readouterr().err) == said
        (tmp_path / "run" / "summary.json").unlink()
