"""`python -m empirical.sweep`: runs what is missing of a grid of experiments.

    python -m empirical.sweep --methods dsa --ipcs 1 10 --lambdas 0 0.01 1 --seeds 0 1 2 --dry-run
    python -m empirical.sweep --sweep table1 --datasets mnist --data-root data --launcher slurm

The folder (`--out`, by default `runs/NAME`) holds one run's folder a cell below `cells`, named by a hash of all
that its result depends on, and `grid.csv`. The same command again runs only what is missing; so does a command
with more values on an axis; other settings for a data set, method and IPC that are there are refused. `grid.csv`
holds all finished and diverged cells of the folder, whichever command ran them. All settings of `empirical.run`
that are no axis may be given. On a cluster the command submits what is neither done nor waits nor runs, and ends.

Exit status: 0 if all is done; 2 for bad input, or what Slurm refuses; 3 for missing or unusable data; 4 if a cell
failed or diverged; 5 if cells are unfinished (on a cluster: queued, running); 130 if stopped.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from empirical import networks
from empirical.data.datasets import Dataset
from empirical.distillation.loop import Diverged
from empirical.experiment.families import family_of, notes, unread
from empirical.runtime.checkpoint import FolderInUse
from empirical.runtime.devices import device_named
from empirical.runtime.places import refuse_place
from empirical.settings.settings import Settings
from empirical.sweep import cluster, ledger
from empirical.sweep.cells import Cell, expand, groups
from empirical.sweep.cluster import Cluster
from empirical.sweep.cluster_settings import cluster_settings
from empirical.sweep.data_card import Cards
from empirical.sweep.forecast import Jobs, Speeds, forecast_table, group_forecast
from empirical.sweep.launch import launcher_of
from empirical.sweep.ledger import State
from empirical.sweep.missing_experts import missing_of, refuse_long
from empirical.sweep.options import Request, blocks_of, parse, unread_by_launcher
from empirical.sweep.speeds import from_done, probed, seconds_taken
from empirical.sweep.standing import Standing, states_of
from empirical.sweep.submission import JOBS
from empirical.sweep.work import data_of
from shared.terminal.command import command, leave, when_stopped
from shared.terminal.printing import Plain
from shared.terminal.progress import Reporter

GRID = ledger.GRID
UNFINISHED = 5
"""Exit status while cells are neither done nor diverged nor failed."""
DataOf = Callable[[Settings], Dataset]


def planned(request: Request, data: DataOf = data_of) -> list[Cell]:
    """All cells of the sweep, checked.

    Raises:
        ValueError, DataError: as `expand`.

    """
    cells = expand(blocks_of(request.axes), request.settings, data)
    _build(cells, data)
    return cells


def _build(cells: Iterable[Cell], data: DataOf) -> None:
    """One network of each architecture, so that what cannot be built is refused beforehand."""
    for s in {(c.settings.network, *c.settings.variant.items()): c.settings for c in cells}.values():
        dataset = data(s)
        networks.build(s.network, dataset.shape, dataset.classes, **s.variant)


def _refuse_unmakeable(cells: Iterable[Cell]) -> None:
    """What data and device tell of each method and architecture, before any work."""
    for s in {(c.settings.method, c.settings.network, *c.settings.variant.items()): c.settings for c in cells}.values():
        family_of(s).refuse(s, data_of(s))


def _on_processor(settings: Settings) -> Dataset:
    """For planning: no login node has the cells' device."""
    return data_of(replace(settings, device="cpu"))


def execute(request: Request, console: Console) -> int:
    """Plans, and shows or runs; returns the exit status."""
    axes, common, root = request.axes, request.common, request.root
    remote = axes.launcher == "slurm"
    if not remote:
        device_named(common.device)
    refuse_place(root)
    asked = cluster_settings(root, axes, request.arguments) if remote else None
    cards = Cards(root, _on_processor if remote else data_of)
    planning = remote or axes.status or axes.cancel
    cells = planned(request, cards if planning else data_of)
    ledger.refuse_other_settings(root, cells)
    for said in (*unread(request.arguments, [c.settings for c in cells]), *unread_by_launcher(request)):
        print(f"note: {said}", file=sys.stderr)
    if axes.status:
        return _show(root, cells, console)
    for said in notes(c.settings for c in cells):
        print(f"note: {said}", file=sys.stderr)
    if any(cell.strength < 0.0 for cell in cells) and not common.dry_run:
        print("note: a negative lambda or pull makes the synthetic samples harder, not easier", file=sys.stderr)
    if asked is not None:
        return _remote(Cluster(request, root, asked, cards, cells), cells, console)
    return _local(request, cells, console)


def _local(request: Request, cells: Sequence[Cell], console: Console) -> int:
    axes, common, root = request.axes, request.common, request.root
    to_run = ledger.to_run(root, cells, axes.retry_diverged, axes.retry_failed)
    left = groups(to_run, axes.separate)
    missing = missing_of(to_run, data_of)
    launcher = launcher_of(axes, common.device, len(left))
    if common.dry_run:
        console.print(f"{len(cells)} cells, {sum(map(len, left))} of them to be run, into {root}")
        if left:
            console.print(forecast_table(left, data_of, Jobs(launcher.workers), Speeds()))
        for experts in missing:
            console.print(f"{experts}")
        return 0
    refuse_long(missing, common.trajectory.make_experts)
    _refuse_unmakeable(to_run)
    try:
        with Reporter("sweep", sum(map(len, left)), quiet=common.quiet) as reporter:
            done: Counter[str] = Counter()
            for states in launcher(left, root):
                done.update(states.values())
                reporter.update(sum(done.values()), {k: float(v) for k, v in done.items()})
    finally:
        status = _show(root, cells, console)
    if left and not set(done) & {"done", "diverged", "failed"}:
        raise FolderInUse(
            f"none of the {len(to_run)} unfinished cells was run: other processes hold their folders in {root}; wait "
            "for them, or name another folder with --out"
        )
    return status


def _remote(asked: Cluster, cells: Sequence[Cell], console: Console) -> int:
    """Shows, cancels or submits; what `--wait` asks for besides is only looking on."""
    root, axes, common = asked.root, asked.request.axes, asked.request.common
    if axes.cancel:
        with ExitStack() as locks:
            cluster.my_turn(root, locks)
            console.print(f"{cluster.cancel(root, cells)} jobs of {root} are cancelled")
        return 0
    if common.dry_run:
        _forecast(asked, cells, Standing.of(root), console)
        return 0
    if note := cluster.environment_note():
        print(f"note: {note}", file=sys.stderr)
    with ExitStack() as locks:
        if not (root / JOBS).exists():  # of a sweep that Slurm refuses nothing stays
            locks.callback(_remove_empty, root)
        cluster.my_turn(root, locks)
        if axes.probe:
            asked.cards.keep()
            console.print(f"job {asked.probe(cells)} measures; then --dry-run tells")
            return 0
        standing = Standing.of(root)
        to_run = _to_submit(root, cells, standing, axes.retry_diverged, axes.retry_failed)
        if to_run:
            missing = missing_of(to_run, asked.cards, Speeds(probed=probed(root)).of)
            refuse_long(missing, common.trajectory.make_experts is not False)
            ids = asked.submit(groups(to_run, axes.separate), missing, standing)
            asked.cards.keep()
            console.print(cluster.told(root, ids, len(to_run)))
        else:
            console.print("nothing to submit: every cell is settled, queued or running")
    if axes.wait:
        with when_stopped("the jobs go on without this command: --status looks, --cancel ends them"):
            cluster.watch(root, cells, common.quiet)
        return _show(root, cells, console)
    return _status(states_of(root, cells))


def _to_submit(
    root: Path, cells: Sequence[Cell], standing: Standing, retry_diverged: bool, only_failed: bool
) -> list[Cell]:
    """What is neither settled nor waits nor runs; or of it what failed."""
    settled = {"done", "queued", "running"} | (set() if retry_diverged else {"diverged"})
    found = [(cell, standing.state(root, cell).name) for cell in cells]
    return [cell for cell, name in found if name not in settled and (name == "failed" or not only_failed)]


def _remove_empty(root: Path) -> None:
    for folder in (root / JOBS, root):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _forecast(asked: Cluster, cells: Sequence[Cell], standing: Standing, console: Console) -> None:
    root, axes, data = asked.root, asked.request.axes, asked.cards
    to_run = _to_submit(root, cells, standing, axes.retry_diverged, axes.retry_failed)
    left = groups(to_run, axes.separate)
    by_name, taken = {cell.name: cell for cell in cells}, seconds_taken(root)
    finished = [[by_name[name] for name in names] for names in taken if names <= set(by_name)]
    done = from_done(finished, taken, lambda group: group_forecast(group, data(group[0].settings), 1.0).seconds)
    speeds = Speeds(done, probed(root))
    missing = missing_of(to_run, data, speeds.of)
    console.print(f"{len(cells)} cells, {len(to_run)} of them to be submitted, into {root}")
    if left:
        size, hours = asked.settings.cells_per_gpu, asked.settings.hours
        console.print(forecast_table(left, data, Jobs(axes.workers or -(-len(left) // size), hours), speeds))
    for experts in missing:
        console.print(f"a job of its own: {experts}")
    if left and not any(map(speeds.of, (group[0].settings for group in left))):
        console.print("this machine's speed says little about the cluster's: --probe measures there")


def _show(root: Path, cells: Sequence[Cell], console: Console) -> int:
    """Writes the grid and prints the tables; returns the exit status."""
    count = ledger.write_grid(root / GRID, root) if (root / "cells").is_dir() else None
    states = states_of(root, cells)
    for table in ledger.tables(root, cells, states):
        console.print(table)
    if count is not None:
        console.print(f"{root / GRID}: {count} cells, all of the folder")
    return _status(states)


def _status(states: Mapping[str, State]) -> int:
    if cluster.unfinished(states):
        return UNFINISHED
    return 0 if all(state.name == "done" for state in states.values()) else Diverged.exit_status


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    return command(lambda: execute(parse(given), Plain()), "the same command goes on from the last checkpoints")


def console() -> NoReturn:
    """The installed command `easy-or-hard-sweep`: the same as `python -m empirical.sweep`."""
    leave(main)


if __name__ == "__main__":
    console()
