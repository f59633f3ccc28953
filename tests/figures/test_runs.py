"""``python -m figures runs``: planted records give the planted numbers; what is missing is said; refusals."""

import csv
import json
import math

import numpy as np
import pytest
import torch

from empirical.data.preprocessing import Normalisation
from empirical.synthetic.synthetic_set import SyntheticSet, save
from figures.__main__ import main
from figures.runs import gallery as run_gallery
from figures.runs.gallery import strongest
from figures.runs.norms import averaged
from figures.runs.recorded import PLAIN, Correction, read_cells, spread_out
from shared.records.records import MetricsWriter, write_config, write_summary

SIDE = Normalisation((0.5,), (0.25,))


def tiny(value, ipc=1):
    """Two classes of constant images: class 0 is `value` in [0, 1], class 1 black."""
    pixels = torch.cat([torch.full((ipc, 1, 4, 4), value), torch.zeros(ipc, 1, 4, 4)])
    return SyntheticSet(
        SIDE.apply(pixels), torch.tensor([0] * ipc + [1] * ipc), 2, recipe={"preprocessing": SIDE.describe()}
    )


def record(root, method="dsa", ipc=1, sdc=None, asdc=None, seed=0, accuracy=0.9, slope=0.0, finished=True, **more):
    folder = root / f"{method}-{ipc}-{sdc}-{asdc}-{seed}-{len(list(root.iterdir()))}"
    settings = {"dataset": "digits", "method": method, "ipc": ipc, "sdc": sdc, "asdc": asdc, "seed": seed, **more}
    write_config(folder, {"iterations": 40, **settings}, seed=seed)
    with MetricsWriter(folder) as writer:
        for step in range(40):
            writer.write(step, norm=1.0 + slope * step + seed, real_norm=1.0)
        for step in (0, 20, 40):
            writer.write(step, gradn_synthetic_trained=2.0 + slope * step, gradn_real_trained=2.0)
    save(folder, tiny(1.0, ipc), preprocessing=SIDE)
    if finished:
        write_summary(folder, {"evaluation": {"network": "convnet", "accuracies": [accuracy, accuracy + 0.02]}})
    return folder


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Two IPC, three coefficients, two seeds; plain gradient matching rises; a schedule; a trajectory method."""
    root = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        for ipc in (1, 5):
            for sdc, gain in ((None, 0.0), (0.01, 0.01), (1.0, -0.02)):
                slope = 0.1 if sdc is None else 0.0
                record(root, ipc=ipc, sdc=sdc, seed=seed, accuracy=0.8 + 0.05 * seed + gain, slope=slope)
        record(root, asdc=[0.01, 0.1], seed=seed, accuracy=0.84)
        record(root, method="mtt", seed=seed, accuracy=0.7)
    record(root, method="mtt", sdc=0.1, accuracy=0.7, finished=False)
    record(root, method="random", accuracy=0.6)
    return root


def test_every_figure_of_planted_runs(planted, tmp_path, capsys):
    assert main(["runs", str(planted), "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "not drawn: nothing" in said and "left out: 1 unfinished runs" in said
    names = {p.stem for p in tmp_path.iterdir()}
    assert names == {
        "norms-digits-ipc1", "norms-digits-ipc5", "sensitivity-digits", "lambda-ipc-digits-dsa", "asdc-digits",
        "gallery-digits-dsa",
    }  # fmt: skip
    for name in names:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    found = {(r["ipc"], float(r["lambda"])): r for r in rows(tmp_path / "lambda-ipc-digits-dsa.csv")}
    assert float(found[("5", 0.01)]["paired_gain"]) == pytest.approx(1.0)
    assert float(found[("1", 1.0)]["paired_gain"]) == pytest.approx(-2.0)
    line = {float(r["lambda"]): r for r in rows(tmp_path / "sensitivity-digits.csv") if r["ipc"] == "1"}
    assert float(line[0.0]["accuracy"]) == pytest.approx(83.5)  # seeds 81 and 86
    assert float(line[0.0]["se"]) == pytest.approx(5.0 / math.sqrt(2) / math.sqrt(2))
    assert line[0.0]["paired_gain"] == "nan" and line[0.01]["pairs"] == "2"
    kinds = {r["correction"]: float(r["accuracy"]) for r in rows(tmp_path / "asdc-digits.csv")}
    assert kinds["ASDC, λ 0.01 to 0.1"] == pytest.approx(85.0) and kinds["plain"] == pytest.approx(83.5)
    gallery = [r["correction"] for r in rows(tmp_path / "gallery-digits-dsa.csv") if r["ipc"] == "1"]
    assert gallery == ["plain", "SDC, λ = 1", "ASDC, λ 0.01 to 0.1"]
    methods = {r["method"] for r in rows(tmp_path / "norms-digits-ipc1.csv")}
    assert methods == {"dsa", "mtt"}


def test_norms_show_the_planted_rise_over_seeds(planted):
    cells, _ = read_cells([planted])
    seeds = cells[("digits", "dsa", 5)][PLAIN]
    steps, mean, error = averaged(seeds, "norm", blocks=10)
    assert steps.tolist() == [1.5 + 4 * k for k in range(10)]  # blocks of four steps
    assert mean == pytest.approx(1.5 + 0.1 * steps)  # seeds 0 and 1 lie 1 apart
    assert error == pytest.approx(np.full(10, 0.5))
    steps, mean, error = averaged({0: seeds[0]}, "gradn_synthetic_trained")
    assert steps.tolist() == [0, 20, 40] and mean == pytest.approx([2.0, 4.0, 6.0]) and not error.any()
    assert averaged(seeds, "absent")[0].size == 0


def test_what_is_shown(planted):
    variants = read_cells([planted])[0][("digits", "dsa", 1)]
    assert list(variants) == [PLAIN, Correction(0.01), Correction(1.0), Correction(0.01, 0.1)]
    assert strongest({1: variants}) == {1: Correction(1.0)}  # though it is the least accurate
    assert spread_out(variants, 2) == [PLAIN, Correction(0.01), Correction(0.01, 0.1)]


def test_gallery_undoes_the_normalisation():
    def tiled(made):
        return run_gallery.tiled(made.to_pixels().numpy(), run_gallery.arranged(made))

    picture = tiled(tiny(1.0, ipc=2))
    assert picture.shape == (4 + 1 + 4, 4 + 1 + 4, 3)
    assert (picture[:, :4] == 255).all() and (picture[4] == 255).all()
    assert (picture[:4, 5:] == 0).all() and (picture[5:, 5:] == 0).all()
    assert (tiled(tiny(0.5))[:, :4] == 128).all()


def test_what_is_missing_is_said_in_one_line(tmp_path, capsys):
    record(tmp_path)
    assert main(["runs", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert line.startswith("not drawn: sensitivity (needs one method")
    for name in ("lambda-ipc", "asdc", "gallery", "norms of trajectory matching", "norms with the correction"):
        assert f"{name} (needs" in line
    assert {p.stem for p in (tmp_path / "out").iterdir()} == {"norms-digits-ipc1"}


def test_the_same_run_named_twice_counts_once(tmp_path):
    folder = record(tmp_path)
    assert len(read_cells([tmp_path, folder])[0][("digits", "dsa", 1)][PLAIN]) == 1


def foreign(root, content):
    (root / "config.json").write_text(json.dumps(content))


def damaged(root):
    for sdc in (None, 0.1):
        (record(root, sdc=sdc) / "synthetic.safetensors").write_bytes(b"no tensors")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "holds no runs"),
        (lambda root: foreign(root, {"model_type": "bert"}), "schema None"),
        (lambda root: foreign(root, [1, 2]), "not the record of a run"),
        (lambda root: (root / "config.json").write_text("{"), "is not JSON"),
        (lambda root: write_config(root, {"lr": 1}) and write_summary(root, {"evaluation": {}}), "of a distillation"),
        (lambda root: record(root, finished=False), "no finished run"),
        (lambda root: [record(root), record(root)], "are the same experiment"),
        (lambda root: [record(root, width=8), record(root, width=16, seed=1)], "width = 8"),
        (damaged, "safetensors"),
    ],
)
def test_bad_records_get_one_sentence_and_status_two(make, words, tmp_path, capsys):
    root = tmp_path / "runs"
    root.mkdir()
    make(root)
    assert main(["runs", str(root), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1


def test_absent_folder(tmp_path, capsys):
    assert main(["runs", str(tmp_path / "nowhere")]) == 2
    assert "is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("dataset", [r"a $\frac{$ b", "$x$ [x] [-x]", "100 % of _all_ ^these^ & more"])
def test_a_data_set_whose_name_looks_like_a_formula_is_drawn(tmp_path, capsys, dataset):
    (tmp_path / "runs").mkdir()
    for ipc in (1, 5):
        for sdc, asdc in ((None, None), (0.01, None), (1.0, None), (None, [0.01, 0.1])):
            record(tmp_path / "runs", ipc=ipc, sdc=sdc, asdc=asdc, dataset=dataset)
    assert main(["runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    assert sorted({p.name.split("-")[0] for p in (tmp_path / "out").iterdir()}) == [
        "asdc", "gallery", "lambda", "norms", "sensitivity",
    ]  # fmt: skip
    assert capsys.readouterr().err == ""
