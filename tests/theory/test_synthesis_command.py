"""`python -m theory synthesis`: what it prints, and refusals in one sentence."""

import csv
import json

import numpy as np
import pytest

from theory import Matched, solve
from theory.__main__ import main
from theory.distillation import cells


def test_curve(tmp_path, capsys):
    path = tmp_path / "curve.csv"
    arguments = ["synthesis", "curve", "--residual", "1", "0.3", "--points", "3", "--theta-deg", "20", "--json"]
    assert main([*arguments, "--csv", str(path)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [r["alpha"] for r in rows] == pytest.approx([0.1, 1.0, 10.0])
    expected = solve(1.0, 0.5, "hard", np.deg2rad(20), noise=Matched(0.3)).test_error
    assert rows[1]["hard, s = 0.3"] == pytest.approx(expected, rel=1e-12)
    with path.open() as file:
        assert float(list(csv.DictReader(file))[1]["hard, s = 0.3"]) == pytest.approx(expected, rel=1e-12)


def test_solve_at_a_measured_set(tmp_path, capsys):
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((40, 80)), np.eye(80)[0]
    arrays = {"points": X, "labels": np.sign(X[:, 0]), "teacher": T, "probes": rng.standard_normal((3, 80)) / 9.0}
    np.savez(tmp_path / "one.npz", **arrays)
    assert main(["synthesis", "solve", str(tmp_path / "one.npz"), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert row["set"] == "one" and abs(row["(D) {1, U, h}"] - row["test_error"]) < 0.05
    np.savez(tmp_path / "split.npz", **(arrays | {"points": X[:, :15], "teacher": T[:15], "probes": np.ones((1, 15)),
                                                  "labels": np.where(np.arange(40) % 2, 1.0, -1.0)}))  # fmt: skip
    del arrays["probes"]
    np.savez(tmp_path / "less.npz", **arrays)
    (tmp_path / "text.npz").write_text("no")
    for name, words in (
        ("less", "has no array 'probes'"), ("none", "there is no file"), ("text", "cannot be read"),
        ("split", "no hyperplane through the origin separates"),
    ):  # fmt: skip
        assert main(["synthesis", "solve", str(tmp_path / f"{name}.npz")]) == 2
        error = capsys.readouterr().err
        assert words in error and len(error.strip().splitlines()) == 1


def test_predict(capsys):
    arguments = ["--alpha", "0.5", "--coefficient", "-0.05", "0.05", "--steps", "10", "--probes", "2"]
    assert main(["synthesis", "predict", *arguments, "--population", "60", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [r["lambda"] for r in rows] == [-0.05, 0.05] and all(r["status"] == "predicted" for r in rows)
    assert rows[0]["mean U"] < rows[1]["mean U"]


def test_cells_are_means_of_what_is_separable():
    rows = [
        {"distance": "cosine", "probe_alpha": 1.0, "alpha": 1.0, "coefficient": 0.0, "test_error": e}
        | dict.fromkeys(cells.SHOWN, 0.2)
        for e in (0.1, 0.3, float("nan"))
    ]
    (cell,) = cells.cell_means(rows)
    assert (cell["sets"], cell["separable"], cell["test_error"]) == (3, 2, pytest.approx(0.2))
    assert cells.misses([cell])["theory_d"].worst == pytest.approx(0.0, abs=1e-12)
    assert len(cells.settings()) == 54 * 5 and len({str(s) for s in cells.settings()}) == 270


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["curve", "--residual", "-1"], "residual is -1"),
        (["curve", "--keep", "esay"], "did you mean 'easy'"),
        (["curve", "--theta-deg", "120"], "must lie in [0, 90]"),
        (["curve", "--points", "1"], "at least 2"),
        (["curve", "--alpha-min", "3", "--alpha-max", "2"], "0 < min < max"),
        (["predict", "--alpha", "30"], "at most the real set"),
        (["predict", "--distance", "cosin"], "did you mean 'cosine'"),
        (["predict", "--population", "100"], "must be at least 322"),
        (["solve"], "npz"),
    ],
)
def test_refusals(arguments, words, capsys):
    assert main(["synthesis", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1
