"""Difficulty and galleries: points, bars, shares and pictures read back from the axes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from empirical.data.preprocessing import Normalisation
from empirical.evaluation.difficulty_ensemble import QUANTITIES, Scores
from empirical.synthetic.synthetic_set import SyntheticSet, save
from figures.difficulty import difficulty
from figures.difficulty.leaning import Leaning
from figures.runs import gallery
from figures.runs.recorded import read_cells
from figures.style import BLUE, RED
from shared.measures.correlation import Correlation
from shared.records.records import write_config, write_summary

SIDE = Normalisation((0.5,), (0.25,))


@pytest.fixture
def drawn(monkeypatch):
    found = []
    for module in (difficulty, gallery):
        monkeypatch.setattr(module, "save", lambda figure, folder, name, rows: found.append((figure, name, rows)) or [])
    yield found
    plt.close("all")


def scores(rate, gradn):
    """Four networks that agree: scores of samples, [samples]."""
    values = {name: np.zeros((4, len(rate)), np.float32) for name in QUANTITIES}
    values["gradn"] = np.tile(np.asarray(gradn, np.float32), (4, 1))
    values["misclassified"] = np.asarray([[k < 4 * r for r in rate] for k in range(4)], np.float32)
    return Scores(values, np.zeros(len(rate), np.int64), np.arange(len(rate)), 4)


def test_every_sample_and_the_means_of_the_bins_are_drawn(drawn, tmp_path):
    rate, gradn = np.repeat([0.0, 0.5, 1.0], 4), np.arange(12.0) + 1.0
    found = Correlation(0.9, 0.8, 0.95, 0.95, 12)
    difficulty.agreement_figure(scores(rate, gradn), found, r"\\$x_ title", tmp_path, "name")
    ((figure, name, rows),) = drawn
    (axes,) = figure.axes
    dots = next(line for line in axes.get_lines() if line.get_label() == "samples (jittered)")
    assert sorted(dots.get_ydata()) == pytest.approx(gradn) and len(dots.get_xdata()) == 12
    assert np.abs(dots.get_xdata() - 100 * rate).max() <= 35 * 0.5 + 1e-9  # jitter stays within its bin
    assert dots.get_xdata().min() >= 0.0 and dots.get_xdata().max() <= 100.0  # and is a rate
    line, _, (bars,) = axes.containers[0].lines
    assert line.get_xdata() == pytest.approx([0, 50, 100]) and line.get_ydata() == pytest.approx([2.5, 6.5, 10.5])
    half = [np.ptp(s[:, 1]) / 2 for s in bars.get_segments()]
    assert half == pytest.approx([1.96 * np.std(np.arange(4), ddof=1) / 2] * 3)
    assert "Spearman 0.90 [0.80, 0.95]" in axes.get_title() and axes.get_xlabel().endswith("(%)")
    assert name == "difficulty-name" and [r["gradn"] for r in rows] == pytest.approx(gradn)


def test_one_sample_and_one_rate_are_drawn(drawn, tmp_path):
    for count in (1, 3):
        found = Correlation(np.nan, np.nan, np.nan, 0.95, count)
        difficulty.agreement_figure(scores([0.25] * count, np.arange(count) + 1.0), found, "t", tmp_path, "n")
    for figure, _, rows in drawn:
        line = figure.axes[0].containers[0].lines[0]
        mean = np.mean([r["gradn"] for r in rows])
        assert line.get_xdata() == pytest.approx([25.0]) and line.get_ydata() == pytest.approx([mean])


def test_shares_are_drawn_by_decile_with_their_errors(drawn, tmp_path):
    shares, se = np.linspace(0.05, 0.15, 10), np.full(10, 0.01)
    parts = [Leaning("fresh", "vector", shares, se, 4), Leaning("trained", "rows", shares[::-1], se / 2, 4)]
    difficulty.leaning_figure(parts, "title", tmp_path, "name")
    ((figure, name, rows),) = drawn
    (axes,) = figure.axes
    for container, part, colour in zip(axes.containers, parts, (BLUE, RED), strict=True):
        line, _, (bars,) = container.lines
        assert line.get_xdata().tolist() == list(range(1, 11)) and line.get_ydata() == pytest.approx(100 * part.mean)
        assert [np.ptp(s[:, 1]) / 2 for s in bars.get_segments()] == pytest.approx(100 * part.se)
        assert line.get_color() == colour
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == [
        "no preference", "untrained networks, one vector", "trained networks, row by row",
    ]  # fmt: skip
    figure.canvas.draw()
    assert legend.get_window_extent().y1 <= axes.get_tightbbox().y0  # off the curves, wherever they run
    assert name == "leaning-name" and len(rows) == 20 and axes.get_ylabel().endswith("(%)")


def record(root, value, sdc=None, method="dsa", ipc=1, seed=0):
    folder = root / f"{len(list(root.iterdir())):02d}"
    settings = {"dataset": "digits", "method": method, "ipc": ipc, "sdc": sdc, "asdc": None, "seed": seed}
    write_config(folder, settings, seed=seed)
    pixels = torch.cat([torch.full((ipc, 1, 4, 4), value), torch.zeros(ipc, 1, 4, 4)])
    made = SyntheticSet(
        SIDE.apply(pixels), torch.tensor([0] * ipc + [1] * ipc), 2, recipe={"preprocessing": SIDE.describe()}
    )
    save(folder, made, preprocessing=SIDE)
    write_summary(folder, {"evaluation": {"accuracies": [0.5 + value / 10]}})


def test_pictures_of_a_gallery_are_those_of_the_sets(drawn, tmp_path):
    for method in ("dc", "dsa"):
        record(tmp_path, 1.0, method=method)
        record(tmp_path, 0.5, sdc=0.01, method=method)
    record(tmp_path, 0.2, method="mtt")  # without a partner
    gallery.gallery_figures(read_cells([tmp_path])[0], tmp_path)
    assert [name for _, name, _ in drawn] == ["gallery-digits-dc", "gallery-digits-dsa"]
    for figure, _, rows in drawn:
        plain, corrected, change = (axes.images[0].get_array() for axes in figure.axes)
        assert (int(plain[0, 0, 0]), int(corrected[0, 0, 0]), int(change[0, 0, 0])) == (255, 128, 0)
        assert int(change[0, -1, 0]) == 128  # of the other class, which is black in both
        titles = [axes.get_title() for axes in figure.axes]
        gained = "SDC, λ = 0.01\ngain -5.0 points (one pair, no interval)"
        assert titles == ["plain", gained, "change, ± 50 % of white"]
        assert figure.axes[0].get_ylabel() == "IPC 1" and "%" not in titles[0] + titles[1]  # no accuracy of a winner
        assert [r["correction"] for r in rows] == ["plain", "SDC, λ = 0.01"]
        assert rows[1]["largest_change"] == pytest.approx(127 / 255) and rows[1]["paired_gain"] == pytest.approx(-5.0)


def test_a_gallery_shows_the_strongest_common_coefficient_and_not_the_best(drawn, tmp_path):
    for ipc, coefficients in ((1, (0.01, 0.1, 1.0, -1.0)), (2, (0.01, 0.1))):
        for seed in (0, 1):
            record(tmp_path, 0.5, ipc=ipc, seed=seed)
            for c in coefficients:  # the stronger, the less accurate
                record(tmp_path, 0.4 - 0.3 * c - 0.05 * seed, sdc=c, ipc=ipc, seed=seed)
    gallery.gallery_figures(read_cells([tmp_path])[0], tmp_path)
    ((figure, _, rows),) = drawn
    assert [r["correction"] for r in rows] == ["plain", "SDC, λ = 0.1"] * 2
    assert figure.axes[1].get_title() == "SDC, λ = 0.1\ngain -1.6 ± 3.2 points, n = 2"
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["IPC 1", "IPC 2"]


def test_a_gallery_has_all_classes_and_says_how_many_images(drawn, tmp_path):
    places = [np.arange(40 * c, 40 * c + 4) for c in range(45)]  # of 40 images a class the first four
    pixels = np.repeat(np.arange(45, dtype=np.uint8), 40)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    picture = gallery.tiled(pixels, places)
    assert picture.shape == (2 * (4 * 3 + 1) + 4 * 3 - 1, 20 * 3 - 1, 3)
    seen = {int(value) for value in np.unique(picture)} - {255}
    assert seen == set(range(45))
    for value in (None, 0.5):
        record(tmp_path, 1.0, sdc=value, ipc=30)
    gallery.gallery_figures(read_cells([tmp_path])[0], tmp_path)
    ((figure, _, _),) = drawn
    assert figure.axes[0].get_ylabel() == "IPC 30\n(first 20 of\neach class)"
    assert figure.axes[2].get_title() == "no change that a pixel shows"


def test_runs_compared_in_a_gallery_share_their_seed(drawn, tmp_path):
    record(tmp_path, 1.0, seed=0)
    record(tmp_path, 1.0, seed=3)
    record(tmp_path, 0.5, sdc=0.01, seed=3)
    gallery.gallery_figures(read_cells([tmp_path])[0], tmp_path)
    assert [r["seed"] for r in drawn[0][2]] == [3, 3]
