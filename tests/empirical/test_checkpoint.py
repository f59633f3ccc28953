"""Checkpoints survive a kill; a second process is kept out of a folder, a dead one is no obstacle."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from empirical.runtime import checkpoint
from empirical.runtime.checkpoint import BadCheckpoint, FolderInUse, Lock


def test_round_trip_of_tensors_and_generators(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    tensors = {
        "images": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "double": torch.tensor(0.1, dtype=torch.float64),
        "state": generator.get_state(),
    }
    path = checkpoint.atomic_save(tmp_path / "a" / "c", tensors, {"done": 7, "nested": {"x": [1]}})
    found, document = checkpoint.load(path)
    assert document == {"done": 7, "nested": {"x": [1]}}
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    again = torch.Generator()
    again.set_state(found["state"])
    assert torch.equal(torch.rand(3, generator=again), torch.rand(3, generator=generator))


def test_absent_damaged_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        checkpoint.load(tmp_path / "c")
    path = checkpoint.atomic_save(tmp_path / "c", {"x": torch.zeros(100)}, {})
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(BadCheckpoint, match="not a readable"):
        checkpoint.load(path)


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


SAVING = """
import sys, torch
from empirical.runtime.checkpoint import atomic_save
k = 0
while True:
    atomic_save(sys.argv[1], {"x": torch.full((300_000,), float(k))}, {"k": k})
    k += 1
    if k == 3: print("ready", flush=True)
"""


def test_kill_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    process = run(SAVING, path)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for pause in (0.0, 0.003, 0.01, 0.03):  # readers see a whole file at any time
        time.sleep(pause)
        tensors, document = checkpoint.load(path)
        assert (tensors["x"] == document["k"]).all()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    tensors, document = checkpoint.load(path)
    assert len(tensors["x"]) == 300_000 and (tensors["x"] == document["k"]).all()


HOLDING = """
import sys, time
from empirical.runtime.checkpoint import Lock
with Lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_process_is_refused_and_a_dead_one_is_not_in_the_way(tmp_path: Path) -> None:
    process = run(HOLDING, tmp_path)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with pytest.raises(FolderInUse, match=f"process {process.pid} on ") as caught, Lock(tmp_path):
        pass
    assert caught.value.exit_status == 2
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / ".lock").exists()  # left by the dead process
    with Lock(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} ")
    assert not (tmp_path / ".lock").exists()


def test_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Lock(tmp_path):
        raise KeyError("inside")
    with Lock(tmp_path), pytest.raises(FolderInUse), Lock(tmp_path):
        pass
    with Lock(tmp_path):
        pass
