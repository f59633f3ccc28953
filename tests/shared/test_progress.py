"""One progress display: plain lines with the time passed and left, a bar on a terminal, titles shown as they are."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.terminal import progress
from shared.terminal.progress import EpochCounter, Reporter, duration, reporting


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_now_and_then_and_at_the_end_with_the_time_left(clock, capsys):
    with Reporter("work [x] [/x]", 100, start=20) as reporter:
        for done, time in ((30, 110.0), (40, 140.0), (50, 145.0), (100, 160.0)):
            clock[0] = time
            reporter.update(done, {"loss": 0.25})
    assert capsys.readouterr().err.splitlines() == [
        "work [x] [/x]: 40/100, 40 s passed, about 2 min left  loss 0.25",
        "work [x] [/x]: 100/100, 60 s passed, about 0 s left  loss 0.25",
    ]


def test_shares_are_shown_in_per_cent(clock, capsys):
    with reporting(True, "theory") as report:
        clock[0] += 31.0
        report(1.5, 6.0)
    assert capsys.readouterr().err == "theory: 25%, 31 s passed, about 93 s left\n"


@pytest.mark.parametrize("choice", [False, None])
def test_silence_where_it_is_asked_for_or_nobody_looks(clock, capsys, choice):
    with reporting(choice, "theory") as report:
        clock[0] += 31.0
        report(1.0, 1.0)
    with Reporter("work", 1, quiet=True) as reporter:
        reporter.update(1)
    assert capsys.readouterr().err == ""


def test_what_is_no_progress_is_refused():
    with pytest.raises(ValueError, match="must be True, False, None or a function"), reporting("yes", "x"):  # type: ignore[arg-type]
        pass


def test_a_function_gets_what_is_reported():
    seen = []
    with reporting(lambda done, total: seen.append((done, total)), "x") as report:
        report(1.0, 2.0)
    assert seen == [(1.0, 2.0)]


def test_epochs_of_several_threads_are_added_up(clock, capsys):
    with Reporter("evaluating", 40) as reporter, ThreadPoolExecutor(4) as pool:
        list(pool.map(EpochCounter(reporter), [1] * 40))
    assert capsys.readouterr().err == "evaluating: 40/40, 0 s passed, about 0 s left\n"


@pytest.mark.parametrize("title", ["runs/[bold]x", "[/x]", "a:smile:b"])
def test_a_title_on_a_terminal_is_no_markup(monkeypatch, capsys, title):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with Reporter(title, 10) as reporter:
        reporter.update(10, {"loss": 1.0})
    assert title in capsys.readouterr().err


def test_durations_are_in_the_unit_that_suits():
    assert [duration(s) for s in (0.4, 45, 720, 12600)] == ["0 s", "45 s", "12 min", "3.5 h"]
