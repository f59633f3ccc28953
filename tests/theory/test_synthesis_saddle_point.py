"""The saddle point at correlated noise: check values, thirty digits, identities, its domain, and bad input."""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from theory import (
    Atoms,
    CommonDirection,
    Density,
    Independent,
    Lengths,
    LowRank,
    Matched,
    NotConverged,
    NotSeparable,
    Samples,
    Tilt,
    Weight,
    Window,
    solve,
)
from theory.saddle_point.order_parameters import CONVERGED
from theory.synthesis import observables

# theta (degrees), keep, fraction, alpha, s: test error, kappa', R', S', beta', support / D; h of beta = 2.
CHECKED = [
    (0, "random", 1, 0.1, 0, 0.063887092414, 2.121277615, 4.915299026, 0, 130.2146772, 0.0959735009),
    (0, "random", 1, 1, 0.3, 0.190477193437, 0.7294622466, 1.466720684, 0, 1.677365868, 0.6744906196),
    (0, "hard", 0.5, 0.25, 0, 0.036355800916, 2.418317998, 8.717303583, 0, 98.76304613, 0.25),
    (0, "hard", 0.5, 2, 0, 0.072286047422, 0.7182391134, 4.327516843, 0, 0.6254093606, 0.9614292676),
    (0, "easy", 0.5, 1, 0, 0.082687579228, 3.50898246, 3.762566683, 0, 2.294791491, 0.6111613895),
    (20, "random", 1, 0.5, 0.3, 0.269923714807, 0.9576924764, 0.9662639147, -0.4473037091, 2.778008396, 0.4273867937),
    (20, "hard", 0.5, 1, 0.3, 0.259724061683, 0.6213383606, 1.073959486, -0.5508182499, 0.8778943633, 0.7502263877),
    (20, "easy", 0.5, 2, 0, 0.127790315575, 2.283318639, 2.919218342, 0.7319774979, 0.9004272869, 0.7722921571),
    (0, "random", 1, 0.5, 1.5, 0.330226739110, 1.907914881, 0.5904372981, 0, -0.8428100464, 0.3820624634),
]
HALVES = Lengths((0.7, 1.3))
# At theta = 0, no selection: lengths after and before the noise is cancelled, and a common direction.
GENERAL = [
    (Matched(0.3, lengths=HALVES), (0.2984327557, 0.1915054233, 0.0840636280)),
    (Matched(0.3, lengths=HALVES, scale_after=False), (0.2937986744, 0.1875000084, 0.0822789222)),
    ([Matched(0.3), CommonDirection(1.0)], (0.3753907566, 0.3065201346, 0.1749881254)),
    ([Matched(1.0), CommonDirection(1.0)], (0.3878465968, 0.3110722371, 0.1909971548)),
]
TWO = LowRank(
    (lambda m, U, length: expit(-2.0 * m), lambda m, U, length: U * expit(-0.5 * m)),
    np.diag([-1.0, -0.75]),
    orthonormal=True,
)


@pytest.mark.parametrize("row", CHECKED)
def test_check_values(row):
    degrees, keep, fraction, alpha, s, *expected = row
    found = solve(alpha, fraction, keep, math.radians(degrees), noise=Matched(s))
    assert found.test_error == pytest.approx(expected[0], abs=1.1e-12)
    numbers = [found.kappa_prime, found.R_prime, found.S_prime, found.beta_prime[0], found.support]
    assert numbers == pytest.approx(expected[1:], rel=1e-9, abs=6e-10)
    assert found.status == CONVERGED and found.residual < 1e-11
    assert found.identity == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize(("noise", "expected"), GENERAL)
def test_check_values_with_lengths_and_a_common_direction(noise, expected):
    assert solve([0.25, 1.0, 4.0], keep="random", noise=noise).test_error == pytest.approx(expected, abs=6e-11)


def thirty_digits(alpha, columns, residuals, near):
    """No selection, perfect probe, orthonormal columns, by thirty-digit quadrature: (test error, beta')."""
    mp.mp.dps = 30
    nodes = mp.calculus.quadrature.GaussLegendre(mp.mp).calc_nodes(4, 130)
    points = [(mp.mpf(k) / 2 + (1 + x) / 4, w / 4) for k in range(28) for x, w in nodes]
    points = [(u, 2 * w * mp.npdf(u)) for u, w in points]
    basis = []
    for column in columns:
        values = [column(u) for u, _ in points]
        for other in basis:
            overlap = sum(w * a * b for (_, w), a, b in zip(points, values, other, strict=True))
            values = [a - overlap * b for a, b in zip(values, other, strict=True)]
        size = mp.sqrt(sum(w * a * a for (_, w), a in zip(points, values, strict=True)))
        basis.append([a / size for a in values])
    q = [1 - mp.mpf(s) ** 2 for s in residuals]

    def equations(log_kappa, R, *beta):
        kappa = mp.exp(log_kappa)
        N = along = support = mp.mpf(0)
        m = [mp.mpf(0)] * len(beta)
        for k, (u, w) in enumerate(points):
            a = kappa - R * u + sum(b * at[k] for b, at in zip(beta, basis, strict=True))
            P, p = mp.erfc(-a / mp.sqrt(2)) / 2, mp.npdf(a)
            first = a * P + p
            N, along, support = N + w * (a * first + P), along + w * u * first, support + w * P
            m = [x + w * at[k] * first for x, at in zip(m, basis, strict=True)]
        whole = alpha * (N - sum(c * x * x for c, x in zip(q, m, strict=True))) - 1
        slack = [b - c * x for b, c, x in zip(beta, q, m, strict=True)]
        return [whole, R * (1 - alpha * support) - alpha * along, *slack]

    root = mp.findroot(equations, (math.log(near.kappa_prime), near.R_prime, *near.beta_prime), tol=1e-20)
    return float(mp.atan2(1, root[1]) / mp.pi), [float(b) for b in root[2:]]


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.25, 1.0, 4.0])
def test_two_columns_against_thirty_digits(alpha):
    found = solve(alpha, keep="random", noise=TWO)
    columns = (lambda u: 1 / (1 + mp.exp(2 * u)), lambda u: u / (1 + mp.exp(u / 2)))
    error, beta = thirty_digits(alpha, columns, (0.0, 0.5), found)
    assert found.test_error == pytest.approx(error, rel=1e-11)
    assert found.beta_prime == pytest.approx(beta, rel=1e-9)


@pytest.mark.parametrize(("alpha", "s"), [(0.1, 0.0), (2.0, 1.7)])
def test_one_column_against_thirty_digits(alpha, s):
    found = solve(alpha, keep="random", noise=Matched(s))
    error, beta = thirty_digits(mp.mpf(str(alpha)), (lambda u: 1 / (1 + mp.exp(2 * u)),), (s,), found)
    assert found.test_error == pytest.approx(error, rel=1e-11)
    assert found.beta_prime == pytest.approx(beta, rel=1e-9)


def test_two_columns():
    # Thirty digits at 0.25; ten of the published table at the others.
    expected = [0.109516989674765, 0.1390675649, 0.0746350799]
    assert solve([0.25, 1.0, 4.0], keep="random", noise=TWO).test_error == pytest.approx(expected, abs=6e-11)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.floats(-3, 3),
    st.floats(-3, 0),
    st.one_of(st.floats(0, math.pi / 2), st.just(0.0), st.just(math.pi / 2), st.floats(1e-6, 1e-2)),
    st.sampled_from(["hard", "easy", "random"]),
    st.sampled_from(["unsigned", "signed"]),
)
def test_independent_noise_is_the_theory_of_selection(log_alpha, log_fraction, theta, keep, margin):
    fraction = 1.0 if keep == "random" else 10**log_fraction
    arguments = (10**log_alpha, fraction, keep, theta, margin)
    plain = solve(*arguments)
    for noise in (Matched(1.0), Independent()):
        assert solve(*arguments, noise=noise).test_error == pytest.approx(plain.test_error, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("theta", [0.0, 0.02, 0.7, math.pi / 2])
@pytest.mark.parametrize("margin", ["unsigned", "signed"])
@pytest.mark.parametrize(
    "rule", [Window(0.3, 1.5), Tilt(3.0, 2.0, True), Weight(lambda m: m**2), Samples(np.linspace(0.05, 2.5, 40))]
)
def test_independent_noise_under_any_rule(rule, margin, theta):
    alpha = [0.1, 1.0, 10.0]
    plain = solve(alpha, keep=rule, theta=theta, margin=margin).test_error
    assert solve(alpha, keep=rule, theta=theta, margin=margin, noise=Matched(1.0)).test_error == pytest.approx(
        plain, rel=2e-12
    )


def test_a_density_that_outweighs_the_gaussian():
    for rule, margin in (
        (Density(lambda m: np.exp(-m)), "unsigned"),
        (Density(lambda m: np.exp(-((m + 1) ** 2) / 2)), "signed"),
    ):
        plain = solve([0.1, 1.0], keep=rule, theta=0.8, margin=margin).test_error
        assert solve([0.1, 1.0], keep=rule, theta=0.8, margin=margin, noise=Matched(1.0)).test_error == pytest.approx(
            plain, rel=1e-12
        )


@pytest.mark.parametrize("s", [0.0, 0.3, 0.9, 1.5, 3.0])
@pytest.mark.parametrize("keep", ["hard", "easy"])
@pytest.mark.parametrize("theta", [0.0, 1e-3, 0.35, 1.2])
def test_converges_from_corner_to_corner(s, keep, theta):
    alpha = np.geomspace(1e-2, 1e2, 9)
    for fraction in (0.03, 0.5):
        found = solve(alpha, fraction, keep, theta, noise=Matched(s))
        assert set(found.status) == {CONVERGED}
        assert found.identity == pytest.approx(1.0, abs=1e-8)
        assert np.all((found.support > 0.0) & (found.support <= 1.0 + 1e-12))
        assert np.all((found.test_error > 0.0) & (found.test_error < 0.5)) and np.all(found.kappa > 0.0)


def test_cancelled_noise_is_an_explicit_direction():
    """Everything cancelled along a, plus one more signal axis with what is left of it, is the same model."""
    alpha, s = 0.5, 0.3
    U, w = np.polynomial.legendre.leggauss(60)
    U, w = 4.5 * (U + 1.0), w * np.exp(-((4.5 * (U + 1.0)) ** 2) / 2)
    x, v = np.polynomial.hermite_e.hermegauss(40)
    w, v = w / w.sum(), v / v.sum()
    h = expit(-2.0 * U)
    at = h / math.sqrt(w @ h**2)
    plane = np.column_stack([np.repeat(U, x.size), (at[:, None] * s / math.sqrt(alpha) + x).ravel()])
    weights = np.outer(w, v).ravel()
    columns = np.repeat(at, x.size)
    explicit = solve(alpha, keep=Atoms(plane, weights), noise=LowRank(columns, -1.0)).test_error
    spiked = solve(alpha, keep=Atoms(U, w), noise=LowRank(at, -(1.0 - s * s))).test_error
    assert explicit == pytest.approx(spiked, abs=1e-13)
    assert spiked == pytest.approx(0.25161492074673, abs=2e-9)  # quadrature of the law by 60 nodes


def test_small_alpha_at_residuals_that_shrink_keeps_a_floor():
    c = 0.04
    alpha = 1e-6
    found = solve(alpha, keep="random", noise=Matched(math.sqrt(c * alpha)))
    U = np.linspace(0.0, 12.0, 200_001)
    phi = np.exp(-0.5 * U * U)
    h = expit(-2.0 * U)
    overlap = (phi @ (h * U)) / math.sqrt((phi @ h**2) * phi.sum())
    assert found.test_error == pytest.approx(math.atan(math.sqrt(c) / overlap) / math.pi, rel=1e-2)


def test_columns_by_name_by_function_and_by_number_agree():
    rng = np.random.default_rng(0)
    U = np.abs(rng.standard_normal(50))
    length = rng.uniform(0.7, 1.3, 50)
    columns = rng.standard_normal((50, 2))
    noise = LowRank(columns, [[-0.2, 0.1], [0.1, 0.5]], lengths=length)
    by_samples = solve([0.3, 2.0], keep=Samples(U), noise=noise)
    assert by_samples.test_error == pytest.approx(solve([0.3, 2.0], keep=Atoms(U), noise=noise).test_error, rel=1e-13)
    theta = math.radians(20)
    function = LowRank(lambda m, U, length: expit(-2 * m), -0.91, orthonormal=True)
    named = solve([0.3, 2.0], 0.5, "easy", theta, noise=Matched(0.3))
    assert solve([0.3, 2.0], 0.5, "easy", theta, noise=function).test_error == pytest.approx(
        named.test_error, rel=1e-12
    )
    shared = solve(0.7, keep=Atoms(U), noise=CommonDirection(2.0)).test_error
    assert solve(0.7, keep=Atoms(U), noise=LowRank(np.ones(50), 0.7 * 4.0)).test_error == pytest.approx(
        shared, rel=1e-13
    )


def test_local_exponent_is_the_derivative_and_shapes_broadcast():
    h = 1e-4
    for noise in (Matched(0.3), CommonDirection(1.0), [Matched(0.2), CommonDirection(0.5)]):
        s = solve(np.exp([-h, 0.0, h]) * 2.0, 0.4, "easy", 0.3, noise=noise)
        numerical = -(math.log(s.test_error[2]) - math.log(s.test_error[0])) / (2 * h)
        assert s.local_exponent[1] == pytest.approx(numerical, rel=1e-5)
    s = solve([[0.5], [2.0]], [0.3, 0.6, 0.9], "easy", 0.2, noise=Matched(0.3))
    assert s.test_error.shape == (2, 3) and s.beta_prime.shape == (2, 3, 1)
    one = solve(2.0, 0.6, "easy", 0.2, noise=Matched(0.3))
    assert isinstance(one.test_error, float) and one.test_error == pytest.approx(s.test_error[1, 1], rel=1e-12)


def test_mislabelled_points_are_separable_up_to_a_limit_and_refused_beyond():
    rng = np.random.default_rng(1)
    U = np.abs(rng.standard_normal(400))
    U[:40] *= -1.0
    for noise in (Independent(), Matched(0.2), LowRank(np.column_stack([np.ones(400), U]), np.diag([-0.3, 0.4]))):
        with pytest.raises(NotSeparable, match="separable up to alpha") as caught:
            solve(20.0, keep=Atoms(U), noise=noise)
        limit = caught.value.limit
        assert 1.0 < limit < 20.0 and caught.value.mislabelled == pytest.approx(0.1)
        near = solve(0.995 * limit, keep=Atoms(U), noise=noise)
        assert near.status == CONVERGED and 0.0 < near.kappa < 0.02
        with pytest.raises(NotSeparable):
            solve(1.001 * limit, keep=Atoms(U), noise=noise)


def test_more_noise_cancelled_along_a_wrong_label_moves_the_transition_down():
    U = np.concatenate([np.linspace(0.1, 2.0, 90), -np.linspace(0.1, 1.0, 10)])
    limits = []
    for s in (1.0, 0.5, 0.0):
        with pytest.raises(NotSeparable) as caught:
            solve(1e3, keep=Atoms(U), noise=Matched(s))
        limits.append(caught.value.limit)
    assert limits[0] > limits[1] > limits[2]


GOOD = np.linspace(0.1, 2.0, 6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"noise": Matched(0.5), "alpha": -1.0}, "alpha is -1, must be positive"),
        ({"noise": "matched"}, "noise is 'matched', must be None, Matched"),
        ({"keep": Samples(GOOD), "noise": LowRank(np.ones(5), 1.0)}, "columns have 5 rows for 6 points"),
        ({"keep": Atoms(GOOD), "noise": LowRank(np.ones((7, 2)), np.eye(2))}, "columns have 7 rows for 6 points"),
        ({"keep": Atoms(GOOD), "noise": Independent(np.ones(5))}, "5 lengths for 6 points"),
        ({"keep": "easy", "noise": LowRank(np.ones(5), 1.0)}, "columns of numbers go with Samples or Atoms"),
        ({"keep": "easy", "noise": Independent(np.ones(5))}, "use theory.Lengths"),
        ({"keep": Atoms(GOOD), "noise": LowRank(np.ones(6), -1.5)}, "not positive: its lowest eigenvalue is -0.5"),
        (
            {"keep": "hard", "noise": LowRank(lambda m, U, length: 2.0, -0.3)},
            "not positive: its lowest eigenvalue is -0.2",
        ),
        ({"keep": Atoms([1.0]), "noise": Independent()}, "there is 1 point, at least 2"),
        ({"keep": Samples([1.0]), "noise": Matched(0.3)}, "there is 1 point, at least 2"),
        ({"keep": Atoms([]), "noise": Independent()}, "there are 0 points, at least 2"),
        ({"keep": Atoms([1.0, 2.0], [1.0, 0.0]), "noise": Independent()}, "there is 1 point of a weight above zero"),
        ({"noise": [Matched(0.0), Matched(0.0)]}, "not positive: its lowest eigenvalue is -1"),
        ({"keep": "easy", "noise": LowRank(lambda m, U, length: m[:3], -0.1)}, "column 0 must give one finite number"),
        ({"keep": Atoms(GOOD)}, "give them with noise="),
        ({"keep": Atoms(GOOD), "theta": 0.1, "noise": Independent()}, "Atoms are measured points"),
        ({"keep": Atoms([1.0, math.nan]), "noise": Independent()}, "must be finite"),
        ({"keep": Samples([-0.1, 1.0]), "noise": Matched(0.3)}, "must be >= 0"),
    ],
)
def test_bad_values_get_one_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        solve(**({"alpha": 1.0} | arguments))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Matched(-0.1), "residual is -0.1, must be at least 0"),
        (lambda: Matched(math.nan), "residual is nan"),
        (lambda: Matched(0.5, beta=0.0), "beta is 0, must be positive"),
        (lambda: Matched(0.5, lengths=0.0), "a length of the noise is 0"),
        (lambda: CommonDirection(math.inf), "coefficient of a common direction is inf"),
        (lambda: LowRank(np.ones((4, 2)), np.eye(3)), r"Q has shape \[3, 3\].*\[2, 2\]"),
        (lambda: LowRank(np.ones((4, 2)), [[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (lambda: LowRank(np.ones(4), math.nan), "Q is not finite"),
        (lambda: LowRank("ones", 1.0), "columns must be an array"),
        (lambda: LowRank([1.0, math.nan], 1.0), "must hold finite numbers"),
        (lambda: Lengths((1.0, -1.0)), "a length of the noise is -1"),
        (lambda: Lengths((1.0, 2.0), (1.0,)), "one weight a length"),
    ],
)
def test_bad_covariances_are_refused_where_they_are_made(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_what_does_not_converge_is_never_returned_silently(monkeypatch):
    real = observables.solve_curve

    def lost(alphas, law):
        found = real(alphas, law)
        found.residual[:] = 1e-3
        return found

    monkeypatch.setattr(observables, "solve_curve", lost)
    with pytest.raises(NotConverged, match="1 of 1 points with correlated noise did not converge, first at alpha 2"):
        solve(2.0, noise=Matched(0.5))
    assert solve(2.0, noise=Matched(0.5), raise_on_failure=False).status != CONVERGED
