"""``python -m figures runs FOLDER...``: figures of recorded runs, each drawn if its runs are there.

FOLDERs hold runs of ``python -m empirical.run`` or ``empirical.sweep``, at any depth. Drawn are

    norms         mean gradient norm along distillation, in the loop and on probe networks, with and without SDC
    sensitivity   accuracy against lambda
    lambda-ipc    gain of each lambda at each number of images a class
    asdc          no correction, SDC and ASDC beside each other
    gallery       distilled images without and with the correction

each as PDF, PNG and CSV, and a line says what was not drawn and what runs it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from empirical.experiment.families import names
from figures.registry import command
from figures.runs.coefficients import adaptive_figures, ipc_figures, sensitivity_figures
from figures.runs.gallery import gallery_figures
from figures.runs.norms import corrected, norm_figures
from figures.runs.recorded import Cells, distilled, family_of, read_cells
from figures.style import make_writable
from shared.records.recorded import refuse_empty
from shared.records.roles import GRADIENT, TRAJECTORY

MATCHING = {family: tuple(names(family)) for family in (GRADIENT, TRAJECTORY)}
"""Methods whose runs the norms compare, by what they match."""


@dataclass(frozen=True)
class Kind:
    """A kind of figure: how it is drawn (nothing is written where its runs are missing), and what runs it needs."""

    draw: Callable[[Cells, Path], list[Path]]
    needs: str


KINDS = {
    "norms": Kind(norm_figures, "a distillation that logs its gradient norm"),
    "sensitivity": Kind(sensitivity_figures, "one method and IPC at three values of lambda (0 counts)"),
    "lambda-ipc": Kind(ipc_figures, "one method at two IPC, each with lambda 0 and two more, on the same seeds"),
    "asdc": Kind(adaptive_figures, "one method and IPC with --sdc and with --asdc"),
    "gallery": Kind(gallery_figures, "one method and IPC with and without --sdc on the same seed"),
}


@command("runs")
@dataclass(frozen=True)
class Runs:
    """Draw figures of recorded runs."""

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Folders that hold recorded runs, at any depth."""
    out: Path = Path("output/runs")
    """Folder to write to."""

    def run(self) -> None:
        """Draw; ValueError if a folder or a record is not what it should be."""
        if not self.folders:
            raise ValueError("nothing to draw: name folders that hold recorded runs")
        refuse_empty(self.folders)
        cells, left_out = read_cells(self.folders)
        make_writable(self.out)
        missing = []
        for name, kind in KINDS.items():
            paths = kind.draw(cells, self.out)
            if paths:
                print("wrote " + ", ".join(map(str, paths)), flush=True)
            else:
                missing.append(f"{name} (needs {kind.needs})")
        if any(correction.pull for variants in cells.values() for correction in variants):
            left_out.append("runs by --sdc-pull in figures over lambda, which each of them measured for itself")
        if left_out:
            print("left out: " + "; ".join(left_out))
        missing += _gaps(cells) if len(missing) < len(KINDS) else []
        print("not drawn: " + ("; ".join(missing) if missing else "nothing, all figures are there"))


def _gaps(cells: Cells) -> Sequence[str]:
    """What the norms cannot compare: a kind of matching, or the method with and without the correction."""
    there = {family_of(variants) for variants in distilled(cells).values()}
    gaps = [
        f"norms of {family} matching (needs one of {', '.join(names)})"
        for family, names in MATCHING.items()
        if family not in there
    ]
    if distilled(cells) and not any(corrected(v) for v in distilled(cells).values()):
        gaps.append("norms with the correction (needs runs with --sdc)")
    return gaps
