"""Whether what is asked for fits into memory, asked before anything is allocated."""

from __future__ import annotations

import math
from pathlib import Path


def free_bytes() -> float:
    """Memory that can be had without swapping, in bytes; infinite where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return float(dict(line.split(":") for line in lines)["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return math.inf


def refuse_too_large(
    needed: float, where: str, cure: str = "fewer or smaller images", error: type[Exception] = ValueError
) -> None:
    """Raise `error` if `needed` bytes are more than are free; `cure` is what takes less."""
    free = free_bytes()
    if needed > free:
        wanted, there = (min(size, 10**300) / 1e9 for size in (needed, free))
        raise error(
            f"{where}: this takes {wanted:.3g} GB of memory and {there:.3g} GB are free: take {cure}, "
            "or a machine with more memory"
        )
