"""The four methods through the command, at toy size; a run that is cut off and resumed ends in the same bits."""

import functools
import json

import pytest
import torch

from empirical import run, synthetic
from empirical.distillation import loop as distillation
from empirical.evaluate import Options, results
from empirical.experiment import experiment
from empirical.experiment import trajectory_matching as make
from shared.records.records import read

SMALL = [
    *("--no-compare", "--quiet", "--width", "4", "--depth", "2", "--iterations", "6"),
    *("--eval-it", "3", "--syn-steps", "3", "--expert-count", "2", "--expert-training-epochs", "3"),
    *("--eval-epochs", "1", "--eval-networks", "1", "--probe-every", "0", "--device", "cpu"),
    *("--max-start-epoch", "2", "--expansion-end-epoch", "3", "--batch-syn", "6"),
]


def arguments(method, folder, *more):
    experts = folder.parent / ("sgd" if method in ("mtt", "tesla") else "flat")
    return ["--method", method, *SMALL, "--out", str(folder), "--experts", str(experts), *more]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("method", ["mtt", "ftd", "tesla", "datm"])
def test_runs_and_resumes_bit_for_bit(place, method, monkeypatch, capsys):
    more = ["--sdc", "0.01", *(["--current-max-start-epoch", "1"] if method == "datm" else [])]
    whole, cut = place / method, place / f"{method}-cut"
    assert run.main(arguments(method, whole, *more)) == 0
    summary = json.loads((whole / "summary.json").read_text())
    assert len(summary["evaluations"]) == 3 and summary["steps"]["last"] == 6
    assert (summary["skipped_share"] is not None) == (method == "datm")
    original = make.TrajectoryMatching.step

    def killed(self, made, generator, step):
        if step == 4:
            raise MemoryError
        return original(self, made, generator, step)

    often = functools.partial(distillation.Schedule, checkpoint_seconds=-1.0)
    monkeypatch.setattr(experiment, "Schedule", often)
    monkeypatch.setattr(make.TrajectoryMatching, "step", killed)
    with pytest.raises(MemoryError):
        run.main(arguments(method, cut, *more))
    monkeypatch.setattr(make.TrajectoryMatching, "step", original)
    assert run.main(["--out", str(cut), "--resume"]) == 0
    first, second = synthetic.load(whole), synthetic.load(cut)
    assert torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)
    assert torch.equal(first.learning_rate, second.learning_rate)
    assert first.label_kind == ("logits" if method == "datm" else "hard")
    one, two = (
        [row["matching_loss"] for row in read(f).metrics() if "matching_loss" in row] for f in (whole, cut)
    )
    assert one == two and len(one) == 6


def test_bad_input(place, capsys):
    for wrong, said in (
        (["--threshold", "-1"], "threshold"),
        (["--max-start-epoch", "9"], "need experts of"),
        (["--initialisation", "selected"], "datm"),
        (["--norm", "batch", "--compiled-student"], "wrong for batch norm"),
        (["--lr-lr", "1e6"], "learning rate fell to 0 or below"),
    ):
        folder = place / f"bad{wrong[0]}"
        expected = 4 if "lr-lr" in wrong[0] else 2
        assert run.main([*arguments("mtt", folder), *wrong]) == expected
        assert said in capsys.readouterr().err
    # other experts are refused, naming both values
    assert run.main([*arguments("mtt", place / "other"), "--expert-rate", "0.02"]) == 2
    assert "rate = 0.01, this run has 0.02" in capsys.readouterr().err
    absent = ["--experts", str(place / "none"), "--make-experts", "False"]
    assert run.main([*arguments("tesla", place / "no"), *absent]) == 2
    assert "python -m empirical.experts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "more", "kind"),
    [
        ("tesla", ["--teacher-label"], "probabilities"),
        ("mtt", ["--zca", "True"], "hard"),
        ("datm", ["--initialisation", "real", "--current-max-start-epoch", "1"], "logits"),
    ],
)
def test_the_artefact_alone_evaluates_to_the_last_number(place, method, more, kind):
    folder = place / f"alone-{method}"
    assert run.main([*arguments(method, folder), "--experts", str(place / f"alone-{method}-experts"), *more]) == 0
    last = json.loads((folder / "summary.json").read_text())["evaluations"][f"{method}, last"]
    again = results(Options(folder), quiet=True)["convnet"]
    assert list(again.accuracies) == last["accuracies"]
    stored = synthetic.load(folder)
    assert stored.label_kind == kind
    assert stored.recipe["preprocessing"]["kind"] == ("zca" if method == "mtt" else "normalisation")
    if method == "tesla":  # what the target snapshot says: no longer the one-hot labels of the start
        assert torch.allclose(stored.labels.sum(1), torch.ones(10)) and float(stored.labels.max()) < 1
