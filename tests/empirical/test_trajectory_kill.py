"""kill -9 in the middle of a trajectory run, past its first checkpoint: resumed, it ends in the same bits."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from empirical import run, synthetic
from empirical.distillation.loop import CHECKPOINT
from empirical.runtime import checkpoint
from shared.records.records import read

ROOT = Path(__file__).parents[2]
SMALL = [
    *("--no-compare", "--quiet", "--width", "4", "--depth", "2", "--iterations", "8", "--sdc", "0.01"),
    *("--eval-it", "4", "--syn-steps", "3", "--expert-count", "2", "--expert-training-epochs", "3"),
    *("--eval-epochs", "1", "--eval-networks", "1", "--probe-every", "4", "--device", "cpu"),
    *("--max-start-epoch", "2", "--expansion-end-epoch", "3", "--batch-syn", "6"),
]
SAVED, KILLED = 3, 6
MORTAL = f"""
import os, signal, sys
import torch
from empirical import run
from empirical.distillation import loop as distillation
from empirical.experiment import experiment
from empirical.experiment import trajectory_matching as make

torch.set_num_threads(1)
experiment.Schedule = lambda **options: distillation.Schedule(checkpoint_seconds=-1.0, **options)
save, pull_back = distillation.save, make.TrajectoryMatching.step


def seldom(task, state):
    if state.done == {SAVED}:
        save(task, state)


def killed(self, synthetic, generator, step):
    found = pull_back(self, synthetic, generator, step)
    if step == {KILLED}:
        os.kill(os.getpid(), signal.SIGKILL)
    return found


distillation.save, make.TrajectoryMatching.step = seldom, killed
sys.exit(run.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mtt", "ftd", "datm"])
def test_killed_after_a_checkpoint_and_resumed_is_the_uninterrupted_run(tmp_path, method):
    arguments = ["--method", method, *SMALL, "--experts", str(tmp_path / "experts")]
    arguments += ["--current-max-start-epoch", "1"] if method == "datm" else []
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run.main([*arguments, "--out", str(whole)]) == 0
    command = [sys.executable, "-c", MORTAL, *arguments, "--out", str(cut)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == -signal.SIGKILL
    assert checkpoint.load(cut / CHECKPOINT)[1]["done"] == SAVED
    assert not (cut / "synthetic.safetensors").exists()
    assert read(cut).metrics()[-1]["step"] == KILLED - 1  # steps that the checkpoint does not know, and that come again
    assert run.main(["--quiet", "--resume", "--out", str(cut)]) == 0
    first, second = synthetic.load(whole), synthetic.load(cut)
    assert torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)
    assert torch.equal(first.learning_rate, second.learning_rate)
    assert read(whole).metrics() == read(cut).metrics()
    assert read(whole).summary["evaluations"] == read(cut).summary["evaluations"]
