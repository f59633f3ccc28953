"""A correction by its pull: the lambda that is held pulls as hard as was asked, however it was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from empirical import run
from empirical.correction import AdaptiveSampleDifficultyCorrection, SampleDifficultyCorrection
from empirical.data.datasets import Dataset, load
from empirical.distillation import pull
from empirical.experiment import gradient_matching
from empirical.experiment.experiment import Experiment
from empirical.experiment.make import make
from empirical.experiment.resolve import resolve
from empirical.runtime.seeds import generator
from empirical.settings.settings import Settings
from empirical.sweep import __main__ as sweep
from empirical.synthetic.synthetic_set import SyntheticSet
from shared.records.metric_names import PULL
from shared.records.recorded import Correction, read_recorded
from shared.records.records import read

TINY = Settings(
    iterations=6, batch_real=8, width=8, depth=2, eval_networks=1, eval_epochs=1, probe_every=0, quiet=True,
    download=False, device="cpu",
)  # fmt: skip
SHORT = [
    *("--preset", "laptop", "--batch-real", "8", "--eval-networks", "1", "--eval-epochs", "1", "--probe-every", "0"),
    *("--width", "4", "--depth", "1", "--quiet", "--device", "cpu"),
]
MTT = [
    *("--method", "mtt", "--iterations", "3", "--syn-steps", "2", "--expert-count", "1", "--expert-epochs", "1"),
    *("--expert-training-epochs", "2", "--max-start-epoch", "1", "--eval-it", "3"),
]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def matching(dataset: Dataset, folder: Path, **changes: Any) -> tuple[Any, SyntheticSet]:
    settings = resolve(replace(TINY, **changes), dataset)
    experiment = Experiment(settings, dataset, folder, settings.seed)
    return gradient_matching._matching(experiment), experiment.start(settings.initialisation)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "dsa", "sdc_pull": 0.1},
        {"method": "dc", "sdc_pull": -0.3, "sdc_power": 2, "ipc": 2, "matching_steps": 2, "network_epochs": 1},
        {"method": "dsac", "sdc_pull": 1.0, "sdc_over_classes": "mean", "matching_steps": 2, "network_epochs": 0},
    ],
)
@pytest.mark.filterwarnings("ignore:a negative coefficient")
def test_the_lambda_that_is_held_pulls_as_hard_as_was_asked(digits: Dataset, tmp_path: Path, changes: Any) -> None:
    method, start = matching(digits, tmp_path, **changes)
    before = start.images.clone()
    pull.hold_pull(method, start, generator(0, "pull"), tmp_path, {})
    assert torch.equal(start.images, before)
    draws = generator(0, "pull")  # the same networks and batches again, now with the lambda that is held
    seen = [float(method.step(start, draws, step).metrics[PULL]) for step in range(pull.STEPS)]
    assert np.mean(seen) == pytest.approx(abs(changes["sdc_pull"]), rel=1e-5)
    assert np.sign(method.correction.coefficient) == np.sign(changes["sdc_pull"])


@pytest.mark.parametrize("distance", ["layerwise", "mse"])
def test_a_difference_of_gradients_measures_what_the_method_records(
    digits: Dataset, tmp_path: Path, distance: str
) -> None:
    """Under the squared distance lambda = 1 pulls a hundred times harder or weaker: the difference still has digits."""
    loops = {"ipc": 2, "matching_steps": 3, "network_epochs": 1}
    method, start = matching(digits, tmp_path, method="dc", sdc_pull=0.1, distance=distance, **loops)
    recorded = pull.measure(method, start, generator(0, "pull"))
    method.measure_pull = False
    assert pull.measure(method, start, generator(0, "pull")) == pytest.approx(recorded, rel=2e-4)


def test_measuring_leaves_the_method_as_it_was(digits: Dataset, tmp_path: Path) -> None:
    method, start = matching(digits, tmp_path, sdc_pull=0.1, ipc=2, matching_steps=3, network_epochs=1)
    before, correction = {name: t.clone() for name, t in method.state().items()}, method.correction
    pull.measure(method, start, generator(0, "pull"))
    assert all(torch.equal(before[name], t) for name, t in method.state().items())
    assert method.correction is correction


def test_a_run_by_pull_is_that_of_the_lambda_it_found(digits: Dataset, tmp_path: Path) -> None:
    def made(name: str, **changes: Any) -> SyntheticSet:
        settings = resolve(replace(TINY, method="dsa", **changes), digits)
        found = make(Experiment(settings, digits, tmp_path / name, settings.seed))
        assert found is not None
        return found

    by_pull = made("by pull", sdc_pull=0.5)
    _, held = read(tmp_path / "by pull").series("coefficient")
    assert len(set(held.tolist())) == 1
    by_lambda = made("by lambda", sdc=float(held[0]))
    assert torch.equal(by_pull.images, by_lambda.images)
    record = json.loads((tmp_path / "by pull" / "config.json").read_text())
    assert record["correction"]["pull"] == 0.5
    assert "coefficient" not in record["correction"]


def test_a_schedule_keeps_its_shape() -> None:
    found = AdaptiveSampleDifficultyCorrection(0.1, 0.4, 10).scaled(3.0)
    asked = AdaptiveSampleDifficultyCorrection(0.3, 1.2, 10)
    assert [found.coefficient_at(k) for k in range(12)] == pytest.approx([asked.coefficient_at(k) for k in range(12)])
    assert SampleDifficultyCorrection(0.1, power=2).scaled(5.0).settings()["power"] == 2


def test_trajectory_matching_takes_pulls_and_resumes(tmp_path: Path) -> None:
    flags = [*MTT, *SHORT, "--no-compare", "--experts", str(tmp_path / "experts"), "--asdc-pull", "0.1", "0.4"]
    assert run.main([*flags, "--out", str(tmp_path / "whole")]) == 0
    _, lambdas = read(tmp_path / "whole").series("coefficient")
    assert lambdas[-1] / lambdas[0] == pytest.approx(4 ** (2 / 3))
    measured = json.loads((tmp_path / "whole" / pull.FILE).read_text())["pulls_of_lambda_1"]
    assert lambdas[0] * np.mean(measured) == pytest.approx(0.1)
    (tmp_path / "whole" / pull.FILE).write_text("damaged")  # measured anew, to the same numbers
    for name in ("summary.json", "checkpoint.safetensors"):
        (tmp_path / "whole" / name).unlink()
    assert run.main([*flags, "--out", str(tmp_path / "whole"), "--resume"]) == 0
    assert read(tmp_path / "whole").series("coefficient")[1].tolist() == lambdas.tolist()


def test_a_sweep_takes_pulls_pairs_them_and_measures_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    plain = pull.measure
    monkeypatch.setattr(pull, "measure", lambda *a, **k: (measured.append(1), plain(*a, **k))[1])
    grid = ["--pulls", "0", "0.1", "0.5", "--seeds", "3", "--out", str(tmp_path), *SHORT, "--iterations", "4"]
    assert sweep.main([*grid, "--methods", "dsa"]) == 0
    assert len(measured) == 1
    found, left_out = read_recorded([tmp_path])
    assert not left_out
    assert [one.correction for one in sorted(found, key=lambda one: one.correction)] == [
        Correction(), Correction(0.1, pull=True), Correction(0.5, pull=True)
    ]  # fmt: skip
    assert str(found[-1].correction).startswith("SDC, pull = ")
    lambdas = [one.run.series("coefficient")[1][0] for one in sorted(found, key=lambda one: one.correction)]
    assert lambdas[2] == pytest.approx(5 * lambdas[1])


def test_a_sweep_runs_schedules_beside_coefficients(tmp_path: Path) -> None:
    grid = ["--lambdas", "0", "0.1", "--asdcs", "0.1:1", "--asdc-pulls", "0.1:0.5", "--out", str(tmp_path), *SHORT]
    assert sweep.main([*grid, "--methods", "dsa", "--iterations", "3", "--eval-along", "2"]) == 0
    found, left_out = read_recorded([tmp_path])
    assert not left_out
    assert sorted(map(str, (one.correction for one in found))) == [
        "ASDC, pull 0.1 to 0.5", "ASDC, λ 0.1 to 1", "SDC, λ = 0.1", "plain"
    ]  # fmt: skip
    assert {folder.name.split("-seed")[0].split("ipc1-")[1] for folder in (tmp_path / "cells").iterdir()} == {
        "lambda0", "lambda0.1", "pull0.1-0.5"
    }  # fmt: skip
    for one in found:  # judged before the first update, after the second and at the end, which is the result
        points = [row for row in one.run.metrics() if "test_accuracies" in row]
        assert [row["step"] for row in points] == [0, 2, 3]
        assert one.accuracies is not None
        assert points[-1]["test_accuracies"] == one.accuracies.tolist()


@pytest.mark.parametrize("text", ["0.1", "0.1:x", "0.1:0.2:0.3", ""])
def test_what_is_no_schedule_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep.main(["--asdcs", text, "--out", str(tmp_path / "r"), *SHORT]) == 2
    assert "--asdcs takes START:END" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--sdc-pull", "0.1", "--sdc", "0.1"], "--sdc and --sdc-pull are two schedules"),
        (["--sdc-pull", "nan"], "--sdc-pull is a finite number, not nan"),
        (["--asdc-pull", "0.4", "0.1"], "--asdc-pull lets the pull grow"),
        (["--asdc-pull", "-0.1", "0.4"], "--asdc-pull runs between two numbers of one sign"),
        (["--asdc", "nan", "1"], "--asdc is two finite numbers, not nan 1"),
        (["--asdc-pull", "inf", "1"], "--asdc-pull is two finite numbers"),
        (["--sdc-pull", "0.1", "--method", "random"], "need one of dc, dsa"),
    ],
)
def test_what_is_no_pull_is_refused_in_one_sentence(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([*flags, *SHORT, "--out", str(tmp_path / "r")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_method_without_a_correction_of_its_own_is_refused(digits: Dataset, tmp_path: Path) -> None:
    method, start = matching(digits, tmp_path, sdc_pull=0.1)
    del method.correction
    with pytest.raises(ValueError, match="give --sdc instead"):
        pull.hold_pull(method, start, generator(0, "pull"), tmp_path, {})
