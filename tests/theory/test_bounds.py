"""Every number that a user may type: out of range, extreme or absurdly large, it is one sentence and never a number."""

import math

import numpy as np
import pytest

from theory import Density, NotConverged, Samples, Tilt, Weight, Window, asymptotics, scaling, simulate, solve
from theory.__main__ import main
from theory.distillation.study import main as distilled_main
from theory.judges.published import solve_published
from theory.saddle_point.kept import MARGINS, Ranked, margin_quantile

TOO_MANY = ("100000000000000", "1" + "0" * 30, "1" + "0" * 400)


def refused(capsys, command, arguments, *words):
    """The command ends with status 2 and one sentence that has the words."""
    try:
        status = command([str(a) for a in arguments])
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    assert status == 2 and captured.out == "" and len(captured.err.strip().splitlines()) == 1, captured.err
    assert all(word in captured.err for word in words), captured.err


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "-0.0", "0", "1e400", "1e-400"])
@pytest.mark.parametrize(("command", "flag"), [
    ("solve", "--alpha"), ("solve", "--fraction"), ("simulate", "--alpha"), ("simulate", "--fraction"),
    ("curve", "--alpha-min"), ("crossover", "--fraction"),
])  # fmt: skip
def test_what_must_be_positive_and_finite_is(capsys, command, flag, value):
    alpha = [] if flag.startswith("--alpha") or command in ("curve", "crossover") else ["--alpha", "1"]
    refused(capsys, main, [command, *alpha, f"{flag}={value}"], flag.lstrip("-"))


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "90.1", "1e300"])
@pytest.mark.parametrize("command", ["solve", "simulate", "curve", "crossover"])
def test_an_angle_lies_between_0_and_90_degrees(capsys, command, value):
    alpha = ["--alpha", "1"] if command in ("solve", "simulate") else []
    refused(capsys, main, [command, *alpha, f"--theta-deg={value}"], "[0, 90]")


@pytest.mark.parametrize("arguments", [
    ("--keep", "tilt", "--tilt=nan"), ("--keep", "tilt", "--tilt=inf"), ("--keep", "tilt", "--tilt=1", "--beta=0"),
    ("--keep", "tilt", "--tilt=1", "--beta=-1"), ("--keep", "tilt", "--tilt=1", "--beta=inf"),
    ("--keep", "window", "--window", "nan", "1"), ("--keep", "window", "--window", "1", "1"),
    ("--keep", "window", "--window", "inf", "inf"), ("--keep", "window", "--window", "-1", "-0.0"),
    ("--keep", "window", "--window", "1", "1.0000000000000000001"), ("--keep", "window", "--window", "20", "30"),
])  # fmt: skip
def test_rules_of_numbers_that_keep_nothing_are_refused(capsys, arguments):
    refused(capsys, main, ["solve", "--alpha", "2", *arguments])


@pytest.mark.parametrize("value", TOO_MANY)
@pytest.mark.parametrize(("command", "flag"), [
    ("curve", "--points"), ("simulate", "--trials"), ("simulate", "--dimension"), ("simulate", "--workers"),
])  # fmt: skip
def test_counts_have_a_bound_that_is_checked_first(capsys, command, flag, value):
    alpha = ["--alpha", "1"] if command == "simulate" else []
    refused(capsys, main, [command, *alpha, flag, value], flag.lstrip("-"), "at most")


@pytest.mark.parametrize("value", ["1e400", "1e14", "nan", "-1", "1.5"])
@pytest.mark.parametrize("flag", ["--trials", "--dimension", "--workers", "--seed"])
def test_counts_are_whole_numbers_that_are_not_negative(capsys, flag, value):
    refused(capsys, main, ["simulate", "--alpha", "1", f"{flag}={value}"], flag.lstrip("-"))


@pytest.mark.parametrize("value", TOO_MANY)
@pytest.mark.parametrize("flag", ["--seeds", "--dimension", "--steps"])
def test_counts_of_a_distillation_have_a_bound(capsys, tmp_path, flag, value):
    refused(capsys, distilled_main, ["--out", tmp_path / "new", flag, value], "at most")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "1e300", "1e400"])
@pytest.mark.parametrize("flag", ["--alpha", "--real", "--probe-alpha"])
def test_sizes_of_a_distillation_have_a_bound(capsys, tmp_path, flag, value):
    refused(capsys, distilled_main, ["--out", tmp_path / "new", f"{flag}={value}"], flag.lstrip("-").split("-")[-1])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("flag", "value"), [
    ("--rate", "nan"), ("--rate", "0"), ("--rate", "-1"), ("--beta", "nan"), ("--beta", "0"), ("--coefficient", "nan"),
    ("--coefficient", "inf"), ("--seeds", "0"), ("--seeds", "-1"), ("--steps", "-1"), ("--dimension", "3"),
])  # fmt: skip
def test_other_numbers_of_a_distillation_are_refused(capsys, tmp_path, flag, value):
    refused(capsys, distilled_main, ["--out", tmp_path / "new", f"{flag}={value}"], flag.lstrip("-"))


@pytest.mark.parametrize("flag", ["--alpha", "--coefficient"])
def test_a_distillation_of_no_cells_is_refused(capsys, flag):
    refused(capsys, distilled_main, [flag], flag)


@pytest.mark.parametrize(("alpha", "fraction", "dimension", "keep"), [
    (1e300, 1.0, 200, "hard"), (1e308, 0.3, 20, "easy"), (2.0, 1.0, 10**6, "hard"), (1e9, 1.0, 200, "random"),
])  # fmt: skip
def test_a_trial_that_does_not_fit_is_refused_before_it_is_drawn(alpha, fraction, dimension, keep):
    with pytest.raises(ValueError, match="5e\\+08 numbers at most"):
        simulate(alpha, fraction, keep, dimension=dimension, trials=2)


def test_a_pool_that_would_be_drawn_without_end_is_refused():
    with pytest.raises(ValueError, match=r"drawing a pool of 4e\+11 samples.*raise the fraction"):
        simulate(2.0, 1e-9, "hard", 0.3, 200, 1, margin="signed")
    with pytest.raises(ValueError, match="more than 1e\\+07 trials in one call"):
        simulate(np.linspace(1.0, 2.0, 1000), trials=10**6)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("theta", [0.0, 0.35, 1.2, math.pi / 2])
@pytest.mark.parametrize("keep", ["hard", "easy"])
@pytest.mark.parametrize("fraction", [5e-324, 1e-300, 1e-100, 1e-26])
def test_a_fraction_too_small_to_resolve_is_refused(fraction, keep, theta, margin):
    for function in (solve, simulate):
        with pytest.raises(ValueError, match="at least 1e-25"):
            function(2.0, fraction, keep, theta, margin=margin)


@pytest.mark.parametrize("fraction", [0.0, 1e-300, -1.0, math.nan, 1.5])
def test_closed_forms_refuse_the_same_fractions(fraction):
    for function in (asymptotics.mean_teacher_margin, asymptotics.large_alpha_prefactor):
        with pytest.raises(ValueError, match="fraction is"):
            function(fraction, "easy", 0.3)
    with pytest.raises(ValueError, match="fraction is"):
        solve_published(1.0, fraction, "hard")
    with pytest.raises(ValueError, match="fraction is"):
        scaling.crossover(fraction)


def test_a_pool_of_nothing_has_no_best_fraction():
    for total in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="alpha_total is"):
            scaling.best_fraction(1.0, alpha_total=total)
    with pytest.raises(ValueError, match="at most 100000"):
        scaling.crossovers(0.3, points=10**8)


@pytest.mark.parametrize("fraction", [1e-4, 1e-6, 1e-9, 1e-12, 1e-20])
def test_small_fractions_of_a_perfect_probe_follow_their_limit(fraction):
    # error / f tends to a constant as the fraction vanishes.
    found = solve(5.0, fraction, "hard", raise_on_failure=False)
    if found.status == "converged":
        assert found.test_error / fraction == pytest.approx(asymptotics.hard_small_fraction_slope(5.0), rel=2e-4)
    edge = margin_quantile(fraction, 0.0, "unsigned")
    assert edge == pytest.approx(fraction * math.sqrt(math.pi / 2), rel=1e-8)


@pytest.mark.parametrize("theta", [0.35, 1.2])
@pytest.mark.parametrize("margin", MARGINS)
def test_a_fraction_that_its_margins_do_not_hold_is_no_number(theta, margin):
    for fraction in (1e-9, 1e-12, 1e-16, 1e-24):
        try:
            resolved = Ranked(fraction, True).resolve(theta, margin)
        except ValueError as error:
            assert "too small to be resolved" in str(error)
        else:
            assert resolved._replace(fraction=1.0).mass(theta) == pytest.approx(fraction, rel=1e-8)


@pytest.mark.parametrize("fraction", [1.0 - 1e-17, 1.0 - 1e-16, 1.0 - 1e-12])
@pytest.mark.parametrize("keep", ["hard", "easy"])
@pytest.mark.parametrize("margin", MARGINS)
def test_all_but_nothing_is_everything(fraction, keep, margin):
    for theta in (0.0, 0.35, math.pi / 2):
        error = solve(2.0, fraction, keep, theta, margin).test_error
        assert error == pytest.approx(solve(2.0).test_error, abs=1e-10)


def test_margins_that_do_not_occur_are_no_number():
    for margin in (-2.0, -5.0, -12.0):
        with pytest.raises(ValueError, match="does not occur at theta"):
            solve(1.0, 1.0, Samples([margin, 1.0]), 0.1, "signed")
    with pytest.raises(ValueError, match="none occur at theta"):
        solve(1.0, 1.0, Density(lambda m: np.exp(-0.5 * ((m + 2.0) / 0.15) ** 2)), 0.1, "signed")
    # A tail too thin to matter is no reason.
    solve(1.0, 1.0, Density(lambda m: np.exp(-0.5 * ((m - 1.0) / 0.2) ** 2)), 0.1, "signed")


def test_minus_zero_is_zero():
    assert solve(1.0, 0.5, "hard", -0.0).theta.hex() == (0.0).hex()
    assert simulate(1.0, 0.5, "hard", -0.0, 20, 3).R == simulate(1.0, 0.5, "hard", 0.0, 20, 3).R
    for one, other in ((Tilt(-0.0), Tilt(0.0)), (Window(-0.0, 1.0), Window(0.0, 1.0))):
        assert repr(one) == repr(other)
        assert simulate(1.0, 1.0, one, 0.2, 20, 3).R == simulate(1.0, 1.0, other, 0.2, 20, 3).R


def test_a_weight_that_keeps_nothing_is_refused():
    for rule in (Tilt(1e300), Tilt(1e300, gradient_weighted=True), Weight(lambda m: 0.0 * m)):
        with pytest.raises(ValueError, match="keeps nothing"):
            solve(1.0, 1.0, rule, 0.2)


def test_beyond_the_solver_nothing_is_returned():
    for alpha in (1e200, 1e300):
        with pytest.raises(NotConverged, match="did not converge"):
            solve(alpha)
