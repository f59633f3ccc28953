"""Slopes in lambda: pairs, sign changes and their intervals, resuming; the pull of the correction on learnt points."""

import json
import math

import numpy as np
import pytest

from theory.__main__ import main
from theory.distillation import mechanism, slopes
from theory.distillation.learning import Distillation, distil
from theory.distillation.matching import class_gradient


def small(monkeypatch):
    monkeypatch.setattr(slopes, "KINDS", (("cosine", 1.0, (0.5,)), ("squared", 1.0, (1.0,))))
    monkeypatch.setattr(slopes, "AT_LARGE", ())
    monkeypatch.setattr(slopes, "POPULATION", 40)
    few = Distillation(steps=5, probes=2, dimension=40, real=4.0)
    # The same settings, few steps in few dimensions.
    plain = slopes.Distillation
    shared = {"steps": few.steps, "probes": few.probes, "real": few.real}
    monkeypatch.setattr(slopes, "Distillation", lambda *a, **k: plain(*a, **(shared | k)))


def test_slopes_are_remade_resumed_and_the_same(tmp_path, capsys, monkeypatch):
    small(monkeypatch)
    arguments = ["synthesis", "slopes", "--seeds", "2", "--populations", "2", "--out", str(tmp_path)]
    assert main(arguments) == 0
    first = {name: (tmp_path / name).read_bytes() for name in ("slopes.csv", "sign_changes.csv")}
    header, *lines = first["slopes.csv"].decode().splitlines()
    assert header.startswith("distance,probe_alpha,alpha,sets,measured,measured_se,theory_a") and len(lines) == 2
    monkeypatch.setattr(slopes, "predict", lambda *_: pytest.fail("predicted again"))
    assert main(arguments) == 0
    assert first == {name: (tmp_path / name).read_bytes() for name in first}
    # A record that is cut in the middle of a line is refused, not guessed at.
    record = tmp_path / "predicted.jsonl"
    record.write_bytes(record.read_bytes()[:-30])
    capsys.readouterr()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "predicted.jsonl, line 8, is no record of this program" in error


def test_a_slope_is_a_central_difference_of_pairs():
    rows = [
        {"alpha": a, "coefficient": c, "seed": s, "test_error": 0.2 + 0.5 * a * c + 0.01 * s}
        for a in (1.0, 2.0) for c in (-0.03, 0.03) for s in range(3)
    ]  # fmt: skip
    found = slopes.paired(rows[:-1], "test_error", (1.0, 2.0))
    assert found[:, :2] == pytest.approx(np.array([[0.5, 0.5], [1.0, 1.0]])) and math.isnan(found[1, 2])
    assert slopes.mean_and_error(found[1]) == pytest.approx((1.0, 0.0, 2))


def test_sign_changes_are_interpolated_and_bracketed():
    alphas = np.array([0.25, 0.5, 1.0, 2.0])
    assert slopes.zero(alphas, np.array([0.1, -1.0, 1.0, 2.0])) == pytest.approx(math.sqrt(0.5))
    assert slopes.zero(alphas, np.array([-1.0, math.nan, 1.0, 2.0])) == pytest.approx(0.5)
    assert math.isnan(slopes.zero(alphas, np.array([-1.0, 1.0, 1.0, -1.0])))
    assert math.isnan(slopes.zero(alphas, np.array([1.0, 1.0, 1.0, 1.0])))
    rng = np.random.default_rng(0)
    # Slopes log2(alpha / 0.7) with noise: the interval holds 0.7, and shrinks with seeds as their mean does.
    noisy = [np.log2(alphas / 0.7)[:, None] + 0.3 * rng.standard_normal((4, n)) for n in (8, 128)]
    few, many = (slopes.sign_change(alphas, s) for s in noisy)
    assert few.low < 0.7 < few.high and many.low < 0.7 < many.high and few.share == many.share == 1.0
    assert 2.0 < (few.high - few.low) / (many.high - many.low) < 8.0
    assert slopes.sign_change(alphas, np.ones((4, 3))).share == 0.0


def test_the_theory_of_selection_turns_at_an_exact_number():
    assert slopes.tilted() == pytest.approx(1.86454737, abs=1e-6)


def test_the_pull_is_the_derivative_of_the_gradient_norm():
    """Against finite differences of sum over probes of |g|, times the points of a class."""
    made = distil(Distillation(0.5, steps=2, probes=3, dimension=30, real=4.0))
    moved = mechanism.kick(made, 1e-3) - made.points

    def norms(points):
        total = 0.0
        for w in made.ensemble:
            for label in (1.0, -1.0):
                total += np.linalg.norm(class_gradient(points[made.labels == label], label, w)[0])
        return total / len(made.ensemble)

    for i, a in ((0, 3), (5, 17), (14, 29)):
        up, down = made.points.copy(), made.points.copy()
        up[i, a] += 1e-5
        down[i, a] -= 1e-5
        slope = (norms(up) - norms(down)) / 2e-5 * np.sum(made.labels == made.labels[i])
        assert moved[i, a] == pytest.approx(-1e-3 * slope, rel=1e-5, abs=1e-9)


def test_margins_are_pulled_in_below_and_pushed_out_above_the_turn():
    turn = mechanism.turning_margin(2.0)
    assert turn == pytest.approx(1.2784645 / 2.0, abs=1e-6)
    assert np.all(mechanism.pull([0.0, 0.5 * turn]) < 0.0) and np.all(mechanism.pull([1.5 * turn, 4.0]) > 0.0)
    U = np.linspace(0.0, 4.0, 9)
    weighted = [(U + e) / (1.0 + np.exp(2.0 * (U + e))) for e in (1e-5, -1e-5)]
    assert mechanism.pull(U) == pytest.approx((weighted[1] - weighted[0]) / 2e-5, abs=1e-9)


def test_kick_prints_and_refuses(tmp_path, capsys):
    path = tmp_path / "kick.csv"
    assert main(["synthesis", "kick", "--alpha", "0.1", "--seeds", "2", "--json", "--csv", str(path)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["sets"] == 2 and row["mean_margin"] > 0.0 and path.read_text().count("\n") == 2
    for arguments, words in (
        (["kick", "--seeds", "1"], "--seeds is 1, must be at least 2"),
        (["kick", "--size", "nan"], "must be finite"),
        (["slopes", "--seeds", "1"], "--seeds is 1, must be at least 2"),
        (["slopes", "--populations", "0"], "--populations is 0"),
    ):
        assert main(["synthesis", *arguments]) == 2
        error = capsys.readouterr().err
        assert words in error and len(error.strip().splitlines()) == 1
