"""The device that a flag names, or one sentence on why it cannot be used."""

from __future__ import annotations

import torch


def device_named(name: str) -> torch.device:
    """`cpu`, `cuda`, `cuda:1`, or `auto` (a GPU if there is one).

    Raises:
        ValueError: no such kind of device, or none of that number on this machine.

    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device {name!r}; valid: auto, cpu, cuda, cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {name!r}; valid: auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r} is not there: this machine has {torch.cuda.device_count()} GPUs")
    return device
