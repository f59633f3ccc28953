"""The cells of a sweep: resolved settings, a hash that names them, and groups that share work."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from empirical.data.datasets import Dataset
from empirical.experiment.families import family_of, method_named
from empirical.experiment.resolve import published_coefficient, resolve
from empirical.settings.identity import identity, judgement
from empirical.settings.roles import roles
from empirical.settings.settings import PUBLISHED, Resolved, Settings
from empirical.sweep.options import Block, schedule_of
from shared.records.records import plain

SHARING = 0.5
"""Share of common real gradients from which the coefficients of a seed are one job, and not one each."""

DataOf = Callable[[Settings], Dataset]


@dataclass(frozen=True)
class Cell:
    """One experiment.

    Attributes:
        settings: resolved; one seed, no comparison.
        fingerprint: of the data.

    """

    settings: Resolved
    fingerprint: str

    @property
    def strength(self) -> float:
        """Lambda, or the pull that takes its place, at the start; 0 without a correction."""
        s = self.settings
        return s.sdc or s.sdc_pull or (s.asdc or s.asdc_pull or (0.0,))[0]

    def digest(self, without: Sequence[str] = ()) -> str:
        """Hash of all that the set and its accuracies depend on, but for what is left out."""
        content = {**identity(self.settings), **judgement(self.settings)}
        for name in (*without, *(name for name, role in roles(Settings).items() if role.speed)):
            content.pop(name, None)
        text = json.dumps(plain({**content, "data": self.fingerprint}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def correction(self) -> str:
        """As the folder's name says it: lambda0.01, pull0.1, pull0.1-0.4; schedules of lambda are lambda0, as ever."""
        if not self.settings.by_pull:
            return f"lambda{self.settings.sdc or 0.0:g}"
        schedule = self.settings.asdc_pull
        return f"pull{self.strength:g}" + (f"-{schedule[1]:g}" if schedule else "")

    @property
    def name(self) -> str:
        """Of the folder: what a reader looks for, and the hash."""
        s = self.settings
        parts = [Path(s.dataset).name, s.method, f"ipc{s.ipc}", self.correction, f"seed{s.seed}"]
        if not has_ipc(s.method):
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
        ValueError: settings that `empirical.experiment.checks` refuses; DataError: data that is not there.

    """
    found: dict[str, Cell] = {}
    for block in blocks:
        for dataset, method, ipc, seed in product(block.datasets, block.methods, block.ipcs, block.seeds):
            base = replace(settings_of(dataset), method=method, ipc=ipc, seed=seed)
            if not has_ipc(method):
                base = replace(base, ipc=1)
            corrected = "distilled" in method_named(method).tags
            data = data_of(base)
            for correction in _corrections(block, base) if corrected else [{}]:
                cell = Cell(resolve(replace(base, **correction), data), data.fingerprint)
                found.setdefault(cell.digest(), cell)
    return list(found.values())


def _corrections(block: Block, base: Settings) -> list[dict[str, Any]]:
    """The settings of each correction of a block; 0 is the plain method, as a run without the flag."""
    usual = [published_coefficient(base.dataset, base.method, base.ipc)[0]] if PUBLISHED in block.lambdas else []
    lambdas = [usual[0] if value == PUBLISHED else float(value) for value in block.lambdas]
    return [
        *({"sdc": value or None} for value in lambdas),
        *({"sdc_pull": value or None} for value in block.pulls),
        *({"asdc": schedule_of(text)} for text in block.asdcs),
        *({"asdc_pull": schedule_of(text)} for text in block.asdc_pulls),
    ]


def has_ipc(method: str) -> bool:
    """Whether a method makes sets of some number of images a class; the whole training set has none."""
    return "set" in method_named(method).tags


def shares_work(settings: Resolved) -> bool:
    """Whether coefficients are worth running together."""
    share = family_of(settings).shared(settings)
    return share is not None and "schedule" not in settings.tags and share >= SHARING


def groups(cells: Iterable[Cell], separate: bool = False) -> list[list[Cell]]:
    """Cells as jobs: those that differ in the coefficient alone and share work are one."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        alone = separate or not shares_work(cell.settings)
        found.setdefault(cell.digest(() if alone else ("sdc", "sdc_pull")), []).append(cell)
    return list(found.values())
