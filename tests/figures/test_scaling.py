"""``python -m figures scaling``: planted exponents and crossings are found, drawn and said; refusals."""

import csv

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.optimize import brentq

from figures.__main__ import main
from figures.theory.scaling import fit, panel
from shared.comparison.grid import Measurement, write_csv
from shared.measures.scaling import ScalingCurve


def curve(size, error, se=0.002, name="dsa", source="experiment"):
    return ScalingCurve(np.asarray(size, float), np.asarray(error, float), se, name, source, "ipc")


IPC = np.array([1, 2, 5, 10, 20, 50])


def test_planted_power_laws_are_drawn_and_said():
    said, (_, axes) = [], plt.subplots()
    one, two = curve(IPC, 0.5 * IPC**-0.5 + 0.05), curve(IPC, 0.3 * IPC**-0.2, name="random")
    rows = panel(axes, "digits", [one, two], 0, said)
    assert axes.get_xlabel() == "images per class" and axes.get_ylabel() == "test error"
    points = [c for c in axes.containers if c.get_label().startswith(("dsa", "random"))]
    assert [c.get_label().split(",")[0] for c in points] == ["dsa", "random"]
    for container, planted in zip(points, (one, two), strict=True):
        line, _, (bars,) = container.lines
        assert line.get_xdata().tolist() == IPC.tolist() and line.get_ydata() == pytest.approx(planted.error)
        assert np.ptp(np.array(bars.get_segments())[..., 1], axis=1) == pytest.approx(np.full(6, 0.004))
    assert "b = 0.50 [" in points[0].get_label() and "floor 0.050 [" in said[0]
    assert [r["fitted"] for r in rows[:6]] == pytest.approx(one.error, abs=1e-6)
    where = next(line for line in said if "is better below" in line)
    assert where.startswith("digits, experiment: random is better below, dsa above ")
    crossing = brentq(lambda n: 0.5 * n**-0.5 + 0.05 - 0.3 * n**-0.2, 10, 30)
    assert float(where.split("above ")[1].split(" [")[0]) == pytest.approx(crossing, rel=0.03)
    plt.close("all")


def test_too_few_points_are_drawn_without_a_fit():
    said, (_, axes) = [], plt.subplots()
    rows = panel(axes, "digits", [curve([1, 2], [0.4, 0.2]), curve([5], [0.1], name="random")], 0, said)
    assert said == [] and all(np.isnan(r["fitted"]) for r in rows) and len(rows) == 3
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["dsa", "random"]
    assert fit(curve([1, 2, 4], [0.4, 0.2, 0.1])).floor.high == 0.0  # three points leave no room for a floor
    plt.close("all")


def test_a_floor_at_its_bound_gets_bootstrap_intervals():
    found = fit(curve(IPC, 0.5 / IPC + np.array([1, -1, -1, -1, -1, -1]) * 1e-3))
    assert found.floor.value == 0.0 == found.floor.low and found.b.low <= found.b.value <= found.b.high


def test_theory_and_a_grid_beside_each_other(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = [
        Measurement(m, "digits", 10, i, 0.0, s, "n/0", {"accuracy": 1 - e / i**b + rng.normal(0, 0.002)})
        for m, e, b in (("dsa", 0.4, 0.5), ("random", 0.8, 0.9)) for i in (1, 2, 5, 10, 20) for s in range(3)
    ]  # fmt: skip
    source = write_csv(tmp_path / "grid.csv", rows)
    arguments = ["scaling", str(source), "--dimension", "20", "--trials", "4", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "perfect probe, theory: easy is better below, hard above 2.17" in said
    assert "digits, experiment: dsa, lambda = 0 is better below, random above 5." in said or "above 6." in said
    assert {p.name for p in (tmp_path / "out").iterdir()} == {f"scaling.{s}" for s in ("pdf", "png", "csv")}
    with (tmp_path / "out" / "scaling.csv").open() as file:
        sources = {r["source"] for r in csv.DictReader(file)}
    assert sources == {"theory", "simulation", "experiment"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fraction", "1.5"], "--fraction is 1.5"),
        (["--dimension", "21"], "--dimension is 21"),
        (["--trials", "1"], "--trials 1"),
        (["nowhere"], "nowhere does not exist"),
        (["one.csv"], "no number of images per class has two seeds"),
    ],
)
def test_refusals(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_csv("one.csv", [Measurement("dsa", "digits", 10, 1, 0.0, 0, "n", {"accuracy": 0.5})])
    assert main(["scaling", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1 and not (tmp_path / "output").exists()
