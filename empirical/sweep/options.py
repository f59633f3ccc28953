"""What may be typed: the axes of a sweep, how it is run, and every setting of `empirical.run` that is no axis."""

from __future__ import annotations

import argparse
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, make_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import tyro

from empirical.experiment.families import method_named
from empirical.experiment.help import description
from empirical.experiment.resolve import with_preset
from empirical.runtime.registry import unknown
from empirical.settings.roles import COUNT, Bounds, check_number, flag, roles, typed_flags
from empirical.settings.settings import PUBLISHED, Settings
from shared.terminal.arguments import read_arguments
from shared.terminal.plugins import load_plugins, places

Coefficient = float | Literal["published"]
AXES = ("methods", "datasets", "ipcs", "lambdas", "pulls", "asdcs", "asdc_pulls", "seeds")
STRENGTHS = ("lambdas", "pulls", "asdcs", "asdc_pulls")
"""Axes of the correction, whose values are run side by side."""


@dataclass(frozen=True)
class Block:
    """A full product of axes."""

    methods: tuple[str, ...] = ("dsa",)
    datasets: tuple[str, ...] = ("digits",)
    ipcs: tuple[int, ...] = (1,)
    lambdas: tuple[Coefficient, ...] = (0.0,)
    pulls: tuple[float, ...] = ()
    asdcs: tuple[str, ...] = ()
    asdc_pulls: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Axes:
    """What is run, and how.

    Attributes:
        sweep: a named sweep, such as table1; --methods, --datasets and --ipcs then restrict it, --lambdas and
            --seeds replace its own.
        methods: dc, dsa, dcc, dsac, random, herding, forgetting, whole, ...
        datasets: names or prefixes, as --dataset of a single run.
        ipcs: synthetic images a class.
        lambdas: coefficients of the correction, 0 for none; or published. Methods without a correction are
            run once.
        pulls: the correction by its pull at the start in place of lambda, 0 for none: comparable across methods, data
            sets and images a class; see --sdc-pull of a single run.
        asdcs: corrections that grow along the run, each START:END, such as 0.002:0.008, beside the lambdas.
        asdc_pulls: the same by their pull, such as 0.1:0.4.
        seeds: of distillations; coefficients of one seed are paired: same start, networks, batches, draws and
            evaluation networks.
        preset: table1, published or laptop; by default that of the data set.
        status: show what is done, running, missing and failed, and stop.
        retry_diverged: run diverged cells again, which the same program on the same machine will only repeat.
        separate: share no work between coefficients.
        launcher: local processes, or jobs of a Slurm cluster, which are submitted and left alone (docs/cluster.md).
        workers: processes (local), or jobs at once (cluster); by default as many as threads allow, 1 on a GPU.
        threads: arithmetic threads of a worker.
        wait: watch the cluster's jobs until none is left; watching does nothing to them.
        cancel: end the cluster's jobs of these cells.
        retry_failed: run the failed cells, and no others.
        probe: measure the speed of these cells' networks by a job of a minute, for the forecast.
        cells_per_gpu: groups of cells that one cluster job runs side by side.
        slurm_partition: of the jobs.
        slurm_hours: longest time of a job; one that needs longer saves in time and goes on by itself.
        slurm_gpus: GPUs of a job.
        slurm_memory: GB of a job.
        slurm_signal: seconds before the limit at which a job saves.
        slurm: any other option of sbatch as KEY=VALUE, such as account=mine; may be given several times.
        slurm_setup: a line of shell before the program, such as "module load cuda"; may be given several times.

    """

    sweep: str | None = None
    methods: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    ipcs: tuple[int, ...] | None = None
    lambdas: tuple[Coefficient, ...] | None = None
    pulls: tuple[float, ...] | None = None
    asdcs: tuple[str, ...] | None = None
    asdc_pulls: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    preset: str | None = None
    status: bool = False
    retry_diverged: bool = False
    separate: bool = False
    launcher: Literal["local", "slurm"] = "local"
    workers: int | None = None
    threads: int = 1
    wait: bool = False
    cancel: bool = False
    retry_failed: bool = False
    probe: bool = False
    cells_per_gpu: int = 1
    slurm_partition: str | None = None
    slurm_hours: float = 12.0
    slurm_gpus: int = 1
    slurm_memory: float = 16.0
    slurm_signal: int = 120
    slurm: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    slurm_setup: tyro.conf.UseAppendAction[tuple[str, ...]] = ()


def _default(own: Field[Any]) -> Any:
    """The same default for another dataclass."""
    if own.default_factory is not MISSING:
        return field(default_factory=own.default_factory)
    return field(default=own.default)


def _common() -> type:
    """The settings of a single run without those that are swept."""
    hints = get_type_hints(Settings)
    kept = [(f.name, hints[f.name], _default(f)) for f in fields(Settings) if not roles(Settings)[f.name].axis]
    made = make_dataclass("Common", kept, frozen=True)
    made.__doc__ = Settings.__doc__
    return made


COMMON: Any = _common()


@dataclass(frozen=True)
class Command:
    """All flags."""

    axes: Annotated[Axes, tyro.conf.OmitArgPrefixes]
    common: Annotated[COMMON, tyro.conf.OmitArgPrefixes]


@cache
def named() -> Mapping[str, Any]:
    """Name -> description, preset, settings over the preset's, and blocks of the named sweeps."""
    return tomllib.loads((Path(__file__).parent / "sweeps.toml").read_text(encoding="utf-8"))


def blocks_of(axes: Axes) -> list[Block]:
    """The blocks to run: those of the named sweep, restricted by what was typed, or the typed one.

    Raises:
        ValueError: unknown sweep or method, a value out of range, or nothing is left.

    """
    typed = {name: getattr(axes, name) for name in AXES if getattr(axes, name) is not None}
    empty = [name for name, values in typed.items() if not values]
    if empty:
        raise ValueError(f"--{empty[0]} needs at least one value")
    _check_strengths(typed)
    for method in typed.get("methods", ()):
        if axes.sweep is None:
            method_named(method)
    if axes.sweep is None:
        return [Block(**typed)]
    if axes.sweep not in named():
        raise unknown("sweep", axes.sweep, named())
    blocks = []
    for block in named()[axes.sweep]["blocks"]:
        values = {name: tuple(block.get(name, ())) for name in AXES}
        for name in ("methods", "datasets", "ipcs"):
            values[name] = tuple(v for v in values[name] if v in typed.get(name, values[name]))
        if any(values[name] for name in STRENGTHS[1:]) or values["lambdas"] != (0.0,):
            values |= {name: typed[name] for name in STRENGTHS if name in typed}
        if "seeds" in typed and any("set" in method_named(name).tags for name in values["methods"]):
            values["seeds"] = typed["seeds"]
        if values["methods"] and values["datasets"] and values["ipcs"]:
            blocks.append(Block(**values))
    if not blocks:
        raise ValueError(f"nothing of the sweep {axes.sweep} is left by the methods, data sets and ipcs typed")
    return blocks


def _check_strengths(typed: dict[str, Any]) -> None:
    """Refuses what is no strength of the correction; pulls without lambdas leave out the lambda that is the default."""
    for value in typed.get("pulls", ()):
        if not math.isfinite(value):
            raise ValueError(f"--pulls takes finite numbers, not {value}")
    for value in typed.get("lambdas", ()):
        if value != PUBLISHED and not math.isfinite(float(value)):
            raise ValueError(f"--lambdas takes finite numbers or published, not {value}")
    for name in ("asdcs", "asdc_pulls"):
        for text in typed.get(name, ()):
            schedule_of(text, flag(name))
    if any(name in typed for name in STRENGTHS[1:]):
        typed.setdefault("lambdas", ())


def schedule_of(text: str, named: str = "--asdcs") -> tuple[float, float]:
    """Start and end of a correction that grows along the run.

    Raises:
        ValueError: it is not START:END.

    """
    try:
        start, end = map(float, text.split(":"))
    except ValueError:
        raise ValueError(f"{named} takes START:END, two numbers such as 0.002:0.008, not {text}") from None
    return start, end


@dataclass(frozen=True)
class Request:
    """What was typed.

    Attributes:
        axes: of the sweep.
        arguments: all of them, from which the settings of each data set are read over its own preset.

    """

    axes: Axes
    arguments: tuple[str, ...]

    @property
    def common(self) -> Settings:
        """The settings without a data set's preset: out, device, quiet, dry_run and the like."""
        return _settings(_parsed(self.arguments, self.axes, COMMON()).common, Settings())

    @property
    def root(self) -> Path:
        """The sweep's folder."""
        return self.common.out or Path("runs") / (self.axes.sweep or "sweep")

    def settings(self, dataset: str) -> Settings:
        """Typed settings over those of the preset, for a data set.

        Raises:
            ValueError: no such preset.

        """
        preset = self.axes.preset
        if preset is None and self.axes.sweep is not None:
            preset = named()[self.axes.sweep]["preset"]
        start = with_preset(replace(Settings(), dataset=dataset, network=self.common.network), preset)
        start = replace(start, **(named()[self.axes.sweep].get("settings", {}) if self.axes.sweep else {}))
        values = {f.name: getattr(start, f.name) for f in fields(COMMON)}
        return _settings(_parsed(self.arguments, self.axes, COMMON(**values)).common, start)


def _settings(common: Any, start: Settings) -> Settings:
    values = {f.name: getattr(common, f.name) for f in fields(COMMON)}
    values["plugin"] = places(values["plugin"])
    return replace(start, **values, repetitions=1, compare=False)


def _parsed(arguments: Sequence[str], axes: Axes, common: Any) -> Command:
    return read_arguments(
        lambda: tyro.cli(
            Command,
            args=list(arguments),
            default=Command(axes, common),
            prog="python -m empirical.sweep",
            description=description(
                "Runs what is missing of a grid of experiments; the same command again goes on with it."
            ),
        )
    )


def parse(arguments: Sequence[str]) -> Request:
    """Reads the command line.

    Raises:
        ValueError: a flag of a single run that is an axis here, or a number out of range.
        SystemExit: status 2, unknown flag or a value of the wrong type.

    """
    load_plugins(arguments)
    single = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    plural = {name: f"{name}s" for name in ("method", "dataset", "ipc", "seed")}
    plural |= {"sdc": "lambdas", "sdc-pull": "pulls"}
    for name in plural:
        single.add_argument(f"--{name}", nargs="?", const="")
    given, _ = single.parse_known_args(list(arguments))
    for name, axis in plural.items():
        if getattr(given, name.replace("-", "_")) is not None:
            raise ValueError(f"a sweep takes --{axis} with one or more values, not --{name}")
    axes = _parsed(arguments, Axes(), COMMON()).axes
    for name, most in (("workers", 4096), ("threads", 4096), ("slurm_gpus", 4096)):
        if (value := getattr(axes, name)) is not None and value > most:
            raise ValueError(f"--{name.replace('_', '-')} is at most {most}, not {value}")
    if axes.threads < 1 or (axes.workers is not None and axes.workers < 1):
        raise ValueError("--workers and --threads are at least 1")
    if axes.slurm_gpus < 0:
        raise ValueError("--slurm-hours and --slurm-memory are above 0, --slurm-gpus at least 0")
    for name in ("slurm_hours", "slurm_memory"):
        check_number(name, getattr(axes, name), Bounds(above=0.0, most=COUNT))
    return Request(axes, tuple(arguments))


_ON_CLUSTER = ("wait", "cancel", "probe", "cells_per_gpu", "slurm_partition", "slurm_hours", "slurm_gpus",
               "slurm_memory", "slurm_signal", "slurm", "slurm_setup")  # fmt: skip
"""Flags of jobs of a cluster."""


def unread_by_launcher(request: Request) -> list[str]:
    """What was typed for a launcher that is not the one chosen, a sentence each."""
    given = typed_flags(request.arguments)
    if request.axes.launcher == "slurm":
        return []
    return [f"{flag(n)} has no effect without --launcher slurm" for n in _ON_CLUSTER if n in given]


__all__ = ["PUBLISHED", "Axes", "Block", "Request", "blocks_of", "named", "parse", "unread_by_launcher"]
