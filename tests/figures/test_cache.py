"""Kept results: found again, of these settings and this program only, and never believed when damaged."""

import json

import numpy as np
import pytest

import theory
from figures.cache import kept, source_digest
from figures.compare.predicted import predict
from figures.theory.simulated import Effort, Strategy, simulated_curve

SETTINGS = {"alphas": [0.5, 1.0], "seed": 3}
SHAPES = {"error": (2,), "se": (2,)}


def made():
    return {"error": np.array([0.25, 0.1]), "se": np.array([0.01, 0.02])}


def never():
    raise AssertionError("made again")


def test_what_was_kept_is_found_again_to_the_last_digit(tmp_path):
    path = tmp_path / "deep" / "a.json"
    found = {"error": np.array([0.1 + 0.2, 1e-17]), "se": np.array([1 / 3, 2 / 3])}
    kept(path, SETTINGS, SHAPES, lambda: found)
    again = kept(path, SETTINGS, SHAPES, never)
    assert all(np.array_equal(again[name], found[name]) for name in SHAPES)
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def edited(change):
    def damage(path):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return damage


def checked(change):
    """Edited, with a checksum that fits: what another program, or another settings' file under this name, would be."""

    def damage(path):
        from figures.cache import _checksum

        content = json.loads(path.read_text())
        change(content)
        content["sha256"] = _checksum(content["settings"], content["results"])
        path.write_text(json.dumps(content))

    return damage


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "empty": lambda path: path.write_bytes(b""),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "another kind": lambda path: path.write_text("[1, 2]"),
    "nested": lambda path: path.write_text("[" * 100_000),
    "a number edited": edited(lambda c: c["results"]["error"].__setitem__(0, 0.24)),
    "not a number": edited(lambda c: c["results"]["error"].__setitem__(0, float("nan"))),
    "no checksum": edited(lambda c: c.pop("sha256")),
    "settings edited": edited(lambda c: c["settings"].__setitem__("seed", 4)),
    "of other settings": checked(lambda c: c["settings"].__setitem__("seed", 4)),
    "of another shape": checked(lambda c: c["results"].__setitem__("error", [0.25])),
    "not finite": checked(lambda c: c["results"].__setitem__("error", [0.25, float("inf")])),
    "null": checked(lambda c: c["results"].__setitem__("error", None)),
    "words": checked(lambda c: c["results"].__setitem__("error", ["a", "b"])),
    "without a quantity": checked(lambda c: c["results"].pop("se")),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_made_again_with_a_word(name, tmp_path, capsys):
    path = tmp_path / "a.json"
    kept(path, SETTINGS, SHAPES, made)
    whole = path.read_bytes()
    DAMAGE[name](path)
    again = kept(path, SETTINGS, SHAPES, made)
    assert all(np.array_equal(again[q], made()[q]) for q in SHAPES)
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {path} is damaged (") and said.count("\n") == 1 and "made again" in said
    assert path.read_bytes() == whole
    kept(path, SETTINGS, SHAPES, never)


def test_the_name_follows_every_file_of_the_theory_at_any_depth(tmp_path, monkeypatch):
    (tmp_path / "inner" / "deep").mkdir(parents=True)
    (tmp_path / "__init__.py").write_text("a = 1\n")
    monkeypatch.setattr(theory, "__file__", str(tmp_path / "__init__.py"))
    names = [source_digest(b"x")]
    for file in ("inner/solver.py", "inner/deep/kernel.py"):
        for text in ("b = 1\n", "b = 2\n"):
            (tmp_path / file).write_text(text)
            names.append(source_digest(b"x"))
    assert len(set(names)) == 5 and source_digest(b"y") not in names
    (tmp_path / "inner" / "notes.txt").write_text("not a program")
    assert source_digest(b"x") == names[-1]


def test_a_damaged_simulation_is_simulated_again_to_the_same_numbers(tmp_path, capsys):
    strategy, effort = Strategy("easy", 0.5), Effort(dimension=20, trials=3, alphas=3)
    first = simulated_curve(strategy, effort, tmp_path)
    path = next(tmp_path.iterdir())
    path.write_text(path.read_text().replace('"test_error": [', '"test_error": [0.5, '))
    again = simulated_curve(strategy, effort, tmp_path)
    assert "is damaged" in capsys.readouterr().err
    assert all(np.array_equal(first.limit[name], again.limit[name]) for name in first.limit)


def test_a_damaged_prediction_is_solved_again_to_the_same_numbers(tmp_path, capsys):
    first = predict(False, points=4, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text("{}")
    again = predict(False, points=4, cache=tmp_path)
    assert "is damaged" in capsys.readouterr().err and np.array_equal(first.error, again.error)
    assert np.array_equal(predict(False, points=4, cache=tmp_path).slope, first.slope)
    assert not capsys.readouterr().err
