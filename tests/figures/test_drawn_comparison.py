"""The panels of a comparison: every number drawn is one of the grid, its map or its prediction; gaps are said."""

import json
import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from figures.compare import panels as comparison_panels
from figures.compare.compare import write_page
from figures.compare.panels import comparison_figure, published_figure
from figures.style import CYCLE
from shared.comparison.all_checks import Comparison, compare_grid
from shared.comparison.grid import Grid
from shared.comparison.prediction import Prediction
from shared.comparison.published_table import Tuned, published_order

IPC = np.array([1, 2, 5, 10, 20])
COEFFICIENTS = np.array([-0.05, 0.0, 0.01, 0.1])
CLASSES, N_EFF, WHOLE = 10, 20.0, 0.95


def prediction(name="p0 ~ made up"):
    """Smooth functions in place of the theory: a tilt helps below alpha = 2 and harms above."""
    alpha, tau = np.geomspace(0.05, 100, 30), np.array([-32.0, -8, -2, -0.5, 0, 0.5, 2, 8, 32])
    random = 0.5 / (1.0 + alpha)
    response = -0.3 * np.tanh(np.log(alpha / 2.0)) * random
    error = random - np.tanh(tau / 4.0)[:, None] * response
    three = np.repeat(error[None], 3, axis=0)
    return Prediction(name, alpha, tau, np.zeros(3), three, np.repeat(response[None] / 4.0, 3, axis=0), random)


def grid(seeds=4, **more):
    made, rng = prediction(), np.random.default_rng(0)
    alpha = IPC * CLASSES / N_EFF
    scale = 2.0 * (WHOLE - 1.0 / CLASSES)
    plain = WHOLE - scale * made.random(alpha)
    gain = scale * made.gain(alpha[:, None], 40 * COEFFICIENTS)
    mean = (plain + 0.01)[:, None] + gain
    seed_effect = rng.normal(0, 0.004, (IPC.size, 1, seeds, 1))
    accuracy = mean[..., None, None] + seed_effect + rng.normal(0, 0.001, (IPC.size, COEFFICIENTS.size, seeds, 2))
    random = {int(i): (p + rng.normal(0, 0.002, (4, 2))).tolist() for i, p in zip(IPC, plain, strict=True)}
    return Grid("dsa", "digits", "gradient", CLASSES, IPC, COEFFICIENTS, accuracy, random=random,
                whole=[WHOLE, WHOLE], **more)  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    """Draws a comparison and gives its figure and rows instead of files."""
    found = []
    monkeypatch.setattr(comparison_panels, "save", lambda figure, _, name, rows: found.append((figure, rows)) or [])

    def draw(of):
        comparison_figure(compare_grid(of, prediction(), resamples=100), None, "x")
        return found[-1]

    yield draw
    plt.close("all")


def bars(container):
    line, _, (segments,) = container.lines
    return line.get_xdata(), line.get_ydata(), np.array([np.ptp(s[:, 1]) / 2 for s in segments.get_segments()])


def panels(figure):
    return dict(zip(("map", "gains", "slopes", "agreement", "best", "difficulty"), figure.axes[:6], strict=True))


def test_gains_are_the_paired_means_with_their_errors(drawn):
    measured = grid()
    figure, rows = drawn(measured)
    axes = panels(figure)["gains"]
    gains = 100 * measured.seed_gains()
    assert len(axes.containers) == IPC.size
    for i, container in enumerate(axes.containers):
        x, y, half = bars(container)
        assert y == pytest.approx(gains[i].mean(-1)) and half == pytest.approx(gains[i].std(-1, ddof=1) / 2.0)
        assert np.all(np.diff(x) > 0) and x[0] < 0 < x[1]  # negative coefficients left of zero
    assert [t.get_text() for t in axes.get_legend().get_texts()] == [f"IPC {i}" for i in IPC]
    lines = [line for line in axes.get_lines() if line.get_linestyle() == "-" and len(line.get_xdata()) == 3]
    assert len(lines) >= IPC.size  # the theory, one line an IPC
    by_cell = {(r["ipc"], r["lambda"]): r for r in rows}
    assert by_cell[5, 0.1]["gain"] == pytest.approx(measured.seed_gains()[2, 2].mean())
    assert by_cell[5, 0.1]["low"] < by_cell[5, 0.1]["gain"] < by_cell[5, 0.1]["high"] and len(rows) == 15


def test_the_map_puts_random_subsets_on_the_curve(drawn):
    measured = grid()
    found = compare_grid(measured, prediction(), resamples=100).alpha_map
    axes = panels(drawn(measured)[0])["map"]
    assert found.n_eff == pytest.approx(N_EFF, rel=0.1)
    x, y, half = bars(axes.containers[0])
    assert x == pytest.approx(IPC * CLASSES / found.n_eff) and y == pytest.approx(found.error)
    assert half == pytest.approx(1.96 * found.error_se)
    theory = next(line for line in axes.get_lines() if line.get_label() == "theory, random")
    assert theory.get_ydata() == pytest.approx(prediction().random(theory.get_xdata()))
    assert axes.get_xscale() == "log" and "error" in axes.get_ylabel()


def test_slopes_stand_at_the_measured_sizes_with_zero_at_one_height(drawn):
    measured = grid()
    compared = compare_grid(measured, prediction(), resamples=100)
    figure, _ = drawn(measured)
    axes, other = panels(figure)["slopes"], figure.axes[6]
    details = next(f for f in compared.findings if f.check == "sign").details
    x, y, _ = bars(axes.containers[0])
    assert x == pytest.approx([r["alpha"] for r in details]) and y == pytest.approx([r["slope"] for r in details])
    for side in (axes, other):
        low, high = side.get_ylim()
        assert low == pytest.approx(-high)
    curve = other.get_lines()[0]
    assert curve.get_ydata() == pytest.approx(prediction().slopes(curve.get_xdata())[1])
    assert "points" in axes.get_ylabel() and "predicted" in other.get_ylabel()


def test_predicted_stands_against_measured_out_of_sample(drawn):
    measured = grid()
    compared = compare_grid(measured, prediction(), resamples=100)
    axes = panels(drawn(measured)[0])["agreement"]
    for i, container in enumerate(axes.containers):
        x, y, _ = bars(container)
        assert x == pytest.approx(100 * compared.gains.predicted[i])
        assert y == pytest.approx(100 * compared.gains.measured[i])
        assert container.lines[0].get_color() == CYCLE[i % len(CYCLE)]


def test_difficulty_is_drawn_where_it_was_recorded_and_its_absence_said(drawn):
    axes = panels(drawn(grid())[0])["difficulty"]
    assert [t.get_text().replace("\n", " ") for t in axes.texts] == ["GraDN was not recorded"]
    end = np.exp(-COEFFICIENTS)[None, :, None] * (1.0 + IPC)[:, None, None] * np.ones((1, 1, 4))
    start = np.broadcast_to((2.0 + IPC)[:, None, None], end.shape)
    figure, _ = drawn(grid(per_run={"mediator_gradn": end, "mediator_gradn_start": start}))
    axes = panels(figure)["difficulty"]
    for i, container in enumerate(axes.containers):
        assert bars(container)[1] == pytest.approx(end[i, :, 0])
    dotted = [line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert dotted == pytest.approx(2.0 + IPC)


def test_an_invalid_map_leaves_words_in_place_of_numbers(drawn):
    figure, rows = drawn(replace(grid(), random={}))
    found = panels(figure)
    assert found["map"].texts[0].get_text().startswith("no map:")
    for name in ("slopes", "agreement"):
        assert [t.get_text() for t in found[name].texts] == ["map invalid"] and not found[name].containers
    assert len(found["gains"].containers) == IPC.size and all(np.isnan(r["predicted_out_of_sample"]) for r in rows)


def test_one_seed_has_gains_without_bars(drawn):
    figure, rows = drawn(grid(seeds=1))
    for container in panels(figure)["gains"].containers:
        assert not bars(container)[2].any()
    assert not any(np.isfinite(r["low"]) or np.isfinite(r["high"]) for r in rows)


def test_a_page_of_a_data_set_with_any_name_shows_that_name_and_nothing_else(tmp_path):
    name = "a|b [x](y) <b>*\n# z $"

    def draw(compared, folder, stem):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stem}.png").write_bytes(b"\x89PNG")
        return [folder / f"{stem}.png"]

    found = compare_grid(replace(grid(), dataset=name), prediction(), resamples=100)
    write_page(Comparison((found,), ()), (), tmp_path, {}, [f"{name}: left out"], draw)
    drawn = sorted(p.name for p in (tmp_path / "figures").glob("*.png"))
    assert drawn == ["01-dsa-a-b-x-y-b-z.png", "overview.png"]
    lines = (tmp_path / "compare.md").read_text().splitlines()
    assert not [line for line in lines if line.startswith("# z")]
    assert sum(line.startswith("## dsa on a|b [x\\](y) \\<b>\\* # z $") for line in lines) == 1
    table = [line for line in lines if line.startswith("| ")]
    cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table if "dsa on" in line}
    assert cells == {8}  # seven columns
    page = (tmp_path / "compare.html").read_text()
    assert "<b>" not in page and "dsa on a|b [x](y) &lt;b&gt;* # z $" in page
    assert json.loads((tmp_path / "compare.json").read_text())["grids"][0]["dataset"] == name


def test_the_published_table_has_a_line_a_row(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(comparison_panels, "save", lambda figure, *rest: found.append((figure, rest[-1])) or [])
    cells = [Tuned(d, m, i, c * i) for d, m, c in (("mnist", "dc", 1e-3), ("$x_", "dsa", 2e-3)) for i in (1, 10, 50)]
    published_figure(published_order(cells, 200), tmp_path)
    ((figure, rows),) = found
    (axes,) = figure.axes
    assert {line.get_label() for line in axes.get_lines()} == {"mnist dc", r"\$x_ dsa"}
    for line in axes.get_lines():
        scale = 1e-3 if line.get_label() == "mnist dc" else 2e-3
        assert line.get_ydata() == pytest.approx([scale, 10 * scale, 50 * scale])
        assert line.get_xdata() == pytest.approx([1, 10, 50], rel=0.05)  # apart by less than a marker
    assert axes.get_yscale() == "log" and len(rows) == 6
    figure.canvas.draw()
    plt.close("all")
