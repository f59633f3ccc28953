"""The device that a flag names, or one sentence on why it cannot be used; and small numbers put on a device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


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


def on_device(values: Sequence[float], device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A vector of Python numbers on a device, without the host waiting for what the device has yet to do."""
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)
