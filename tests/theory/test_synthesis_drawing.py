"""Sets with correlated noise: their covariance, their place in the simulator, and the theory by Monte Carlo."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import chi2

from theory import (
    Atoms,
    CommonDirection,
    Independent,
    Lengths,
    LowRank,
    Matched,
    Samples,
    simulate,
    simulate_two_sizes,
    solve,
)
from theory.perceptron.max_margin import max_margin
from theory.simulation.drawing import correlated
from theory.simulation.sampling import KeptSamples, draw_kept
from theory.simulation.simulate import overlaps

ALPHAS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
SHARED = [Matched(0.3), CommonDirection(1.0)]
TWO = LowRank((lambda m, U, length: expit(-2 * m), lambda m, U, length: U * expit(-0.5 * m)), np.diag([-1.0, -0.75]),
              orthonormal=True)  # fmt: skip


def rows(noise, seed, theta=0.4, M=30, D=60):
    """Rows y x outside the plane of a drawn set, those before the noise was correlated, and its margins."""
    kept = draw_kept(np.random.default_rng(seed), M, D, 0.5, "easy", theta)
    made = correlated(np.random.default_rng(seed + 1000), kept, noise)
    d = 2 if theta > 0.0 else 1
    assert np.array_equal(made.X[:, :d], kept.X[:, :d]) and np.array_equal(made.y, kept.y)
    return made.y[:, None] * made.X[:, d:], kept.y[:, None] * kept.X[:, d:], kept.y * (kept.X @ kept.J)


@pytest.mark.parametrize("s", [0.0, 0.3, 1.0, 2.0])
def test_matched_noise_is_shrunk_along_h_and_nowhere_else(s):
    made, before, m = rows(Matched(s), 0)
    a = expit(-2.0 * m)
    a /= np.linalg.norm(a)
    assert a @ made == pytest.approx(s * (a @ before), abs=1e-12)
    assert made - np.outer(a, a @ made) == pytest.approx(before - np.outer(a, a @ before), abs=1e-12)


def test_covariance_of_many_draws_is_the_one_asked_for():
    M, D, draws = 5, 13, 4000
    m = np.array([0.2, -0.4, 1.0, 0.5, 0.9])
    kept = KeptSamples(np.zeros((M, D)), np.ones(M), np.eye(D)[0], np.eye(D)[0])
    noise = LowRank((lambda m, U, length: 1.0 + m, lambda m, U, length: length * m**2), [[-0.15, 0.1], [0.1, 0.4]], 1.2)
    at = np.column_stack([1.0 + m, 1.2 * m**2])
    expected = 1.44 * np.eye(M) + at @ np.array([[-0.15, 0.1], [0.1, 0.4]]) @ at.T / M
    found = np.zeros((M, M))
    rng = np.random.default_rng(3)
    for _ in range(draws):
        X = rng.standard_normal((M, D))
        X[:, 0] = m
        Z = correlated(rng, replace(kept, X=X), noise).X[:, 1:]
        found += Z @ Z.T / (D - 1) / draws
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / (draws * (D - 1)))
    assert np.all(np.abs(found - expected) < 5.0 * error)


def test_a_common_direction_counts_in_proportion_to_the_number_of_points():
    made = [rows(CommonDirection(4.0), seed, theta=0.0, M=40, D=81)[0] for seed in range(60)]
    means = np.array([np.sum(Z.mean(axis=0) ** 2) for Z in made])
    # |mean|^2 = (1 / M + c^2 / N) N = N / M + c^2
    assert means.mean() == pytest.approx(2.0 + 16.0, abs=4.0 * means.std() / math.sqrt(60))


def test_lengths_scale_the_rows():
    made, before, m = rows(Matched(0.5, lengths=Lengths((0.5, 2.0))), 1, M=200, D=60)
    a = expit(-2.0 * m)
    a /= np.linalg.norm(a)
    shrunk = before - 0.5 * np.outer(a, a @ before)
    ratio = np.linalg.norm(made, axis=1) / np.linalg.norm(shrunk, axis=1)
    assert np.all(np.isclose(ratio, 0.5) | np.isclose(ratio, 2.0)) and 60 < np.isclose(ratio, 0.5).sum() < 140


def test_independent_noise_draws_the_sets_of_the_simulator_as_it_was():
    plain = simulate(1.0, 0.5, "easy", 0.3, 30, 8, seed=2)
    assert simulate(1.0, 0.5, "easy", 0.3, 30, 8, seed=2, noise=None).per_trial.kappa == pytest.approx(
        plain.per_trial.kappa, abs=0
    )
    drawn = simulate(1.0, 0.5, "easy", 0.3, 30, 400, seed=2, noise=Independent())
    plain = simulate(1.0, 0.5, "easy", 0.3, 30, 400, seed=2)
    off = abs(drawn.test_error - plain.test_error)
    assert off < 4.0 * math.hypot(drawn.test_error_se, plain.test_error_se)


def test_every_covariance_has_draws_of_its_own_whatever_the_workers():
    noises = [Matched(0.3), Matched(0.4), Matched(0.3, beta=1.0), CommonDirection(0.3), SHARED, TWO]
    draws = [simulate(1.0, 0.5, dimension=20, trials=6, seed=1, noise=n, workers=1).per_trial.kappa for n in noises]
    assert np.unique(np.concatenate(draws)).size == 36
    again = simulate(1.0, 0.5, dimension=20, trials=6, seed=1, noise=TWO, workers=3).per_trial.kappa
    assert np.array_equal(again, draws[-1])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"noise": LowRank(np.ones(5), 1.0)}, "give functions"),
        ({"noise": Independent(np.ones(5))}, "must be a number or theory.Lengths"),
        ({"noise": LowRank(lambda m, U, length: 3.0, -0.5)}, "not positive in a set"),
        ({"alpha": 1e-3, "noise": Matched(0.3)}, "1 samples in 20 dimensions"),
        ({"keep": Samples([0.3, 0.4]), "noise": "matched"}, "noise is 'matched'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_sentence(change, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        simulate(**({"alpha": 1.0, "dimension": 20, "trials": 2, "workers": 1} | change))
    assert "\n" not in str(caught.value)


def z_of(alpha, keep, degrees, noise, dimension, trials, seed):
    theta, fraction = math.radians(degrees), 1.0 if keep == "random" else 0.5
    found = simulate_two_sizes(alpha, fraction, keep, theta, dimension, trials, seed, noise=noise)
    return (found.test_error - solve(alpha, fraction, keep, theta, noise=noise).test_error) / found.test_error_se


@pytest.mark.parametrize(
    ("alpha", "keep", "degrees", "noise"),
    [
        (0.5, "easy", 0, Matched(0.0)),
        (1.0, "hard", 0, Matched(0.3)),
        (0.25, "hard", 20, Matched(0.3)),
        (2.0, "easy", 20, Matched(0.0)),
        (1.0, "random", 0, SHARED),
        (1.0, "random", 0, TWO),
        (1.0, "random", 0, Matched(0.3, lengths=Lengths((0.7, 1.3)))),
        (1.0, "random", 0, Matched(0.3, lengths=Lengths((0.7, 1.3)), scale_after=False)),
    ],
)
def test_theory_by_monte_carlo(alpha, keep, degrees, noise):
    assert abs(z_of(alpha, keep, degrees, noise, 80, 40, 1)) < 3.0


# The probe's few mistakes carry the whole cancelled combination: from D = 200 and 400 no limit can be extrapolated.
RARE = (0.1, "easy", 20, 0.0)


@pytest.mark.slow
def test_theory_by_monte_carlo_in_all_cells():
    """72 cells of the matched model, extrapolated from D = 200 and 400 (the one with rare mistakes: 1600 and 3200)."""
    z = {
        (alpha, keep, degrees, s): z_of(alpha, keep, degrees, Matched(s), 200, 120, 1)
        for alpha in ALPHAS for keep in ("easy", "hard") for degrees in (0, 20) for s in (0.0, 0.3, 1.0)
        if (alpha, keep, degrees, s) != RARE
    }  # fmt: skip
    z[RARE] = z_of(*RARE[:3], Matched(0.0), 1600, 100, 11)
    assert max(map(abs, z.values())) < 3.0 and chi2.sf(sum(v * v for v in z.values()), len(z)) > 1e-2


@pytest.mark.slow
def test_a_cell_that_was_once_beyond_three_errors_is_unbiased():
    """Hard, perfect probe, alpha 4, everything cancelled: 3.15 standard errors in 120 trials; four times as many."""
    assert abs(z_of(4.0, "hard", 0, Matched(0.0), 200, 480, 11)) < 2.0


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("noise", [SHARED, [Matched(1.0), CommonDirection(1.0)], TWO])
def test_generalisations_by_monte_carlo(alpha, noise):
    assert abs(z_of(alpha, "random", 0, noise, 200, 120, 5)) < 3.0


@pytest.mark.slow
def test_rare_mistakes_of_the_probe_make_the_limit_slow_but_not_wrong():
    """Easy, 20 degrees, alpha 0.1, everything cancelled: far off at D = 200, a sixth of that left at D = 1600."""
    theta, noise = math.radians(20.0), Matched(0.0)
    limit = solve(0.1, 0.5, "easy", theta, noise=noise).test_error
    near, far = (simulate(0.1, 0.5, "easy", theta, D, 300, 3, noise=noise) for D in (200, 1600))
    assert near.test_error - limit > 6.0 * near.test_error_se
    assert abs(far.test_error - limit) < 0.25 * (near.test_error - limit)


def test_where_the_limit_is_slow_the_theory_at_the_drawn_margins_is_right_at_once():
    """The same cell, 20 points in 200 dimensions: set by set, at the margins that each set happens to have."""
    theta, noise = math.radians(20.0), Matched(0.0)
    off, errors = [], []
    for seed in range(60):
        kept = draw_kept(np.random.default_rng([7, seed]), 20, 200, 0.5, "easy", theta)
        made = correlated(np.random.default_rng([8, seed]), kept, noise)
        across = (made.J - math.cos(theta) * made.T) / math.sin(theta)
        plane = made.y[:, None] * (made.X @ np.column_stack([made.T, across]))
        h = expit(-2.0 * made.y * (made.X @ made.J))
        column = h / math.sqrt(float(np.mean(h**2)))
        theory = solve(20 / 198, keep=Atoms(plane), noise=LowRank(column, -1.0)).test_error
        errors.append(overlaps(max_margin(made.X, made.y).w, made.T, made.J)[0])
        off.append(errors[-1] - theory)
    assert np.std(errors) > 0.03  # sets differ much
    assert np.std(off) < 0.004 and abs(np.mean(off)) < 3.0 * np.std(off, ddof=1) / math.sqrt(60) + 1e-3
