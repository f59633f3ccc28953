"""``python -m figures NAME...``: draw figures into a folder as PDF, PNG and the numbers behind them as CSV.

``python -m figures compare RUNS...`` lays recorded runs against the theory, on one page (`figures.compare`).
``python -m figures difficulty`` measures the difficulty of real samples on an ensemble (`figures.difficulty`).
``python -m figures runs FOLDER...`` draws recorded runs: gradient norms, coefficients, images (`figures.runs`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Protocol

import tyro

from figures.distilled import distilled_figure
from figures.simulated import Effort, SimulatedCurve, Strategy, simulated_curves
from figures.style import make_writable
from figures.theory_agreement import agreement, z_scores
from figures.theory_curves import STRATEGIES, imperfect_probe, perfect_probe
from figures.theory_fractions import best_fraction
from figures.theory_maps import crossover_map, tilt_gain_map
from shared.arguments import read_arguments
from shared.command import leave
from shared.progress import Report, reporting
from theory.kept import nearest

Curves = dict[Strategy, SimulatedCurve]

# Drawn from simulations, and from the equations alone.
SIMULATED: dict[str, Callable[[Curves, Path, str], list[Path]]] = {
    "perfect-probe": perfect_probe,
    "imperfect-probe": imperfect_probe,
    "z-scores": z_scores,
}
SOLVED: dict[str, Callable[[Path, int, Report], list[Path]]] = {
    "crossover-map": crossover_map,
    "best-fraction": best_fraction,
    "tilt-gain": tilt_gain_map,
}
GROUPS = {"theory": (*SIMULATED, *SOLVED)}
# Drawn from distillations inside the perceptron; a figure of its own, not of the group.
LEARNT: dict[str, Callable[[Path, int, Report], list[Path]]] = {"distilled": distilled_figure}
NAMES = (*GROUPS, *SIMULATED, *SOLVED, *LEARNT)


@dataclass(frozen=True)
class Figures:
    """Draw figures: a group (theory) or single ones."""

    names: tyro.conf.Positional[tuple[str, ...]] = ("theory",)
    """theory, perfect-probe, imperfect-probe, z-scores, crossover-map, best-fraction, tilt-gain; distilled."""
    out: Path = Path("output/theory")
    """Folder to write to."""
    quick: bool = False
    """Fewer trials, alphas and cells: a look, not a result."""
    dimension: int = 200
    """Input dimension D of the simulations (even)."""
    trials: int | None = None
    """Trials a point; 100, or 10 with --quick."""
    seed: int = 0
    """Seed of the simulations."""
    workers: Annotated[int | None, tyro.conf.arg(help="Threads; one a processor by default.")] = None

    def effort(self) -> Effort:
        """How much is simulated; ValueError if a number is out of range."""
        trials = (10 if self.quick else 100) if self.trials is None else self.trials
        if self.dimension < 4 or self.dimension % 2:
            raise ValueError(f"--dimension is {self.dimension}, must be even and at least 4")
        if trials < 2:
            raise ValueError(f"--trials is {trials}, must be at least 2 for a standard error")
        if self.seed < 0 or (self.workers is not None and self.workers < 1):
            raise ValueError(f"--seed is {self.seed} and --workers {self.workers}: must be >= 0 and >= 1")
        return Effort(self.dimension, trials, 8 if self.quick else 20, self.seed, self.workers)

    def run(self) -> None:
        """Draw; ValueError before any work if a name or number is wrong."""
        for name in self.names:
            if name not in NAMES:
                known = (*NAMES, *COMMANDS)
                raise ValueError(f"no figure is called {name!r}; there are {', '.join(known)}{nearest(name, known)}")
        wanted = list(dict.fromkeys(n for name in self.names for n in GROUPS.get(name, (name,))))
        effort = self.effort()
        make_writable(self.out)
        start = time.monotonic()
        if any(name in SIMULATED for name in wanted):
            with reporting(True, f"simulating {len(STRATEGIES)} curves") as report:
                curves = simulated_curves(STRATEGIES, effort, self.out / "simulations", report)
            note = f"dots: D = {effort.dimension}, {effort.trials} trials, mean ± standard error; lines: theory"
            for name in (n for n in wanted if n in SIMULATED):
                _announce(SIMULATED[name](curves, self.out, note))
            found = agreement(curves)
            for kind, label in (("", f"at D = {effort.dimension}"), ("_limit", "extrapolated to D = infinity")):
                two, three, total = found.counts(kind)
                print(f"test error {label}: {two} of {total} points within 2 standard errors, {three} within 3")
            print(f"outside 3 standard errors + 1/D (corner near alpha = 2: extrapolated): {found.outside} points")
        sizes = {"crossover-map": (11, 31), "best-fraction": (12, 40), "tilt-gain": (10, 32), "distilled": (1, 5)}
        drawn_alone = SOLVED | LEARNT
        for name in (n for n in wanted if n in drawn_alone):
            with reporting(True, name) as report:
                draw = partial(drawn_alone[name], self.out, sizes[name][0 if self.quick else 1])
                paths = draw(report)
            _announce(paths)
        print(f"{len(wanted)} figures in {time.monotonic() - start:.0f} s")


class Command(Protocol):
    """What the command line makes of its arguments."""

    def run(self) -> None:
        """Do it; ValueError for a wrong value."""
        ...


COMMANDS = ("compare", "difficulty", "runs")
"""Subcommands: module `figures.NAME`, class `Name`."""


def _announce(paths: Sequence[Path]) -> None:
    print("wrote " + ", ".join(str(p) for p in paths), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0, or 2 for a wrong value (one sentence on stderr)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in COMMANDS:
        # Imported on demand: those that read networks or synthetic sets need torch, the theory's figures do not.
        module = import_module(f"figures.{given[0]}")
        kind = getattr(module, given[0].capitalize())
        name, said, rest = f"python -m figures {given[0]}", module.__doc__, given[1:]
    else:
        name, said, rest, kind = "python -m figures", __doc__, given, Figures
    command: Command = read_arguments(lambda: tyro.cli(kind, prog=name, description=said, args=rest))
    try:
        command.run()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    leave(main)
