"""Simulations: reproducible whatever the workers, in agreement with the theory, honest errors."""

import math

import numpy as np
import pytest
from scipy.stats import chi2

from theory.saddle_point.kept import Tilt, Weight
from theory.simulation.finite_size import extrapolate, simulate_two_sizes
from theory.simulation.simulate import OBSERVABLES, overlaps, simulate

# alpha, fraction, theta (degrees), keep, margin, then R, rho, kappa, test error in the limit D -> infinity.
REFERENCE = [
    (1, 1, 0, "hard", "unsigned", 0.6713576482, 0.6713576482, 0.7865498417, 0.2657114699),
    (0.5, 0.3, 0, "hard", "unsigned", 0.1793361302, 0.1793361302, 1.0515175786, 0.4426050352),
    (0.5, 0.3, 0, "easy", "unsigned", 0.7789793039, 0.7789793039, 1.7941531087, 0.2157376878),
    (2, 0.6, 0, "hard", "unsigned", 0.8958769866, 0.8958769866, 0.2930963262, 0.1465483385),
    (2, 0.1, 0, "easy", "unsigned", 0.9751830509, 0.9751830509, 1.8213068680, 0.0710626814),
    (4, 0.1, 0, "hard", "unsigned", 0.9992218613, 0.9992218613, 0.0251112699, 0.0125580379),
    (1, 0.3, 10, "hard", "unsigned", 0.3463427726, 0.2940665541, 0.5734400600, 0.3874234158),
    (1, 0.3, 10, "easy", "unsigned", 0.8759719138, 0.8894851923, 1.4682663897, 0.1602210510),
    (2, 0.3, 20, "hard", "unsigned", 0.6452352713, 0.4641374834, 0.3059382683, 0.2767593467),
    (2, 0.3, 20, "easy", "unsigned", 0.8963153880, 0.9517558862, 1.2622660981, 0.1462339429),
    (2, 0.6, 40, "easy", "unsigned", 0.8091704853, 0.6855801181, 0.5688165563, 0.1999168634),
    (4, 0.1, 40, "hard", "unsigned", 0.6610638611, 0.0841295319, 0.2322650759, 0.2701052254),
    (2, 0.3, 40, "hard", "signed", 0.4025870198, -0.1543927976, 0.6214263278, 0.3681110805),
    (2, 0.3, 40, "easy", "signed", 0.7559399732, 0.9519992677, 1.2537504604, 0.2271801641),
]
WEIGHTED = [
    (1.5, 0, "unsigned", 0.8114992936, 0.8114992936, 0.9683924634, 0.1986517991),
    (1.5, 54, "unsigned", 0.7410918355, 0.5221782513, 0.6965933455, 0.2343082976),
    (1.5, 54, "signed", 0.6659506687, 0.7731764197, 1.0277941529, 0.2680261139),
    (0.5, 54, "signed", 0.5361856270, 0.6673038379, 1.6512065365, 0.3198647028),
]


def tilted(m):
    return np.exp(-4.0 * 2.0 / (1.0 + np.exp(m)))


def cases():
    for alpha, fraction, theta, keep, margin, *values in REFERENCE:
        yield alpha, fraction, keep, math.radians(theta), margin, values
    for alpha, theta, margin, *values in WEIGHTED:
        yield alpha, 1.0, Weight(tilted), math.radians(theta), margin, values
    alpha, theta, margin, *values = WEIGHTED[2]
    yield alpha, 1.0, Tilt(8.0), math.radians(theta), margin, values  # the same weight: h = 1 / (1 + exp m)


def deviations(trials, dimension):
    """(simulated - limit), its standard error, for each case and observable."""
    for alpha, fraction, keep, theta, margin, values in cases():
        s = simulate(alpha, fraction, keep, theta, dimension, trials, seed=3, margin=margin)
        limits = dict(zip(("R", "rho", "kappa", "test_error"), values, strict=True))
        for name in OBSERVABLES:
            yield getattr(s, name) - limits[name], getattr(s, f"{name}_se")


def test_agrees_with_the_limit_of_infinite_dimension():
    """Within 3 standard errors plus 1 / D (up to 3 / D for the overlaps and kappa), and all of them together."""
    dimension = 200
    off, error = np.array(list(deviations(40, dimension))).T
    allowed = np.tile([1.0, 3.0, 3.0, 2.0], off.size // 4) / dimension
    assert np.all(np.abs(off) < 3.0 * error + allowed)
    z = off.reshape(-1, 4)[:, 0] / error.reshape(-1, 4)[:, 0]
    assert chi2.sf(np.sum(z**2), z.size) > 1e-3


@pytest.mark.slow
def test_agrees_with_the_limit_by_two_sizes():
    off = []
    for alpha, fraction, keep, theta, margin, values in cases():
        limit = simulate_two_sizes(alpha, fraction, keep, theta, 100, 400, seed=5, margin=margin)
        off.append((limit.test_error - values[3]) / limit.test_error_se)
    assert np.max(np.abs(off)) < 4.0 and chi2.sf(np.sum(np.square(off)), len(off)) > 1e-3


def same(a, b):
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in OBSERVABLES) and all(
        np.array_equal(getattr(a.per_trial, n), getattr(b.per_trial, n)) for n in OBSERVABLES
    )


def test_numbers_do_not_depend_on_workers():
    arguments = {
        "alpha": [0.5, 1.0, 2.0],
        "fraction": 0.3,
        "theta": 0.3,
        "dimension": 30,
        "trials": 23,
        "seed": 9,
    }
    one = simulate(**arguments, workers=1)
    for workers in (2, 5, None):
        assert same(one, simulate(**arguments, workers=workers))


def test_numbers_do_not_depend_on_the_other_points():
    keeps = np.array([["hard"], ["easy"], [Tilt(2.0)], [Weight(tilted)]], dtype=object)
    alphas = np.array([0.5, 1.0, 2.0])
    for margin in ("unsigned", "signed"):
        together = simulate(alphas, 1.0, keeps, 0.3, 25, 12, seed=1, margin=margin)
        for i, keep in enumerate(keeps[:, 0]):
            for j, alpha in enumerate(alphas):
                alone = simulate(alpha, 1.0, keep, 0.3, 25, 12, seed=1, margin=margin)
                for name in OBSERVABLES:
                    assert np.array_equal(getattr(alone.per_trial, name), getattr(together.per_trial, name)[i, j])


def test_more_trials_continue_fewer():
    fewer, more = (simulate(1.0, 0.5, dimension=20, trials=n, seed=4) for n in (7, 31))
    assert np.array_equal(more.per_trial.kappa[:7], fewer.per_trial.kappa)


def test_every_setting_changes_the_draws():
    base = {
        "alpha": 1.0,
        "fraction": 0.5,
        "keep": "hard",
        "theta": 0.3,
        "dimension": 20,
        "trials": 3,
        "seed": 0,
    }
    changes = [{}, {"alpha": 1.05}, {"fraction": 0.4}, {"keep": "easy"}, {"theta": 0.31}, {"dimension": 21}]
    changes += [{"seed": 1}, {"margin": "signed"}, *({"keep": Tilt(c), "fraction": 1.0} for c in (1.0, 1.1))]
    draws = np.concatenate([simulate(**(base | change)).per_trial.kappa for change in changes])
    assert np.unique(draws).size == draws.size


def test_means_errors_and_shapes():
    s = simulate([0.5, 1.0, 1.5], np.array([[0.2], [0.6]]), "easy", dimension=20, trials=15)
    assert s.test_error.shape == s.alpha.shape == (2, 3) and s.per_trial.R.shape == (2, 3, 15)
    for name in OBSERVABLES:
        values = getattr(s.per_trial, name)
        assert getattr(s, name) == pytest.approx(values.mean(axis=-1))
        assert getattr(s, f"{name}_se") == pytest.approx(values.std(axis=-1, ddof=1) / math.sqrt(15))
    assert s.per_trial.test_error == pytest.approx(np.arccos(s.per_trial.R) / np.pi)
    assert np.all(s.per_trial.kappa > 0.0)

    scalar = simulate(1.0, dimension=20, trials=3)
    assert all(type(getattr(scalar, n)) is float for n in ("test_error", "kappa_se", "alpha", "fraction"))
    assert math.isnan(simulate(1.0, dimension=20, trials=1).test_error_se)


def test_reports_alpha_and_fraction_as_simulated():
    s = simulate([0.104, 1e-6], 0.3, dimension=50, trials=2)
    assert s.samples.tolist() == [5, 1]
    assert s.alpha == pytest.approx([0.1, 0.02]) and s.fraction == pytest.approx([5 / 17, 1 / 3])
    assert simulate(1.0, 1.0, "random", dimension=10, trials=2).fraction == 1.0


def test_a_perfect_probe_is_the_teacher_and_a_random_one_is_not():
    s = simulate(1.0, 0.3, ["hard", "easy"], 0.0, 30, 10)
    assert np.array_equal(s.per_trial.R, s.per_trial.rho)
    s = simulate(2.0, 0.2, "hard", math.pi / 2, 60, 60)  # selecting along a random direction does nothing
    t = simulate(2.0, 1.0, "random", 0.0, 60, 60)
    assert abs(s.test_error - t.test_error) < 4.0 * math.hypot(s.test_error_se, t.test_error_se)
    assert abs(s.rho) < 4.0 * s.rho_se


@pytest.mark.parametrize("small", [1e-3, 1e-6, 1e-9, 1e-12])
def test_small_angles_keep_their_digits(small):
    T = np.array([0.6, 0.8, 0.0])
    w = math.cos(small) * T + math.sin(small) * np.array([0.0, 0.0, 1.0])
    error, R, rho = overlaps(w, T, T)
    assert error == pytest.approx(small / math.pi, rel=1e-9) and R == rho == pytest.approx(1.0)


def test_extrapolation():
    limit = simulate_two_sizes([1.0, 1.333], 0.5, dimension=24, trials=20, seed=2)
    assert (limit.small.dimension, limit.large.dimension) == (24, 48)
    assert np.array_equal(limit.small.alpha, limit.large.alpha)
    assert limit.test_error == pytest.approx(2.0 * limit.large.test_error - limit.small.test_error)
    expected = np.sqrt(4.0 * limit.large.R_se**2 + limit.small.R_se**2)
    assert limit.R_se == pytest.approx(expected)

    first, third = (simulate(1.0, dimension=d, trials=4) for d in (20, 60))
    assert extrapolate(first, third).kappa == pytest.approx(1.5 * third.kappa - 0.5 * first.kappa)
    with pytest.raises(ValueError, match="sizes must grow"):
        extrapolate(third, first)
    with pytest.raises(ValueError, match="different points"):
        extrapolate(first, simulate(2.0, dimension=60, trials=4))


def test_progress_by_a_function_by_lines_and_not_at_all(capsys, monkeypatch):
    seen = []
    simulate([0.5, 1.0], dimension=20, trials=25, progress=lambda done, total: seen.append((done, total)))
    done, total = np.array(seen).T
    assert np.all(np.diff(done) > 0) and np.all(total == total[0]) and done[-1] == pytest.approx(total[0])
    assert len(seen) == 6  # two points, jobs of ten trials

    capsys.readouterr()
    simulate(1.0, dimension=20, trials=5, progress=False)
    simulate(1.0, dimension=20, trials=5)  # not a terminal
    assert capsys.readouterr() == ("", "")
    simulate(1.0, dimension=20, trials=5, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("simulating: 100%") and err.count("\n") == 1

    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    simulate(1.0, dimension=20, trials=5)
    assert "100%" in capsys.readouterr().err


def test_an_error_in_a_trial_ends_the_call(monkeypatch):
    def fails(X, y):
        raise ArithmeticError("as if")

    monkeypatch.setattr("theory.simulation.simulate.max_margin", fails)
    with pytest.raises(ArithmeticError, match="as if") as caught:
        simulate(1.0, dimension=20, trials=5000)
    assert any("alpha = 1" in note and "trial" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"alpha": 0.0}, "alpha is 0, must be positive"),
        ({"alpha": [1.0, math.inf]}, "alpha is inf, must be positive"),
        ({"alpha": "two"}, "alpha is 'two', must be a number or an array of numbers"),
        ({"alpha": []}, "no points"),
        ({"alpha": 1e9}, "alpha = 1e\\+09 at dimension 20 means 2e\\+10 samples"),
        (
            {"alpha": [1.0, 2.0], "fraction": [0.1, 0.2, 0.3]},
            r"alpha \[2\], fraction \[3\].*do not broadcast",
        ),
        ({"fraction": 0.0}, r"fraction is 0, must lie in \(0, 1\]"),
        ({"theta": 45.0}, r"theta is 45, must lie .*45 degrees are 0.7854"),
        ({"keep": "esay"}, "keep is 'esay'.*did you mean 'easy'"),
        ({"keep": ["hard", "esay"]}, "keep is 'esay'"),
        ({"keep": 3}, "keep is 3"),
        ({"margin": "sign"}, "margin is 'sign'.*did you mean 'signed'"),
        ({"dimension": 0}, "dimension is 0, must be a whole number, at least 1"),
        ({"dimension": 20.0}, "dimension is 20.0, must be a whole number"),
        ({"dimension": 1, "theta": 0.1}, "dimension is 1, must be at least 1, or 2"),
        ({"trials": 0}, "trials is 0, must be a whole number, at least 1"),
        ({"trials": True}, "trials is True"),
        ({"seed": -1}, "seed is -1, must be a whole number, at least 0"),
        ({"workers": 0}, "workers is 0, must be a whole number, at least 1"),
        ({"progress": "yes"}, "progress is 'yes', must be True, False, None or a function"),
    ],
)
def test_refuses_bad_settings_in_one_sentence(change, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        simulate(**({"alpha": 1.0, "dimension": 20, "trials": 2} | change))
    assert "\n" not in str(caught.value)
