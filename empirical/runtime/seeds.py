"""Random numbers from one seed, by purpose: every use has a generator of its own, named by what it is for.

    generator(seed, "evaluation", 3)      # always the same stream, whatever else the program draws

Runs with the same seed share the streams of the same name, which is what pairs two methods or two
coefficients.
"""

from __future__ import annotations

import hashlib

import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed that depends on `seed` and on every part of `purpose`."""
    text = repr((int(seed), *purpose)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1


def generator(seed: int, *purpose: str | int, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator for one purpose; by default on the CPU, where its numbers are the same on any machine."""
    return torch.Generator(device).manual_seed(derived_seed(seed, *purpose))
