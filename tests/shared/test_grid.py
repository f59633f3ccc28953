"""The measured grid: its CSV, recorded runs, pairing, and the map fitted on random subsets."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from planted import CLASSES, N_EFF, accuracy_of, perfect_probe

from shared.comparison.alpha_map import fit_alpha_map
from shared.comparison.grid import COLUMNS, BadGrid, Measurement, divergences, grids, read_csv, write_csv
from shared.comparison.run_grid import read_runs
from shared.records.agreement import disagreement
from shared.records.records import BadRecord, write_config, write_failure, write_json, write_summary


def measurement(method="dsa", ipc=1, coefficient=0.0, seed=0, network="convnet/0", accuracy=0.5, **more):
    return Measurement(method, "digits", 10, ipc, coefficient, seed, network, {"accuracy": accuracy, **more})


def small():
    rng = np.random.default_rng(0)
    return [
        measurement(ipc=i, coefficient=c, seed=s, network=f"convnet/{n}", accuracy=float(rng.random()), relative_pull=c)
        for i in (1, 10) for c in (0.0, 0.01, -0.01) for s in (0, 1) for n in (0, 1)
    ] + [measurement("random", i, seed=s, accuracy=0.3) for i in (1, 10) for s in (0, 1)] + [
        measurement("whole", 0, accuracy=0.9)
    ]  # fmt: skip


def test_csv_round_trip(tmp_path):
    path = write_csv(tmp_path / "grid.csv", small())
    with path.open() as file:
        assert tuple(next(csv.reader(file))) == COLUMNS
    (one,), (two,) = grids(small()), grids(read_csv(path))
    assert np.array_equal(one.accuracy, two.accuracy) and one.accuracy.shape == (2, 3, 2, 2)
    assert two.random == {1: [[0.3], [0.3]], 10: [[0.3], [0.3]]} and list(two.whole) == [0.9]
    assert np.array_equal(two.strength("relative_pull"), [[-0.01, 0.01]] * 2)
    assert two.family == "gradient" and two.classes == 10
    shuffled = path.read_text().splitlines()
    (tmp_path / "b.csv").write_text("\n".join([shuffled[0], *shuffled[:0:-1]]))
    assert np.array_equal(grids(read_csv(tmp_path / "b.csv"))[0].accuracy, one.accuracy)


def test_gains_are_paired():
    rows = small()
    (grid,) = grids(rows)
    of = {(m.ipc, m.coefficient, m.seed, m.network): m.values["accuracy"] for m in rows if m.method == "dsa"}
    assert grid.coefficient.tolist() == [-0.01, 0.0, 0.01]
    expected = of[10, 0.01, 1, "convnet/1"] - of[10, 0.0, 1, "convnet/1"]
    assert grid.gains()[1, 1, 1, 1] == expected
    missing = [m for m in rows if not (m.coefficient == 0.0 and m.seed == 1 and m.ipc == 10 and m.method == "dsa")]
    (grid,) = grids(missing)
    assert np.isnan(grid.gains()[1, :, 1]).all() and np.isfinite(grid.gains()[1, :, 0]).all()
    assert grid.incomplete == ("ipc 10, lambda 0: 1 of 2 seeds",)


def test_architectures_are_kept_apart(tmp_path):
    narrow, wide = ([replace(m, architecture=f"convnet, width {w}") for m in small()] for w in (8, 16))
    shifted = [replace(m, values={"accuracy": m.values["accuracy"] / 2}) for m in wide]
    one, two = grids(read_csv(write_csv(tmp_path / "grid.csv", [*narrow, *shifted])))
    assert (one.name, two.name) == ("dsa on digits (convnet, width 16)", "dsa on digits (convnet, width 8)")
    assert np.array_equal(one.accuracy, two.accuracy / 2)
    assert one.random[1] == [[0.15], [0.15]] and two.random[1] == [[0.3], [0.3]]
    assert (one.whole, two.whole) == ([0.45], [0.9])
    without = [m for m in shifted if m.method == "dsa"]
    (one, two) = grids([*narrow, *without])
    assert one.random == {} and one.incomplete == ("random subsets were measured with convnet, width 8 only",)
    unknown = [replace(m, architecture="") for m in narrow if m.method == "random"]
    assert grids([*without, *unknown])[0].random[1] == [[0.3], [0.3]]  # not recorded: taken to fit


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("dsa,digits,10,1,0,0,a,1.5", r"accuracy is 1.5, must lie in \[0, 1\]"),
        ("dsa,digits,10,1,x,0,a,0.5", "lambda is 'x'"),
        ("dsa,digits,10,0,0,0,a,0.5", "whole numbers"),
        ("dsa,digits,10,1,0,0,a,", "accuracy is ''"),
        ("dsa,digits,10,1,0,0,a,0.5,0", "mediator_gradn is 0, a mean of norms"),
        ("dsa,digits,10,1,0,0,a,0.5,-1", "must be above 0"),
        ("dsa,digits,10,1,0,0,a,0.5,,90", r"probe_error_low is 90, must lie in \[0, 1\]"),
        ("dsa,digits,10,1,0,0,a,0.5,1,0.5,more", "more fields"),
        ("dsa,digits,10,1e300,0,0,a,0.5", "at most 9007199254740992"),
    ],
)
def test_bad_rows(tmp_path, row, message):
    path = tmp_path / "grid.csv"
    columns = "method,dataset,classes,ipc,lambda,seed,network,accuracy,mediator_gradn,probe_error_low\n"
    path.write_text(columns + row + "\n")
    with pytest.raises(BadGrid, match=f"line 2: .*{message}"):
        read_csv(path)


def test_bad_grids(tmp_path):
    path = tmp_path / "grid.csv"
    path.write_text("method,dataset\n")
    with pytest.raises(BadGrid, match="lacks the column 'classes'"):
        read_csv(path)
    with pytest.raises(BadGrid, match="cannot be read"):
        read_csv(tmp_path / "absent.csv")
    for rows, message in (
        ([measurement("random")], "no method to compare"),
        ([measurement(coefficient=0.1)], "no runs with lambda = 0"),
        ([measurement(), measurement(accuracy=0.6)], "two states of one run"),
    ):
        with pytest.raises(BadGrid, match=message):
            grids(rows)
    with pytest.raises(BadGrid, match="accuracy_last was not measured"):
        grids([measurement()], "accuracy_last")
    assert grids([measurement(), measurement()])[0].accuracy.size == 1  # the same twice is no contradiction


def recorded(folder, sdc, seed, finished=True, **settings):
    settings = {"method": "dsa", "dataset": "digits", "ipc": 1, "sdc": sdc, "seed": seed, **settings}
    write_config(folder, settings, seed=seed, data={"classes": 10})
    rows = [
        {"step": 0, "gradn_synthetic_trained": 2.0},
        {"step": 0, "misclassified_real_trained": 0.2, "misclassified_real_random": 0.9},
        {"step": 0, "pull": 0.1}, {"step": 1, "pull": 0.3}, {"step": 2, "gradn_synthetic_trained": 3.0},
    ]  # fmt: skip
    if sdc is None:
        rows = [row for row in rows if "pull" not in row]
    (folder / "metrics.jsonl").write_text("".join(json.dumps({"schema": 1, **row}) + "\n" for row in rows))
    if finished:
        write_summary(folder, {"evaluation": {"network": "convnet", "accuracies": [0.6 + seed / 10, 0.7]}})


def test_recorded_runs(tmp_path):
    recorded(tmp_path / "a", None, 0)
    recorded(tmp_path / "b", 0.01, 0)
    recorded(tmp_path / "c", 0.01, 1, finished=False)
    recorded(tmp_path / "d", None, 0, asdc=[0.1, 1.0])
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    results = {"random": {"accuracies": [[0.4, 0.5]]}, "whole": {"accuracies": [[0.9]]}}
    write_json(tmp_path / "a" / "summary.json", summary | {"results": results})
    measurements, left_out = read_runs(tmp_path)
    (grid,) = grids(measurements)
    assert grid.accuracy.tolist() == [[[[0.6, 0.7]], [[0.6, 0.7]]]] and grid.coefficient.tolist() == [0.0, 0.01]
    assert grid.random == {1: [[0.4, 0.5]]} and list(grid.whole) == [0.9]
    assert grid.per_run["relative_pull"].tolist() == [[[0.0], [pytest.approx(0.2)]]]
    assert grid.per_run["relative_pull_start"][0, 1, 0] == 0.1
    assert grid.per_run["mediator_gradn"][0, 0, 0] == 3.0 and grid.per_run["mediator_gradn_start"][0, 0, 0] == 2.0
    # Matched at untrained networks or not: what the errors of the probe's networks say of the angle.
    assert (grid.per_run["probe_error_low"][0, 0, 0], grid.per_run["probe_error_high"][0, 0, 0]) == (0.2, 0.9)
    assert [run.folder.name for run in left_out] == ["c", "d"] and grid.architecture == ""
    assert left_out[0].why == "not finished" and "not one coefficient" in str(left_out[1])
    with pytest.raises(BadGrid, match="holds no runs"):
        read_runs(tmp_path / "a" / "nothing")


def test_a_diverged_run_is_told_of_and_a_failed_one_is_left_out(tmp_path):
    for folder, sdc in (("a", None), ("b", 0.1), ("c", 10.0), ("d", 1.0)):
        recorded(tmp_path / folder, sdc, 0, finished=folder in "ab")
    write_failure(tmp_path / "c", "diverged", "the loss is not finite at step 3")
    write_failure(tmp_path / "d", "failed", "RuntimeError: out of memory")
    write_failure(tmp_path / "e", "failed", "died before it began")
    measurements, left_out = read_runs(tmp_path)
    (grid,) = grids(measurements)
    assert grid.coefficient.tolist() == [0.0, 0.1]
    said = ["dsa on digits, ipc 1, lambda 10, seed 0: diverged (the loss is not finite at step 3)"]
    assert divergences(measurements) == said
    assert [run.why for run in left_out] == ["failed (RuntimeError: out of memory)", "failed (died before it began)"]
    again = read_csv(write_csv(tmp_path / "grid.csv", measurements))
    assert divergences(again) == said and np.array_equal(grids(again)[0].accuracy, grid.accuracy)
    (tmp_path / "c" / "failure.json").write_text("{")
    with pytest.raises(BadRecord, match="record of a failure"):
        read_runs(tmp_path)


@pytest.mark.parametrize(
    ("settings", "band"),
    [
        ({"matching_steps": 1, "network_epochs": 1}, (0.9, 0.9)),
        ({"matching_steps": 10, "network_epochs": 0}, (0.9, 0.9)),
        ({"matching_steps": 10, "network_epochs": 1}, (0.2, 0.9)),
        ({"method": "mtt", "matching_steps": 1}, (0.2, 0.9)),
    ],
)
def test_networks_met_untrained_give_one_error_and_others_a_band(settings, band, tmp_path):
    recorded(tmp_path / "a", None, 0, network="convnet", width=8, depth=None, **settings)
    assert read_runs(tmp_path)[0][0].architecture == "convnet, width 8"
    assert {(m.values["probe_error_low"], m.values["probe_error_high"]) for m in read_runs(tmp_path)[0]} == {band}


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"width": 8}, {"width": 16}, "width = 8 .*16"),
        ({"sdc": 0.1, "sdc_power": 1}, {"sdc": 0.2, "sdc_power": 2}, "sdc_power = 1"),
        ({"method": "mtt", "trajectory": {"syn_steps": 5}}, {"method": "mtt", "trajectory": {"syn_steps": 6}}, "5"),
    ],
)
def test_runs_that_differ_in_more_than_the_correction_are_refused(first, second, words, tmp_path):
    for folder, seed, settings in (("a", 0, first), ("b", 1, second)):
        recorded(tmp_path / folder, settings.get("sdc"), seed, **{k: v for k, v in settings.items() if k != "sdc"})
    with pytest.raises(BadGrid, match=words):
        read_runs(tmp_path)


def test_what_changes_no_number_may_differ():
    of_one = {"method": "dsa", "width": 8, "sdc_power": 1, "sdc": None, "device": "cpu", "trajectory": {"syn_steps": 5}}
    other = {**of_one, "sdc": 0.1, "sdc_power": 2, "device": "cuda", "seed": 3, "trajectory": {"syn_steps": 6}}
    assert disagreement(of_one, other) is None
    assert disagreement({**of_one, "whole_epochs": 1}, {**of_one, "whole_epochs": 2}) is None
    whole = {"method": "whole", "whole_epochs": 1}
    assert disagreement(whole, {**whole, "whole_epochs": 2}) == ("whole_epochs", 1, 2)


def test_a_run_counts_with_its_best_evaluation_point(tmp_path):
    recorded(tmp_path / "a", None, 0, method="mtt")
    recorded(tmp_path / "b", None, 0, method="random")
    points = [([0.5, 0.7], [0.8, 0.8]), ([0.9, 0.5], [0.6, 0.6]), ([0.6, 0.4], [0.7, 0.7])]
    with (tmp_path / "a" / "metrics.jsonl").open("a") as file:
        for step, (test, validation) in enumerate(points):
            row = {"schema": 1, "step": step, "test_accuracies": test, "validation_accuracies": validation}
            file.write(json.dumps(row) + "\n")
    of = {(m.method, m.network): m.values for m in read_runs(tmp_path)[0]}
    for k in (0, 1):
        found = of["mtt", f"convnet/{k}"]
        chosen = tuple(found[c] for c in ("accuracy", "accuracy_last", "accuracy_validated"))
        assert chosen == (points[1][0][k], points[2][0][k], points[0][0][k])
    assert of["mtt", "convnet/0"]["relative_pull"] == 0.0 and "relative_pull" not in of["random", "convnet/0"]


def test_the_map_finds_the_planted_dimension():
    prediction = perfect_probe(False)
    covered = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        ipc = (1, 5, 10, 50)
        truth = {k: accuracy_of(prediction.random(k * CLASSES / N_EFF)) for k in ipc}
        random = {k: (mean + rng.normal(0, 0.005, (5, 3))).tolist() for k, mean in truth.items()}
        found = fit_alpha_map(random, [0.96, 0.96], CLASSES, prediction.random)
        assert found.valid and found.residual < 0.02 and found.explained > 0.98
        covered += found.low <= N_EFF <= found.high
    assert covered >= 18
    assert found.alpha([1, 50]) == pytest.approx(np.array([1, 50]) * 10 / found.n_eff)
    assert found.angle(0.04) == pytest.approx(0.0, abs=1e-12) and found.angle(0.9) == pytest.approx(np.pi / 2)
