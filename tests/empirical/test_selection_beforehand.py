"""Selection by difficulty is refused before a network is trained, and a judge that diverged says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from empirical import run
from empirical.data.datasets import Dataset, load
from empirical.runtime.seeds import generator
from empirical.selection import scores as scoring_module
from empirical.selection.scores import Scoring, score
from empirical.selection.selected import Selected

SMALL = [
    *("--preset", "laptop", "--width", "4", "--depth", "2", "--train-images", "300", "--no-compare", "--quiet"),
    *("--device", "cpu", "--score-epochs", "1", "--eval-networks", "1", "--eval-epochs", "1"),
]
REFUSED = {
    "pool": (["--keep", "0.01", "--ipc", "5"], "need 500 scored ones to choose from, but class 0 has 30"),
    "pool over all": (["--keep", "0.01", "--ipc", "5", "--over-all"], "need 5000 scored ones"),
    "half a class": (["--scored", "held-out", "--ipc", "16"], "need 16 scored ones to choose from"),
    "network": (["--score-network", "convent"], "unknown network 'convent'; the nearest is 'convnet'"),
}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", train_images=200)


@pytest.mark.parametrize("case", REFUSED)
def test_nothing_is_trained_or_written_for_what_cannot_be_chosen(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flags, said = REFUSED[case]
    assert run.main(["--method", "hardest", *flags, *SMALL, "--out", "r"]) == 2
    assert said in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_what_is_not_refused_can_be_chosen(digits: Dataset, tmp_path: Path) -> None:
    judge = Scoring("held-out", 1, "mlp", epochs=1)
    for ipc in range(8, 13):
        selected = Selected("hardest", "loss", judge, folder=tmp_path, quiet=True)
        try:
            selected.refuse(digits, ipc)
        except ValueError:
            with pytest.raises(ValueError, match="scored ones to choose from"):
                selected(digits, ipc, generator(0))
        else:
            assert len(selected(digits, ipc, generator(0))) == 10 * ipc


def test_a_judge_that_diverged_gives_no_scores(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = scoring_module.training.halved
    monkeypatch.setattr(
        scoring_module.training, "halved", lambda *args, **named: replace(usual(*args, **named), learning_rate=1e20)
    )
    with pytest.raises(ValueError, match=r"network 0 .* no finite \w+ after 2 epochs: its training diverged"):
        score(Scoring("in-sample", 1, "mlp", epochs=2), digits, tmp_path)
    assert not list(tmp_path.glob("*.npz"))
