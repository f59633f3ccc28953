"""`theory.solve` against reference values, thirty-digit numbers, its own identities, and its whole domain."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory import NotConverged, Tilt, Window, solve
from theory.saddle_point.order_parameters import CONVERGED

# alpha, fraction, theta in degrees, keep, margin, R, rho, kappa, test error: reference rows to ten digits.
REFERENCE = [
    (1.0, 1.0, 0, "hard", "unsigned", 0.6713576482, 0.6713576482, 0.7865498417, 0.2657114699),
    (0.5, 0.3, 0, "hard", "unsigned", 0.1793361302, 0.1793361302, 1.0515175786, 0.4426050352),
    (0.5, 0.3, 0, "easy", "unsigned", 0.7789793039, 0.7789793039, 1.7941531087, 0.2157376878),
    (2.0, 0.6, 0, "hard", "unsigned", 0.8958769866, 0.8958769866, 0.2930963262, 0.1465483385),
    (2.0, 0.1, 0, "easy", "unsigned", 0.9751830509, 0.9751830509, 1.8213068680, 0.0710626814),
    (4.0, 0.1, 0, "hard", "unsigned", 0.9992218613, 0.9992218613, 0.0251112699, 0.0125580379),
    (1.0, 0.3, 10, "hard", "unsigned", 0.3463427726, 0.2940665541, 0.5734400600, 0.3874234158),
    (1.0, 0.3, 10, "easy", "unsigned", 0.8759719138, 0.8894851923, 1.4682663897, 0.1602210510),
    (2.0, 0.3, 20, "hard", "unsigned", 0.6452352713, 0.4641374834, 0.3059382683, 0.2767593467),
    (2.0, 0.3, 20, "easy", "unsigned", 0.8963153880, 0.9517558862, 1.2622660981, 0.1462339429),
    (2.0, 0.6, 40, "easy", "unsigned", 0.8091704853, 0.6855801181, 0.5688165563, 0.1999168634),
    (4.0, 0.1, 40, "hard", "unsigned", 0.6610638611, 0.0841295319, 0.2322650759, 0.2701052254),
    (2.0, 0.3, 40, "hard", "signed", 0.4025870198, -0.1543927976, 0.6214263278, 0.3681110805),
    (2.0, 0.3, 40, "easy", "signed", 0.7559399732, 0.9519992677, 1.2537504604, 0.2271801641),
]
# The same for W = exp(-4 * 2 / (1 + e^m)), that is a tilt of 8.
TILTED = [
    (1.5, 0, "unsigned", 0.8114992936, 0.8114992936, 0.9683924634, 0.1986517991),
    (1.5, 0, "signed", 0.8114992936, 0.8114992936, 0.9683924634, 0.1986517991),
    (1.5, 54, "unsigned", 0.7410918355, 0.5221782513, 0.6965933455, 0.2343082976),
    (1.5, 54, "signed", 0.6659506687, 0.7731764197, 1.0277941529, 0.2680261139),
    (0.5, 54, "signed", 0.5361856270, 0.6673038379, 1.6512065365, 0.3198647028),
]
THIRTY_DIGITS = [
    (1.0, 1.0, "hard", 0.265711469938300271349),
    (1.0, 0.5, "hard", 0.3210479306140404563205),
    (1.0, 0.5, "easy", 0.1818315644534145330356),
    (10.0, 0.1, "hard", 0.005003991962853107304611),
    (100.0, 0.01, "hard", 5.004889228005016647596e-5),
    (100.0, 0.1, "easy", 0.001920643034281668193675),
]


@pytest.mark.parametrize("row", REFERENCE)
def test_reference_values(row):
    alpha, fraction, degrees, keep, margin, *expected = row
    s = solve(alpha, fraction, keep, math.radians(degrees), margin)
    assert [s.R, s.rho, s.kappa, s.test_error] == pytest.approx(expected, abs=6e-11)


@pytest.mark.parametrize("row", TILTED)
def test_reference_values_of_a_smooth_weight(row):
    alpha, degrees, margin, *expected = row
    s = solve(alpha, keep=Tilt(8.0), theta=math.radians(degrees), margin=margin)
    assert [s.R, s.rho, s.kappa, s.test_error] == pytest.approx(expected, abs=6e-11)


@pytest.mark.parametrize(("alpha", "fraction", "keep", "expected"), THIRTY_DIGITS)
def test_thirty_digit_values(alpha, fraction, keep, expected):
    assert solve(alpha, fraction, keep).test_error == pytest.approx(expected, rel=1e-13)


def test_gradient_weighted_tilts():
    # Reference values to four digits: rows alpha, columns tau.
    table = {
        0.05: (0.4687, 0.4654, 0.4545, 0.4169, 0.3942),
        1.0: (0.3059, 0.2956, 0.2668, 0.1922, 0.1581),
        4.0: (0.0693, 0.0766, 0.0972, 0.1075, 0.0890),
        16.0: (0.0146, 0.0173, 0.0296, 0.0729, 0.0617),
    }
    for column, tau in enumerate((0.0, 1.0, 4.0, 16.0, 32.0)):
        errors = solve(list(table), keep=Tilt(tau, beta=2.0, gradient_weighted=True)).test_error
        assert errors == pytest.approx([row[column] for row in table.values()], abs=5.1e-5)


@pytest.mark.parametrize("margin", ["unsigned", "signed"])
@pytest.mark.parametrize("keep", ["hard", "easy"])
def test_whole_domain_converges(keep, margin):
    """alpha, fraction, theta to the corners of the domain; the identity holds though no equation states it."""
    alpha = np.geomspace(1e-3, 1e3, 13)
    for fraction in (1e-3, 0.03, 0.5, 0.97, 1.0):
        for theta in (0.0, 1e-8, 1e-3, 0.2, 1.0, 1.5, math.pi / 2):
            s = solve(alpha, fraction, keep, theta, margin)
            rounding = np.maximum(1.0, 1e-3 * s.kappa_prime)  # of the field a, in proportion to kappa' beyond 1e3
            assert set(s.status) == {CONVERGED} and np.all(s.residual < 1e-11 * rounding)
            assert s.identity == pytest.approx(1.0, abs=1e-9)
            assert np.all((s.support > 0.0) & (s.support <= 1.0 + 1e-12))
            assert np.all(np.diff(s.kappa) < 0.0) and np.all(s.kappa > 0.0)
            assert np.all(np.abs(s.R) <= 1.0) and np.all(np.abs(s.rho) <= 1.0 + 1e-15)
            assert np.all((s.test_error > 0.0) & (s.test_error < 0.5))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.floats(-3, 3),
    st.floats(-3, 0),
    st.floats(0, math.pi / 2 - 1e-6),
    st.sampled_from(["hard", "easy"]),
    st.sampled_from(["unsigned", "signed"]),
)
def test_anywhere_in_the_domain(log_alpha, log_fraction, theta, keep, margin):
    s = solve(10**log_alpha, 10**log_fraction, keep, theta, margin)
    assert s.status == CONVERGED and s.identity == pytest.approx(1.0, abs=1e-9)
    assert s.test_error == pytest.approx(math.acos(s.R) / math.pi, abs=1e-7)
    assert s.one_minus_R == pytest.approx(1.0 - s.R, abs=1e-14)


def test_local_exponent_is_the_derivative():
    h = 1e-4
    for keep, fraction, theta in [("hard", 0.3, 0.0), ("easy", 0.2, 0.3), (Tilt(3.0), 1.0, 0.2)]:
        s = solve([5.0 * math.exp(-h), 5.0, 5.0 * math.exp(h)], fraction, keep, theta)
        numerical = -(math.log(s.test_error[2]) - math.log(s.test_error[0])) / (2 * h)
        assert s.local_exponent[1] == pytest.approx(numerical, rel=1e-6)


def test_broadcasting_and_scalars_agree():
    alpha, fraction = np.array([[0.5], [2.0], [9.0]]), np.array([0.2, 0.7])
    s = solve(alpha, fraction, "easy", 0.3)
    assert s.test_error.shape == (3, 2) and s.status.shape == (3, 2)
    for i, j in np.ndindex(3, 2):
        one = solve(alpha[i, 0], fraction[j], "easy", 0.3)
        assert isinstance(one.R, float) and isinstance(one.status, str)
        assert one.test_error == pytest.approx(s.test_error[i, j], rel=1e-12)
    unsorted = solve([9.0, 0.5, 2.0, 0.5], 0.2, "easy", 0.3)
    assert unsorted.test_error == pytest.approx(s.test_error[[2, 0, 1, 0], 0], rel=1e-12)


def test_rules_fix_their_own_fraction():
    assert solve(2.0, keep=Window(upper=1.0)).fraction == pytest.approx(math.erf(math.sqrt(0.5)), rel=1e-13)
    assert solve(2.0, 0.3, "random").test_error == solve(2.0).test_error


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"alpha": 0.0}, "alpha is 0, must be positive"),
        ({"alpha": [1.0, math.nan]}, "alpha is nan"),
        ({"alpha": 1.0, "fraction": 0.0}, r"fraction is 0, must lie in \(0, 1\]"),
        ({"alpha": 1.0, "fraction": 1.2}, "fraction is 1.2"),
        ({"alpha": 1.0, "theta": 20.0}, "theta is 20, .* numpy.deg2rad"),
        ({"alpha": 1.0, "keep": "haard"}, "did you mean 'hard'"),
        ({"alpha": 1.0, "keep": 3}, "keep is 3, must be one of"),
        ({"alpha": 1.0, "margin": "sined"}, "did you mean 'signed'"),
        ({"alpha": 1.0, "fraction": 0.5, "keep": Tilt(1.0)}, "Tilt fixes its own"),
    ],
)
def test_bad_values_get_one_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        solve(**arguments)


def test_what_does_not_converge_is_never_returned_silently(monkeypatch):
    import theory.saddle_point.order_parameters as module

    def lost(alphas, *_):
        n = alphas.size
        return np.zeros((n, 3)), np.zeros((n, 3)), np.full(n, 1e-3), np.zeros((n, 2))

    monkeypatch.setattr(module, "solve_curve", lost)
    with pytest.raises(NotConverged, match=r"1 of 1 points did not converge, first at alpha 2.*residual 1.0e-03"):
        solve(2.0)
    assert solve(2.0, raise_on_failure=False).status != CONVERGED


@pytest.mark.parametrize(
    ("alphas", "fraction", "theta"),
    [
        ([0.003743988214121853, 0.11074687680597345, 69.96350278708677], 0.006137935645896208, 4.6482549312512855e-4),
        ([0.005529536601408843, 0.05955685022492054, 32.44637040684934], 0.023592336846284985, 0.0),
        ([0.01, 6.919], 0.004307, 0.0),
    ],
)
@pytest.mark.parametrize("margin", ["signed", "unsigned"])
def test_a_step_that_runs_away_is_not_taken_for_a_solution(alphas, fraction, theta, margin):
    """A long step to a distant alpha may throw the margin to 1e35; the residual's scale must not follow it there."""
    together = solve(alphas, fraction, "hard", theta, margin)
    assert np.all(together.residual < 1e-8)
    alone = [solve(alpha, fraction, "hard", theta, margin).test_error for alpha in alphas]
    np.testing.assert_allclose(together.test_error, alone, rtol=1e-9)
