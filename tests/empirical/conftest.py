"""Tests use one arithmetic thread: they are small, and processes run side by side. And a Slurm that is pretended."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


PRETENDED = {
    "sbatch": """
case " $* " in *" --test-only "*) if [ -e $S/refusal ]; then cat $S/refusal >&2; exit 1; fi; exit 0;; esac
id=$(( $(cat $S/last 2>/dev/null || echo 100) + 1 )); echo $id > $S/last
echo "$@" >> $S/submitted; cat > $S/script-$id; echo $id
name=$(echo "$@" | sed 's/.*--job-name=\\([^ ]*\\).*/\\1/'); echo $name > $S/name-$id
""",
    "squeue": "[ -e $S/no-squeue ] && exit 1; cat $S/queue 2>/dev/null; exit 0",
    "sacct": "[ -e $S/no-sacct ] && { echo disabled >&2; exit 1; }; cat $S/accounts 2>/dev/null; exit 0",
    "scancel": 'echo "$@" >> $S/cancelled',
    "scontrol": 'echo "$@" >> $S/controlled; [ "$2" = config ] && echo "MaxArraySize = ${MAX_ARRAY:-1001}"; exit 0',
}


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the pretended Slurm keeps what it was told."""
    place = tmp_path / "slurm"
    place.mkdir()
    for name, body in PRETENDED.items():
        (place / name).write_text(f"#!/bin/sh\nS={place}\n{body}\n")
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    return place


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"
