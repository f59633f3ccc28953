"""Scaling curves: fits on planted power laws (values and coverage of intervals), crossovers of planted curves."""

import math

import numpy as np
import pytest

from shared.measures.scaling import ScalingCurve, bootstrap_power_law, crossover, fit_power_law

SIZES = np.geomspace(1.0, 100.0, 12)


def planted(a: float, b: float, floor: float, noise: float, seed: int = 0, sizes: np.ndarray = SIZES) -> ScalingCurve:
    truth = a * sizes**-b + floor
    deviation = noise * truth
    rng = np.random.default_rng(seed)
    return ScalingCurve(sizes, truth + deviation * rng.standard_normal(sizes.size), deviation, "random", "experiment")


@pytest.mark.parametrize(("a", "b", "floor"), [(0.5, 1.0, 0.0), (0.3, 0.4, 0.02), (0.8, 2.0, 0.1)])
def test_an_exact_power_law_is_recovered(a: float, b: float, floor: float) -> None:
    fit = fit_power_law(planted(a, b, floor, 0.0))
    assert (fit.a.value, fit.b.value, fit.floor.value) == pytest.approx((a, b, floor), rel=1e-5, abs=1e-7)
    assert fit(SIZES) == pytest.approx(a * SIZES**-b + floor, rel=1e-6)
    assert fit.b.low <= b <= fit.b.high and fit.b.high - fit.b.low < 1e-2


def test_units_of_size_do_not_matter() -> None:
    curve = planted(0.5, 0.7, 0.01, 0.03)
    scaled = ScalingCurve(1e3 * np.asarray(curve.size), curve.error, curve.uncertainty, "random", "experiment")
    one, two = fit_power_law(curve), fit_power_law(scaled)
    assert two.b.value == pytest.approx(one.b.value, rel=1e-5)
    assert two.b.high == pytest.approx(one.b.high, rel=1e-4)
    assert two.a.value == pytest.approx(one.a.value * 1e3**one.b.value, rel=1e-4)


def test_profile_intervals_cover_the_truth() -> None:
    truth = {"a": 0.5, "b": 0.8, "floor": 0.02}
    repeats = 120
    covered = dict.fromkeys(truth, 0)
    for seed in range(repeats):
        fit = fit_power_law(planted(**truth, noise=0.03, seed=seed))
        for name, value in truth.items():
            estimate = getattr(fit, name)
            covered[name] += estimate.low <= value <= estimate.high
    # 95 % of 120 is 114 with a deviation of 2.4: within four of it.
    assert all(104 <= count <= repeats for count in covered.values()), covered


def test_bootstrap_and_profile_agree() -> None:
    curve = planted(0.5, 0.8, 0.05, 0.02)
    profile, bootstrap = fit_power_law(curve), bootstrap_power_law(curve, resamples=150)
    assert bootstrap.b.value == profile.b.value
    widths = [fit.b.high - fit.b.low for fit in (profile, bootstrap)]
    assert 0.6 < widths[1] / widths[0] < 1.5


def test_scatter_beyond_the_stated_errors_widens_the_interval() -> None:
    curve = planted(0.5, 0.8, 0.0, 0.1)
    claimed = ScalingCurve(curve.size, curve.error, 0.1 * np.asarray(curve.uncertainty), "random", "experiment")
    wide, claimed_fit = fit_power_law(curve, floor=0.0), fit_power_law(claimed, floor=0.0)
    assert claimed_fit.scale > 5 and wide.scale < 2
    assert claimed_fit.b.high - claimed_fit.b.low > 0.5 * (wide.b.high - wide.b.low)


def test_a_floor_can_be_held() -> None:
    fit = fit_power_law(planted(0.5, 0.8, 0.0, 0.02), floor=0.0)
    assert fit.floor.value == fit.floor.low == fit.floor.high == 0.0 and fit.degrees == 10


def test_classical_limit_of_the_theory() -> None:
    from theory import solve

    sizes = np.geomspace(100.0, 1000.0, 10)
    curve = ScalingCurve(sizes, solve(sizes, keep="random").test_error, 0.0, "random", "theory")
    fit = fit_power_law(curve, floor=0.0)
    assert fit.b.value == pytest.approx(1.0, abs=5e-3)
    assert float(np.asarray(curve.error)[-1] * sizes[-1]) == pytest.approx(0.50, abs=5e-3)


def test_crossover_of_planted_curves() -> None:
    one = ScalingCurve(SIZES, 0.5 * SIZES**-1.0, 0.02 * 0.5 * SIZES**-1.0, "hard", "simulation")
    two = ScalingCurve(SIZES, 0.25 * SIZES**-0.7, 0.02 * 0.25 * SIZES**-0.7, "easy", "simulation")
    truth = 2.0 ** (1 / 0.3)
    found = crossover(one, two)
    assert found.size == pytest.approx(truth, rel=1e-9)  # straight lines in log-log: interpolation is exact
    assert found.low < truth < found.high and found.crossings == 1 and found.seen > 0.99
    assert (found.first, found.second) == ("easy", "hard")
    # d log size = d log error / 0.3, with two independent 2 % errors interpolated between neighbours
    assert 0.5 < (math.log(found.high / found.low) / 3.92) / (0.02 * math.sqrt(2) / 0.3) < 1.1
    assert crossover(two, one).size == found.size


def test_crossover_intervals_cover_the_truth() -> None:
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        errors = [0.5 * SIZES**-1.0, 0.25 * SIZES**-0.7]
        curves = [
            ScalingCurve(SIZES, e * (1 + 0.03 * rng.standard_normal(12)), 0.03 * e, "s", "experiment") for e in errors
        ]
        found = crossover(*curves, resamples=400, seed=seed)
        covered += found.low <= 2.0 ** (1 / 0.3) <= found.high
    assert covered >= 50  # of 60; 57 expected, first crossings lie a little low


def test_curves_that_do_not_cross() -> None:
    one = ScalingCurve(SIZES, 0.5 / SIZES, 0.001, "hard", "theory")
    two = ScalingCurve(SIZES, 0.4 / SIZES, 0.0, "easy", "theory")
    found = crossover(one, ScalingCurve(SIZES, np.asarray(two.error), 0.0, "easy", "theory"), resamples=100)
    assert math.isnan(found.size) and found.crossings == 0 and found.high == math.inf
    assert found.first == "easy"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": [1, 1, 2]}, "increasing"),
        ({"size": [0, 1, 2]}, "positive"),
        ({"error": [0.1, 0.2]}, "as many errors"),
        ({"error": [0.1, 0.2, 1.2]}, r"\[0, 1\]"),
        ({"uncertainty": [-1, 0, 0]}, "standard errors"),
        ({"source": "guess"}, "one of"),
    ],
)
def test_bad_curves(changes: dict[str, object], message: str) -> None:
    good = {"size": [1, 2, 3], "error": [0.3, 0.2, 0.1], "uncertainty": 0.0, "strategy": "s", "source": "theory"}
    with pytest.raises(ValueError, match=message):
        ScalingCurve(**(good | changes))


def test_bad_fits() -> None:
    curve = planted(0.5, 1.0, 0.0, 0.02)
    few = ScalingCurve([1, 2, 3], [0.3, 0.2, 0.1], 0.01, "s", "experiment")
    for arguments, message in (
        ((few, {}), "needs 4 points"),
        ((curve, {"confidence": 1.0}), "confidence"),
        ((curve, {"floor": -0.1}), "negative"),
        ((ScalingCurve([1, 2, 3, 4], [0.3, 0.2, 0.1, 0.1], [0, 0.1, 0.1, 0.1], "s", "theory"), {}), "some none"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_power_law(arguments[0], **arguments[1])
    with pytest.raises(ValueError, match="different things"):
        crossover(curve, ScalingCurve(SIZES, curve.error, 0.0, "s", "theory", "ipc"))


def test_a_floor_may_lie_above_every_point() -> None:
    curve = ScalingCurve(SIZES, np.full(SIZES.size, 0.2), 0.01, "random", "experiment")
    fit = fit_power_law(curve)
    assert fit.a.value == pytest.approx(0.0, abs=1e-9)
    # With a = 0 the floor is the mean: its interval is that of a mean of n points, cut off on no side.
    assert fit.floor.high == pytest.approx(0.2 + 1.96 * 0.01 / np.sqrt(SIZES.size), rel=1e-3)
    nothing = fit_power_law(ScalingCurve(SIZES, np.zeros(SIZES.size), 0.01, "random", "experiment"), floor=0.0)
    assert nothing.a.value == 0.0 < 0.005 < nothing.a.high


def test_a_curve_does_not_cross_itself() -> None:
    same = ScalingCurve(SIZES, 0.4 * SIZES**-0.5, 0.0, "random", "theory")
    found = crossover(same, same, resamples=20)
    assert np.isnan(found.size) and (found.low, found.high, found.crossings, found.seen) == (0.0, np.inf, 0, 0.0)
