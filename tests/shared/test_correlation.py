"""Rank correlations against scipy, invariances, and the coverage of the intervals."""

import numpy as np
import pytest
from scipy import stats

from shared.measures.correlation import interval, kendall, spearman, spearman_rows


def pairs(n: int, seed: int = 0, rho: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=n)
    return x, rho * x + np.sqrt(1 - rho**2) * generator.normal(size=n)


def test_values_are_scipys_with_ties_too() -> None:
    x, y = pairs(60)
    x = np.round(x, 1)
    assert spearman(x, y, resamples=0).value == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert kendall(x, y, resamples=0).value == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)


def test_monotone_maps_change_nothing() -> None:
    x, y = pairs(50)
    assert spearman(np.exp(x), y**3) == spearman(x, y)
    assert spearman(-x, y).value == pytest.approx(-spearman(x, y).value)
    assert kendall(x, x).value == pytest.approx(1) and kendall(x, x).low == pytest.approx(1)


def test_intervals_cover_the_truth() -> None:
    truth = 6 / np.pi * np.arcsin(0.25)  # Spearman's rho of a bivariate normal with correlation 1/2
    covered = 0
    for seed in range(100):
        found = spearman(*pairs(80, seed), resamples=200, seed=seed)
        covered += found.low <= truth <= found.high
    assert 86 <= covered <= 100  # 95 expected, binomial deviation 2.2; four deviations below


def test_grouped_resampling_is_wider_for_dependent_pairs() -> None:
    x, y = pairs(12)
    repeated = np.repeat(x, 10), np.repeat(y, 10), np.repeat(np.arange(12), 10)
    naive = spearman(*repeated[:2])
    grouped = spearman(*repeated[:2], groups=repeated[2])
    assert grouped.high - grouped.low > 2 * (naive.high - naive.low)


def test_constant_variable_has_no_correlation() -> None:
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]).value) and np.isnan(kendall([1, 2, 3], [2, 2, 2]).value)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ([1, 2], [1, 2], {}, "at least 3 pairs"),
        ([1, 2, 3], [1, 2], {}, "at least 3 pairs"),
        ([1, 2, np.nan], [1, 2, 3], {}, "finite"),
        ([1, 2, 3], [1, 2, 3], {"confidence": 1.0}, "confidence"),
        ([1, 2, 3], [1, 2, 3], {"groups": [0, 1]}, "groups must be"),
    ],
)
def test_bad_input(x: list[float], y: list[float], options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spearman(x, y, **options)


def test_any_statistic() -> None:
    x, y = pairs(30)
    found = interval(lambda a, b: float(np.mean(a - b)), x, y)
    assert found.low < found.value < found.high and found.n == 30


def test_many_ranks_are_scipys():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 4, (2, 60, 8)).astype(float)
    y[::3, 2] = np.nan
    x[0], y[1, 2:] = 1.0, np.nan
    expected = []
    for a, b in zip(x, y, strict=True):
        kept = np.isfinite(b)
        usable = kept.sum() >= 3 and np.ptp(a[kept]) > 0 and np.ptp(b[kept]) > 0
        expected.append(stats.spearmanr(a[kept], b[kept]).statistic if usable else np.nan)
    assert spearman_rows(x, y) == pytest.approx(np.array(expected), abs=1e-12, nan_ok=True)
