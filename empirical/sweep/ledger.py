"""What has been run: each cell's state is read from its folder, so nothing can be out of step with it.

missing    nothing there
running    a process holds the folder's lock, or Slurm runs its job
queued     its job waits for Slurm to run it (`empirical.sweep.standing`)
begun      killed or stopped on the way; goes on from its checkpoint
done       summary.json with an evaluation, and the set that it is of
diverged   failure.json: a loss or an image was no longer finite; a result, not repeated unless asked for
failed     failure.json: anything else; tried again by the next command
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empirical import synthetic
from empirical.experiment.families import names, recorded_roles
from empirical.runtime.checkpoint import is_in_use
from empirical.sweep.cells import Cell, has_ipc
from shared.comparison.grid import write_csv
from shared.comparison.run_grid import measurements_of
from shared.records.agreement import cell_of, disagreement, short
from shared.records.decoding import CONFIG, FAILURE, SUMMARY
from shared.records.records import failure_of, plain, read
from shared.terminal.printing import Sheet

GRID = "grid.csv"
"""Of a sweep's folder."""
STATES = ("done", "running", "queued", "begun", "missing", "diverged", "failed")


def folder_of(root: Path, cell: Cell) -> Path:
    """Of a cell, below the sweep's folder."""
    return root / "cells" / cell.name


@dataclass(frozen=True)
class State:
    """A cell's state, the reason of a failure, and where and how far it is on a cluster."""

    name: str
    reason: str = ""
    where: str = ""


def state_of(folder: Path) -> State:
    """See the module."""
    return State("running") if is_in_use(folder) else stored_state(folder)


def stored_state(folder: Path) -> State:
    """What a folder holds, whoever works on it; for the holder of its lock."""
    failure = failure_of(folder)
    if failure is not None:
        return State(failure.kind, failure.reason)
    if (folder / SUMMARY).exists() and (folder / CONFIG).exists():
        run = read(folder)
        method = run.settings.get("method")
        needs_set = method not in names() or has_ipc(method)
        if (not needs_set or (folder / synthetic.FILE).exists()) and (run.summary or {}).get("evaluation"):
            return State("done")
    return State("begun" if (folder / CONFIG).exists() else "missing")


def clear_failure(folder: Path) -> None:
    """Before a new attempt."""
    (folder / FAILURE).unlink(missing_ok=True)


def to_run(root: Path, cells: Sequence[Cell], retry_diverged: bool = False, only_failed: bool = False) -> list[Cell]:
    """The cells that this command has to run, or of these the failed ones."""
    settled = {"done"} if retry_diverged else {"done", "diverged"}
    states = [state_of(folder_of(root, cell)).name for cell in cells]
    pairs = zip(cells, states, strict=True)
    return [cell for cell, state in pairs if state not in settled and (state == "failed" or not only_failed)]


def recorded_folders(root: Path) -> list[Path]:
    """Of all cells that any command has begun in a sweep's folder."""
    return sorted(path.parent for path in (root / "cells").glob(f"*/{CONFIG}"))


def write_grid(path: Path, root: Path) -> int:
    """Writes the compact CSV (`shared.comparison.grid`) of finished and diverged cells; returns how many it holds.

    All of the folder, whichever commands ran them: it is what a reader of the folder itself finds. Cells whose
    correction is not one coefficient (a schedule, a hard threshold) have no place in it.
    """
    measured = [measurements_of(read(folder))[0] for folder in recorded_folders(root)]
    write_csv(path, [row for rows in measured for row in rows])
    return sum(map(bool, measured))


def refuse_other_settings(root: Path, cells: Sequence[Cell]) -> None:
    """A folder's cells are compared with each other: what is added must agree with what is there.

    Raises:
        ValueError: a cell of the same data set, method and IPC was run with other settings, or other data.

    """
    wanted: dict[Any, dict[bool, Cell]] = {}
    for cell in cells:
        wanted.setdefault(cell_of(vars(cell.settings)), {}).setdefault("correction" in cell.settings.tags, cell)
    own = {cell.name for cell in cells}
    for folder in recorded_folders(root):
        if folder.name in own:
            continue
        run = read(folder)
        for cell in wanted.get(cell_of(run.settings), {}).values():
            there = run.config.get("data", {}).get("fingerprint", cell.fingerprint)
            differ = disagreement(run.settings, plain(cell.settings), (run.roles, recorded_roles(cell.settings)))
            if differ is None and there != cell.fingerprint:
                differ = "the data", there, cell.fingerprint
            if differ:
                dataset, method, ipc = cell_of(run.settings)
                raise ValueError(
                    f"{root} holds {method} on {dataset} at IPC {ipc} run with {differ[0]} = {short(differ[1])}, not "
                    f"{short(differ[2])} ({folder.name}): name another folder with --out"
                )


def tables(root: Path, cells: Sequence[Cell], states: Mapping[str, State]) -> list[Sheet]:
    """Counts of the states by method, data set and images a class; what is on a cluster; and the failures.

    Args:
        root: the sweep's folder.
        cells: of the command.
        states: cell name -> state.

    """
    counts: dict[tuple[str, str, int], Counter[str]] = {}
    failures = Sheet(("cell", "", "reason"), "without a result", names=3)
    away = Sheet(("cell", "", "where"), "on the cluster", names=3)
    for cell in cells:
        state, s = states[cell.name], cell.settings
        counts.setdefault((s.dataset, s.method, s.ipc), Counter())[state.name] += 1
        if state.reason:
            failures.add_row(cell.name, state.name, state.reason)
        elif state.where:
            away.add_row(cell.name, state.name, state.where)
    overview = Sheet(("data set", "method", "ipc", *STATES), f"{len(cells)} cells in {root}", names=3)
    for (dataset, method, ipc), count in counts.items():
        shown = str(ipc) if has_ipc(method) else "-"
        overview.add_row(dataset, method, shown, *(str(count[name] or "") for name in STATES))
    return [overview, *(sheet for sheet in (away, failures) if sheet.rows)]
