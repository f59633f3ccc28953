"""Files are whole or absent, and a write that fails names its file."""

import errno
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.records.records import METRICS, MetricsWriter, write_config, write_summary
from shared.terminal import atomic
from shared.terminal.atomic import naming, write_atomically

ROOT = Path(__file__).parents[2]


@contextmanager
def no_room(size=1000):
    """No file may grow beyond `size` bytes: the system refuses as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def metrics(folder):
    with MetricsWriter(folder) as writer:
        for step in range(100):
            writer.write(step, loss=0.123456789)


WRITERS = {
    "file": lambda folder: write_atomically(folder / "file", b"x" * 5000),
    "text": lambda folder: write_atomically(folder / "text", "x" * 5000),
    METRICS: metrics,
    "config.json": lambda folder: write_config(folder, {"long": "x" * 5000}),
    "summary.json": lambda folder: write_summary(folder, {"long": "x" * 5000}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_without_room_the_file_is_named_and_the_old_one_stays(tmp_path, name):
    (tmp_path / name).write_text("")
    with no_room(), pytest.raises(OSError) as caught:
        WRITERS[name](tmp_path)
    assert caught.value.errno == errno.EFBIG and caught.value.filename == str(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert name == METRICS or (tmp_path / name).read_text() == ""


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_at_any_step_names_the_file_and_leaves_no_scratch(tmp_path, monkeypatch, call):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*{"fsync": (os, "fsync", full), "replace": (Path, "replace", full)}[call])
    with pytest.raises(OSError) as caught:
        write_atomically(tmp_path / "file", "content")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "file"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("nameless", [True, False])
def test_permissions_are_those_of_the_old_file_or_of_any_new_one(tmp_path, monkeypatch, nameless):
    if not nameless:  # as on a file system without such files
        monkeypatch.setattr(atomic, "_nameless", lambda folder: None)
    before = os.umask(0o027)
    try:
        assert write_atomically(tmp_path / "new", "a").stat().st_mode & 0o777 == 0o640
        (tmp_path / "new").chmod(0o604)
        assert write_atomically(tmp_path / "new", "b").stat().st_mode & 0o777 == 0o604
    finally:
        os.umask(before)
    assert (tmp_path / "new").read_text() == "b" and len(list(tmp_path.iterdir())) == 1


def test_a_kill_in_the_middle_leaves_the_old_file_and_nothing_beside(tmp_path):
    descriptor = atomic._nameless(tmp_path)
    if descriptor is None:
        pytest.skip("a file system without nameless files")
    os.close(descriptor)
    (tmp_path / "file").write_text("old")
    program = f"""
import os, signal
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
from shared.terminal.atomic import write_atomically
write_atomically({str(tmp_path / "file")!r}, "new" * 10_000)
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("name", ["n" * 255, "ä" * 127, "with\nnewline", "-", "a b"])
def test_every_name_that_the_system_takes_can_be_written(tmp_path, name):
    assert write_atomically(tmp_path / name, "content").read_text() == "content"
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_name_too_long_is_named(tmp_path):
    with pytest.raises(OSError) as caught:
        write_atomically(tmp_path / ("n" * 300), "content")
    assert caught.value.errno == errno.ENAMETOOLONG and caught.value.filename == str(tmp_path / ("n" * 300))
    assert not list(tmp_path.iterdir())


def test_text_that_is_no_text_is_escaped(tmp_path):
    assert write_atomically(tmp_path / "f", "a\udcff±").read_text(encoding="utf-8") == "a\\udcff±"


def test_other_errors_pass_as_they_are():
    with pytest.raises(ZeroDivisionError), naming(Path("file")):
        print(1 // 0)
