"""Figures: what is written, that simulations are kept and resumed, and refusals."""

import csv

import numpy as np
import pytest

from figures.__main__ import main
from figures.desk import Effort
from figures.theory import simulated
from figures.theory.agreement import agreement
from figures.theory.simulated import Strategy, simulated_curve
from theory import solve

SMALL = ["--quick", "--dimension", "20", "--trials", "3"]


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_simulated_figures_and_their_numbers(tmp_path, capsys):
    assert main(["perfect-probe", "imperfect-probe", "z-scores", *SMALL, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "points within 2 standard errors" in printed and "3 figures" in printed
    for name in ("perfect_probe", "imperfect_probe", "z_scores"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    row = rows(tmp_path / "imperfect_probe.csv")[-1]
    exact = solve(float(row["alpha"]), float(row["fraction"]), row["keep"], np.deg2rad(float(row["theta_deg"])))
    assert float(row["test_error_theory"]) == pytest.approx(exact.test_error, rel=1e-12)
    assert not [p for p in tmp_path.rglob("*") if p.name.endswith(".part")]


def test_solved_figures(tmp_path):
    from figures.theory import fractions as theory_fractions
    from figures.theory import maps as theory_maps

    theory_maps.crossover_map(tmp_path, 3, lambda done, total: None)
    theory_fractions.best_fraction(tmp_path, 4, lambda done, total: None)
    theory_maps.tilt_gain_map(tmp_path, 4, lambda done, total: None)
    for name in ("crossover_map", "best_fraction", "tilt_gain"):
        assert {p.suffix for p in tmp_path.glob(f"{name}.*")} == {".pdf", ".png", ".csv"}
    gains = rows(tmp_path / "tilt_gain.csv")
    assert all(float(r["gain"]) == 0.0 for r in gains if float(r["tau"]) == 0.0)
    # A perfect probe never lets easy fall behind random.
    never = [r for r in rows(tmp_path / "crossover_map.csv") if r["first"] == "easy" and r["theta_deg"] == "0.0"]
    assert never and all(r["alpha_star"] == "nan" for r in never)


def test_simulations_are_kept_and_belong_to_their_settings(tmp_path, monkeypatch):
    strategy, effort = Strategy("hard", 0.2), Effort(dimension=20, trials=3, alphas=4)
    first = simulated_curve(strategy, effort, tmp_path)

    def not_again(*_, **__):
        raise AssertionError("simulated again")

    monkeypatch.setattr(simulated, "simulate", not_again)
    again = simulated_curve(strategy, effort, tmp_path)
    assert all(np.array_equal(first.limit[name], again.limit[name]) for name in first.limit)
    with pytest.raises(AssertionError, match="simulated again"):
        simulated_curve(strategy, Effort(dimension=20, trials=4, alphas=4), tmp_path)


def test_both_sizes_realise_the_same_alpha():
    for dimension in (20, 200):
        effort = Effort(dimension=dimension)
        for size in (dimension // 2, dimension, 2 * dimension):
            assert effort.grid() * size == pytest.approx(np.round(effort.grid() * size), abs=1e-9)


def test_agreement_counts(tmp_path):
    strategy = Strategy("easy", 0.5)
    found = agreement({strategy: simulated_curve(strategy, Effort(dimension=40, trials=40, alphas=3), tmp_path)})
    two, three, total = found.counts("")
    assert total == 3 and two <= three <= total
    assert found.outside <= 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["perfct-probe"], "did you mean 'perfect-probe'"),
        (["theory", "--dimension", "21"], "must be even"),
        (["theory", "--trials", "1"], "at least 2"),
        (["theory", "--out", "/dev/null/x"], "/dev/null is a file; --out needs a folder there"),
    ],
)
def test_refusals(arguments, words, capsys):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert words in err and len(err.strip().splitlines()) == 1
