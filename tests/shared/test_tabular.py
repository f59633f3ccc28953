"""Results by themselves: readable in a line, as a dictionary, as a table where pandas is, and drawn on a given axis."""

import builtins
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from shared.measures.scaling import ScalingCurve
from theory import Tilt, simulate, solve

ALPHA = np.array([0.5, 2.0, 8.0])


def test_a_solution_is_read_in_one_line():
    one = repr(solve(2.0, 0.3, "easy"))
    assert "easy" in one and "test_error 0.0952049" in one and "converged" in one and "\n" not in one
    many = repr(solve(ALPHA, keep=Tilt(1.0)))
    assert "alpha 3 in [0.5, 8]" in many and "Tilt(coefficient=1.0" in many and len(many) < 400


def test_a_dictionary_holds_every_field_as_it_is():
    solution = solve(ALPHA, 0.3)
    found = solution.to_dict()
    assert found["test_error"] is solution.test_error and found["keep"] == "hard" and found["beta_prime"] is None


def test_columns_are_a_row_a_point_and_an_axis_of_its_own_is_spread():
    solution = solve(ALPHA[:, None], np.array([0.3, 1.0]))
    columns = solution._columns()
    assert {len(c) for c in columns.values()} == {6}
    assert columns["test_error"][1] == solution.test_error[0, 1] and columns["fraction"][1] == 1.0
    simulated = simulate(2.0, 1.0, "random", dimension=10, trials=3, progress=None)._columns()
    assert len(simulated["test_error"]) == 1 and "per_trial" not in simulated


def test_without_pandas_one_sentence_says_what_to_do(monkeypatch):
    load = builtins.__import__

    def without(name, *rest):
        if name == "pandas":
            raise ModuleNotFoundError("no", name=name)
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match="pip install pandas, or use to_dict"):
        solve(2.0).to_frame()


def test_with_pandas_a_frame_has_the_points():
    pytest.importorskip("pandas")
    frame = solve(ALPHA).to_frame()
    assert frame["alpha"].tolist() == ALPHA.tolist() and "beta_prime" not in frame


def test_a_solution_draws_its_curve_in_order_and_names_the_axes():
    axes = Figure().add_subplot()
    solution = solve(ALPHA[::-1], 0.3)
    line = solution.plot(axes, color="k")
    assert line.get_xdata().tolist() == ALPHA.tolist()
    assert line.get_ydata().tolist() == solution.test_error[::-1].tolist()
    assert line.get_label() == "hard" and axes.get_xscale() == axes.get_yscale() == "log"
    assert "alpha" in axes.get_xlabel() and "epsilon" in axes.get_ylabel()
    axes.set_ylabel("mine")
    solution.plot(axes)
    assert axes.get_ylabel() == "mine"


@pytest.mark.parametrize("given", [(2.0, 0.3, "hard", 0.0), (ALPHA, np.array([0.3, 0.5, 1.0]), "hard", 0.0)])
def test_what_is_no_curve_in_alpha_is_not_drawn(given):
    with pytest.raises(ValueError, match="alpha is a sequence"):
        solve(*given).plot(Figure().add_subplot())


def test_a_scaling_curve_is_read_and_drawn_with_its_errors():
    curve = ScalingCurve([1.0, 10.0], [0.3, 0.1], [0.02, 0.01], "herding", "experiment", "ipc")
    assert repr(curve) == (
        "ScalingCurve(herding, experiment: ipc 2 in [1, 10], error 2 in [0.1, 0.3], standard error 2 in [0.01, 0.02])"
    )
    axes = Figure().add_subplot()
    drawn = curve.plot(axes)
    assert drawn.has_yerr and axes.get_xlabel() == "images per class" and axes.get_xscale() == "log"
    exact = ScalingCurve([1.0, 10.0], [0.3, 0.1], 0.0, "hard", "theory")
    assert not exact.plot(Figure().add_subplot()).has_yerr
    assert exact.to_dict()["strategy"] == "hard" and math.isclose(exact._columns()["error"][0], 0.3)
