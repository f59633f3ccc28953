"""Figures of learnt sets: what is written, and that the recorded numbers are those of the theory."""

import csv

import pytest

from figures.theory import synthesis
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
