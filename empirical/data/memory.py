"""Whether what a file declares fits into memory, asked before anything is allocated."""

from __future__ import annotations

import math
from pathlib import Path

from empirical.data.errors import CorruptData


def free_bytes() -> float:
    """Memory that can be had without swapping, in bytes; infinite where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return float(dict(line.split(":") for line in lines)["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return math.inf


def refuse_too_large(needed: float, where: str) -> None:
    """Raise `CorruptData` if `needed` bytes are more than are free."""
    free = free_bytes()
    if needed > free:
        raise CorruptData(
            f"{where}: these data take {needed / 1e9:.3g} GB of memory and {free / 1e9:.3g} GB are free: "
            "take fewer or smaller images, or a machine with more memory"
        )
