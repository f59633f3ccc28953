"""What the code of a sweep is: a sum over the sources, so that a job can tell whether they changed since."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

PARTS = ("empirical", "shared")


@cache
def code_sum() -> str:
    """sha256 over names and contents of all sources that a cell's result can depend on."""
    root, total = Path(__file__).resolve().parents[2], hashlib.sha256()
    for part in PARTS:
        for path in sorted(p for p in (root / part).rglob("*") if p.suffix in (".py", ".toml", ".json")):
            total.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()
