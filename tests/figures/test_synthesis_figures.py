"""Figures of learnt sets: what is written, and that the recorded numbers are those of the theory."""

import csv

import pytest

from figures.theory import mechanism, synthesis
from theory import Matched, solve


def quiet(done, total):
    pass


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_synthesis_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(synthesis, "DOTS", (0.25, 1.0))
    for draw, name in (
        (synthesis.residual_curves, "synthesis_residual"),
        (synthesis.parity, "synthesis_parity"),
        (synthesis.slopes, "synthesis_slopes"),
    ):
        paths = draw(tmp_path, 3, quiet)
        assert {p.name for p in paths} == {f"{name}.pdf", f"{name}.png", f"{name}.csv"}
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    drawn = rows(tmp_path / "synthesis_residual.csv")
    assert len(drawn) == 16
    for row in drawn:
        exact = solve(float(row["alpha"]), 0.5, row["keep"], noise=Matched(float(row["residual"]))).test_error
        assert float(row["theory"]) == pytest.approx(exact, rel=1e-10)
    assert len(rows(tmp_path / "synthesis_parity.csv")) == 54


def test_floor_and_mechanism(tmp_path, monkeypatch):
    monkeypatch.setattr(mechanism, "DOTS", (0.16,))
    monkeypatch.setattr(mechanism, "RATIOS", (0.1,))
    monkeypatch.setattr(mechanism, "_matched", lambda alpha, real: 0.2)
    for paths, name in (
        (mechanism.floor(tmp_path, 3, 2, quiet), "synthesis_floor"),
        (mechanism.mechanism(tmp_path), "synthesis_mechanism"),
    ):
        assert {p.name for p in paths} == {f"{name}.pdf", f"{name}.png", f"{name}.csv"}
    row = rows(tmp_path / "synthesis_floor.csv")[0]
    # Ten real samples a dimension: the floor is that of the real set.
    assert float(row["floor"]) == pytest.approx(0.2286904458, abs=1e-9)
    assert abs(float(row["theory"]) - float(row["floor"])) < 0.003


def test_recorded_pulls_move_points_as_the_page_says():
    table = {float(r["alpha"]): r for r in rows(synthesis.RESULTS / "synthesis_kick.csv")}
    # Few points: the lowest fifth is pushed out more than the highest; many: less, and at last inwards.
    assert float(table[0.25]["lowest_fifth"]) > float(table[0.25]["highest_fifth"])
    assert float(table[4.0]["lowest_fifth"]) < 0.0 < float(table[4.0]["highest_fifth"])
    assert float(table[1.0]["direct"]) < 0.0 < float(table[2.0]["direct"])


def test_recorded_slopes_change_sign_where_the_page_says():
    table = [
        r
        for r in rows(synthesis.RESULTS / "synthesis_slopes.csv")
        if (r["distance"], r["probe_alpha"]) == ("cosine", "1.0")
    ]
    for name in ("measured", "theory_a", "theory_b", "theory_d", "dynamics"):
        by_alpha = {float(r["alpha"]): float(r[name]) for r in table if r[name]}
        assert by_alpha[0.5] < 0.0 < by_alpha[0.7]
    assert all(int(r["sets"]) >= 12 for r in table)
