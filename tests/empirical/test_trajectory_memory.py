"""Activation memory of an iteration: what one inner step takes for a chunk of the images, whatever the set's size."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STATED = 400
"""MiB beyond the data for ConvNetD4 of width 32 on 200 images of 3x64x64, 20 at a time; measured: 303."""


def extra(variant: str, chunk: int) -> float:
    """MiB of the peak resident size of a fresh process that one iteration adds; N = 2, one image a class."""
    command = [sys.executable, "-m", "benchmarks.trajectory_matching", "--memory-of", variant, "--device", "cpu"]
    size = {"width": 32, "depth": 4, "side": 64, "classes": 200, "steps": 2, "chunk": chunk}
    command += [word for name, value in size.items() for word in (f"--{name}", str(value))]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(json.loads(found.stdout)["MiB"])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_two_hundred_classes_of_64_pixels_fit_the_stated_memory():
    chunked = extra("exact", 20)
    assert 0 < chunked < STATED
    assert extra("exact", 0) > 1.5 * STATED  # so the chunks are what does it
