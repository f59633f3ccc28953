"""`python -m empirical.sweep`: runs what is missing of a grid of experiments.

    python -m empirical.sweep --methods dsa --ipcs 1 10 --lambdas 0 0.01 1 --seeds 0 1 2 --dry-run
    python -m empirical.sweep --sweep table1 --datasets mnist --data-root data --launcher slurm

The folder (`--out`, by default `runs/NAME`) holds one run's folder a cell below `cells`, named by a hash of all
that its result depends on, and `grid.csv`. The same command again runs only what is missing; so does a command
with more values on an axis; other settings for a data set, method and IPC that are there are refused. `grid.csv`
holds all finished and diverged cells of the folder, whichever command ran them. All settings of `empirical.run`
that are no axis may be given.

Exit status: 0; 2 for bad input; 3 for missing or unusable data; 4 if a cell failed or diverged; 130 if stopped.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NoReturn

from rich.console import Console

from empirical import networks
from empirical.distillation.loop import Diverged
from empirical.experiment.families import family_of, notes, unread
from empirical.runtime.checkpoint import FolderInUse
from empirical.runtime.devices import device_named
from empirical.runtime.places import refuse_place
from empirical.sweep import ledger
from empirical.sweep.cells import Cell, expand, groups
from empirical.sweep.forecast import forecast_table
from empirical.sweep.launch import Local, launcher_of
from empirical.sweep.missing_experts import missing_of, refuse_long
from empirical.sweep.options import Request, blocks_of, parse, unread_by_launcher
from empirical.sweep.work import data_of
from shared.terminal.command import command, leave
from shared.terminal.printing import Plain
from shared.terminal.progress import Reporter

GRID = "grid.csv"


def planned(request: Request) -> list[Cell]:
    """All cells of the sweep, checked.

    Raises:
        ValueError, DataError: as `expand`.

    """
    cells = expand(blocks_of(request.axes), request.settings, data_of)
    _build(cells)
    return cells


def _build(cells: Iterable[Cell]) -> None:
    """One network of each architecture, so that what cannot be built is refused beforehand."""
    for s in {(c.settings.network, *c.settings.variant.items()): c.settings for c in cells}.values():
        dataset = data_of(s)
        networks.build(s.network, dataset.shape, dataset.classes, **s.variant)


def _refuse_unmakeable(cells: Iterable[Cell]) -> None:
    """What data and device tell of each method and architecture, before any work."""
    for s in {(c.settings.method, c.settings.network, *c.settings.variant.items()): c.settings for c in cells}.values():
        family_of(s).refuse(s, data_of(s))


def execute(request: Request, console: Console) -> int:
    """Plans, and shows or runs; returns the exit status."""
    axes, common, root = request.axes, request.common, request.root
    device_named(common.device)
    refuse_place(root)
    cells = planned(request)
    ledger.refuse_other_settings(root, cells)
    for told in (*unread(request.arguments, [c.settings for c in cells]), *unread_by_launcher(request)):
        print(f"note: {told}", file=sys.stderr)
    if axes.status:
        _show(request, cells, console)
        return 0
    for told in notes(c.settings for c in cells):
        print(f"note: {told}", file=sys.stderr)
    to_run = ledger.to_run(root, cells, axes.retry_diverged)
    left = groups(to_run, axes.separate)
    missing = missing_of(to_run, data_of)
    launcher = launcher_of(axes, common.device, len(left))
    if common.dry_run:
        workers = launcher.workers if isinstance(launcher, Local) else axes.workers or max(1, len(left))
        console.print(f"{len(cells)} cells, {sum(map(len, left))} of them to be run, into {root}")
        if left:
            console.print(forecast_table(left, data_of, workers))
        for experts in missing:
            console.print(f"{experts}")
        return 0
    refuse_long(missing, common.trajectory.make_experts)
    if isinstance(launcher, Local):
        _refuse_unmakeable(to_run)
    if any(cell.strength < 0.0 for cell in to_run):
        print("note: a negative lambda or pull makes the synthetic samples harder, not easier", file=sys.stderr)
    try:
        with Reporter("sweep", sum(map(len, left)), quiet=common.quiet) as reporter:
            done: Counter[str] = Counter()
            for states in launcher(left, root):
                done.update(states.values())
                reporter.update(sum(done.values()), {k: float(v) for k, v in done.items()})
    finally:
        _show(request, cells, console)
    if left and not axes.detach and not set(done) & {"done", "diverged", "failed"}:
        raise FolderInUse(
            f"none of the {len(to_run)} unfinished cells was run: other processes hold their folders in {root}; wait "
            "for them, or name another folder with --out"
        )
    ended = Counter(ledger.state_of(ledger.folder_of(root, cell)).name for cell in cells)
    return Diverged.exit_status if ended["failed"] or ended["diverged"] else 0


def _show(request: Request, cells: Sequence[Cell], console: Console) -> None:
    count = ledger.write_grid(request.root / GRID, request.root) if (request.root / "cells").is_dir() else None
    for table in ledger.tables(request.root, cells):
        console.print(table)
    if count is not None:
        console.print(f"{request.root / GRID}: {count} cells, all of the folder")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    return command(lambda: execute(parse(given), Plain()), "the same command goes on from the last checkpoints")


def console() -> NoReturn:
    """The installed command `easy-or-hard-sweep`: the same as `python -m empirical.sweep`."""
    leave(main)


if __name__ == "__main__":
    console()
