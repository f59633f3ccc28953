"""How the jobs of a sweep are asked for: `cluster.toml` in the sweep's folder, and what is typed over it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from empirical.runtime.registry import unknown
from empirical.settings.roles import COUNT, Bounds, check_number, typed_flags

FILE = "cluster.toml"
OURS = ("array", "chdir", "dependency", "error", "export-file", "input", "job-name", "kill-on-invalid-dep",
        "no-requeue", "open-mode", "output", "parsable", "requeue", "signal", "test-only", "wait", "wrap")  # fmt: skip
"""Options of sbatch that a sweep gives itself."""
_GPUS = ("gres", "gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket")
_MEMORY = ("mem", "mem-per-cpu", "mem-per-gpu")


@dataclass(frozen=True)
class ClusterSettings:
    """What a job is to have.

    Attributes:
        partition: of the jobs; None leaves it to the cluster.
        hours: longest time of a job; one that needs longer goes on by itself.
        gpus: of a job.
        memory: GB of a job.
        threads: processors of a group of cells.
        cells_per_gpu: groups of cells that one job runs side by side.
        signal: seconds before the limit at which a job saves and asks to be run again.
        setup: lines of shell before the program, such as module load cuda.
        options: any other options of sbatch; True for one without a value.

    """

    partition: str | None = None
    hours: float = 12.0
    gpus: int = 1
    memory: float = 16.0
    threads: int = 1
    cells_per_gpu: int = 1
    signal: int = 120
    setup: tuple[str, ...] = ()
    options: Mapping[str, str | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("hours", "memory"):
            check_number(f"slurm_{name}", getattr(self, name), Bounds(above=0.0, most=COUNT))
        check_number("slurm_gpus", self.gpus, Bounds(least=0, most=4096))
        check_number("cells_per_gpu", self.cells_per_gpu, Bounds(least=1, most=4096))
        check_number("slurm_signal", self.signal, Bounds(least=1, most=65535))
        for name in self.options:
            if name in OURS or not name or name.startswith("-"):
                raise ValueError(f"--slurm {name or '(nothing)'}: the sweep gives this option itself, or it is none")

    def sbatch(self) -> list[str]:
        """Options of sbatch, without those of an array."""
        found: dict[str, str | bool] = {"time": str(max(1, round(60 * self.hours)))}
        found["cpus-per-task"] = str(self.threads * self.cells_per_gpu)
        if self.partition:
            found["partition"] = self.partition
        if self.gpus and not any(name in self.options for name in _GPUS):
            found["gpus-per-node"] = str(self.gpus)
        if not any(name in self.options for name in _MEMORY):
            found["mem"] = f"{max(1, round(1024 * self.memory))}M"
        found |= self.options
        return [f"--{name}" if value is True else f"--{name}={value}" for name, value in found.items() if value]

    @property
    def wants_gpu(self) -> bool:
        """Whether a job is given a GPU."""
        return self.gpus > 0 or any(name in self.options and "gpu" in f"{name}{self.options[name]}" for name in _GPUS)


_FLAGS = {"partition": "slurm_partition", "hours": "slurm_hours", "gpus": "slurm_gpus", "memory": "slurm_memory",
          "signal": "slurm_signal", "threads": "threads", "cells_per_gpu": "cells_per_gpu"}  # fmt: skip


def cluster_settings(root: Path, axes: Any, arguments: tuple[str, ...]) -> ClusterSettings:
    """Of the file `cluster.toml` in the sweep's folder, if there is one, with what was typed over it.

    Raises:
        ValueError: a key that is none, a value of the wrong type or out of range.

    """
    found = _of_file(root / FILE)
    typed = typed_flags(arguments)
    values = {name: getattr(axes, flag) for name, flag in _FLAGS.items() if flag in typed}
    options = dict(found.options)
    for given in axes.slurm:
        name, separator, value = given.partition("=")
        options[name.removeprefix("--").replace("_", "-")] = value if separator else True
    return replace(found, **values, options=options, setup=(*found.setup, *axes.slurm_setup))


def _of_file(path: Path) -> ClusterSettings:
    if not path.exists():
        return ClusterSettings()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    kinds: dict[str, Any] = {"partition": str, "hours": (int, float), "memory": (int, float), "setup": list}
    known = [f.name for f in fields(ClusterSettings) if f.name != "options"]
    options = content.pop("sbatch", {})
    for name, value in content.items():
        if name not in known:
            raise unknown(f"key of {path}", name, [*known, "sbatch"])
        if not isinstance(value, kinds.get(name, int)) or isinstance(value, bool):
            raise ValueError(f"{path}: {name} = {value!r} is not of the kind that it takes; see docs/cluster.md")
    if not isinstance(options, dict):
        raise ValueError(f"{path}: sbatch is a table, [sbatch], of its options")
    content["setup"] = tuple(map(str, content.get("setup", ())))
    named = {k.replace("_", "-"): v if isinstance(v, bool) else str(v) for k, v in options.items()}
    return ClusterSettings(**content, options=named)
