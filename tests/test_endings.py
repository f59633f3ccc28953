"""How the commands end, each in several ways: streams without a reader, no room on disk, signals, strange places, names
that look like markup. What `tests/shared/test_command.py` shows of the one function is here shown of the commands.
"""

import errno
import io
import json
import os
import resource
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from empirical import evaluate, experts, run
from empirical.sweep import __main__ as sweep
from figures import __main__ as figures
from figures.runs import tables
from shared.terminal.command import READER_GONE
from theory import __main__ as theory
from theory.distillation import study as distilled

SMALL = [
    *("--width", "4", "--depth", "2", "--eval-networks", "1", "--eval-epochs", "1", "--quiet", "--device", "cpu"),
]
TINY = [*SMALL, "--iterations", "2", "--batch-real", "8"]
STUDY = ["--alpha", "1", "--coefficient", "0", "--seeds", "1", "--dimension", "20", "--steps", "2"]
EXPERTS = ["--count", "1", "--epochs", "1", "--width", "4", "--depth", "2", "--train-images", "200", "--quiet"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run in a folder whose name looks like markup."""
    folder = tmp_path_factory.mktemp("made") / "a [x] [/x] :smile:"
    assert run.main([*TINY, "--no-compare", "--out", str(folder)]) == 0
    return folder


def commands(made):
    """Name -> the command but for where it writes, which is its last argument; and what it writes there."""
    return {
        "run": (run.main, [*TINY, "--no-compare", "--out"], "summary.json"),
        "evaluate": (evaluate.main, [str(made), "--device", "cpu", "--out"], None),
        "experts": (experts.main, [*EXPERTS, "--device", "cpu", "--out"], "expert-0000.safetensors"),
        "sweep": (sweep.main, [*SMALL, "--methods", "random", "--workers", "1", "--out"], "grid.csv"),
        "curve": (theory.main, ["curve", "--points", "2", "--plot"], None),
        "study": (distilled.main, [*STUDY, "--out"], "distilled.jsonl"),
        "runs": (figures.main, ["runs", str(made), "--out"], "norms-digits-ipc1.csv"),
    }


NAMES = ("run", "evaluate", "experts", "sweep", "curve", "study", "runs")


def place(name, folder):
    """Where a command writes in a test: into a folder, or a file of the right suffix."""
    return folder / {"evaluate": "out.json", "curve": "out.png"}.get(name, "out")


class Gone(io.StringIO):
    """A stream whose reader has left."""

    def write(self, text):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def flush(self):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def written(target, name):
    return target.is_file() if name is None else (target / name).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_without_a_reader_the_files_are_written_and_the_status_says_so(made, tmp_path, monkeypatch, name):
    main, arguments, file = commands(made)[name]
    target = place(name, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Gone())
        assert main([*arguments, str(target)]) == READER_GONE
    assert written(target, file), sorted(tmp_path.rglob("*"))


@pytest.mark.parametrize("name", NAMES)
def test_with_closed_streams_the_work_is_done(made, tmp_path, monkeypatch, name):
    main, arguments, file = commands(made)[name]
    target = place(name, tmp_path)
    with monkeypatch.context() as patch:
        for stream in ("stdin", "stdout", "stderr"):
            patch.setattr(sys, stream, None)
        assert main([*arguments, str(target)]) == 0
    assert written(target, file)


@contextmanager
def no_room():
    """No file may grow beyond 40 bytes: the system refuses as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", NAMES)
def test_without_room_the_sentence_names_the_file(made, tmp_path, capsys, name):
    main, arguments, _ = commands(made)[name]
    target = place(name, tmp_path)
    with no_room():
        assert main([*arguments, str(target)]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"error: {target}") and lines[-1].endswith(": File too large")
    assert sum(line.startswith("error") for line in lines) == 1 and "Traceback" not in "".join(lines)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strange", ["file", "below a file", "empty", "too long"])
def test_a_strange_place_is_refused_in_one_sentence_before_any_work(made, tmp_path, capsys, name, strange):
    main, arguments, _ = commands(made)[name]
    (tmp_path / "file.png").touch()
    (tmp_path / "folder.png").mkdir()
    target = {
        "file": tmp_path / ("folder.png" if name in ("evaluate", "curve") else "file.png"),
        "below a file": tmp_path / "file.png" / "below.png",
        "empty": "",
        "too long": tmp_path / ("n" * 300 + ".png"),
    }[strange]
    assert main([*arguments, str(target)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert ("is empty" if strange == "empty" else str(target)[:200]) in captured.err or "is a file" in captured.err
    assert captured.out == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.png", "folder.png"]


MARKUP = "[x] [/x]"
ODD = [(name, MARKUP) for name in NAMES]
ODD += [(n, odd) for n in NAMES[::2] for odd in (":smile: [bold]b[/bold]", "with\nnewline", "~home")]


@pytest.mark.parametrize(("name", "odd"), ODD)
def test_an_odd_name_is_a_name(made, tmp_path, capsys, monkeypatch, name, odd):
    monkeypatch.chdir(tmp_path)
    main, arguments, file = commands(made)[name]
    target = place(name, Path(odd))
    assert main([*arguments, f"./{target}"]) == 0
    assert written(tmp_path / target, file)
    captured = capsys.readouterr()
    if name not in ("evaluate", "curve"):
        assert str(target) in captured.out
    if name == "evaluate":
        assert str(made) in captured.out


@pytest.mark.parametrize("name", NAMES)
def test_a_tilde_is_the_home_folder(made, tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    main, arguments, file = commands(made)[name]
    assert main([*arguments, str(place(name, Path("~")))]) == 0
    assert written(place(name, tmp_path), file)
    assert not (tmp_path / "~").exists()


STAGES = {
    "run": ["empirical.run.load", "empirical.run.resolve", "empirical.run._run"],
    "evaluate": ["empirical.evaluate.synthetic.load", "empirical.evaluate.evaluate"],
    "experts": ["empirical.experts.load", "empirical.experts.cost.speed"],
    "sweep": ["empirical.sweep.__main__.planned", "empirical.sweep.work.make", "empirical.sweep.ledger.write_grid"],
    "curve": ["theory.saddle_point.order_parameters.solve", "theory.__main__.as_csv"],
    "study": ["theory.distillation.study.distil", "theory.distillation.study.measure"],
    "runs": ["figures.runs.runs.read_cells", "figures.runs.runs.make_writable"],
}


@pytest.mark.parametrize(("name", "stage"), [(name, stage) for name, stages in STAGES.items() for stage in stages])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_every_command_at_any_stage_with_a_line_that_says_how_to_go_on(
    made, tmp_path, capsys, monkeypatch, name, stage, number
):
    main, arguments, _ = commands(made)[name]
    if name == "curve":
        arguments = ["curve", "--points", "2", "--csv", str(tmp_path / "c.csv"), "--plot"]
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(stage, lambda *a, **k: os.kill(os.getpid(), number))
    assert main([*arguments, str(place(name, tmp_path))]) == 130
    error = capsys.readouterr().err
    assert error.startswith("error: stopped; ") and error.count("\n") == 1
    again = "--resume" if stage == "empirical.run._run" else "the same command"
    assert again in error
    assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]


SEEDED = {
    "run": (run.main, ["--seed", "-1"]),
    "evaluate": (evaluate.main, ["nowhere", "--seed", "-1"]),
    "experts": (experts.main, ["--seed", "-1"]),
    "sweep": (sweep.main, ["--seeds", "0", "-1"]),
    "simulate": (theory.main, ["simulate", "--alpha", "1", "--seed", "-1"]),
    "theory figures": (figures.main, ["theory", "--seed", "-1"]),
    "difficulty": (figures.main, ["difficulty", "--seed", "-1"]),
    "compare": (figures.main, ["compare", "--published", "--seed", "-1"]),
}


@pytest.mark.parametrize("name", SEEDED)
def test_every_command_refuses_a_seed_below_zero_in_the_same_words(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    main, arguments = SEEDED[name]
    assert main(arguments) == 2
    flag = "--seeds" if name == "sweep" else "--seed"
    said = f"error: {flag} is a whole number from 0 to 9223372036854775807, not -1\n"
    assert capsys.readouterr().err == said and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("main", "arguments", "said"),
    [
        (theory.main, ["simulate", "--alpha", "1", "--trials", "0"], "--trials is 0"),
        (theory.main, ["solve", "--alpha", "-1"], "--alpha is -1"),
        (theory.main, ["solve", "--alpha", "1", "--margin", "signd"], "--margin is 'signd'"),
        (distilled.main, ["--rate", "0"], "--rate is 0"),
        (distilled.main, ["--dimension", "2", "--alpha", "1"], "--dimension is 2"),
        (figures.main, ["difficulty", "--scoring", "x"], "--scoring is 'x'"),
        (run.main, ["--asdc", "0.1", "1", "--asdc-steps", "0"], "--asdc-steps is at least 1"),
        (experts.main, ["--at-once", "0"], "--at-once is at least 1"),
    ],
)
def test_a_refusal_names_the_flag_that_was_typed(capsys, main, arguments, said):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}") and error.count("\n") == 1


def test_a_data_set_whose_name_looks_like_markup(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # workers of the test runner set it, and names are folded into it
    rng = np.random.default_rng(0)
    (tmp_path / "[d]" / "a[x][").mkdir(parents=True)
    for split in ("train", "test"):
        images = rng.integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
        np.savez(tmp_path / "[d]" / f"a[x][/x]_{split}.npz", images=images, labels=np.arange(40) % 2)
    prefix = str(tmp_path / "[d]" / "a[x][/x]")
    monkeypatch.chdir(tmp_path)
    assert run.main([*TINY, "--dataset", prefix, "--preset", "laptop", "--no-compare", "--depth", "1"]) == 0
    assert f"test accuracy, {prefix}, 1 a class" in capsys.readouterr().out
    arguments = [*TINY, "--depth", "1", "--datasets", prefix, "--methods", "random", "--workers", "1"]
    for more in (["--dry-run"], [], ["--status"]):
        assert sweep.main([*arguments, "--preset", "laptop", *more]) == 0
        assert prefix in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["20", "30", "60"])
def test_accuracies_are_whole_in_a_narrow_terminal(made, tmp_path, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert evaluate.main([str(made), "--device", "cpu", "--out", str(tmp_path / "out.json")]) == 0
    accuracy = 100 * json.loads((tmp_path / "out.json").read_text())["convnet"]["mean"]
    assert f"{accuracy:.2f}" in capsys.readouterr().out
    assert tables.main([str(made)]) == 0 and f"{accuracy:.2f}" in capsys.readouterr().out
