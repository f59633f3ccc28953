"""Bounds of what a command may be asked for, said before any work: far above use, far below what fills a machine."""

from __future__ import annotations

MOST = {
    "dimension": 5_000,  # samples of a trial at alpha = 10: 2 GB
    "trials": 100_000,
    "workers": 1_024,
    "resamples": 100_000,
    "networks": 1_000,
    "epochs": 10_000,
    "batch": 1_000_000,
    "seed": 2**63 - 1,
}


def refuse_excess(**asked: int | None) -> None:
    """ValueError for the first flag whose value is above its bound; None is no value."""
    for name, value in asked.items():
        if value is not None and value > MOST[name]:
            raise ValueError(f"--{name} is {value}, must be at most {MOST[name]}")
