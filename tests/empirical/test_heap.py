"""Freed memory kept for the next pass: page faults of large tensors, counted by the system."""

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from empirical.runtime.heap import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def faults(passes=5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(passes):
        torch.ones(12 << 20)  # 48 MiB, 12288 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(30)  # until what is freed has grown together
print(faults())
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc's allocator"
)
def test_large_tensors_are_not_mapped_anew():
    def faults(way):
        command = [sys.executable, "-c", PROGRAM, way]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    ordinary = faults("ordinary")
    if ordinary < 10000:
        pytest.skip("this system clears memory in larger pieces than pages of 4 KiB")
    assert faults("kept") < ordinary / 50
