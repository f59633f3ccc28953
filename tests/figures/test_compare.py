"""``python -m figures compare``: page, JSON and figures from a CSV and from the published table; bad input."""

import base64
import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from figures.__main__ import main
from figures.compare.compare import Compare, labelled, read
from figures.compare.page import Bullets, Heading, Paragraph, Table, to_html, to_markdown
from figures.compare.predicted import predict
from figures.compare.readings import synthesis_reading
from shared.comparison.alpha_map import AlphaMap
from shared.comparison.grid import BadGrid, Measurement, grids, read_csv, write_csv


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A small grid generated from the theory."""
    prediction, rng = predict(True, points=24), np.random.default_rng(0)
    rows = []
    for ipc in (1, 3, 10, 30, 100):
        alpha = ipc * 10 / 25.0
        base = 0.95 - 2.0 * 0.85 * float(prediction.random(alpha))
        for seed in range(4):
            rows.append(("random", ipc, 0.0, seed, base + rng.normal(0, 0.002)))
            common = rng.normal(0, 0.004)
            for coefficient in (-0.05, 0.0, 0.01, 0.1):
                gain = 1.7 * float(prediction.gain(alpha, 40 * coefficient))
                rows.append(("dsa", ipc, coefficient, seed, base + 0.02 + common + gain + rng.normal(0, 0.002)))
    rows += [("whole", 0, 0.0, seed, 0.95) for seed in range(3)]
    measured = [
        Measurement(m, "digits", 10, i, c, s, "net/0", {"accuracy": min(1.0, a)}, "gradient" if m == "dsa" else "other")
        for m, i, c, s, a in rows
    ]
    return write_csv(tmp_path_factory.mktemp("grid") / "grid.csv", measured)


def test_page_json_and_figures(grid, tmp_path, capsys):
    out = tmp_path / "page"
    arguments = ["compare", str(grid), "--published", "--out", str(out), "--resamples", "100"]
    assert main(arguments) == 0
    found = json.loads((out / "compare.json").read_text())
    verdicts = {f["check"]: f["verdict"] for f in found["grids"][0]["findings"]}
    assert verdicts["sign"] == "supported" and verdicts["rank"] == "supported"
    assert verdicts["difficulty along distillation"] == "not identifiable"  # it was not recorded
    everything, gradients, _ = found["published"]
    assert (gradients["above"], gradients["below"], gradients["equal"]) == (6, 1, 2)
    assert everything["finding"]["verdict"] == gradients["finding"]["verdict"] == "not supported"
    answer = "Of 1 measured grids, the sign of the response (selection reading): 1 agrees"
    assert found["headline"][1].startswith(answer)
    page, text = (out / "compare.html").read_text(), (out / "compare.md").read_text()
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 3 and all(base64.b64decode(p).startswith(b"\x89PNG") for p in pictures)
    assert "http" not in re.sub(r'src="[^"]+"', "", page)  # nothing is fetched from elsewhere
    for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (out / link).exists()
    assert "the errors of the matching networks were not recorded" in text
    for name, verdict in verdicts.items():
        assert f"| dsa on digits | {name} | {verdict} |" in text
    assert "sign: supported" in capsys.readouterr().out
    before = (out / "compare.json").read_text()
    assert main(arguments) == 0 and (out / "compare.json").read_text() == before


def test_published_alone(tmp_path, capsys):
    assert main(["compare", "--published", "--out", str(tmp_path)]) == 0
    assert "not supported" in capsys.readouterr().out
    text = (tmp_path / "compare.md").read_text()
    assert "above that at IPC 1 in 6 rows, below in 1, equal in 2; pooled Kendall tau +0.22 (p = 0.19)" in text


def test_labels_keep_sources_apart(grid, tmp_path, capsys):
    better = tmp_path / "better.csv"
    rows = read_csv(grid)
    write_csv(better, [replace(m, values={"accuracy": min(1.0, m.values["accuracy"] + 0.001)}) for m in rows])
    with pytest.raises(BadGrid, match="LABEL=PATH"):
        grids(read([grid, better])[0])
    labelled = [grid, Path(f"width 32={better}")]
    one, two = grids(read(labelled)[0])
    assert (one.dataset, two.dataset) == ("digits", "digits (width 32)")
    assert np.nanmax(two.accuracy - one.accuracy) == pytest.approx(0.001)
    assert one.random.keys() == two.random.keys() and one.random != two.random
    (tmp_path / "a=b.csv").write_bytes(grid.read_bytes())
    assert grids(read([tmp_path / "a=b.csv"])[0])[0].dataset == "digits"  # a file that is called so
    with pytest.raises(BadGrid, match="nowhere does not exist"):
        read([Path("x=nowhere")])


def with_probe_errors(low, high):
    values = {"accuracy": 0.5, "probe_error_low": low, "probe_error_high": high}
    return grids([Measurement("dsa", "digits", 10, 1, c, 0, "n", values) for c in (0.0, 1.0)])[0]


def test_the_angle_is_that_of_the_networks_that_were_matched():
    whole = AlphaMap(30.0, 25.0, 35.0, 0.01, 1.0, 0.9, 0.1, 10, *np.zeros((4, 3)), ())
    band, (note,) = Compare()._band(with_probe_errors(0.9, 0.9), whole)
    assert np.rad2deg(band) == pytest.approx([90.0]) and "as it was initialised, with an error of 90%" in note
    band, (note,) = Compare()._band(with_probe_errors(0.5, 0.9), whole)
    assert np.rad2deg(band) == pytest.approx([45.0, 68.0, 90.0], abs=0.6) and "stand for them" in note
    band, (note,) = Compare(theta_deg=(10.0, 20.0))._band(with_probe_errors(0.5, 0.9), whole)
    assert np.rad2deg(band) == pytest.approx([10.0, 15.0, 20.0]) and "typed" in note
    assert Compare()._band(with_probe_errors(0.5, 0.9), replace(whole, problems=("bad",)))[0] == (0.0,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to compare"),
        (["nowhere"], "nowhere does not exist"),
        (["--published", "--against", "lamda"], "did you mean 'lambda'"),
        (["--published", "--accuracy", "last"], "must be one of"),
        (["--published", "--beta", "-1"], "--beta is -1"),
        (["--published", "--resamples", "3"], "--resamples is 3"),
        (["--published", "--theta-deg", "30", "10"], "low <= high"),
        (["--published", "--table", "pyproject.toml"], "no table of tuned coefficients"),
        (["--published", "--table", "empty.csv"], "is an empty table"),
        (["--published", "--table", "nan.csv"], "coefficient nan"),
        (["plain.csv"], "lambda = 0 only"),
        (["two.csv", "--against", "relative_pull"], "the relative pull was not recorded"),
        (["--table", "x.csv"], "nothing to compare"),
    ],
)
def test_bad_input_gets_one_sentence_and_status_two(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("a,b\n1,2\n")
    columns = "dataset,method,ipc,coefficient\n"
    (tmp_path / "empty.csv").write_text(columns)
    (tmp_path / "nan.csv").write_text(columns + "mnist,dc,1,nan\n")
    for name, coefficients in (("plain", (0.0,)), ("two", (0.0, 1.0))):
        rows = [Measurement("dsa", "digits", 10, 1, c, 0, "n", {"accuracy": 0.5}) for c in coefficients]
        write_csv(tmp_path / f"{name}.csv", rows)
    assert main(["compare", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and len(captured.err.strip().splitlines()) == 1 and not captured.out
    assert not (tmp_path / "output").exists()


def test_page_escapes_what_it_shows(tmp_path):
    blocks = [Heading("a < b", 1), Paragraph("x & y"), Bullets(["<i>"]), Table([{"c": 0.123456, "d": float("nan")}])]
    page = to_html(blocks, "t & u")
    assert "a &lt; b" in page and "x &amp; y" in page and "&lt;i&gt;" in page and "t &amp; u" in page
    assert "| 0.123 | – |" in to_markdown(blocks, tmp_path)


def test_a_label_keeps_a_path_with_a_tilde(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert labelled(Path("wide=~/runs")) == ("wide", tmp_path / "runs")
    assert main(["compare", "wide=", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: the path of wide is empty")


def test_the_synthesis_reading_is_the_recorded_prediction_of_the_slopes():
    root = Path(__file__).parents[2]
    rows = list(csv.DictReader((root / "docs/results/synthesis_slopes.csv").read_text().splitlines()))
    solved = [r for r in rows if r["distance"] == "cosine" and r["dynamics"]]
    expected = sorted(
        ("trained probes" if float(r["probe_alpha"]) > 0 else "random probes", float(r["alpha"]), float(r["dynamics"]),
         float(r["dynamics_se"])) for r in solved
    )  # fmt: skip
    text = (root / "figures/compare/synthesis_slopes.csv").read_text()
    found = csv.DictReader(text.splitlines())
    assert sorted((r["probes"], float(r["alpha"]), float(r["slope"]), float(r["se"])) for r in found) == expected


def test_where_the_probes_are_unlike_those_that_were_solved_there_is_no_synthesis_reading():
    data = next(iter(grids([Measurement("dsa", "d", 10, i, c, s, "n", {"accuracy": 0.5}, "gradient")
                            for i in (1, 2) for c in (0.0, 1.0) for s in (0, 1)])))  # fmt: skip
    trained, random = (synthesis_reading(data, (math.radians(t),), True) for t in (48.0, 90.0))
    assert trained.signs([0.3, 3.0]).tolist() == [[1, -1]]
    assert random.signs([1.0, 1000.0]).tolist() == [[-1, 0]]  # nothing is said beyond the solved alphas
    assert "are at 20 to 90 degrees" in synthesis_reading(data, (math.radians(20.0), math.radians(90.0)), True)
    assert "is not known" in synthesis_reading(data, (0.0,), False)
    assert "gradient matching" in synthesis_reading(replace(data, family="trajectory"), (1.5,), True)
