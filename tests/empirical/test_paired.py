"""Coefficients that share work: the results of separate runs, their records, and ends that differ."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from empirical.correction import SampleDifficultyCorrection
from empirical.data.datasets import Dataset, load
from empirical.distillation.loop import CHECKPOINT, Diverged
from empirical.experiment import gradient_matching
from empirical.experiment.experiment import Experiment
from empirical.experiment.make import make, make_together
from empirical.experiment.resolve import resolve
from empirical.gradient_matching import matching_loss as methods
from empirical.gradient_matching.paired import common_network, common_share
from empirical.settings.settings import Settings
from empirical.synthetic.synthetic_set import SyntheticSet
from shared.records.records import read

COEFFICIENTS = (None, 0.05, 2.0)
TINY = Settings(
    iterations=3, batch_real=8, width=8, depth=2, eval_networks=1, eval_epochs=1, probe_every=0, quiet=True,
    download=False, device="cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def experiment(dataset: Dataset, folder: Path, coefficient: float | None, **changes: Any) -> Experiment:
    settings = resolve(replace(TINY, sdc=coefficient, **changes), dataset)
    return Experiment(settings, dataset, folder / str(coefficient), settings.seed)


def both_ways(dataset: Dataset, folder: Path, **changes: Any) -> tuple[list[SyntheticSet], list[Any]]:
    alone = [make(experiment(dataset, folder / "alone", c, **changes)) for c in COEFFICIENTS]
    group = [experiment(dataset, folder / "together", c, **changes) for c in COEFFICIENTS]
    return alone, make_together(group)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "dsa"},
        {"method": "dc", "distance": "mse", "strategy": "loop", "learning_rate": 0.01},
        {"method": "dsa", "ipc": 2, "matching_steps": 2, "network_epochs": 0},
        {"method": "dsa", "ipc": 2, "matching_steps": 2, "network_epochs": 2},
        {"method": "dsac", "iterations": 2, "matching_steps": 3, "network_epochs": 1, "warm_up_steps": 1},
        {"method": "dcc", "matching_steps": 2, "network_epochs": 0, "warm_up_iterations": 1},
        {"method": "dsa", "ipc": 2, "matching_steps": 1, "network_epochs": 0, "sdc_reduction": "per_sample"},
        {"method": "dsac", "ipc": 2, "matching_steps": 1, "network_epochs": 0, "warm_up_iterations": 1,
         "sdc_reduction": "per_sample"},
        {"method": "dc", "ipc": 2, "matching_steps": 1, "network_epochs": 0, "hard_threshold": 8.5},
        {"method": "dc", "norm": "batch"},
    ],
    ids=lambda c: "-".join(map(str, c.values())),
)  # fmt: skip
def test_together_is_alone_up_to_rounding(digits: Dataset, tmp_path: Path, changes: dict[str, Any]) -> None:
    alone, together = both_ways(digits, tmp_path, **changes)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one.images, other.images, rtol=1e-4, atol=2e-5)
    assert not torch.allclose(together[0].images, together[2].images, atol=1e-3)  # lambda does something


def test_records_are_those_of_separate_runs(digits: Dataset, tmp_path: Path) -> None:
    both_ways(digits, tmp_path, probe_every=2)
    for coefficient in COEFFICIENTS:
        alone, together = (read(tmp_path / kind / str(coefficient)) for kind in ("alone", "together"))
        ours, theirs = together.metrics(), alone.metrics()
        assert [set(row) for row in ours] == [set(row) for row in theirs]
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose([a[name] for name in b], list(b.values()), rtol=2e-3, atol=1e-5)
        assert together.settings == alone.settings


def test_a_run_begun_alone_goes_on_together(digits: Dataset, tmp_path: Path) -> None:
    """One lane starts at its checkpoint, the others at 0: the ones behind catch up first."""
    whole = [make(experiment(digits, tmp_path / "whole", c)) for c in COEFFICIENTS]
    (tmp_path / "cut").mkdir()
    begun = experiment(digits, tmp_path / "cut", 0.05)
    _cut(begun, 2)
    group = [experiment(digits, tmp_path / "cut", c, resume=True) for c in COEFFICIENTS]
    for one, other in zip(whole, make_together(group), strict=True):
        assert isinstance(other, SyntheticSet)
        torch.testing.assert_close(one.images, other.images, rtol=1e-4, atol=2e-5)
    steps, _ = read(tmp_path / "cut" / "0.05").series("loss")
    assert steps.tolist() == [0, 1, 2]


def _cut(begun: Experiment, steps: int) -> None:
    """Leaves what a kill leaves after so many steps: the checkpoint of that step and more metrics."""
    from empirical.distillation import loop as distillation

    method = gradient_matching._matching(begun)
    task = gradient_matching._distillation(begun, method, begun.probes())
    task = replace(task, schedule=distillation.Schedule(checkpoint_seconds=0))
    with distillation.Interruption() as interruption:
        running = distillation.lane(task, interruption)
        request = next(running)
        for _ in range(steps):
            request = running.send(method.step(*request))
        running.close()
    assert (begun.folder / CHECKPOINT).exists()


def test_one_that_diverges_leaves_the_others_alone(digits: Dataset, tmp_path: Path) -> None:
    coefficients = (None, 1e38, 0.05)
    group = [experiment(digits, tmp_path / "together", c, learning_rate=1.0) for c in coefficients]
    outcomes = make_together(group)
    assert isinstance(outcomes[1], Diverged)
    assert "finite" in str(outcomes[1])
    for i in (0, 2):
        alone = make(experiment(digits, tmp_path / "alone", coefficients[i], learning_rate=1.0))
        outcome = outcomes[i]
        assert isinstance(outcome, SyntheticSet)
        torch.testing.assert_close(alone.images, outcome.images, rtol=1e-3, atol=1e-4)


def test_real_gradients_are_computed_once(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"real": 0}
    plain = methods.class_gradients

    def counted(network: Any, images: Any, labels: Any, graph: bool, *rest: Any) -> Any:
        calls["real"] += not graph
        return plain(network, images, labels, graph, *rest)

    monkeypatch.setattr(methods, "class_gradients", counted)
    make_together([experiment(digits, tmp_path / "a", c) for c in COEFFICIENTS])
    assert calls["real"] == TINY.iterations
    calls["real"] = 0
    changes: dict[str, Any] = {"ipc": 2, "matching_steps": 2, "network_epochs": 1}
    make_together([experiment(digits, tmp_path / "b", c, **changes) for c in COEFFICIENTS])
    assert calls["real"] == TINY.iterations * (1 + len(COEFFICIENTS))  # the trained networks are three


def test_what_is_common(digits: Dataset, tmp_path: Path) -> None:
    for ipc, share in ((1, 1.0), (10, 0.1), (50, 0.02)):
        loops = experiment(digits, tmp_path, None, ipc=ipc).settings.loops
        assert common_share(loops) == pytest.approx(share)
        steps = range(2 * loops.matching_steps)
        assert sum(common_network(loops, step) for step in steps) == pytest.approx(share * len(steps))


def test_runs_that_differ_in_more_are_refused(digits: Dataset, tmp_path: Path) -> None:
    group = [experiment(digits, tmp_path, None), experiment(digits, tmp_path, 0.1, batch_real=4)]
    with pytest.raises(ValueError, match="batch_real"):
        make_together(group)
    with pytest.raises(ValueError, match="shares no work"):
        make_together([experiment(digits, tmp_path, None, method="random")])


def test_negative_coefficients_go_together_too(digits: Dataset, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="negative"):
        assert SampleDifficultyCorrection(-0.5).coefficient == -0.5
        alone = make(experiment(digits, tmp_path / "alone", -0.5))
        together = make_together([experiment(digits, tmp_path / "t", c) for c in (-0.5, None)])[0]
    assert isinstance(together, SyntheticSet)
    torch.testing.assert_close(alone.images, together.images, rtol=1e-4, atol=2e-5)
