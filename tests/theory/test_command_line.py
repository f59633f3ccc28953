"""`python -m theory`: results, files, and one sentence with status 2 for a wrong value."""

import csv
import json
import math

import pytest

from theory import scaling, solve
from theory.__main__ import main


def run(capsys, *arguments):
    status = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_solve(capsys):
    status, out, _ = run(
        capsys, "solve", "--alpha", 2, "--fraction", 0.2, "--keep", "easy", "--theta-deg", 20, "--json"
    )
    row = json.loads(out)
    exact = solve(2.0, 0.2, "easy", math.radians(20))
    assert status == 0
    assert (row["test_error"], row["R"], row["theta_deg"]) == (exact.test_error, exact.R, 20.0)
    status, out, _ = run(capsys, "solve", "--alpha", 2, "--keep", "tilt", "--tilt", 3)
    assert status == 0 and "test_error" in out


def test_curve(capsys, tmp_path):
    table, plot = tmp_path / "new" / "c.csv", tmp_path / "c.png"
    status, out, _ = run(
        capsys,
        "curve",
        "--fraction",
        0.3,
        "--keep",
        "hard",
        "random",
        "--points",
        3,
        "--csv",
        table,
        "--plot",
        plot,
        "--json",
    )
    assert status == 0
    rows = json.loads(out)
    assert [r["keep"] for r in rows] == ["hard"] * 3 + ["random"] * 3
    assert rows[2]["test_error"] == pytest.approx(solve(100.0, 0.3, "hard").test_error, rel=1e-12)
    with table.open() as file:
        assert [float(r["test_error"]) for r in csv.DictReader(file)] == [r["test_error"] for r in rows]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.png", "new"]


def test_simulate(capsys):
    status, out, _ = run(
        capsys, "simulate", "--alpha", 1, "--fraction", 0.5, "--dimension", 30, "--trials", 20, "--json"
    )
    found = json.loads(out)
    assert status == 0
    assert abs(found["test_error"]["z"]) < 6
    assert found["test_error"]["theory"] == pytest.approx(solve(1.0, 0.5, "hard").test_error, rel=1e-12)


def test_crossover(capsys):
    status, out, _ = run(capsys, "crossover", "--fraction", 0.1, "--theta-deg", 20, "--json")
    rows = json.loads(out)
    assert status == 0
    assert rows[0]["alpha"] == pytest.approx(scaling.crossover(0.1, math.radians(20)), rel=1e-10)
    assert (rows[0]["below"], rows[0]["above"]) == ("easy", "hard")
    status, out, _ = run(capsys, "crossover", "--fraction", 0.1, "--first", "easy", "--second", "random")
    assert status == 0 and "no crossover" in out and "easy is better" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("solve", "--alpha", "-1"), ("alpha is -1", "positive")),
        (("solve", "--alpha", "1", "--keep", "eazy"), ("'eazy'", "did you mean 'easy'")),
        (("solve", "--alpha", "1", "--margin", "signd"), ("'signd'", "did you mean 'signed'")),
        (("solve", "--alpha", "1", "--fraction", "2"), ("fraction is 2", "(0, 1]")),
        (("solve", "--alpha", "1", "--theta-deg", "100"), ("theta-deg is 100", "[0, 90]")),
        (("solve", "--alpha", "1", "--keep", "window"), ("--window LOWER UPPER",)),
        (("solve", "--alpha", "1", "--keep", "tilt"), ("--tilt COEFFICIENT",)),
        (("curve", "--alpha-min", "5", "--alpha-max", "1"), ("0 < min < max",)),
        (("curve", "--points", "1"), ("at least 2",)),
        (("curve", "--points", "2", "--keep"), ("--keep needs at least one of hard, easy",)),
        (("curve", "--plot", "/dev/null/x.png"), ("/dev/null is a file; --plot needs a folder there",)),
        (("curve", "--csv", "/"), ("/ is a folder; --csv names a file",)),
        (("curve", "--plot", "x.bmp"), (".png, .pdf or .svg",)),
        (("simulate", "--alpha", "1", "--trials", "0"), ("trials is 0", "at least 1")),
        (("crossover", "--first", "hrd"), ("did you mean 'hard'",)),
    ],
)
def test_wrong_values_get_one_sentence_and_status_two(capsys, arguments, words):
    status, out, err = run(capsys, *arguments)
    assert status == 2 and out == "" and len(err.strip().splitlines()) == 1
    assert all(word in err for word in words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--keep", "hard", "--window", "0", "1"), ("--window is read by window, not by hard",)),
        (("--keep", "easy", "--tilt", "1"), ("--tilt is read by tilt, not by easy",)),
        (("--keep", "window", "--window", "0", "1", "--beta", "1"), ("--beta is read by tilt, not by window",)),
        (("--keep", "window", "--window", "0", "1", "--fraction", "1"), ("--fraction is read by hard, easy, not by",)),
        (("--keep", "tilt", "--tilt", "1", "--fraction", "0.3"), ("--fraction is read by hard, easy, not by tilt",)),
        (("--keep", "random", "--fraction", "0.3"), ("--fraction", "not by random")),
        (("--keep", "random", "--margin", "unsigned"), ("--margin is read by hard, easy, window, tilt, not by",)),
    ],
)
@pytest.mark.parametrize("command", [("solve", "--alpha", "1"), ("simulate", "--alpha", "1"), ("curve",)])
def test_a_flag_that_the_strategy_never_reads_is_refused(capsys, command, arguments, words):
    status, out, err = run(capsys, *command, *arguments)
    assert status == 2 and out == "" and len(err.strip().splitlines()) == 1
    assert all(word in err for word in words)


def test_a_flag_that_one_of_several_strategies_reads_is_taken(capsys, tmp_path):
    plot = tmp_path / "c.png"
    arguments = ("--fraction", 0.3, "--tilt", 2, "--points", 2, "--alpha-max", 1, "--plot", plot, "--json")
    status, out, _ = run(capsys, "curve", "--keep", "random", "easy", "tilt", *arguments)
    assert status == 0
    assert [row["fraction"] for row in json.loads(out)][:4] == [1.0, 1.0, 0.3, 0.3]
    status, _, err = run(capsys, "curve", "--keep", "random", "easy", *arguments)
    assert status == 2 and "--tilt is read by tilt, not by random and easy" in err
    status, _, err = run(capsys, "crossover", "--first", "random", "--second", "tilt", "--tilt", 1, "--fraction", 0.3)
    assert status == 2 and "--fraction is read by hard, easy, not by random and tilt" in err


def test_a_curve_of_no_strategies_is_refused(capsys):
    for arguments in (("--keep",), ("--keep", "--points", "2")):
        status, out, err = run(capsys, "curve", *arguments)
        assert status == 2 and out == "" and "--keep needs at least one of" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("flag", ["--plot", "--csv"])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(capsys, tmp_path, flag):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    for path, words in ((tmp_path / "file" / "x.png", "is a file"), (tmp_path / "folder.png", "is a folder")):
        status, out, err = run(capsys, "curve", "--points", 2, "--plot", tmp_path / "ok.png", flag, path)
        assert status == 2 and out == "" and words in err and len(err.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


@pytest.mark.parametrize("arguments", [("solv",), ("solve",), ("solve", "--alpha", "one"), ("solve", "--alhpa", "1")])
def test_wrong_flags_exit_with_status_two(capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert exit_.value.code == 2
    assert capsys.readouterr().err
