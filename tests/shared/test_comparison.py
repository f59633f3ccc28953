"""The comparison itself: planted effect, reversed, shuffled, flat, bad map, published table."""

from dataclasses import replace

import numpy as np
import pytest
from planted import COEFFICIENTS, IPC, N_EFF, perfect_probe, planted

from shared.comparison.all_checks import MAP_CHECKS, compare, compare_grid
from shared.comparison.grid import Grid
from shared.comparison.order_check import best_cells, kendall_tau, kendall_taus
from shared.comparison.prediction import Prediction
from shared.comparison.published_table import published_order, published_orders, read_tuned
from shared.comparison.verdict import Verdict, judge, mean_of

RESAMPLES = 150


@pytest.fixture(scope="module")
def prediction() -> Prediction:
    return perfect_probe()


def verdicts(grid: Grid, prediction: Prediction) -> dict[str, Verdict]:
    return {f.check: f.verdict for f in compare_grid(grid, prediction, resamples=RESAMPLES).findings}


def relabelled(grid: Grid, seed: int) -> Grid:
    """The coefficients of every run of every seed handed around at random."""
    rng = np.random.default_rng(seed)
    accuracy = grid.accuracy.copy()
    for i, s in np.ndindex(accuracy.shape[0], accuracy.shape[2]):
        accuracy[i, :, s] = accuracy[i, rng.permutation(accuracy.shape[1]), s]
    return grid.with_accuracy(accuracy)


def test_a_planted_effect_is_supported(prediction: Prediction) -> None:
    for seed in range(3):
        compared = compare_grid(planted(prediction, seed), prediction, resamples=RESAMPLES)
        told = [f for f in compared.findings if f.check != "order"]
        assert {f.verdict for f in told} == {Verdict.SUPPORTED}
        for finding in told:
            assert finding.low > 0.0 and finding.detectable > 0.0
        assert compared.alpha_map.low < N_EFF < compared.alpha_map.high
    sign = compared.findings[0]
    # The response crosses zero between alpha 1.67 and 3.33, as the theory has it.
    assert [r["predicted_sign"] for r in sign.details] == ["+", "+", "undecided", "-", "-", "-"]
    assert all(r["slope"] > 0 for r in sign.details[:2]) and all(r["slope"] < 0 for r in sign.details[3:])


def test_the_scale_of_lambda_is_found(prediction: Prediction) -> None:
    gains = compare_grid(planted(prediction, 1, noise=0.001), prediction, resamples=100).gains
    assert gains is not None and gains.scale == pytest.approx(40.0, rel=0.15)


def test_a_reversed_effect_is_not_supported(prediction: Prediction) -> None:
    found = verdicts(planted(prediction, 0, response=-1.0), prediction)
    assert all(found[check] == Verdict.NOT_SUPPORTED for check in ("sign", "rank"))
    assert found["order"] != Verdict.SUPPORTED
    assert found["out of sample"] == Verdict.NOT_SUPPORTED


def test_shuffled_labels_give_intervals_that_cover_zero(prediction: Prediction) -> None:
    checks = ("sign", "rank", "order", "out of sample")
    covered = dict.fromkeys(checks, 0)
    repeats = 12
    for seed in range(repeats):
        compared = compare_grid(relabelled(planted(prediction, seed), seed), prediction, resamples=RESAMPLES)
        for finding in compared.findings:
            if finding.check in checks:
                assert finding.verdict != Verdict.SUPPORTED
                covered[finding.check] += not (finding.low > 0.0 or finding.high < 0.0)
    assert all(count >= repeats - 2 for count in covered.values()), covered


def test_gains_handed_to_wrong_cells_are_not_supported(prediction: Prediction) -> None:
    supported = dict.fromkeys(("sign", "rank", "order", "out of sample"), 0)
    cells = IPC.size * (COEFFICIENTS.size - 1)
    for seed in range(8):
        grid = planted(prediction, seed, cells=np.random.default_rng(seed).permutation(cells))
        for check, verdict in verdicts(grid, prediction).items():
            if check in supported:
                supported[check] += verdict == Verdict.SUPPORTED
    assert all(count <= 2 for count in supported.values()), supported


def test_a_flat_response_is_not_identifiable(prediction: Prediction) -> None:
    for seed in range(4):
        found = verdicts(planted(prediction, seed, response=0.0), prediction)
        assert all(found[c] == Verdict.NOT_IDENTIFIABLE for c in ("sign", "rank", "order"))
        assert found["out of sample"] != Verdict.SUPPORTED


def test_a_bad_map_ends_the_comparison(prediction: Prediction) -> None:
    grid = planted(prediction, 0)
    flat = {ipc: [[0.5 + 0.02 * (ipc % 3)] * 4] * 5 for ipc in grid.random}  # no learning curve at all
    for changed in (
        replace_grid(grid, random=flat),
        replace_grid(grid, random=dict(list(grid.random.items())[:2])),
        replace_grid(grid, whole=()),
        replace_grid(grid, whole=(0.05, 0.05)),
    ):
        compared = compare_grid(changed, prediction, resamples=100)
        assert not compared.alpha_map.valid and compared.gains is None
        found = {f.check: f.verdict for f in compared.findings}
        assert all(found[c] == Verdict.MAP_INVALID for c in (*MAP_CHECKS, "order"))
        assert all(compared.alpha_map.problems[0] in f.sentence for f in compared.findings if f.check in MAP_CHECKS)


def replace_grid(grid: Grid, **changes: object) -> Grid:
    return replace(grid, **changes)


def test_difficulty(prediction: Prediction) -> None:
    rising = planted(prediction, 0)
    assert verdicts(rising, prediction)["difficulty along distillation"] == Verdict.SUPPORTED
    as_trajectory = replace(rising, family="trajectory")
    assert verdicts(as_trajectory, prediction)["difficulty along distillation"] == Verdict.NOT_SUPPORTED
    end = rising.per_run["mediator_gradn"]
    staying = replace(as_trajectory, per_run=rising.per_run | {"mediator_gradn": end / 1.3})
    assert verdicts(staying, prediction)["difficulty along distillation"] == Verdict.STAYS
    assert verdicts(replace(staying, family="gradient"), prediction)["difficulty along distillation"] == Verdict.STAYS
    falling = replace(as_trajectory, per_run=rising.per_run | {"mediator_gradn": end / 2.0})
    assert verdicts(falling, prediction)["difficulty along distillation"] == Verdict.SUPPORTED
    still = replace(falling, per_run=falling.per_run | {"images_moved": np.full(end.shape, 0.002)})
    assert verdicts(still, prediction)["difficulty along distillation"] == Verdict.NOT_IDENTIFIABLE
    backwards = replace(rising, per_run=rising.per_run | {"mediator_gradn": 1.0 / end})
    assert verdicts(backwards, prediction)["lambda lowers difficulty"] == Verdict.NOT_SUPPORTED
    unknown = replace(rising, per_run={})
    assert verdicts(unknown, prediction)["lambda lowers difficulty"] == Verdict.NOT_IDENTIFIABLE


def test_an_undecided_prediction_decides_nothing(prediction: Prediction) -> None:
    both = replace(
        prediction, theta=np.zeros(3), slope=np.stack([prediction.slope[0], prediction.slope[0], -prediction.slope[0]])
    )
    finding = compare_grid(planted(prediction, 0), both, resamples=100).findings[0]
    assert finding.verdict == Verdict.NOT_IDENTIFIABLE and "undecided at every IPC" in finding.sentence


def test_flatness_guard_leaves_cells_out(prediction: Prediction) -> None:
    assert sum(cell.identifiable for cell in best_cells(planted(prediction, 0))) >= 5
    told = sum(c.identifiable for k in range(10) for c in best_cells(planted(prediction, k, response=0.0)))
    assert told <= 9  # of 60 cells at 5 %: 3 expected, the shared lambda = 0 makes them clump


def test_relative_pull_can_take_the_place_of_lambda(prediction: Prediction) -> None:
    grid = planted(prediction, 0)
    pull = np.abs(COEFFICIENTS)[None, :, None] * np.full(grid.accuracy.shape[:3], 7.0)
    measured = replace(grid, per_run=grid.per_run | {"relative_pull": pull})
    found = compare_grid(measured, prediction, against="relative_pull", resamples=100)
    assert found.findings[0].verdict == Verdict.SUPPORTED
    assert found.gains is not None and found.gains.scale == pytest.approx(40.0 / 7.0, rel=0.2)
    unknown = replace(grid, per_run={"relative_pull": np.full((6, 7, 5), np.nan)})
    with pytest.raises(ValueError, match="not recorded"):
        compare_grid(unknown, prediction, against="relative_pull")


def test_several_grids_are_pooled(prediction: Prediction) -> None:
    one, two = (compare_grid(planted(prediction, k), prediction, resamples=100) for k in range(2))
    pooled = compare([one, two], resamples=100).pooled
    assert len(pooled) == 1 and pooled[0].verdict == Verdict.SUPPORTED and pooled[0].p < 0.05


def test_published_coefficients_do_not_show_the_trend() -> None:
    everything, found, trajectories = published_orders()
    assert (everything.tau, everything.finding.verdict) == (pytest.approx(0.10, abs=0.005), Verdict.NOT_SUPPORTED)
    assert len(everything.cells) == 55 and len(trajectories.cells) == 28
    assert (trajectories.above, trajectories.below, trajectories.equal) == (4, 3, 3)
    assert trajectories.tau == pytest.approx(-0.02, abs=0.005)
    assert (found.above, found.below, found.equal) == (6, 1, 2)
    assert (round(found.tau, 2), round(found.p, 2)) == (0.22, 0.19)
    assert len(found.cells) == 27 and found.finding.verdict == Verdict.NOT_SUPPORTED
    assert found.finding.low < 0.0 < found.finding.high


def test_a_table_that_shows_the_trend_is_supported() -> None:
    falling = [replace(cell, coefficient=cell.coefficient / cell.ipc**2) for cell in read_tuned()]
    found = published_orders(falling)[1]
    assert (found.above, found.below) == (0, 9) and found.finding.verdict == Verdict.SUPPORTED


def test_two_rows_of_a_table_decide_nothing() -> None:
    found = published_order([cell for cell in read_tuned() if cell.dataset == "mnist"][:6])
    assert found.finding.verdict == Verdict.NOT_IDENTIFIABLE and "too few to say" in found.finding.interval


def test_many_taus_are_scipys() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 4, (2, 50, 7)).astype(float)
    x[0] = 1.0
    expected = [kendall_tau(a, b)[0] for a, b in zip(x, y, strict=True)]
    assert kendall_taus(x, y) == pytest.approx(np.array(expected), nan_ok=True)


def test_words() -> None:
    assert judge(0.1, 0.3) == "supported" and judge(-0.3, -0.1) == "not supported"
    assert judge(-0.1, 0.1) == "not identifiable" and judge(-0.1, 0.1, 0.2) == "not supported"
    assert judge(np.nan, np.nan) == judge(-np.inf, np.inf) == "not identifiable"
    assert {v.value for v in Verdict} == {
        "supported", "not supported", "not identifiable", "map invalid", "stays", "consistent; trend not tested"
    }  # fmt: skip


def test_detectable_effects_are_found_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    scale = mean_of(np.array([-1.0, 1.0, -1.0, 1.0, 0.0])).detectable / np.std([-1.0, 1.0, -1.0, 1.0, 0.0], ddof=1)
    found = [mean_of(scale + rng.standard_normal(5)).interval()[0] > 0.0 for _ in range(2000)]
    assert 0.72 < np.mean(found) < 0.88  # 80 %, approximately: the noncentral t is approximated by a shifted one
