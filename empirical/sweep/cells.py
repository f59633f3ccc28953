"""The cells of a sweep: resolved settings, a hash that names them, and groups that share work."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from empirical.checks import CORESETS
from empirical.config import PUBLISHED, Settings, identity, published_coefficient, resolve
from empirical.data.datasets import Dataset
from empirical.experiment import TOGETHER, loops_of
from empirical.gradient_matching.paired import common_share
from empirical.sweep.options import Block, Coefficient
from shared.records import plain

SHARING = 0.5
"""Share of common real gradients from which the coefficients of a seed are one job, and not one each."""
_JUDGED = ("eval_networks", "eval_epochs", "eval_augmentation", "whole_epochs")
_JUDGED_IF_CHANGED = ("eval_batch", "whole_batch")
"""Count where they are not the default, so that folders older than these settings keep their names."""
_SPEED_ONLY = ("strategy", "compiled")

DataOf = Callable[[Settings], Dataset]


@dataclass(frozen=True)
class Cell:
    """One experiment.

    Attributes:
        settings: resolved; one seed, no comparison.
        fingerprint: of the data.

    """

    settings: Settings
    fingerprint: str

    @property
    def coefficient(self) -> float:
        """Lambda; 0 without a correction."""
        return float(self.settings.sdc or 0.0)

    def digest(self, without: Sequence[str] = ()) -> str:
        """Hash of all that the set and its accuracies depend on, but for what is left out."""
        changed = [n for n in _JUDGED_IF_CHANGED if getattr(self.settings, n) != getattr(Settings(), n)]
        judged = {name: getattr(self.settings, name) for name in (*_JUDGED, *changed)}
        content = {**identity(self.settings), **judged}
        for name in (*without, *_SPEED_ONLY):
            content.pop(name)
        text = json.dumps(plain({**content, "data": self.fingerprint}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def name(self) -> str:
        """Of the folder: what a reader looks for, and the hash."""
        s = self.settings
        parts = [Path(s.dataset).name, s.method, f"ipc{s.ipc}", f"lambda{self.coefficient:g}", f"seed{s.seed}"]
        if s.method == "whole":
            parts.remove(f"ipc{s.ipc}")
        return "-".join([*parts, self.digest()[:10]])


def expand(
    blocks: Iterable[Block], settings_of: Callable[[str], Settings], data_of: DataOf
) -> list[Cell]:
    """All different cells of the blocks, in order.

    Args:
        blocks: products of axes.
        settings_of: data set -> settings below the axes.
        data_of: settings -> the data set they name.

    Raises:
        ValueError: settings that `empirical.checks.check` refuses; DataError: data that is not there.

    """
    found: dict[str, Cell] = {}
    for block in blocks:
        for dataset, method, ipc, seed in product(block.datasets, block.methods, block.ipcs, block.seeds):
            base = replace(settings_of(dataset), method=method, ipc=ipc, seed=seed)
            if method == "whole":
                base = replace(base, ipc=1)
            lambdas: tuple[Coefficient, ...] = (0.0,) if method in CORESETS else block.lambdas
            data = data_of(base)
            for coefficient in lambdas:
                if coefficient == PUBLISHED:
                    coefficient = published_coefficient(dataset, method, ipc)[0]
                # 0 is the plain method, as a run without the flag
                settings = resolve(replace(base, sdc=float(coefficient) or None), data)
                cell = Cell(settings, data.fingerprint)
                found.setdefault(cell.digest(), cell)
    return list(found.values())


def shares_work(settings: Settings) -> bool:
    """Whether coefficients are worth running together."""
    return settings.method in TOGETHER and settings.asdc is None and common_share(loops_of(settings)) >= SHARING


def groups(cells: Iterable[Cell], separate: bool = False) -> list[list[Cell]]:
    """Cells as jobs: those that differ in the coefficient alone and share work are one."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        alone = separate or not shares_work(cell.settings)
        found.setdefault(cell.digest(() if alone else ("sdc",)), []).append(cell)
    return list(found.values())
