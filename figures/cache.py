"""Results that took long are kept in a file and found again, if they are of the same settings and the same program.

A file's name is a digest of its settings and of the source of `theory`, folders below it included, so that numbers of
other settings or of an older program are never drawn. The file says its settings again and carries a checksum: one that
was cut, edited or exchanged is not believed but made again, with a word on standard error.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import theory
from shared.terminal.atomic import write_atomically

Arrays = dict[str, NDArray[np.float64]]


def source_digest(settings: bytes) -> str:
    """16 hexadecimal digits of the settings and of all Python files of `theory`."""
    digest = hashlib.sha256(settings)
    for path in sorted(Path(theory.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def kept(
    path: Path, settings: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], make: Callable[[], Arrays]
) -> Arrays:
    """The arrays in a file, or those that `make` makes, which are then put there.

    Args:
        path: of the file.
        settings: of the arrays, JSON values; a file of others is not believed.
        shapes: of the arrays, by name.
        make: what to do where nothing that can be believed is there.
    """
    if path.exists():
        try:
            return _read(path, settings, shapes)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"warning: {path} is damaged ({reason}); it is made again", file=sys.stderr)
    found = make()
    results = {name: np.asarray(values).tolist() for name, values in found.items()}
    content = {"settings": settings, "results": results, "sha256": _checksum(settings, results)}
    write_atomically(path, json.dumps(content, indent=1))
    return found


def _read(path: Path, settings: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["settings"] != json.loads(json.dumps(settings)):
        raise ValueError("it says other settings than its name")
    if content["sha256"] != _checksum(content["settings"], content["results"]):
        raise ValueError("its checksum is wrong")
    found = {name: np.array(content["results"][name], float) for name in shapes}
    for name, shape in shapes.items():
        if found[name].shape != shape or not np.all(np.isfinite(found[name])):
            raise ValueError(f"{name} is not {shape} finite numbers")
    return found


def _checksum(settings: Any, results: Any) -> str:
    return hashlib.sha256(json.dumps([settings, results], sort_keys=True).encode()).hexdigest()
