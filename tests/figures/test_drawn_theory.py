"""The theory's figures: lines are solutions, dots are the simulations handed in, maps hold what was solved."""

import csv
import math
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from figures.desk import Desk
from figures.style import BLACK, CYCLE
from figures.theory import (
    agreement as theory_agreement,
)
from figures.theory import (
    curves as theory_curves,
)
from figures.theory import (
    distilled,
)
from figures.theory import (
    fractions as theory_fractions,
)
from figures.theory import (
    maps as theory_maps,
)
from figures.theory.deviation import agreement, remarks
from figures.theory.simulated import QUANTITIES, Effort, SimulatedCurve
from theory import scaling, solve

ALPHA = np.array([0.5, 1.0, 2.5])
SE = 0.01


def made(strategy, off=0.0):
    """A curve whose simulations lie `off` standard errors above the theory; extrapolated, half as far."""
    exact = solve(ALPHA, strategy.fraction, strategy.keep, strategy.theta)
    errors = {f"{q}_se": np.full(3, SE) for q in QUANTITIES}
    at_size = {q: np.asarray(getattr(exact, q)) + off * SE for q in QUANTITIES}
    limit = {q: np.asarray(getattr(exact, q)) + off * SE / 2 for q in QUANTITIES}
    return SimulatedCurve(strategy, 200, {"alpha": ALPHA, **at_size, **errors}, {**limit, **errors})


@pytest.fixture(scope="module")
def curves():
    return {s: made(s, off=1.0) for s in theory_curves.STRATEGIES}


@pytest.fixture
def drawn(monkeypatch):
    found = []
    for module in (theory_curves, theory_agreement, theory_fractions, theory_maps, distilled):
        monkeypatch.setattr(module, "save", lambda figure, folder, name, rows: found.append((figure, name, rows)) or [])
    yield found
    plt.close("all")


def bars(container):
    line, _, (segments,) = container.lines
    return line.get_xdata(), line.get_ydata(), np.array([np.ptp(s[:, 1]) / 2 for s in segments.get_segments()])


def test_dots_are_the_simulations_and_lines_the_theory(curves, drawn, tmp_path):
    theory_curves.perfect_probe(curves, tmp_path, "note")
    ((figure, name, rows),) = drawn
    assert name == "perfect_probe" and len(figure.axes) == 2
    for axes, keep in zip(figure.axes, ("hard", "easy"), strict=True):
        strategies = [theory_curves.Strategy(keep, f) for f in theory_curves.FRACTIONS] + [theory_curves.RANDOM]
        lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 120]
        assert len(lines) == len(axes.containers) == 5
        for strategy, line, container in zip(strategies, lines, axes.containers, strict=True):
            x, y, half = bars(container)
            assert x.tolist() == ALPHA.tolist() and y == pytest.approx(curves[strategy].at_size["test_error"])
            assert half == pytest.approx(np.full(3, SE))
            exact = solve(line.get_xdata(), strategy.fraction, strategy.keep, 0.0).test_error
            assert line.get_ydata() == pytest.approx(exact, rel=1e-12)
            assert line.get_color() == container.lines[0].get_color()
        assert [t.get_text() for t in axes.get_legend().get_texts()] == [
            "f = 0.1", "f = 0.2", "f = 0.4", "f = 0.7", "f = 1 (random)",
        ]  # fmt: skip
        assert lines[-1].get_color() == BLACK and lines[-1].get_linestyle() == "--"
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log") and "alpha" in axes.get_xlabel()
    assert len(rows) == 9 * 3 and {r["dimension"] for r in rows} == {200}
    assert "note" in [t.get_text() for t in figure.texts]


def test_probe_angles_have_a_colour_each(curves, drawn, tmp_path):
    theory_curves.imperfect_probe(curves, tmp_path, "")
    ((figure, _, rows),) = drawn
    axes = figure.axes[0]
    assert [c.lines[0].get_color() for c in axes.containers] == [*CYCLE[:4], BLACK]
    twenty = bars(axes.containers[2])[1]
    exact = solve(ALPHA, 0.3, "hard", math.radians(20)).test_error
    assert twenty == pytest.approx(exact + SE)
    assert {r["theta_deg"] for r in rows} == {0.0, 10.0, 20.0, 40.0}


def test_z_scores_are_counted_and_drawn(curves, drawn, tmp_path):
    found = agreement(curves)
    points = 3 * len(curves)
    assert found.column("z_test_error") == pytest.approx(np.ones(points))
    assert found.column("z_test_error_limit") == pytest.approx(np.full(points, 0.5))
    assert found.counts("") == found.counts("_limit") == (points, points, points) and found.outside == 0
    said = remarks(found, 200)
    assert said[0] == f"test error at D = 200: {points} of {points} points within 2 standard errors, {points} within 3"
    theory_agreement.z_scores(curves, tmp_path, "note; lines: theory")
    ((figure, _, rows),) = drawn
    left, right = figure.axes
    dots = {line.get_label(): line for line in left.get_lines() if line.get_linestyle() == "None"}
    corner = found.column("corner")
    assert dots["at D"].get_ydata() == pytest.approx(np.ones(points - corner.sum()))  # the corner only extrapolated
    assert dots["extrapolated"].get_ydata() == pytest.approx(np.full(points, 0.5)) and corner.sum() > 0
    assert "outside 3 s.e. + 1/D: 0" in left.get_title(loc="left") and len(rows) == points
    assert right.get_xlabel() == left.get_ylabel()


def test_far_points_are_outside_and_clipped_in_the_histogram(drawn, tmp_path):
    strategy = theory_curves.Strategy("easy", 0.4)
    curves = {strategy: made(strategy, off=20.0)}
    found = agreement(curves)
    assert found.counts("") == (0, 0, 3) and found.outside == 3
    theory_agreement.z_scores(curves, tmp_path, "")
    right = drawn[0][0].axes[1]
    heights = [p.get_path().vertices for p in right.patches]
    assert max(v[:, 0].max() for v in heights) <= 5.25


def test_crossovers_in_the_map_are_those_of_the_theory(drawn, tmp_path):
    theory_maps.crossover_map(tmp_path, 3, lambda done, total: None)
    ((figure, name, rows),) = drawn
    assert name == "crossover_map" and [a.get_title() for a in figure.axes[:3]] == list(theory_maps.TITLES)
    fractions = np.linspace(0.04, 0.96, 3)
    values = np.asarray(figure.axes[0].collections[0].get_array()).reshape(3, 3)
    assert values[0, 1] == pytest.approx(scaling.crossover(fractions[1]), rel=1e-6)
    never = np.ma.masked_invalid(np.asarray(figure.axes[2].collections[0].get_array()).reshape(3, 3))
    assert never.mask[0].all()  # a perfect probe never lets easy fall behind random
    assert figure.axes[0].get_ylabel() == r"probe angle $\theta$ (degrees)"
    assert {(r["first"], r["second"]) for r in rows} == set(theory_maps.PAIRS)


def test_the_tilt_map_holds_the_gains_row_by_row(drawn, tmp_path, monkeypatch):
    def gain(alphas, taus, theta, margin):
        return np.array([np.tanh(tau) * (1 - alphas) / (1 + theta) for tau in taus])

    quick = SimpleNamespace(tilt_gain=gain, tilt_critical_alpha=lambda theta, margin: 2.0)
    monkeypatch.setattr(theory_maps, "scaling", quick)  # the theory's own takes half a minute
    theory_maps.tilt_gain_map(tmp_path, 4, lambda done, total: None)
    ((figure, _, rows),) = drawn
    values = np.asarray(figure.axes[0].collections[0].get_array()).reshape(5, 4)
    assert values[2] == pytest.approx(np.zeros(4))  # no tilt, no gain
    of_row = [r["gain"] for r in rows if r["theta_deg"] == 0.0 and r["margin"] == "signed" and r["tau"] == 32.0]
    assert values[-1] == pytest.approx(of_row)
    assert values[-1] == pytest.approx(1.0 - np.geomspace(0.1, 10.0, 4))
    assert [line.get_xdata()[0] for a in figure.axes[:3] for line in a.get_lines()] == [2.0] * 3
    edges = np.array(figure.axes[0].collections[1].get_segments())  # [edges, 2 ends, 2]
    assert sorted(edges[:, 0, 0]) == pytest.approx([1.0] * 4)  # the gain turns at alpha = 1, in each row but tau = 0
    assert sorted(edges[:, :, 1].mean(axis=1)) == pytest.approx([0, 1, 3, 4])
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == ["-32", "-8", "-2", "-0.5", "0", "0.5", "2", "8", "32"]
    places = figure.axes[0].get_yticks()
    assert np.all(np.diff(places) > 0) and places[4] == 2 and (places[0], places[-1]) == (0, 4)


def test_labels_of_contours_keep_apart_and_no_contour_runs_towards_never():
    _, axes = plt.subplots()
    x = np.linspace(0.0, 1.0, 6)
    values = np.tile(np.array([np.nan, 100.0, 3.0, 2.0, 1.5, 1.0])[:, None], 6)  # a row of never, then steep
    lines = axes.contour(x, x, np.ma.masked_invalid(values), levels=[1.2, 2.5, 10.0, 30.0, 31.0])
    assert min(point[1] for segments in lines.allsegs for segment in segments for point in segment) >= 0.2
    places = theory_maps.with_room(axes, lines)
    assert len(axes.clabel(lines, manual=places)) == len(places) == 5  # 30 and 31 lie on each other: side by side
    distances = [np.hypot(*np.subtract(p, q)) for i, p in enumerate(places) for q in places[:i]]
    assert min(distances) > 0.13
    crowded = axes.contour(x, x, np.ma.masked_invalid(values), levels=np.linspace(30.0, 31.0, 20))
    assert 3 <= len(theory_maps.with_room(axes, crowded)) < 10  # and what has no room has no label
    plt.close("all")


def test_best_fractions_are_those_of_the_theory(drawn, tmp_path):
    theory_fractions.best_fraction(tmp_path, 4, lambda done, total: None)
    ((figure, _, rows),) = drawn
    errors, excess, best, kept_best = figure.axes
    random = errors.get_lines()[0]
    assert random.get_ydata() == pytest.approx(solve(random.get_xdata()).test_error)
    easy = best.get_lines()[0]
    expected = [scaling.best_fraction_of_pool(float(t)).fraction for t in easy.get_xdata()]
    assert easy.get_ydata() == pytest.approx(expected)
    assert errors.get_legend().get_texts()[0].get_text() == "random"
    # Each panel has one quantity on its axis.
    assert "pool" in best.get_xlabel() and "kept" in kept_best.get_xlabel() and len(best.get_lines()) == 1
    hardest = kept_best.get_lines()[1]
    fractions = scaling.pareto_front(hardest.get_xdata(), "hard", math.radians(10.0))[0]
    assert hardest.get_ydata() == pytest.approx(fractions)
    assert excess.get_yscale() == "log" and {r["panel"] for r in rows} >= {"error", "excess", "best of pool"}


def test_the_distilled_figure_draws_the_rows_of_the_study(drawn, tmp_path, monkeypatch):
    def study(settings, folder, report):
        return [
            {"alpha": s.alpha, "coefficient": s.coefficient, "seed": s.seed,
             "test_error": 0.4 / (1 + s.alpha) + 0.01 * s.seed - (0.1 + 0.02 * s.seed) * s.coefficient,
             "theory_probe": 0.3, "theory_teacher": math.nan, "theory_d": 0.2, "mean_h": 0.1, "start_h": 0.2}
            for s in settings
        ]  # fmt: skip

    monkeypatch.setattr(distilled, "study", study)
    distilled.distilled_figure(tmp_path, 2, lambda done, total: None)
    ((figure, name, rows),) = drawn
    errors, judged, difficulty, gains = figure.axes
    assert name == "distilled" and len(errors.containers) == len(distilled.COEFFICIENTS)
    x, y, half = bars(errors.containers[list(distilled.COEFFICIENTS).index(0.0)])
    assert y == pytest.approx(0.4 / (1 + np.asarray(x)) + 0.005) and half == pytest.approx(np.full(len(x), 0.005))
    assert bars(difficulty.containers[1])[1] == pytest.approx(np.full(len(x), 0.1))
    starts = difficulty.get_lines()[-1]
    assert starts.get_ydata() == pytest.approx(np.full(len(x), 0.2))
    assert len(rows) == len(x) * 2 * len(distilled.COEFFICIENTS)
    # Theory over measurement: what is read off is by how much a theory misses.
    lines = {line.get_label(): line for line in judged.get_lines()}
    assert lines[distilled.JUDGED["theory_probe"]].get_ydata() == pytest.approx(0.3 / y)
    assert lines[distilled.JUDGED["theory_d"]].get_ydata() == pytest.approx(0.2 / y)
    assert np.isnan(lines[distilled.JUDGED["theory_teacher"]].get_ydata()).all()
    # Gains are paired by seed: (0.1 + 0.02 seed) lambda over seeds 0 and 1, t of one degree of freedom.
    _, gain, half = bars(gains.containers[-1])
    assert gain == pytest.approx(np.full(len(x), 0.11 * 0.3))
    assert half == pytest.approx(np.full(len(x), 12.7062 * 0.02 * 0.3 / 2), rel=1e-4)
    assert all(f"({letter})" in axes.get_title() for letter, axes in zip("abcd", figure.axes, strict=True))


def test_missing_and_single_values_have_a_mean_without_an_error():
    rows = [{"alpha": 1.0, "coefficient": 0.0, "x": 0.3}, {"alpha": 2.0, "coefficient": 0.0, "x": math.nan}]
    mean, se = distilled._over(rows, (1.0, 2.0, 4.0), 0.0, "x")
    assert mean[0] == 0.3 and np.isnan(mean[1:]).all() and not se.any()


def test_a_gain_needs_a_pair():
    row = {"alpha": 1.0, "test_error": 0.3}
    rows = [{**row, "coefficient": 0.0, "seed": 0}, {**row, "coefficient": 0.1, "seed": 1}]
    assert np.isnan(distilled.paired_gain(rows, 1.0, 0.1)).all()
    rows.append({**row, "coefficient": 0.1, "seed": 0, "test_error": 0.2})
    gain, half = distilled.paired_gain(rows, 1.0, 0.1)
    assert gain == pytest.approx(0.1) and np.isnan(half)


def test_simulations_are_run_once_for_all_figures_of_a_command(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(theory_curves, "simulated_curves", lambda *a: calls.append(a) or {s: made(s) for s in a[0][:2]})
    desk = Desk(tmp_path, effort=Effort(dimension=40, trials=7))
    assert theory_curves.simulated_for(desk) is theory_curves.simulated_for(desk) and len(calls) == 1
    assert len(desk.remarks) == 3 and "D = 40, 7 trials" in theory_curves.note_of(desk)


def test_the_csv_holds_what_the_figure_shows(curves, tmp_path):
    theory_curves.perfect_probe(curves, tmp_path, "")
    with (tmp_path / "perfect_probe.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    hard = [r for r in rows if r["keep"] == "hard" and r["fraction"] == "0.2"]
    assert [float(r["test_error_simulated"]) - float(r["test_error_theory"]) for r in hard] == pytest.approx([SE] * 3)
    assert [float(r["alpha"]) for r in hard] == ALPHA.tolist()
    assert {r["keep"] for r in rows} == {"hard", "easy", "random"}
