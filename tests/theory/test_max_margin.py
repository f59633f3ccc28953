"""The max-margin perceptron: its certificate, its optimality conditions, and independent solvers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.judges.reference import by_cvxpy, by_nnls, is_separable
from theory.perceptron.max_margin import GAP, NotCertified, NotSeparable, max_margin
from theory.simulation.sampling import draw_kept


def labelled(rng, X):
    """Labels of a random teacher."""
    y = np.sign(X @ rng.standard_normal(X.shape[1]))
    return np.where(y == 0.0, 1.0, y)


def gaussian(n, D, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, D))
    return X, labelled(rng, X)


def kept(alpha, D, fraction=1.0, keep="hard", seed=0):
    samples = draw_kept(np.random.default_rng(seed), round(alpha * D), D, fraction, keep)
    return samples.X, samples.y


def angle(u, v):
    return 2.0 * np.arcsin(min(1.0, np.linalg.norm(u - v) / 2.0))


def assert_certified(answer, X, y):
    """The certificate again, from the data and the multipliers alone, and the optimality conditions."""
    Z = np.asarray(y, float)[:, None] * np.asarray(X, float)
    norms = np.linalg.norm(Z, axis=1)
    mu = answer.multipliers
    assert np.all(mu >= 0.0) and mu.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.array_equal(answer.support, np.flatnonzero(mu))
    assert np.linalg.norm(answer.w) == pytest.approx(1.0, abs=1e-14)

    nearest = mu @ Z
    margins = Z @ answer.w
    rounding = 1e-15 * norms.max()
    assert answer.upper == pytest.approx(np.linalg.norm(nearest), rel=1e-12, abs=rounding)
    assert answer.margin == pytest.approx(margins.min(), rel=1e-13, abs=rounding)
    assert 0.0 <= answer.gap <= GAP
    assert answer.gap == pytest.approx(max(0.0, 1.0 - answer.margin / answer.upper), abs=1e-15)
    assert angle(answer.w, nearest / np.linalg.norm(nearest)) <= 1e-9  # stationarity
    on_margin = margins[answer.support] - answer.margin
    assert np.all(on_margin <= 1e-9 * answer.margin + 10 * rounding)  # complementarity


PROBLEMS = {
    "one sample": gaussian(1, 7),
    "one dimension": (np.array([[2.0], [-1.0], [5.0]]), np.array([1.0, -1.0, 1.0])),
    "one sample, one dimension": (np.array([[-3.0]]), np.array([1.0])),
    "fewer samples than dimensions": gaussian(20, 60),
    "as many": gaussian(60, 60),
    "one more": gaussian(61, 60),
    "many samples": gaussian(3000, 8),
    "random, alpha = 2": kept(2.0, 60),
    "random, alpha = 10": kept(10.0, 40),
    "hard": kept(2.0, 60, 0.2),
    "very hard": kept(4.0, 60, 0.01),
    "hard, alpha = 10": kept(10.0, 40, 0.2),
    "easy": kept(2.0, 60, 0.2, "easy"),
    "easy, alpha = 10": kept(10.0, 40, 0.1, "easy"),
    "common mean": (gaussian(100, 40)[0] + 5.0, np.ones(100)),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_certificate_and_agreement_with_non_negative_least_squares(name):
    X, y = PROBLEMS[name]
    answer = max_margin(X, y)
    assert_certified(answer, X, y)
    reference = by_nnls(X, y)
    assert angle(answer.w, reference.w) <= 1e-9
    assert answer.margin == pytest.approx(reference.margin, rel=1e-10)
    assert answer.angle_bound >= 0.0 and np.cos(answer.angle_bound) == pytest.approx(1.0 - answer.gap, abs=1e-15)


@pytest.mark.parametrize(
    ("alpha", "fraction", "keep"), [(0.5, 1, "hard"), (2, 1, "hard"), (2, 0.2, "hard"), (2, 0.2, "easy")]
)
def test_agrees_with_an_interior_point_solver(alpha, fraction, keep):
    X, y = kept(alpha, 40, fraction, keep)
    answer, reference = max_margin(X, y), by_cvxpy(X, y, "CLARABEL", 1e-10)
    assert answer.margin == pytest.approx(reference.margin, rel=1e-8)
    assert answer.margin >= reference.margin * (1.0 - 1e-13)
    assert angle(answer.w, reference.w) <= 1e-6


def test_agrees_with_the_default_of_cvxpy():
    X, y = kept(1.0, 30)
    answer, reference = max_margin(X, y), by_cvxpy(X, y)
    assert angle(answer.w, reference.w) <= 1e-4


def test_closed_forms():
    # Orthogonal rows of lengths a_i: the nearest point of their hull has weights proportional to 1 / a_i^2.
    lengths = np.array([1.0, 2.0, 0.5, 4.0])
    answer = max_margin(np.diag(lengths), np.ones(4))
    assert answer.margin == pytest.approx(1.0 / np.sqrt(np.sum(lengths**-2.0)), rel=1e-14)
    assert answer.multipliers == pytest.approx(lengths**-2.0 / np.sum(lengths**-2.0), rel=1e-13)

    for half in (1e-1, 1e-3, 1e-5, 1e-6):  # two rows (half, +-1): the bisector, with margin `half`
        answer = max_margin([[half, 1.0], [half, -1.0]], [1, 1])
        assert answer.w == pytest.approx([1.0, 0.0], abs=1e-10)
        assert answer.margin == pytest.approx(half, rel=1e-10)

    # Only the shorter of two parallel rows supports.
    assert max_margin([[1.0, 1.0], [2.0, 2.0]], [1, 1]).support.tolist() == [0]


@pytest.mark.parametrize("noise", [0.0, 1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15])
def test_copies_and_near_copies(noise):
    rng = np.random.default_rng(4)
    X = rng.standard_normal((60, 30))
    X = np.vstack([X, X + noise * rng.standard_normal(X.shape), X - noise * rng.standard_normal(X.shape)])
    y = labelled(rng, X)
    answer = max_margin(X, y)
    assert_certified(answer, X, y)
    assert angle(answer.w, by_nnls(X, y).w) <= 1e-9


@pytest.mark.parametrize("spread", [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-9])
def test_two_almost_equal_support_vectors(spread):
    answer = max_margin([[1.0, spread], [1.0, -spread]], [1, 1])
    assert answer.gap <= GAP
    assert answer.w == pytest.approx([1.0, 0.0], abs=2e-7)


def test_degenerate_data():
    rng = np.random.default_rng(5)
    flat = rng.standard_normal((120, 15)) @ rng.standard_normal((15, 50))  # rank 15 in 50 dimensions
    assert_certified(max_margin(flat, y := labelled(rng, flat)), flat, y)
    for D, n in ((4, 60), (9, 90), (20, 60)):  # vertices of the cube, with ties and repeats
        cube = rng.choice([-1.0, 1.0], (n, D))
        teacher = np.arange(1.0, D + 1.0) ** 1.5
        y = np.sign(cube @ teacher)
        answer = max_margin(cube, y)
        assert_certified(answer, cube, y)
        assert angle(answer.w, by_nnls(cube, y).w) <= 1e-9
    powers = np.vander(np.linspace(-1.0, 1.0, 30), 12)
    assert_certified(max_margin(powers, y := labelled(rng, powers)), powers, y)
    columns = rng.standard_normal((100, 40)) * np.logspace(0, -6, 40)
    assert_certified(max_margin(columns, y := labelled(rng, columns)), columns, y)


def test_rows_of_very_different_length():
    rng = np.random.default_rng(6)
    for n, D in ((40, 20), (120, 60), (300, 60)):
        X = rng.standard_normal((n, D))
        y = labelled(rng, X)
        X *= 10.0 ** rng.uniform(-3, 3, (n, 1))
        answer = max_margin(X, y)
        assert_certified(answer, X, y)
        assert answer.gap <= 1e-12  # rounding of z_i.w alone would cost the long rows up to 1e-10
        assert angle(answer.w, by_nnls(1e3 * X, y).w) <= 1e-9


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e-8, 1e8, 1e150, 1e300])
def test_any_unit_of_length(scale):
    X, y = kept(2.0, 30)
    plain, scaled = max_margin(X, y), max_margin(scale * X, y)
    assert angle(plain.w, scaled.w) <= 1e-12
    assert scaled.margin / scale == pytest.approx(plain.margin, rel=1e-12)


def assert_farkas(error, X, y):
    Z = np.asarray(y, float)[:, None] * np.asarray(X, float)
    mu = error.multipliers
    assert np.all(mu >= 0.0) and mu.sum() == pytest.approx(1.0)
    bound = np.linalg.norm(mu @ Z)
    assert error.margin_bound == pytest.approx(bound, abs=1e-14 * np.linalg.norm(Z, axis=1).max())
    assert bound <= 1e-13 * (mu @ np.linalg.norm(Z, axis=1)) * 1.01
    assert error.residual <= 1e-13


@pytest.mark.parametrize(
    ("X", "y"),
    [
        ([[1.0, 2.0], [-1.0, -2.0]], [1, 1]),
        ([[1.0, 2.0], [1.0, 2.0]], [1, -1]),
        ([[1.0], [2.0], [-3.0]], [1, 1, 1]),
        ([[1.0, 0.0], [-0.5, 1.0], [-0.5, -1.0]], [1, 1, 1]),
        (np.random.default_rng(8).standard_normal((400, 100)), np.random.default_rng(9).choice([-1, 1], 400)),
    ],
)
def test_inseparable_data_come_with_a_proof(X, y):
    with pytest.raises(NotSeparable, match="no hyperplane through the origin separates") as caught:
        max_margin(X, y)
    assert_farkas(caught.value, X, y)


def test_one_contradiction_among_separable_data():
    X, y = kept(2.0, 60)
    with pytest.raises(NotSeparable) as caught:
        max_margin(np.vstack([X, -X[3]]), np.append(y, y[3]))
    assert_farkas(caught.value, np.vstack([X, -X[3]]), np.append(y, y[3]))


def test_some_wrong_labels_may_still_be_separable():
    X, y = gaussian(30, 60)
    assert_certified(max_margin(X, -y * np.where(np.arange(30) % 3, 1, -1)), X, -y * np.where(np.arange(30) % 3, 1, -1))


def test_separability_is_decided_as_by_a_linear_program():
    """Random labels near n = 2 D, where half of the problems are separable (Cover 1965)."""
    rng = np.random.default_rng(10)
    separable = 0
    for _ in range(150):
        D = int(rng.integers(3, 25))
        X = rng.standard_normal((2 * D + int(rng.integers(-3, 4)), D))
        y = rng.choice([-1.0, 1.0], X.shape[0])
        truth = is_separable(X, y)
        separable += truth
        if truth:
            assert_certified(max_margin(X, y), X, y)
        else:
            with pytest.raises(NotSeparable) as caught:
                max_margin(X, y)
            assert_farkas(caught.value, X, y)
    assert 30 < separable < 120


@pytest.mark.parametrize("half", [1e-8, 1e-9, 1e-10, 1e-12])
def test_neither_claims_nor_denies_a_margin_beyond_double_precision(half):
    with pytest.raises(NotCertified, match="conditioned"):
        max_margin([[half, 1.0], [half, -1.0]], [1, 1])


def test_a_start_changes_the_time_and_not_the_answer():
    X, y = kept(2.0, 60, 0.2)
    plain = max_margin(X, y)
    rng = np.random.default_rng(11)
    good = [plain.multipliers, 1e9 * plain.multipliers]
    for initial in (*good, np.zeros(y.size), np.ones(y.size), rng.random(y.size), np.eye(y.size)[0]):
        answer = max_margin(X, y, initial=initial)
        assert_certified(answer, X, y)
        assert angle(answer.w, plain.w) <= 1e-11


@st.composite
def problems(draw):
    n, D = draw(st.integers(1, 40)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    X = rng.standard_normal((n, D)) if draw(st.booleans()) else rng.integers(-3, 4, (n, D)).astype(float)
    X = X[np.abs(X).sum(axis=1) > 0.0]
    X = X if X.shape[0] else np.ones((1, D))
    T = rng.standard_normal(D)
    return X, np.where(X @ T >= 0.0, 1.0, -1.0), rng


@settings(max_examples=60, deadline=None, derandomize=True)
@given(problems(), st.floats(-6, 6))
def test_symmetries(problem, exponent):
    """Order, repetition, unit of length, rotation and reflection: the answer moves along, or not at all."""
    X, y, rng = problem
    plain = max_margin(X, y)
    assert_certified(plain, X, y)

    order = rng.permutation(y.size)
    permuted = max_margin(X[order], y[order])
    assert angle(plain.w, permuted.w) <= 1e-9

    repeated = max_margin(np.repeat(X, 3, axis=0), np.repeat(y, 3))
    assert angle(plain.w, repeated.w) <= 1e-9 and repeated.margin == pytest.approx(plain.margin, rel=1e-9)

    scaled = max_margin(10.0**exponent * X, y)
    assert scaled.margin == pytest.approx(10.0**exponent * plain.margin, rel=1e-9)

    Q, _ = np.linalg.qr(rng.standard_normal((X.shape[1], X.shape[1])))
    rotated = max_margin(X @ Q.T, y)
    assert angle(Q @ plain.w, rotated.w) <= 1e-8

    reflected = max_margin(-X, -y)
    assert np.array_equal(reflected.w, plain.w)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(problems())
def test_a_sample_more_never_widens_the_margin(problem):
    X, y, _ = problem
    if y.size < 2:
        return
    fewer, all_of_them = max_margin(X[:-1], y[:-1]), max_margin(X, y)
    assert all_of_them.margin <= fewer.upper * (1.0 + 1e-12)
    if y[-1] * (X[-1] @ fewer.w) > fewer.margin * (1.0 + 1e-9):  # outside the margin: it changes nothing
        assert angle(fewer.w, all_of_them.w) <= 1e-8


@pytest.mark.slow
def test_a_wide_sweep_is_certified():
    rng = np.random.default_rng(12)
    for _ in range(400):
        D, alpha = int(rng.integers(5, 81)), float(rng.uniform(0.3, 12.0))
        fraction, theta = float(10.0 ** rng.uniform(-2, 0)), float(rng.choice([0.0, rng.uniform(0.0, 1.5)]))
        samples = draw_kept(rng, max(1, round(alpha * D)), D, fraction, str(rng.choice(["hard", "easy"])), theta)
        answer = max_margin(samples.X, samples.y)
        assert_certified(answer, samples.X, samples.y)
        assert answer.gap <= 1e-11
