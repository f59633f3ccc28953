"""Presets and published coefficients, as data (`presets.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from empirical.data import registry


@cache
def _tables() -> Mapping[str, Any]:
    return tomllib.loads((Path(__file__).parent / "presets.toml").read_text(encoding="utf-8"))


def presets() -> dict[str, dict[str, Any]]:
    """Name -> its settings and `description`."""
    return dict(_tables()["presets"])


def distribution_matching(preset: str) -> dict[str, Any]:
    """What a preset is otherwise for distribution matching."""
    return dict(_tables()["distribution_matching"][preset])


def table_name(dataset: str) -> str:
    """The published name of a data set, also of files that bear it, whatever they hold; else the name itself."""
    spec = registry.borne(dataset)
    return spec.name if spec else dataset


def coefficient(dataset: str, method: str, ipc: int) -> float | None:
    """Lambda of Table 4 of arXiv 2408.12483; None where none is published."""
    cell = _tables()["coefficients"].get(table_name(dataset), {})
    found = cell.get(method, {}).get(str(ipc)) if isinstance(cell, dict) else None
    return None if found is None else float(found)


def usual_coefficient() -> float:
    """Lambda where none is published: the value most frequent in the source's tables."""
    return float(_tables()["coefficients"]["otherwise"])
