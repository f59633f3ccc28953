"""Run records on disk: one folder a run, plain JSON, read back without any of the code that wrote it.

    config.json      settings, what they are for (`shared.records.roles`), seeds, versions, git revision, device:
                     what it takes to repeat the run
    metrics.jsonl    one object a line, each with its `step`, flushed as it is written
    summary.json     the results, written at the end
    failure.json     instead of a summary: why there is none (of runs in a sweep)

Every file but the last carries `schema`; another schema is refused with both numbers, a damaged file with what is
wrong in it (`shared.records.decoding`). Non-finite numbers become null, since JSON has none. A line cut by a kill is
dropped on reading, and a resumed run first removes the steps that it will repeat.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from shared.records.decoding import (
    CONFIG,
    FAILURE,
    METRICS,
    SCHEMA,
    SUMMARY,
    BadRecord,
    damaged,
    decode,
    decode_row,
    read_text,
)
from shared.records.roles import Roles, roles_in
from shared.terminal.atomic import ask_guards, naming, write_atomically

_PACKAGES = ("numpy", "scipy", "torch", "torchvision", "numba", "scikit-learn", "safetensors")


def plain(value: Any) -> Any:
    """`value` as JSON values: dataclasses, paths, arrays, tensors included; non-finite numbers as None."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "tolist"):
        return plain(value.tolist())  # arrays and tensors alike
    return str(value)


def environment() -> dict[str, Any]:
    """Versions, git revision of the code (and whether it was changed since), machine, and the time (UTC)."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "versions": versions,
        "git": git_revision(Path(__file__).parent),
    }


def git_revision(folder: Path) -> dict[str, Any] | None:
    """`{"revision": ..., "modified": ...}` of the repository that holds `folder`; None outside one."""

    def ask(*arguments: str) -> str:
        # Asking leaves nothing behind: `git status` would rewrite the index, and its lock stays where there is no room.
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {
            "revision": ask("rev-parse", "HEAD"),
            "modified": bool(ask("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def write_config(folder: str | Path, settings: Any, *, roles: Roles | None = None, **more: Any) -> dict[str, Any]:
    """Write `config.json`: `settings` (mapping or dataclass), environment, and `more` (seeds, device, data).

    `roles` tells readers what the settings are for; without them they are read as those of version 0.1.
    Returns what was written.
    """
    stated = {} if roles is None else {"roles": plain(roles)}
    content = {"schema": SCHEMA, "settings": plain(settings), **stated, **plain(more), "environment": environment()}
    write_json(Path(folder) / CONFIG, content)
    return content


def write_summary(folder: str | Path, results: Any) -> None:
    """Write `summary.json`."""
    write_json(Path(folder) / SUMMARY, {"schema": SCHEMA, **plain(results)})


@dataclass(frozen=True)
class Failure:
    """Why a run has no result: `kind` is diverged (a result in itself) or failed (an accident)."""

    kind: str
    reason: str


def write_failure(folder: str | Path, kind: str, reason: str, detail: str = "") -> None:
    """Write `failure.json`."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(Path(folder) / FAILURE, {"kind": kind, "reason": reason, "detail": detail, "time": time})


def failure_of(folder: str | Path) -> Failure | None:
    """What `failure.json` says; None without one, or where a newer summary says that a later attempt succeeded.

    Raises:
        BadRecord: it is damaged.

    """
    path, summary = Path(folder) / FAILURE, Path(folder) / SUMMARY
    if not path.exists():
        return None
    if summary.exists() and summary.stat().st_mtime_ns > path.stat().st_mtime_ns:
        return None
    content = decode(path)
    return Failure(content["kind"], content["reason"])


def write_json(path: Path, content: Any) -> None:
    """JSON with stable formatting, atomically."""
    write_atomically(path, json.dumps(plain(content), indent=2, allow_nan=False) + "\n")


class MetricsWriter:
    """Appends to `metrics.jsonl`, one flushed line a call; a context manager.

    Args:
        folder: of the run.
        resume_at: drop every recorded step from this one on, since the resumed run will write them again; 0
            starts an empty file, None appends to whatever is there.

    """

    def __init__(self, folder: str | Path, resume_at: int | None = 0):
        path = Path(folder) / METRICS
        path.parent.mkdir(parents=True, exist_ok=True)
        if resume_at is not None:
            kept = [row for row in _rows(path) if row["step"] < resume_at] if path.exists() else []
            write_atomically(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in kept))
        self._path, self._file = path, path.open("a", encoding="utf-8")

    def write(self, step: int, **values: Any) -> None:
        """One line: `{"schema": 1, "step": step, ...}`."""
        ask_guards(self._path)
        row = {"schema": SCHEMA, "step": int(step), **plain(values)}
        with naming(self._path):
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()

    def sync(self) -> None:
        """Makes all rows durable: before a checkpoint is written that counts them."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush to the disk and close."""
        if not self._file.closed:
            with naming(self._path), self._file:
                self.sync()

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Run:
    """One recorded run: its folder, `config.json`, `summary.json` (None if unfinished), and its metrics."""

    folder: Path
    config: dict[str, Any]
    summary: dict[str, Any] | None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings it was started with."""
        return self.config["settings"]

    @property
    def roles(self) -> Roles:
        """What its settings are for, as its record says or as those of version 0.1 were."""
        try:
            return roles_in(self.config)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise damaged(self.folder / CONFIG, f"its roles cannot be read ({error!r})") from error

    def metrics(self) -> list[dict[str, Any]]:
        """All rows of `metrics.jsonl`, in order."""
        return recorded_rows(self.folder)

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps [n] and values [n] of one metric, where it was recorded; null reads as NaN."""
        rows = [(row["step"], row[name]) for row in self.metrics() if name in row]
        steps = np.array([step for step, _ in rows], int)
        return steps, np.array([np.nan if value is None else value for _, value in rows], float)


def recorded_rows(folder: str | Path) -> list[dict[str, Any]]:
    """All rows of a folder's `metrics.jsonl`, in order; none without the file.

    Raises:
        BadRecord: a line that no kill cut off is damaged.

    """
    path = Path(folder) / METRICS
    return _rows(path) if path.exists() else []


def read(folder: str | Path) -> Run:
    """The run recorded in a folder.

    Raises:
        BadRecord: there is none, it is damaged, or of another schema.

    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise BadRecord(f"{folder} holds no run: {CONFIG} is missing")
    summary = decode(folder / SUMMARY) if (folder / SUMMARY).exists() else None
    return Run(folder, decode(folder / CONFIG), summary)


def select(root: str | Path, finished: bool = False, **wanted: Any) -> Iterator[Run]:
    """The runs below `root`, by folder name, whose settings have all the `wanted` values.

    A nested setting is named with two underscores (`correction__coefficient=0.002`); a callable is asked
    (`ipc=lambda ipc: ipc > 1`); a setting that a run does not have does not match. `finished` asks for a
    summary.
    """
    for config in sorted(Path(root).rglob(CONFIG)):
        run = read(config.parent)
        if finished and run.summary is None:
            continue
        if all(_matches(_setting(run.settings, name), value) for name, value in wanted.items()):
            yield run


_ABSENT = object()


def _setting(settings: Mapping[str, Any], name: str) -> Any:
    value: Any = settings
    for part in name.split("__"):
        value = value.get(part, _ABSENT) if isinstance(value, Mapping) else _ABSENT
    return value


def _matches(value: Any, wanted: Any) -> bool:
    if value is _ABSENT:
        return False
    return bool(wanted(value)) if callable(wanted) else value == plain(wanted)


def _rows(path: Path) -> list[dict[str, Any]]:
    lines = read_text(path).split("\n")
    if not _is_json(lines[-1]):  # no newline yet: cut by a kill
        lines.pop()
    return [decode_row(path, number, line) for number, line in enumerate(lines, 1) if line]


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
