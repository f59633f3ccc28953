"""``python -m figures difficulty``: planted scores give planted correlation and shares; a small ensemble on digits."""

import csv

import numpy as np
import pytest
from scipy import stats

from empirical.data.datasets import load
from empirical.evaluation.difficulty_ensemble import QUANTITIES, SHARES, Ensemble, Scores, score
from figures.__main__ import main
from figures.difficulty.difficulty import bins, correlations
from figures.difficulty.leaning import leanings, within_classes
from figures.difficulty.pairs import class_correlation, classes_figure, pairs_figure

NETWORKS, CLASSES, EACH = 8, 2, 40


def planted(share):
    """Every network scores every sample; sample i of a class has difficulty i; `share` of (rank in [0, 1)) a class."""
    rank = np.tile(np.arange(EACH) / EACH, CLASSES)
    noise = np.random.default_rng(1).normal(0, 1e-3, (NETWORKS, CLASSES * EACH))
    values = {name: np.zeros((NETWORKS, CLASSES * EACH), np.float32) for name in QUANTITIES}
    values["gradn"] = (1.0 + rank + noise).astype(np.float32)
    values["misclassified"] = (rank > (np.arange(NETWORKS)[:, None] + 0.5) / NETWORKS).astype(np.float32)
    for name in SHARES:
        values[name] = np.tile((share(rank) * CLASSES / share(rank).sum()).astype(np.float32), (NETWORKS, 1))
    return Scores(values, np.repeat(np.arange(CLASSES), EACH), np.arange(CLASSES * EACH), NETWORKS)


def test_planted_correlation_is_found():
    same, disjoint = correlations(planted(lambda r: 1.0 + 0 * r), 100, 0)
    # The rate has 9 values on all networks and 5 on a half: ties keep rho under 1.
    assert same.value > 0.99 and disjoint.value > 0.94 and same.low < 0.993 < same.high
    scores = planted(lambda r: 1.0 + 0 * r)
    scores.values["misclassified"] = np.random.default_rng(0).permuted(scores.values["misclassified"], axis=1)
    assert all(c.low < 0.0 < c.high for c in correlations(scores, 200, 0))


def test_shares_by_decile():
    for part in leanings(planted(lambda r: 1.0 + 0 * r)):
        assert part.mean == pytest.approx(np.full(10, 0.1)) and part.se == pytest.approx(np.zeros(10), abs=1e-7)
    for part in leanings(planted(lambda r: (r >= 0.9).astype(float))):
        assert part.mean == pytest.approx([0.0] * 9 + [1.0])
        assert [row["decile"] for row in part.rows()] == list(range(1, 11))


def test_a_network_is_ranked_by_the_others():
    """Noise that only one network sees, in its norms and its shares alike, makes no pattern."""
    rng = np.random.default_rng(0)
    scores = planted(lambda r: 1.0 + 0 * r)
    noise = rng.exponential(size=scores.values["gradn"].shape).astype(np.float32)
    scores.values["gradn"] = noise
    scores.values["share_trained_vector"] = noise / noise.sum(1, keepdims=True) * CLASSES
    part = next(p for p in leanings(scores) if (p.stage, p.direction) == ("trained", "vector"))
    assert abs(part.mean[-1] - 0.1) < 4 * part.se[-1]
    assert np.sort(noise.ravel())[-noise.size // 10 :].sum() / noise.sum() > 0.3  # ranked by itself it would


def test_parts_and_bins():
    assert within_classes(np.array([3.0, 1.0, 2.0, 9.0, 8.0]), np.array([0, 0, 0, 1, 1]), 2).tolist() == [1, 0, 0, 1, 0]
    with pytest.raises(ValueError, match="class 1 has 2 scored samples"):
        within_classes(np.zeros(5), np.array([0, 0, 0, 1, 1]), 3)
    found = bins(np.array([0.0, 0.0, 0.5, 1.0]), np.array([1.0, 3.0, 5.0, 7.0]))
    assert [(b["rate"], b["gradn"], b["n"]) for b in found] == [(0.0, 2.0, 2), (0.5, 5.0, 1), (1.0, 7.0, 1)]
    rate = np.linspace(0, 1, 101)
    assert len(bins(rate, rate, most=10)) == 11 and np.isnan(found[1]["half"])


SMALL = ["--networks", "4", "--width", "4", "--epochs", "1", "--samples", "20", "--resamples", "100"]


def test_digits_end_to_end_and_again_from_the_record(tmp_path, capsys):
    arguments = ["difficulty", *SMALL, "--out", str(tmp_path)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "Spearman, same networks: 0." in said and "hardest decile carries" in said
    (record,) = (tmp_path / "scores").glob("scores-*.npz")
    before = record.stat().st_mtime_ns, (tmp_path / "leaning-digits.csv").read_bytes()
    with (tmp_path / "difficulty-digits.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 200 and {r["misclassified"] for r in table} <= {"0.0", "0.5", "1.0"}
    assert main(arguments) == 0
    assert capsys.readouterr().out == said
    assert (record.stat().st_mtime_ns, (tmp_path / "leaning-digits.csv").read_bytes()) == before
    record.write_bytes(b"cut")
    assert main(arguments) == 2
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--networks", "2"], "--networks is 2"),
        (["--networks", "5"], "an even number"),
        (["--scoring", "tset"], "must be one of crossed, test, train"),
        (["--network", "convnt"], "'convnet'"),
        (["--norm", "bach"], "bach"),
        (["--epochs", "0"], "must be positive"),
        (["--samples", "5"], "deciles need at least 10"),
        (["--dataset", "digts"], "digits"),
        (["--resamples", "3"], "--resamples is 3"),
        (["--device", "tpu"], "unknown device"),
    ],
)
def test_bad_input_gets_one_sentence_and_status_two(arguments, words, tmp_path, capsys):
    assert main(["difficulty", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_each_two_measures_and_each_class_are_drawn_with_their_correlations(tmp_path):
    scores = planted(lambda r: 1.0 + 0 * r)
    files = pairs_figure(scores, "digits: training samples", tmp_path, "d", 100, 0)
    rows = list(csv.DictReader(next(f for f in files if f.suffix == ".csv").read_text().splitlines()))
    assert len(rows) == CLASSES * EACH and {"gradn", "misclassified", "loss"} <= set(rows[0])
    files = classes_figure(scores, "digits", tmp_path, "d", 100, 0, {0: "zero"})
    table = list(csv.DictReader(next(f for f in files if f.suffix == ".csv").read_text().splitlines()))
    assert len(table) == CLASSES
    for row in table:
        here = scores.labels == int(row["label"])
        expected = stats.spearmanr(scores.mean("gradn")[here], scores.mean("misclassified")[here]).statistic
        assert float(row["spearman"]) == pytest.approx(expected)


def test_a_class_that_no_network_mistakes_has_no_correlation():
    assert np.isnan(class_correlation(np.arange(5.0), np.zeros(5), 100, 0).value)


def test_the_experts_way_is_drawn_whole_and_from_the_command(tmp_path, capsys):
    assert main(["difficulty", "--quick", "--network", "mlp", "--resamples", "100", "--out", str(tmp_path)]) == 0
    rows = list(csv.DictReader((tmp_path / "experts-digits.csv").read_text().splitlines()))
    for first in ("0", "1"):
        assert sum(float(r["share"]) for r in rows if r["first_epoch"] == first) == pytest.approx(1.0, abs=1e-4)
    assert "of the experts' way" in capsys.readouterr().out
    assert (tmp_path / "classes-digits.png").exists() and (tmp_path / "pairs-digits.png").exists()


def test_some_classes_of_many_are_scored(tmp_path):
    data = load("digits")
    ensemble = Ensemble("digits", "test", 2, "mlp", (), 1, samples=5, classes=3)
    assert len(np.unique(score(ensemble, data, tmp_path).labels)) == 3
