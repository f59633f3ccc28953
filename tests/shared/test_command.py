"""One way to end a command: the status of every kind of end, in one line on standard error, streams closed or not."""

import errno
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from shared.terminal.command import READER_GONE, TRACEBACK, command, leave, plain_warnings, sentence, when_stopped
from shared.terminal.start import is_command

ROOT = Path(__file__).parents[2]


class OwnError(ArithmeticError):
    """An error that says its status."""

    exit_status = 3


def fail(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize("end", ["return 0", "raise SystemExit(0)"])
def test_a_reader_that_leaves_ends_the_command_without_a_word(end):
    program = f"""
from shared.terminal.command import leave
def main():
    print("line\\n" * 200_000)
    {end}
leave(main)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(5)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == READER_GONE
    process.stderr.close()


def test_the_status_is_that_of_the_command():
    for status in (0, 2, 4):
        with pytest.raises(SystemExit) as stop:
            leave(lambda status=status: status)
        assert stop.value.code == status
    assert command(lambda: None) == 0 and command(lambda: 4) == 4


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ValueError("--ipc is at least 1, not 0"), 2, "--ipc is at least 1, not 0"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a/b"), 2, "a/b: No such file or directory"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), 2, "a/b: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), 4, "a/b: No space left on device"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "a/b"), 4, "a/b: Disk quota exceeded"),
        (MemoryError("Unable to allocate 7 TiB"), 4, "not enough memory: Unable to allocate 7 TiB"),
        (OwnError("damaged:\n  file"), 3, "damaged: file"),
        (ModuleNotFoundError("No module named 'x'", name="x.y"), 2, "x.y is not installed"),
        (KeyboardInterrupt(), 130, "stopped; the same command starts again"),
    ],
)
def test_each_kind_of_end_has_its_status_and_one_sentence(capsys, error, status, said):
    assert command(fail(error), last=True) == status
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}") and error.count("\n") == 1


@pytest.mark.parametrize(
    "body",
    [lambda: [][1], lambda: 1 // 0, lambda: {}["x"], lambda: int("few"), lambda: b"\xff".decode(), lambda: None.x],  # noqa: PLE0643, PLW0108
)
def test_an_error_of_the_program_says_so_and_never_pretends_bad_input(capsys, monkeypatch, body):
    assert command(body, last=True) == 70
    error = capsys.readouterr().err
    assert error.startswith("error: internal: ") and error.count("\n") == 1
    assert f"in {Path(__file__).name}, line " in error and TRACEBACK in error
    monkeypatch.setenv(TRACEBACK, "1")
    assert command(body, last=True) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [IndexError("x"), MemoryError(), RuntimeError("y")])
def test_what_nobody_expects_reaches_the_last_caller_with_its_traceback(capsys, error):
    with pytest.raises(type(error)) as caught:
        command(fail(error))
    assert caught.value is error and capsys.readouterr().err == ""
    with pytest.raises(SystemExit) as stop:
        leave(lambda: command(fail(error)))
    assert stop.value.code == (4 if isinstance(error, MemoryError) else 70)
    assert capsys.readouterr().err.count("\n") == 1


def test_an_inner_part_says_how_to_go_on(capsys):
    def body():
        with when_stopped("--resume goes on"):
            raise KeyboardInterrupt

    assert command(body) == 130
    assert capsys.readouterr().err == "error: stopped; --resume goes on\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_stop_the_body_and_handlers_are_put_back(capsys, number):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    assert command(lambda: os.kill(os.getpid(), number)) == 130
    assert capsys.readouterr().err.startswith("error: stopped; ")
    assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert command(lambda: os.kill(os.getpid(), signal.SIGTERM)) == 0
    finally:
        signal.signal(signal.SIGTERM, before)


CLOSED = [f"{a} {b} {c}" for a in ("", ">&-") for b in ("", "2>&-") for c in ("", "<&-")]


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize(("end", "status"), [("return 0", 0), ("raise ValueError('no')", 2), ("1 // 0", 70)])
def test_closed_standard_streams_change_neither_the_work_nor_the_status(tmp_path, closed, end, status):
    program = f"""
from pathlib import Path
from shared.terminal.command import leave
from shared.terminal.progress import Reporter
from rich.console import Console
import sys
def main():
    with Path({str(tmp_path / "file")!r}).open("w") as file, Reporter("work", 2) as reporter:
        print("to out")
        print("to err", file=sys.stderr)
        Console().print("to out")
        reporter.update(2)
        file.write("content")
    {end}
leave(main)
"""
    (tmp_path / "program.py").write_text(program)
    made = subprocess.run(
        f"exec '{sys.executable}' '{tmp_path / 'program.py'}' {closed}",
        shell=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == status, made.stderr
    assert (tmp_path / "file").read_text() == "content"
    assert "Traceback" not in made.stderr
    assert made.stdout == ("" if ">&-" in closed.split() else "to out\nto out\n")


@pytest.mark.parametrize("end", ["return 0", "raise SystemExit(0)"])
def test_a_full_disk_behind_standard_output_is_named(end):
    body = f"def main():\n    print('x' * 100_000)\n    {end}\nleave(main)"
    program = f"from shared.terminal.command import leave\n{body}"
    with Path("/dev/full").open("w") as full:
        made = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (made.returncode, made.stderr) == (4, "error: standard output: No space left on device\n")


def test_names_that_no_terminal_can_show_are_escaped():
    program = "import sys\nfrom shared.terminal.command import leave\nleave(lambda: print('a\\udcff', 'b±'))"
    made = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True,
        check=False,
    )  # fmt: skip
    assert (made.returncode, made.stdout, made.stderr) == (0, b"a\\udcff b\\xb1\n", b"")
    assert sentence(ValueError("a\udcff\x1b[2J\nb")) == "a\\udcff\\x1b[2J b"


def test_a_failed_system_call_is_a_sentence_without_its_number(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as caught:
        (tmp_path / "file" / "x").open()
    assert sentence(caught.value) == f"{tmp_path / 'file' / 'x'}: Not a directory"
    assert sentence(ValueError("one\n  two")) == "one two"


def test_a_warning_is_shown_once(capsys):
    show = plain_warnings()
    for text in ("first", "second", "first"):
        show(UserWarning(text), UserWarning, "file", 1)
    assert capsys.readouterr().err == "warning: first\nwarning: second\n"

    def body():
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            for _ in range(2):
                warnings.warn("again", stacklevel=1)

    before = warnings.showwarning
    assert command(body) == 0 and warnings.showwarning is before
    assert capsys.readouterr().err == "warning: again\n"


@pytest.mark.parametrize(
    ("argv", "started_with", "whether"),
    [
        (["-m"], ["python", "-m", "empirical.run"], True),
        (["-m", "--dry-run"], ["python", "-X", "dev", "-mtheory", "solve"], True),
        (["-m"], ["python", "-m", "figures.runs.tables"], True),
        (["-m"], ["python", "-um", "figures", "-m"], True),
        (["-m"], ["python", "-m", "pytest", "theory"], False),
        (["-m"], ["python", "-m", "empirically.run", "empirical"], False),
        (["script.py"], ["python", "script.py", "empirical"], False),
        (["/x/empirical/run.py"], ["python", "-m", "empirical.run"], False),
        ([""], ["python"], False),
    ],
)
def test_only_a_command_of_the_house_is_guarded_while_it_is_loaded(argv, started_with, whether):
    assert is_command(argv, started_with) is whether


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_can_be_stopped_while_its_modules_are_loaded(tmp_path, number):
    (tmp_path / "numba.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    made = subprocess.run(
        [sys.executable, "-m", "theory", "solve", "--alpha", "1"], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert made.returncode == 130
    assert made.stderr.startswith("error: stopped") and made.stderr.endswith("; the same command starts again\n")
    assert made.stderr.count("\n") == 1
