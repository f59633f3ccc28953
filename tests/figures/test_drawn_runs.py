"""Figures of recorded runs: what is drawn is what was recorded, read back from the axes; odd folders; nasty names."""

import csv
import itertools
import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from figures.__main__ import main
from figures.runs import coefficients as run_coefficients
from figures.runs import gallery, tables
from figures.runs import norms as run_norms
from figures.runs.recorded import read_cells
from figures.style import BLUE, GREEN, RED
from shared.records.records import MetricsWriter, write_config, write_summary
from shared.records.roles import Roles


def record(root, method="dsa", ipc=1, sdc=None, asdc=None, seed=0, accuracies=(0.8, 0.82), norms=(), **more):
    folder = root / f"{len(list(root.iterdir())):03d}"
    settings = {"dataset": "digits", "method": method, "ipc": ipc, "sdc": sdc, "asdc": asdc, "seed": seed, **more}
    roles = more.pop("roles", None)
    settings.pop("roles", None)
    write_config(folder, settings, roles=roles, seed=seed, data={"classes": 10})
    with MetricsWriter(folder) as writer:
        for step, norm in enumerate(norms):
            writer.write(step, norm=norm, real_norm=1.0)
    write_summary(folder, {"evaluation": {"network": "convnet", "accuracies": list(accuracies)}})
    return folder


@pytest.fixture
def drawn(monkeypatch):
    """Figures instead of files: (figure, name, rows) of everything that would be saved."""
    found = []
    for module in (run_norms, run_coefficients, gallery):
        monkeypatch.setattr(module, "save", lambda figure, folder, name, rows: found.append((figure, name, rows)) or [])
    yield found
    plt.close("all")


def texts(legend):
    return [t.get_text() for t in legend.get_texts()]


def bars(container):
    """(x, y, half lengths of the bars) of what `errorbar` drew."""
    line, _, (segments,) = container.lines
    return line.get_xdata(), line.get_ydata(), [np.ptp(s[:, 1]) / 2 for s in segments.get_segments()]


def test_norms_are_those_of_the_record(tmp_path, drawn):
    for seed in (0, 1):
        record(tmp_path, seed=seed, norms=(1.0 + seed, 2.0 + seed, 3.0 + seed))
        record(tmp_path, seed=seed, sdc=0.01, norms=(0.5, 0.25, 0.125))
    run_norms.norm_figures(read_cells([tmp_path])[0], tmp_path)
    ((figure, name, rows),) = drawn
    assert name == "norms-digits-ipc1"
    upper, lower = figure.axes
    assert (upper.get_title(), lower.get_xlabel()) == ("DSA", "step")
    assert upper.get_ylabel() == "in the loop:\nnorm of the batch gradient" and "GraDN" in lower.get_ylabel()
    plain, corrected, real = upper.get_lines()
    assert plain.get_xdata().tolist() == [0, 1, 2] and plain.get_ydata() == pytest.approx([1.5, 2.5, 3.5])
    assert corrected.get_ydata() == pytest.approx([0.5, 0.25, 0.125]) and real.get_ydata() == pytest.approx([1, 1, 1])
    assert texts(upper.get_legend()) == ["plain", "SDC, λ = 0.01", "real samples"]
    band = upper.collections[0].get_paths()[0].vertices  # seeds lie 1 apart: standard error 1/2
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((1.0, 4.0))
    assert not lower.get_lines() and [t.get_text() for t in lower.texts] == ["not recorded"]
    assert "up to 2 seeds" in figure.get_suptitle()
    assert [r["mean"] for r in rows if r["correction"] == "plain"] == pytest.approx([1.5, 2.5, 3.5])


def test_sensitivity_shows_means_and_standard_errors(tmp_path, drawn):
    for seed in (0, 1, 2):
        for sdc, gain in ((None, 0.0), (0.01, 0.02), (-0.1, -0.04)):
            record(tmp_path, seed=seed, sdc=sdc, accuracies=(0.7 + gain + 0.03 * seed,))
    run_coefficients.sensitivity_figures(read_cells([tmp_path])[0], tmp_path)
    ((figure, name, _),) = drawn
    (axes,) = figure.axes
    x, y, half = bars(axes.containers[0])
    assert name == "sensitivity-digits" and x.tolist() == [0, 1, 2]  # a step a coefficient
    assert y == pytest.approx([69.0, 73.0, 75.0]) and half == pytest.approx([3.0 / np.sqrt(3)] * 3)
    assert "equal steps" in axes.get_xlabel() and axes.get_ylabel() == "test accuracy (%)"
    assert texts(axes.get_legend()) == ["1"] and axes.get_legend().get_title().get_text() == "DSA, IPC"
    ticks = dict(zip(axes.get_xticks(), (t.get_text() for t in axes.get_xticklabels()), strict=True))
    assert ticks == {0: "-0.1", 1: "0", 2: "0.01"}


def test_gains_in_the_map_are_paired_and_only_what_is_told_from_zero_is_boxed(tmp_path, drawn):
    gains = {1: {0.01: 0.03, 0.1: 0.01}, 5: {0.01: -0.02, 0.1: -0.01}}
    noise = {1: (0.0, 0.001, -0.001), 5: (0.0, 0.001, -0.001), 10: (-0.04, 0.0, 0.04)}
    gains[10] = {0.01: 0.01, 0.1: 0.03}  # best by its mean, and not told from 0
    for ipc, by_lambda in gains.items():
        for seed in (0, 1, 2):
            record(tmp_path, ipc=ipc, seed=seed, accuracies=(0.5 + 0.1 * seed,))
            for sdc, gain in by_lambda.items():
                accuracy = 0.5 + 0.1 * seed + gain + noise[ipc][seed]
                record(tmp_path, ipc=ipc, seed=seed, sdc=sdc, accuracies=(accuracy,))
    run_coefficients.ipc_figures(read_cells([tmp_path])[0], tmp_path)
    ((figure, name, _),) = drawn
    axes, bar = figure.axes
    assert name == "lambda-ipc-digits-dsa" and bar.get_ylabel() == "gain (points)"
    assert np.asarray(axes.images[0].get_array()) == pytest.approx(np.array([[3.0, 1.0], [-2.0, -1.0], [1, 3]]))
    assert axes.images[0].get_clim() == pytest.approx((-3.0, 3.0))  # white at 0
    assert [t.get_text().split("\n")[0] for t in axes.texts] == ["+3.0", "+1.0", "-2.0", "-1.0", "+1.0", "+3.0"]
    (box,) = axes.patches  # at IPC 5 nothing gains, at IPC 10 nothing is told
    assert "boxed: a best λ that is told from 0" in axes.get_title()
    assert (box.get_x() + 0.48, box.get_y() + 0.48) == pytest.approx((0.0, 0.0))
    assert [t.get_text() for t in axes.get_yticklabels()] == ["1", "5", "10"]


def test_adaptive_runs_stand_beside_constant_ones(tmp_path, drawn):
    for seed in (0, 1):
        record(tmp_path, seed=seed, accuracies=(0.7 + 0.02 * seed,))
        record(tmp_path, seed=seed, sdc=0.01, accuracies=(0.72 + 0.02 * seed,))
        record(tmp_path, seed=seed, asdc=[0.01, 0.1], accuracies=(0.75 + 0.02 * seed,))
    run_coefficients.adaptive_figures(read_cells([tmp_path])[0], tmp_path)
    ((figure, name, _),) = drawn
    axes = figure.axes[0]
    assert name == "asdc-digits" and axes.get_title() == "dsa, IPC 1"
    heights = [bars(c)[1][0] for c in axes.containers]
    assert heights == pytest.approx([71.0, 73.0, 76.0])
    assert [c.lines[0].get_color() for c in axes.containers] == [BLUE, RED, GREEN]
    labels = [t.get_text().split("\n") for t in axes.get_xticklabels()]
    assert [label[0] for label in labels] == ["plain", "SDC", "ASDC"] and labels[2][1] == "0.01–0.1"
    assert labels[1][2] == "gain +2.0 ± 0.0" and labels[0][3] == "(n = 2)"


def test_one_run_alone_makes_no_comparison(tmp_path, drawn):
    record(tmp_path, norms=(1.0,))
    cells = read_cells([tmp_path])[0]
    for draw in (run_coefficients.sensitivity_figures, run_coefficients.ipc_figures,
                 run_coefficients.adaptive_figures, gallery.gallery_figures):  # fmt: skip
        assert draw(cells, tmp_path) == []
    assert drawn == []
    run_norms.norm_figures(cells, tmp_path)
    ((figure, _, _),) = drawn
    assert figure.axes[0].get_lines()[0].get_xydata().tolist() == [[0.0, 1.0]]
    assert "one seed, no error bars" in figure.get_suptitle()


def test_runs_without_any_number_draw_nothing(tmp_path, drawn):
    record(tmp_path)
    run_norms.norm_figures(read_cells([tmp_path])[0], tmp_path)
    assert drawn == []


SEVEN = ("dc", "dsa", "dcc", "dsac", "mtt", "ftd", "datm")


def test_seven_methods_in_one_folder_have_a_panel_each(tmp_path, drawn):
    for k, method in enumerate(SEVEN):
        for sdc in (None, 0.01, 0.1):
            record(tmp_path, method=method, sdc=sdc, accuracies=(0.5 + 0.01 * k,), norms=(1.0 + k, 2.0 + k))
    cells = read_cells([tmp_path])[0]
    run_norms.norm_figures(cells, tmp_path)
    run_coefficients.sensitivity_figures(cells, tmp_path)
    (norms, _, rows), (sensitivity, _, _) = drawn
    assert sorted(axes.get_title() for axes in norms.axes if axes.get_title()) == sorted(m.upper() for m in SEVEN)
    assert {r["method"] for r in rows} == set(SEVEN)
    titles = [axes.get_legend().get_title().get_text() for axes in sensitivity.axes if axes.get_visible()]
    assert sorted(titles) == sorted(f"{m.upper()}, IPC" for m in SEVEN)
    (legend,) = norms.legends  # one for all: a coefficient has the same colour in every panel
    assert texts(legend) == ["plain", "SDC, λ = 0.01", "SDC, λ = 0.1", "real samples"]
    assert not any(axes.get_legend() for axes in norms.axes)
    assert all(axes.get_ylim()[0] > 0.0 for axes in norms.axes if axes.lines)  # a norm has no room below 0
    for figure in (norms, sensitivity):
        figure.canvas.draw()  # a layout that does not fit warns, and a warning is an error here
        boxes = [axes.get_position() for axes in figure.axes if axes.get_visible()]
        for one, two in itertools.combinations(boxes, 2):  # none over another
            assert one.x1 <= two.x0 or two.x1 <= one.x0 or one.y1 <= two.y0 or two.y1 <= one.y0
        assert min(box.width for box in boxes) > 0.1


def test_a_coefficient_keeps_its_colour_over_the_panels_of_a_page(tmp_path, drawn):
    for method, coefficients in (("dc", (0.1, 10.0)), ("dsa", (10.0,))):
        for sdc in (None, *coefficients):
            record(tmp_path, method=method, sdc=sdc, norms=(1.0, 2.0))
    run_norms.norm_figures(read_cells([tmp_path])[0], tmp_path)
    ((figure, _, _),) = drawn
    colours = [{line.get_label(): line.get_color() for line in axes.lines} for axes in figure.axes if axes.lines]
    assert len(colours) == 2 and colours[0]["SDC, λ = 10"] == colours[1]["SDC, λ = 10"] == GREEN
    assert colours[0]["plain"] == colours[1]["plain"] == BLUE


def test_more_coefficients_than_colours_have_a_legend_in_each_panel(tmp_path, drawn):
    for k, method in enumerate(("dc", "dsa", "mtt")):
        for sdc in (None, 0.1 + k, 0.2 + k):
            record(tmp_path, method=method, sdc=sdc, norms=(1.0, 2.0))
    run_norms.norm_figures(read_cells([tmp_path])[0], tmp_path)
    ((figure, _, _),) = drawn
    figure.canvas.draw()
    assert not figure.legends
    panels = [axes for axes in figure.axes if axes.lines]
    assert [texts(a.get_legend())[1] for a in panels] == ["SDC, λ = 0.1", "SDC, λ = 1.1", "SDC, λ = 2.1"]
    assert all(a.get_legend().get_window_extent().y0 >= a.get_window_extent().y1 for a in panels)  # off the curves


def test_a_pull_has_no_place_among_coefficients_and_is_told(tmp_path, capsys):
    for more in ({}, {"sdc": 0.1}, {"sdc": 1.0}, {"sdc_pull": 0.1}):
        record(tmp_path, norms=(1.0, 2.0), **more)
    assert main(["runs", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert "left out: runs by --sdc-pull in figures over lambda" in capsys.readouterr().out
    with (tmp_path / "out" / "sensitivity-digits.csv").open() as file:
        assert [r["lambda"] for r in csv.DictReader(file)] == ["0.0", "0.1", "1.0"]
    with (tmp_path / "out" / "norms-digits-ipc1.csv").open() as file:
        assert "SDC, pull = 0.1" in {r["correction"] for r in csv.DictReader(file)}


def test_a_family_follows_from_the_record_and_not_from_the_name(tmp_path):
    record(tmp_path, method="mine", roles=Roles(("seed", "sdc"), (), "gradient"), norms=(1.0, 2.0))
    record(tmp_path, method="pick", roles=Roles(("seed", "sdc"), (), "coreset"), norms=(1.0, 2.0))
    assert main(["runs", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "norms-digits-ipc1.csv").open() as file:
        assert {r["method"] for r in csv.DictReader(file)} == {"mine"}


NASTY = ["[/red] $x_ <b>", "../../up", "a,b\nc", "x" * 300, r"$\frac{"]


def test_names_that_hold_anything_are_drawn_into_the_folder(tmp_path, capsys):
    runs, out = tmp_path / "runs", tmp_path / "out"
    runs.mkdir()
    for k, name in enumerate(NASTY[:2]):
        for sdc in (None, 0.01, 0.1):
            record(runs, dataset=name, method=f"my{k}{name}", sdc=sdc, accuracies=(0.5,))
    assert main(["runs", str(runs), "--out", str(out)]) == 0
    assert {p.stem for p in out.iterdir()} == {"sensitivity-red-x_-b", "sensitivity-up"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "runs"]
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wrote ")]
    assert said and all(str(out) in line for line in said)


def test_every_name_has_files_of_its_own(tmp_path, drawn):
    for k, name in enumerate([*NASTY, "a/same", "b/same"]):
        for sdc in (None, 0.01, 0.1):
            record(tmp_path, dataset=name, method=f"my{k}{name}", sdc=sdc, norms=(1.0, 2.0), accuracies=(0.5,))
    cells = read_cells([tmp_path])[0]
    run_norms.norm_figures(cells, tmp_path)
    run_coefficients.sensitivity_figures(cells, tmp_path)
    names = [name for _, name, _ in drawn]
    assert len(set(names)) == 14 and {"sensitivity-a-same", "sensitivity-b-same"} <= set(names)
    assert all("/" not in name and "\n" not in name and len(name) < 90 for name in names)
    for figure, _, _ in drawn:
        assert "\n" not in figure.get_suptitle() and len(figure.get_suptitle()) < 130


BROKEN = {
    "config.json": '{"schema": 1, "settings": []}',
    "metrics.jsonl": '{"schema": 1, "step": "half"}\n',
    "summary.json": '{"schema": 1, "evaluation": {"accuracies": [80.0]}}',
    "failure.json": '{"kind": 3}',
}


@pytest.mark.parametrize("file", BROKEN)
@pytest.mark.parametrize("command", ["runs", "compare", "tables"])
def test_a_damaged_run_among_many_is_named(file, command, tmp_path, capsys):
    for seed in (0, 1):
        for sdc in (None, 0.01):
            record(tmp_path, seed=seed, sdc=sdc, norms=(1.0, 2.0), network="convnet")
    broken = tmp_path / "002" / file
    broken.write_text(BROKEN[file])
    if command == "tables":
        status = tables.main([str(tmp_path)])
    else:
        status = main([command, str(tmp_path), "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    if (command, file) == ("tables", "metrics.jsonl"):  # which a table does not read
        assert status == 0 and not error
        return
    assert status == 2 and f"damaged: {broken}: " in error and len(error.strip().splitlines()) == 1
    assert command == "runs" or not (tmp_path / "out").exists()


def test_a_run_without_a_family_that_is_known_is_read_as_other(tmp_path):
    record(tmp_path, method="invented")
    (variants,) = read_cells([tmp_path])[0].values()
    assert [r.family for seeds in variants.values() for r in seeds.values()] == ["other"]


def test_config_written_by_hand_is_enough(tmp_path):
    """What a reader of another program has to write to have its runs drawn."""
    folder = tmp_path / "by-hand"
    folder.mkdir()
    settings = {"method": "mine", "dataset": "d", "ipc": 1, "seed": 3}
    (folder / "config.json").write_text(json.dumps({"schema": 1, "settings": settings}))
    (folder / "summary.json").write_text(json.dumps({"schema": 1, "evaluation": {"accuracies": [0.5]}}))
    ((cell, variants),) = read_cells([tmp_path])[0].items()
    assert cell == ("d", "mine", 1) and [list(seeds) for seeds in variants.values()] == [[3]]
