"""Images chosen by difficulty: the choice against counting by hand, the scores against the measures themselves."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import empirical
from empirical import run
from empirical.data.datasets import Dataset, load
from empirical.runtime.seeds import generator
from empirical.selection import scores as scoring_module
from empirical.selection.choice import choose, choose_over_all
from empirical.selection.scores import MEASURES, Scoring, halves, score
from empirical.sweep import __main__ as sweep
from shared.measures.difficulty import gradn, misclassification_rate
from shared.records.recorded import read_recorded

FAST = Scoring(count=2, network="mlp", epochs=1)
SHORT = [
    *("--preset", "laptop", "--network", "mlp", "--eval-networks", "1", "--eval-epochs", "1", "--quiet"),
    *("--score-networks", "2", "--score-epochs", "1", "--device", "cpu", "--no-compare"),
]
FOUR = torch.arange(40).split(10)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def drawn() -> torch.Generator:
    return generator(0, "test")


@pytest.mark.parametrize(
    ("order", "start", "expected"),
    [("easiest", None, [0, 1, 2]), ("hardest", None, [7, 8, 9]), ("window", None, [3, 4, 5]),
     ("window", 0.0, [0, 1, 2]), ("window", 0.5, [5, 6, 7]), ("window", 1.0, [7, 8, 9])],
)  # fmt: skip
def test_the_whole_class_is_ranked_where_no_fraction_is_given(
    order: str, start: float | None, expected: list[int]
) -> None:
    difficulty = torch.arange(40.0)
    for k, own in enumerate(choose(FOUR, difficulty, 3, order, drawn(), start=start)):
        assert own.tolist() == [10 * k + place for place in expected]


def test_a_fraction_ranks_a_random_pool_that_is_so_much_larger() -> None:
    """Of 2 kept at f = 0.4 the pool has 5: the hardest of random fives are hard, but not always the two hardest."""
    difficulty = torch.arange(40.0)
    found = {tuple(choose(FOUR, difficulty, 2, "hardest", generator(s, "pool"), 0.4)[0].tolist()) for s in range(60)}
    assert len(found) > 10
    assert np.mean([sum(pair) / 2 for pair in found]) > 6
    # The maximum of a random five of 0..9 is m with probability C(m, 4) / C(10, 5).
    top = [max(choose(FOUR, difficulty, 2, "hardest", generator(s, "pool"), 0.4)[0].tolist()) for s in range(400)]
    expected = sum(m * math.comb(m, 4) for m in range(4, 10)) / math.comb(10, 5)
    assert np.mean(top) == pytest.approx(expected, abs=0.2)


def test_all_of_the_pool_is_a_random_subset_whatever_the_order() -> None:
    same = [choose(FOUR, torch.arange(40.0), 4, order, drawn(), 1.0) for order in ("easiest", "hardest", "window")]
    assert all(torch.equal(a.sort().values, b.sort().values) for a, b in zip(same[0], same[1], strict=True))


def test_equal_images_are_drawn_by_the_seed() -> None:
    flat = torch.zeros(40)
    picks = [choose(FOUR, flat, 1, "easiest", generator(s, "ties"))[0].item() for s in range(40)]
    assert len(set(picks)) > 5
    assert picks == [choose(FOUR, flat, 1, "easiest", generator(s, "ties"))[0].item() for s in range(40)]


def test_images_that_nothing_scored_are_in_no_pool() -> None:
    difficulty = torch.arange(40.0)
    difficulty[:8] = torch.nan
    assert choose(FOUR, difficulty, 2, "easiest", drawn())[0].tolist() == [8, 9]
    with pytest.raises(ValueError, match=r"3 images a class need 3 scored ones .* class zero has 2"):
        choose(FOUR, difficulty, 3, "easiest", drawn(), names=["zero", "one", "two", "three"])


def test_over_all_classes_they_fall_as_they_fall() -> None:
    kept = choose_over_all(FOUR, torch.arange(40.0), 3, "hardest", drawn())
    assert [len(own) for own in kept] == [0, 0, 2, 10]
    assert torch.cat(kept).sort().values.tolist() == list(range(28, 40))


@pytest.mark.parametrize(
    ("count", "order", "fraction", "start", "said"),
    [(0, "easiest", None, None, "at least 1"), (1, "middle", None, None, "easiest, hardest, window"),
     (1, "easiest", 0.0, None, "fraction in"), (1, "window", None, 1.5, "share in"),
     (2, "hardest", 0.1, None, "at --keep 0.1 need 20 scored ones")],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(
    count: int, order: str, fraction: float | None, start: float | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        choose(FOUR, torch.arange(40.0), count, order, drawn(), fraction, start)


def test_crossed_scores_are_those_of_the_networks_that_did_not_learn_the_image(digits: Dataset, tmp_path: Path) -> None:
    found = score(FAST, digits, tmp_path)
    first, second = (half.numpy() for half in halves(FAST, digits))
    for name in MEASURES:
        scored = np.isfinite(found.values[name])
        assert scored[0, second].all() and not scored[0, first].any()
        assert scored[1, first].all() and not scored[1, second].any()
        assert torch.isfinite(found.difficulty(name)).all()
    assert 0.0 < found.error[0] < 0.9


def test_scores_are_the_measures_of_the_trained_network(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[torch.nn.Module] = []
    plain = scoring_module._measured
    monkeypatch.setattr(scoring_module, "_measured", lambda m, d, s: (models.append(m), plain(m, d, s))[1])
    found = score(Scoring("in-sample", 1, "mlp", epochs=1), digits, tmp_path)
    some = torch.arange(0, len(digits.train), 97)
    images, labels = digits.normalise(digits.train.images[some]), digits.train.labels[some]
    assert found.values["gradn"][0, some.numpy()] == pytest.approx(gradn(models, images, labels).numpy(), rel=1e-5)
    wrong = misclassification_rate(models, images, labels).numpy()
    assert found.values["misclassification"][0, some.numpy()] == pytest.approx(wrong)
    assert torch.equal(found.difficulty("margin"), -torch.from_numpy(found.values["margin"][0].astype(float)))


def test_a_killed_scoring_goes_on_to_the_same_scores_and_is_shared(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring_module, "ROUND", 2)
    four = Scoring(count=4, network="mlp", epochs=1)
    whole = score(four, digits, tmp_path / "whole")

    def killed(done: float, total: float) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(four, digits, tmp_path / "killed", killed)
    again = score(four, digits, tmp_path / "killed")
    assert all(np.array_equal(whole.values[n], again.values[n], equal_nan=True) for n in MEASURES)
    monkeypatch.setattr(scoring_module, "_round", None)  # nothing is left to do
    assert score(four, digits, tmp_path / "killed").done == 4


def test_damaged_scores_are_refused(digits: Dataset, tmp_path: Path) -> None:
    score(FAST, digits, tmp_path)
    (file,) = tmp_path.glob("*.npz")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="remove it to measure anew"):
        score(FAST, digits, tmp_path)


@pytest.mark.parametrize("more", [["--keep", "0.2", "--by", "margin"], ["--over-all"], ["--scored", "held-out"],
                                  ["--scored", "in-sample", "--by", "misclassification"]])  # fmt: skip
def test_a_method_by_difficulty_is_run_and_judged(more: list[str], tmp_path: Path) -> None:
    flags = ["--method", "hardest", "--ipc", "2", *SHORT, *more, "--scores", str(tmp_path / "scores")]
    assert run.main([*flags, "--out", str(tmp_path / "r")]) == 0
    assert len(empirical.load(tmp_path / "r")) == 20
    assert run.main([*flags, "--out", str(tmp_path / "r"), "--resume"]) == 0


def test_easy_and_hard_are_different_cells_of_a_sweep_that_share_their_scores(tmp_path: Path) -> None:
    grid = ["--methods", "easiest", "hardest", "window", "random", "--ipcs", "1", "--scores", str(tmp_path / "scores")]
    assert sweep.main([*grid, *(f for f in SHORT if f != "--no-compare"), "--out", str(tmp_path / "s")]) == 0
    found, left_out = read_recorded([tmp_path / "s"])
    assert not left_out
    assert {one.cell[1] for one in found} == {"easiest", "hardest", "window", "random"}
    assert len(list((tmp_path / "scores").glob("*.npz"))) == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--method", "easiest", "--keep", "2"], "--keep"), (["--method", "easiest", "--by", "size"], "by"),
     (["--method", "hardest", "--score-networks", "3"], "an even number"),
     (["--method", "hardest", "--ipc", "100", "--keep", "0.1"], "at --keep 0.1 need 1000 scored ones")],
)  # fmt: skip
def test_bad_input_of_a_selection_is_one_sentence(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = SHORT if "--score-networks" not in flags else [f for f in SHORT if f not in ("--score-networks", "2")]
    assert run.main([*flags, *few, "--scores", str(tmp_path / "s"), "--out", str(tmp_path / "r")]) in (2, 4)
    assert said in capsys.readouterr().err
