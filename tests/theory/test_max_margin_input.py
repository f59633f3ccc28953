"""The max-margin perceptron as a function: input it takes and refuses, threads, the kernel cache."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from theory.perceptron import active_set as _active_set
from theory.perceptron.max_margin import NotSeparable, max_margin
from theory.simulation.sampling import draw_kept


def kept(alpha, D, fraction=1.0, keep="hard", seed=0):
    samples = draw_kept(np.random.default_rng(seed), round(alpha * D), D, fraction, keep)
    return samples.X, samples.y


def test_any_kind_of_array():
    rng = np.random.default_rng(7)
    whole = rng.integers(-9, 10, (50, 12))
    y = np.where(whole @ rng.standard_normal(12) >= 0.0, 1.0, -1.0)
    plain = max_margin(whole.astype(float), y)
    wide = np.zeros((100, 24))
    wide[::2, ::2] = whole
    reversed_twice = np.ascontiguousarray(whole[::-1, ::-1]).astype(float)[::-1, ::-1]
    for X in (whole, whole.astype(np.float32), whole.astype(np.int8), whole.tolist(), np.asfortranarray(whole),
              wide[::2, ::2], reversed_twice):  # fmt: skip
        for labels in (y, y.astype(int), y.astype(np.int8), y.tolist()):
            answer = max_margin(X, labels)
            assert np.array_equal(answer.w, plain.w) and answer.margin == plain.margin
    kept_X, kept_y = whole.astype(float), y.copy()
    max_margin(kept_X, kept_y)
    assert np.array_equal(kept_X, whole) and np.array_equal(kept_y, y)  # the input is not touched


GOOD = np.array([[1.0, 2.0], [3.0, 1.0]])


@pytest.mark.parametrize(
    ("X", "y", "sentence"),
    [
        (GOOD[0], [1, 1], r"X must have shape \[samples, dimensions\].*got \[2\]"),
        (np.empty((0, 3)), [], r"X must have shape .*got \[0, 3\]"),
        (np.empty((3, 0)), [1, 1, 1], r"X must have shape .*got \[3, 0\]"),
        (GOOD, [1, 1, 1], r"y must have shape \[2\].*got \[3\]"),
        (GOOD, [[1], [1]], r"y must have shape \[2\].*got \[2, 1\]"),
        (GOOD, [0, 1], r"labels must be -1 or \+1; y\[0\] is 0 .*2 \* y - 1"),
        (GOOD, [1, np.nan], r"labels must be -1 or \+1; y\[1\] is nan"),
        (GOOD, [True, False], r"y must hold real numbers .*got bool"),
        (GOOD, ["a", "b"], r"y must hold real numbers"),
        (GOOD * 1j, [1, 1], r"X must hold real numbers .*complex"),
        ([[1.0, 2.0], [3.0]], [1, 1], r"X is not a rectangular array"),
        ([[1.0, np.nan], [3.0, 1.0]], [1, 1], r"X must be finite; X\[0, 1\] is nan"),
        ([[1.0, 2.0], [-np.inf, 1.0]], [1, 1], r"X must be finite; X\[1, 0\] is -inf"),
        ([[1.0, 2.0], [0.0, 0.0]], [1, 1], r"row 1 of X is zero"),
        ([[0.0, 0.0]], [1], r"row 0 of X is zero"),
    ],
)  # fmt: skip
def test_refuses_bad_input_in_one_sentence(X, y, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        max_margin(X, y)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, NotSeparable)


@pytest.mark.parametrize("initial", [[1.0], [1.0, -1.0], [1.0, np.nan], ["a", "b"]])
def test_refuses_a_bad_start(initial):
    with pytest.raises(ValueError, match="initial must"):
        max_margin(GOOD, [1, 1], initial=initial)


def test_repeated_and_concurrent_calls_give_the_same_bits():
    problems = [kept(2.0, 50, 0.3, keep, seed) for keep in ("hard", "easy") for seed in range(6)]
    once = [max_margin(X, y) for X, y in problems]
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda problem: max_margin(*problem), problems * 3))
    for k, answer in enumerate(again):
        first = once[k % len(problems)]
        assert np.array_equal(first.w, answer.w) and first.margin == answer.margin


def test_blas_threads_are_given_back():
    def threads():
        return [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = threads()
    X, y = kept(2.0, 50, 0.3)
    workers = [threading.Thread(target=max_margin, args=(X, y)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert threads() == before


def test_kernels_are_cached():
    max_margin(GOOD, [1, 1])
    stats = _active_set.walk.stats
    assert stats.cache_hits or stats.cache_misses
