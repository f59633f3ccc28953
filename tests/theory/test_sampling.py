"""The kept samples' exact law: against naive drawing of the whole pool, and against known moments."""

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import chisquare, ks_2samp, kstest, skewnorm

from theory.perceptron.max_margin import max_margin
from theory.saddle_point.kept import Samples, Tilt, Weight, Window
from theory.simulation import sampling
from theory.simulation.sampling import draw_kept, pool_size, sample_count

SURELY_DIFFERENT, SURELY_NOT = 1e-9, 1e-4  # p-values: with fixed seeds these decide


def naive(rng, count, dimension, fraction, keep, theta, margin):
    """Draw every vector of the pool, rank, keep."""
    X = rng.standard_normal((pool_size(count, fraction), dimension))
    y = np.where(math.cos(theta) * X[:, 0] + math.sin(theta) * X[:, 1] >= 0.0, 1.0, -1.0)
    score = np.abs(X[:, 0]) if margin == "unsigned" else y * X[:, 0]
    order = np.argsort(score if keep == "hard" else -score)[:count]
    return X[order], y[order]


def statistics(X, y):
    """Numbers that a wrong law would change, the margin of the trained student among them."""
    m, across = y * X[:, 0], y * X[:, 1]
    size = np.abs(m)
    ends = [size.min(), size.max(), m.min(), m.max()]
    return [*ends, size.mean(), m.mean(), across.mean(), across.std(), max_margin(X, y).margin]


@pytest.mark.parametrize(
    ("fraction", "keep", "theta", "margin"),
    [
        (0.2, "hard", 0.0, "unsigned"),
        (0.2, "hard", 0.4, "unsigned"),
        (0.2, "easy", 0.4, "unsigned"),
        (0.02, "hard", 0.8, "unsigned"),
        (0.02, "easy", 0.0, "unsigned"),
        (0.9, "easy", 1.5, "unsigned"),
        (0.2, "hard", 0.4, "signed"),
        (0.2, "easy", 0.8, "signed"),
        (0.2, "easy", 0.0, "signed"),
    ],
)
def test_same_law_as_drawing_the_whole_pool(fraction, keep, theta, margin):
    count, dimension, repeats = 20, 8, 700
    rng = np.random.default_rng(1)
    truth = np.array([statistics(*naive(rng, count, dimension, fraction, keep, theta, margin)) for _ in range(repeats)])
    draws = [draw_kept(rng, count, dimension, fraction, keep, theta, margin) for _ in range(repeats)]
    ours = np.array([statistics(d.X, d.y) for d in draws])
    p = [ks_2samp(truth[:, k], ours[:, k]).pvalue for k in range(truth.shape[1])]
    assert min(p) > SURELY_NOT, p


def test_the_comparison_would_notice_a_cut_at_the_population_quantile():
    count, fraction, repeats = 20, 0.2, 700
    rng = np.random.default_rng(2)
    threshold = [np.abs(naive(rng, count, 2, fraction, "hard", 0.0, "unsigned")[0][:, 0]).max() for _ in range(repeats)]
    gamma = ndtri(0.5 + 0.5 * fraction)
    cut = [(gamma * rng.random(count)).max() for _ in range(repeats)]
    assert ks_2samp(threshold, cut).pvalue < SURELY_DIFFERENT


def test_blocks_of_the_pool_change_nothing(monkeypatch):
    count, repeats = 20, 700
    rng = np.random.default_rng(3)
    one = [statistics(*naive(rng, count, 4, 0.1, "hard", 0.6, "signed")) for _ in range(repeats)]
    monkeypatch.setattr(sampling, "_BLOCK", 37)
    draws = [draw_kept(rng, count, 4, 0.1, "hard", 0.6, "signed") for _ in range(repeats)]
    blocks = [statistics(d.X, d.y) for d in draws]
    assert min(ks_2samp(a, b).pvalue for a, b in zip(np.transpose(one), np.transpose(blocks), strict=True)) > SURELY_NOT


@pytest.mark.parametrize("theta", [0.0, math.radians(20.0)])
@pytest.mark.parametrize("keep", ["hard", "easy"])
def test_mean_teacher_projection(theta, keep):
    """E_kept |T.x| in the limit of a large pool."""
    fraction, count = 0.3, 400_000
    sin, cos = math.sin(theta), math.cos(theta)
    gamma = ndtri(0.5 + fraction / 2) if keep == "hard" else -ndtri(fraction / 2)
    phi = lambda t: math.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)  # noqa: E731
    if theta == 0.0:
        braces = 2 * phi(0) - 2 * phi(gamma)
    else:
        braces = 2 * phi(0) * (2 * ndtr(gamma / sin) - 1) - 2 * phi(gamma) * cos * (2 * ndtr(gamma * cos / sin) - 1)
    expected = (braces if keep == "hard" else 2 * phi(0) - braces) / fraction
    kept = draw_kept(np.random.default_rng(4), count, 2, fraction, keep, theta)
    U = np.abs(kept.X @ kept.T)
    assert abs(U.mean() - expected) < 5.0 * U.std() / math.sqrt(count) + 3.0 / math.sqrt(count / fraction)


def test_a_tiny_fraction_keeps_its_digits():
    """f = 1e-9 of a pool of 1e13: |z| of the hardest is uniform up to the quantile."""
    kept = draw_kept(np.random.default_rng(5), 10_000, 1, 1e-9, "hard")
    gamma = 1e-9 * math.sqrt(math.pi / 2)
    assert kstest(np.abs(kept.X[:, 0]) / gamma, "uniform").pvalue > SURELY_NOT
    easy = np.abs(draw_kept(np.random.default_rng(6), 1000, 1, 1e-9, "easy").X[:, 0])
    assert easy.min() == pytest.approx(-ndtri(0.5e-9), rel=1e-2)


def weighted(rng, weight, count, theta, margin):
    """Accept and reject from the pool with probability `weight`, at most 1."""
    X = rng.standard_normal((100 * count, 2))
    y = np.where(math.cos(theta) * X[:, 0] + math.sin(theta) * X[:, 1] >= 0.0, 1.0, -1.0)
    m = y * X[:, 0]
    accepted = rng.random(m.size) < weight(np.abs(m) if margin == "unsigned" else m)
    assert accepted.sum() >= count
    return X[accepted][:count], y[accepted][:count]


@pytest.mark.parametrize("margin", ["unsigned", "signed"])
@pytest.mark.parametrize("theta", [0.0, 0.02, 0.6, 1.5])
@pytest.mark.parametrize(
    ("rule", "weight"),
    [
        (Tilt(6.0, beta=2.0), lambda m: np.exp(-6.0 / (1.0 + np.exp(2.0 * m)))),
        (Tilt(-4.0), lambda m: np.exp(-4.0 * (1.0 - 1.0 / (1.0 + np.exp(m))))),
        (Tilt(3.0, gradient_weighted=True), lambda m: np.exp(-3.0 / (1.0 + np.exp(m))) / (1.0 + np.exp(m))),
        (Window(0.3, 0.8), lambda m: ((m > 0.3) & (m < 0.8)).astype(float)),
        (Window(1.2), lambda m: (m > 1.2).astype(float)),
        (Weight(lambda m: m * m * np.exp(-m * m)), lambda m: m * m * np.exp(-m * m)),
        (Weight(lambda m: 1.0 * (m > 0.4), breaks=(0.4,)), lambda m: (m > 0.4).astype(float)),
    ],
)  # fmt: skip
def test_weights_and_windows_against_rejection(rule, weight, theta, margin):
    count = 2500
    X, y = weighted(np.random.default_rng(7), weight, count, theta, margin)
    kept = draw_kept(np.random.default_rng(8), count, 2, 1.0, rule, theta, margin)
    for true, ours in (
        (y * X[:, 0], kept.y * kept.X[:, 0]),
        (y * X[:, 1], kept.y * kept.X[:, 1]),
        (X[:, 0], kept.X[:, 0]),
        (y * (X[:, 0] - X[:, 1]), kept.y * (kept.X[:, 0] - kept.X[:, 1])),
        (np.abs(X @ kept.T), np.abs(kept.X @ kept.T)),
    ):
        assert ks_2samp(true, ours).pvalue > SURELY_NOT


def test_the_whole_pool_as_a_weight():
    """W = 1 is no selection: the margin is skew-normal, 2 phi(m) Phi(m cot theta)."""
    theta = 0.7
    for rule in (Weight(np.ones_like), Window(), "random"):
        kept = draw_kept(np.random.default_rng(9), 20_000, 2, 1.0, rule, theta, "signed")
        assert kstest(kept.y * kept.X[:, 0], skewnorm(1.0 / math.tan(theta)).cdf).pvalue > SURELY_NOT
        for k in range(2):
            assert kstest(kept.X[:, k], "norm").pvalue > SURELY_NOT


def test_given_margins_are_drawn_as_often_as_they_weigh():
    values, weights = np.array([0.2, 0.5, 1.5]), np.array([1.0, 2.0, 5.0])
    for margin, theta in (("unsigned", 0.0), ("unsigned", 0.5), ("signed", 0.5)):
        kept = draw_kept(np.random.default_rng(10), 8000, 2, 1.0, Samples(values, weights), theta, margin)
        m = kept.y * kept.X[:, 0]
        counts = np.array([np.isclose(np.abs(m), v).sum() for v in values])
        assert counts.sum() == 8000
        assert chisquare(counts, 1000.0 * weights).pvalue > SURELY_NOT
        right = np.mean(m[np.isclose(np.abs(m), 0.2)] > 0)  # is the probe right at |m| = 0.2?
        expected = 1.0 if margin == "signed" or theta == 0.0 else ndtr(0.2 / math.tan(theta))
        assert right == pytest.approx(expected, abs=0.07)


def test_geometry_labels_and_untouched_coordinates():
    theta = 0.3
    kept = draw_kept(np.random.default_rng(11), 3000, 6, 0.1, "hard", theta)
    assert kept.X.shape == (3000, 6) and kept.y.shape == (3000,)
    assert np.linalg.norm(kept.T) == pytest.approx(1.0) and np.linalg.norm(kept.J) == 1.0
    assert math.acos(kept.T @ kept.J) == pytest.approx(theta)
    assert np.array_equal(kept.y, np.sign(kept.X @ kept.T))
    for k in range(1, 6):
        assert kstest(kept.X[:, k], "norm").pvalue > SURELY_NOT
    assert abs(kept.y.mean()) < 0.1


def test_counts():
    assert sample_count(0.5, 200) == 100 and sample_count(1e-3, 10) == 1
    assert pool_size(100, 1.0) == 100 and pool_size(100, 0.3) == 333 and pool_size(1, 0.9) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"count": 0}, "count is 0, must be at least 1"),
        ({"dimension": 0}, "dimension is 0, must be at least 1"),
        ({"dimension": 1, "theta": 0.2}, "dimension is 1, must be at least 1, or 2 for a probe at an angle"),
        ({"fraction": 0.0}, r"fraction is 0, must lie in \(0, 1\]"),
        ({"fraction": 1.5}, r"fraction is 1.5, must lie in \(0, 1\]"),
        ({"fraction": math.nan}, "fraction is nan"),
        ({"theta": -0.1}, r"theta is -0.1, must lie in \[0, pi/2\]"),
        ({"theta": 20.0}, r"theta is 20, must lie .*20 degrees are 0.3491"),
        ({"keep": "hrad"}, "keep is 'hrad'.*did you mean 'hard'"),
        ({"margin": "singed"}, "margin is 'singed'.*did you mean 'signed'"),
        ({"keep": Tilt(1.0)}, "fraction 0.5 goes with"),
    ],
)
def test_refuses_what_it_cannot_draw(change, sentence):
    arguments = {
        "count": 10,
        "dimension": 5,
        "fraction": 0.5,
        "keep": "hard",
        "theta": 0.0,
        "margin": "unsigned",
    }
    with pytest.raises(ValueError, match=sentence):
        draw_kept(np.random.default_rng(0), **(arguments | change))
