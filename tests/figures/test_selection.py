"""The measured selection: crossings by hand, tables whose answer is known, the students that the theory is of."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from figures.__main__ import main
from figures.selection.measured import EASIEST, HARDEST, RANDOM, Selection, _crossing, read
from figures.selection.selection import _heights, told
from figures.selection.students import COLUMNS, Problem, _error, _table, _whitened
from theory import solve


@pytest.mark.parametrize(
    ("gain", "expected"),
    [([-1, -1, 1, 1], math.sqrt(10 * 100)), ([-3, -1, 3, 1], 10 * 10**0.25), ([1, 1, 1, 1], 0.0),
     ([-1, -1, -1, -1], math.inf), ([1, -1, 1, 1], math.sqrt(10 * 100))],
)  # fmt: skip
def test_a_crossing_is_where_hard_is_better_for_good(gain: list[float], expected: float) -> None:
    assert _crossing(np.array([1.0, 10.0, 100.0, 1000.0]), np.array(gain, float)) == pytest.approx(expected)


def perceptron(theta: float = 0.3, dimension: int = 60) -> Problem:
    axis, other = np.eye(dimension)[:2]

    def draw(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        inputs = rng.standard_normal((count, dimension))
        return inputs, np.sign(inputs @ axis)

    return Problem("perceptron", draw, None, axis, math.cos(theta) * axis + math.sin(theta) * other)


@pytest.mark.parametrize(("strategy", "keep"), [("easiest", "easy"), ("hardest", "hard"), ("random", "random")])
def test_on_the_perceptron_the_theory_is_met(strategy: str, keep: str) -> None:
    problem, fraction = perceptron(), 1.0 if keep == "random" else 0.4
    found = [_error(problem, 120, strategy, fraction, np.random.default_rng(k)) for k in range(12)]
    errors = np.array([e for e in found if e is not None])
    expected = float(solve(2.0, fraction, keep, 0.3, "signed").test_error)
    assert errors.size == 12
    assert abs(errors.mean() - expected) < 3 * errors.std(ddof=1) / math.sqrt(12) + 1 / 60


def test_the_angle_of_a_probe_is_what_its_error_on_test_samples_says() -> None:
    axis, other = np.eye(2)
    turned = (axis + other) / math.sqrt(2.0)
    inputs = np.random.default_rng(0).standard_normal((20000, 2))
    for labels, expected in (
        (np.sign(inputs @ axis), math.pi / 4),  # a linear teacher: its angle
        (np.sign(inputs @ turned), 0.0),
        (np.sign(inputs @ axis) * np.where(np.arange(20000) % 5, 1.0, -1.0), math.pi * (0.25 * 0.8 + 0.75 * 0.2)),
    ):

        def draw(count: int, rng: np.random.Generator, labels: np.ndarray = labels) -> tuple[np.ndarray, np.ndarray]:
            return inputs[:count], labels[:count]

        told_by_error = _table(Problem("p", draw, (inputs, labels), axis, turned), 1, 0.3, lambda done, total: None)
        angles = {float(row["theta"]) for row in csv.DictReader(told_by_error.splitlines())}
        assert len(angles) == 1 and angles.pop() == pytest.approx(expected, abs=0.03)


def test_whitened_components_have_unit_variance_and_no_correlation() -> None:
    rng = np.random.default_rng(0)
    train = rng.standard_normal((500, 8)) @ rng.standard_normal((8, 8)) + 3.0
    white, _ = _whitened(train, train[:5], 5)
    assert np.cov(white, rowvar=False) == pytest.approx(np.eye(5), abs=1e-9)
    with pytest.raises(ValueError, match="more than the images have"):
        _whitened(train[:, :3], train[:5, :3], 5)


def table(path: Path, effect: float = 0.05, seeds: int = 6) -> Path:
    """Easy better below ten images a class, hard above; random subsets on the theory's curve at N_eff = 30."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        for size in (1, 3, 10, 30, 100):
            base = 0.04 + 2 * 0.86 * float(solve(size * 10 / 30, keep="random").test_error)
            gap = effect * math.log10(size / 10.0)
            for strategy, fraction, error in (
                (RANDOM, 1.0, base), (EASIEST, 0.4, base + gap / 2), (HARDEST, 0.4, base - gap / 2)
            ):  # fmt: skip
                rows.append((strategy, fraction, size, seed, min(0.95, error + rng.normal(0, 0.003))))
        rows.append(("whole", 1.0, 0, seed, 0.04))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS[:-2])
        writer.writerows(
            ("digits", "mlp", "margin", "8 networks", 0.2, s, f"{f:g}", n, n * 10, k, f"{e:.6f}")
            for s, f, n, k, e in rows
        )
    return path


def test_dimension_and_crossing_of_a_table_are_found(tmp_path: Path) -> None:
    found = read(table(tmp_path / "t.csv"))
    assert found.classes == 10 and found.fractions == [0.4]
    assert found.map.valid and found.map.low < 30.0 < found.map.high
    value, low, high = found.crossover(0.4)
    assert low <= 10.0 <= high and value == pytest.approx(10.0, rel=0.3)
    assert found.angle == pytest.approx(found.map.angle(0.2))
    assert "N_eff" in told(found)


def test_the_error_of_random_subsets_at_the_crossing_needs_no_dimension(tmp_path: Path) -> None:
    found = read(table(tmp_path / "t.csv"))
    expected = float(solve(100 / 30, keep="random").test_error)  # the curve that the table was made of, at ten a class
    assert found.random_error(10.0) == pytest.approx(expected, rel=0.05)
    assert math.isnan(found.random_error(0.5)) and math.isnan(found.random_error(math.inf))
    value, low, high = found.predicted_crossover(0.4)
    assert low < value < high
    at = float(solve(float(found.alpha(value)), keep="random").test_error)
    assert found.predicted_random_error(0.4) == pytest.approx(at, rel=1e-6)


def test_no_point_is_cut_off_where_hard_samples_are_worse_than_chance() -> None:
    found = read(Path(__file__).parents[2] / "docs" / "results" / "selection" / "mnist-labels.csv")
    highest = max(found.curve(*kept)[1].max() for kept in found.errors)
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_yscale("log")
    _heights(axes, found)
    assert 0.65 < highest < axes.get_ylim()[1] <= 1.0


def test_both_figures_are_drawn_with_their_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = table(tmp_path / "a.csv"), table(tmp_path / "b.csv", -0.05, seeds=3)
    assert main(["selection", str(one), str(two), "--out", str(tmp_path / "f")]) == 0
    assert {p.name for p in (tmp_path / "f").iterdir()} == {
        f"{name}.{kind}" for name in ("selection", "crossovers") for kind in ("pdf", "png", "csv")
    }
    rows = list(csv.DictReader((tmp_path / "f" / "selection.csv").read_text().splitlines()))
    assert {row["strategy"] for row in rows} == {EASIEST, HARDEST, RANDOM}
    assert all(0.0 < float(row["theory"]) < 0.5 for row in rows)
    assert capsys.readouterr().out.count("N_eff") == 2


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "strategy,fraction\nrandom,1\n"])
def test_what_is_no_table_is_refused(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text(content, encoding="utf-8")
    assert main(["selection", str(tmp_path / "t.csv"), "--out", str(tmp_path / "f")]) == 2
    assert "is no table of python -m empirical.selection" in capsys.readouterr().err


def test_the_committed_tables_have_ten_seeds_and_the_perceptron_agrees() -> None:
    folder = Path(__file__).parents[2] / "docs" / "results" / "selection"
    tables = {path.stem: read(path) for path in folder.glob("*.csv")}
    assert tables
    assert all(len(own) >= 10 for t in tables.values() for own in [t.errors[RANDOM, 1.0][min(t.errors[RANDOM, 1.0])]])
    found: Selection = tables["perceptron"]
    misses = []
    for strategy, keep in ((EASIEST, "easy"), (HARDEST, "hard")):
        for fraction in found.fractions:
            size, mean, se = found.curve(strategy, fraction)
            theory = np.asarray(solve(found.alpha(size), fraction, keep, found.angle, "signed").test_error)
            misses += list(np.abs(mean - theory) / (3 * se + 1.5 / found.dimension))
    assert np.mean(np.array(misses) < 1.0) > 0.95
