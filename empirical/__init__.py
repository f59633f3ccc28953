"""Dataset distillation on real images: gradient matching, coresets, and the sample-difficulty correction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import shared.terminal.start  # noqa: F401

if TYPE_CHECKING:
    from empirical.synthetic.synthetic_set import SyntheticSet

__all__ = ["load"]


def load(path: str | Path) -> SyntheticSet:
    """The synthetic set of a run's folder or file: `DataLoader(empirical.load(path), batch_size=256)`."""
    from empirical.synthetic.synthetic_set import load as load_set

    return load_set(path)
