"""Ctrl-C is heard while compiled code runs: the call ends, the threads stop, and the next call is as good as any."""

import signal
import threading
import time

import numpy as np
import pytest

from theory import Samples, max_margin, simulate, solve
from theory._threads import interruptible, unset, working
from theory.perceptron.active_set import STALLED, walk
from theory.perceptron.coordinate_descent import coordinate_descent
from theory.perceptron.face import empty_face
from theory.perceptron.max_margin import compile_kernels
from theory.saddle_point.continuation import Curve, solve_curve, stages_of
from theory.saddle_point.kept import Ranked


@pytest.fixture
def interrupt():
    """Sends SIGINT to this process a little later, as a terminal does."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread only")
    timers = []
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it

    def later(seconds):
        timer = threading.Timer(seconds, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
        timer.start()
        timers.append(timer)

    yield later
    for timer in timers:
        timer.cancel()
    signal.signal(signal.SIGINT, usual)


def alone_again(others):
    """Whether all threads of a call have ended (given the time that a loop needs to look at its flag)."""
    for _ in range(200):
        if set(threading.enumerate()) <= others:
            return True
        time.sleep(0.05)
    return False


def long_curve():
    solve(np.geomspace(0.1, 10.0, 100_000), 0.3, "hard", 0.35)


def many_samples():
    solve(np.geomspace(0.1, 10.0, 300), 1.0, Samples(np.linspace(0.1, 3.0, 20_000)), 0.35)


def many_trials():
    simulate(np.linspace(1.0, 3.0, 20), 0.3, "hard", 0.2, 100, 5000, workers=2)


def large_trials():
    simulate([1.5, 2.0], 0.3, "hard", 0.2, 800, 1000, workers=2)


def large_problem():
    X = np.random.default_rng(0).standard_normal((4000, 2000))
    y = np.where(X[:, 0] >= 0.0, 1.0, -1.0)
    while True:
        max_margin(X, y)


@pytest.mark.parametrize("work", [long_curve, many_samples, many_trials, large_trials, large_problem])
def test_compiled_work_hears_ctrl_c(interrupt, work):
    solve(1.0)
    compile_kernels()
    before, others = solve(2.0, 0.3).test_error, set(threading.enumerate())
    interrupt(0.5)
    with pytest.raises(KeyboardInterrupt):
        work()
    assert alone_again(others)
    assert solve(2.0, 0.3).test_error == before


def test_a_flag_that_is_set_ends_every_loop():
    stop = unset()
    stop[0] = True
    X = np.random.default_rng(0).standard_normal((400, 200))
    y = np.where(X[:, 0] >= 0.0, 1.0, -1.0)
    lam = np.zeros(400, np.float32)
    assert coordinate_descent(X.astype(np.float32), np.ones(400, np.float32), lam, 10**9, 1.0, stop) == 0
    face = empty_face(y[:, None] * X, np.sum(X * X, axis=1), stop)
    assert walk(face, np.empty(0, np.int64), 10**9)[0] == STALLED
    kept = Ranked(0.3, True).resolve(0.35, "unsigned").seen_at(0.35)
    nowhere = Curve(np.full((2, 3), np.nan), np.full((2, 3), np.nan), np.full(2, np.nan), np.full((2, 2), np.nan))
    assert np.isnan(solve_curve(np.array([1.0, 2.0]), stages_of(kept), stop, nowhere).residual).all()


def test_what_a_job_raises_is_raised_and_ends_the_others():
    done, others = [], set(threading.enumerate())

    def work(job, stop):
        if job == 3:
            raise ValueError("job 3")
        done.append(job)

    with pytest.raises(ValueError, match="job 3"), working(work, range(10_000), 2) as finished:
        for _ in finished:
            pass
    assert alone_again(others)
    with working(work, [0, 1, 2], 8) as finished:
        assert sorted(finished) == [0, 1, 2]


def test_short_work_takes_no_thread():
    names = []
    interruptible(lambda stop: names.append(threading.current_thread()), False, lambda: None)
    interruptible(lambda stop: names.append(threading.current_thread()), True, lambda: None)
    assert names[0] is threading.main_thread() and names[1] is not names[0]
