"""A lock is asked before each write; another process's folder is left to it; a file system without locks is told."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from empirical import experts, run
from empirical.gradient_matching.method import GradientMatching
from empirical.runtime import checkpoint
from empirical.runtime.checkpoint import FolderInUse, FolderLost, Lock, NoLocks, is_in_use
from empirical.sweep import __main__ as sweep
from empirical.trajectory_matching import expert_training as experts_module
from shared.records.records import MetricsWriter, write_config, write_summary
from shared.terminal.atomic import write_atomically

TINY = (
    "--no-compare --quiet --width 4 --depth 1 --iterations 4 --batch-real 4 --probe-every 0 --device cpu "
    "--eval-epochs 1 --eval-networks 1"
)
SWEEP = (
    "--methods dc --lambdas 0 0.1 --ipcs 1 --workers 1 --width 4 --depth 1 --eval-networks 1 --eval-epochs 1 "
    "--iterations 2 --batch-real 4 --device cpu --quiet"
)
EXPERTS = "--width 4 --depth 1 --epochs 2 --count 1 --quiet --device cpu"


def refusing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


WRITES = {
    "a file": lambda folder: write_atomically(folder / "x", "new"),
    "a file below": lambda folder: write_atomically(folder / "seed0" / "x", "new"),
    "settings": lambda folder: write_config(folder, {}),
    "a summary": lambda folder: write_summary(folder, {}),
    "a checkpoint": lambda folder: checkpoint.atomic_save(folder / "c", {"x": torch.zeros(2)}, {}),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("again", [False, True], ids=["removed", "made again by another"])
def test_a_folder_that_was_removed_is_not_written_to(tmp_path: Path, write: Any, again: bool) -> None:
    folder = tmp_path / "run"
    first = Lock(folder).acquire()
    write(folder)
    shutil.rmtree(folder)
    if again:
        folder.mkdir()
        (folder / ".lock").write_text("process 1 on another machine")
    with pytest.raises(FolderLost, match="was removed, or is another process's"):
        write(folder)
    assert [p.name for p in folder.rglob("*")] == ([".lock"] if again else [])
    assert folder.exists() == again
    first.release()
    assert (folder / ".lock").exists() == again  # another's lock is not ours to remove


def test_rows_are_not_added_either(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with Lock(folder), MetricsWriter(folder) as writer:
        writer.write(0, loss=1.0)
        shutil.rmtree(folder)
        with pytest.raises(FolderLost):
            writer.write(1, loss=1.0)


def test_a_released_lock_asks_no_more_and_other_folders_are_not_asked_for(tmp_path: Path) -> None:
    with Lock(tmp_path / "a"):
        shutil.rmtree(tmp_path / "a")
        write_atomically(tmp_path / "b" / "x", "free")
    write_atomically(tmp_path / "a" / "x", "free")


def test_a_run_whose_folder_was_removed_and_started_again_has_one_writer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, step = tmp_path / "run", GradientMatching.step
    content = {}

    def taken_away(self: GradientMatching, *given: Any) -> Any:
        if given[2] == 2:
            monkeypatch.setattr(GradientMatching, "step", step)
            shutil.rmtree(folder)
            shutil.copytree(tmp_path / "other", folder)  # what another process has written there meanwhile
            (folder / ".lock").write_text("process 1 on another machine")
            content.update({p.name: p.read_bytes() for p in folder.iterdir()})
        return step(self, *given)

    assert run.main([*TINY.split(), "--seed", "1", "--out", str(tmp_path / "other")]) == 0
    monkeypatch.setattr(GradientMatching, "step", taken_away)
    assert run.main([*TINY.split(), "--out", str(folder)]) == 2
    assert "another process's now" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == content


def test_experts_whose_folder_was_removed_stop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, epoch = tmp_path / "experts", experts_module._epoch

    def taken_away(*given: Any) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        epoch(*given)

    monkeypatch.setattr(experts_module, "_epoch", taken_away)
    assert experts.main([*EXPERTS.split(), "--out", str(folder)]) == 2
    assert "was removed" in capsys.readouterr().err
    assert not folder.exists()


def test_a_cell_whose_folder_was_removed_is_left_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, gone = GradientMatching.step, []

    def taken_away(self: GradientMatching, *given: Any) -> Any:
        if not gone:
            gone.extend((tmp_path / "cells").glob("*lambda0-*"))
            shutil.rmtree(gone[0])
        return step(self, *given)

    monkeypatch.setattr(GradientMatching, "step", taken_away)
    assert sweep.main([*SWEEP.split(), "--separate", "--out", str(tmp_path)]) == 5  # unfinished
    assert not gone[0].exists()
    assert len(list((tmp_path / "cells").iterdir())) == 1


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EAGAIN])
def test_only_a_lock_that_would_block_is_held_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (tmp_path / ".lock").write_text("process 7 on a machine")
    refusing(monkeypatch, number)
    assert is_in_use(tmp_path)
    with pytest.raises(FolderInUse, match="in use by process 7 on a machine"):
        Lock(tmp_path).acquire()


NONE = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO]


@pytest.mark.parametrize("number", NONE, ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_told_with_a_cure_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refusing(monkeypatch, number)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / ".lock").write_text("")
    with pytest.raises(NoLocks, match="local disk"):
        is_in_use(tmp_path / "old")
    for command, given in ((run.main, TINY), (experts.main, EXPERTS), (sweep.main, SWEEP)):
        assert command([*given.split(), "--out", str(tmp_path / "new")]) == 2
        assert "without file locks" in capsys.readouterr().err
        assert not list((tmp_path / "new").rglob("*.lock"))
    assert not (tmp_path / "new" / "config.json").exists()


def test_a_sweep_that_ran_none_of_its_unfinished_cells_does_not_exit_in_peace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*SWEEP.split(), "--out", str(tmp_path)]
    assert sweep.main(command) == 0
    cells = sorted((tmp_path / "cells").iterdir())
    for cell in cells:
        (cell / "summary.json").unlink()
    capsys.readouterr()
    with Lock(cells[0]), Lock(cells[1]):
        assert sweep.main(command) == 2
    assert "none of the 2 unfinished cells was run" in capsys.readouterr().err
    with Lock(cells[0]):
        assert sweep.main(command) == 5  # the other one was run, and not all are done
    assert sweep.main(command) == 0
    assert sweep.main(command) == 0  # nothing to do is no failure


def test_what_a_kill_left_half_written_is_removed_by_the_next_who_owns_the_folder(tmp_path: Path) -> None:
    ours = [".checkpoint.safetensors.ab12_xyz.part", ".expert-0000.safetensors.0a0a0a0a.part"]
    others = ["mine.part", ".hidden.part", "notes.txt", ".expert-0000.rows"]
    for name in (*ours, *others):
        (tmp_path / name).write_text("")
    with Lock(tmp_path):
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*others, ".lock"])


def test_a_resumed_run_removes_them_in_its_repetitions_too(tmp_path: Path) -> None:
    command = [*TINY.split(), "--repetitions", "2", "--out", str(tmp_path)]
    assert run.main(command) == 0
    for place in (tmp_path, tmp_path / "seed1"):
        (place / ".metrics.jsonl.abcdefgh.part").write_text("cut")
    (tmp_path / "seed1" / "summary.json").unlink()
    assert run.main(["--quiet", "--resume", "--out", str(tmp_path)]) == 0
    assert not list(tmp_path.rglob("*.part"))
