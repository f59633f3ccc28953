"""`python -m theory solve | curve | simulate | crossover`. Angles in degrees here, in radians in Python."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from shared.terminal.arguments import flags_named, read_arguments
from shared.terminal.atomic import write_atomically
from shared.terminal.command import command, leave, refuse_file
from shared.terminal.printing import Plain, Sheet
from theory import scaling
from theory.saddle_point.kept import KEEP_NAMES, Rule, Tilt, Window, nearest
from theory.saddle_point.order_parameters import Solution, solve
from theory.simulation.simulate import simulate

# What the command line calls a strategy: the named ones, and two rules that take numbers of their own.
STRATEGIES = (*KEEP_NAMES, "window", "tilt")
# Short headings of long columns; JSON and CSV keep the long names.
HEADINGS = {
    "support_vectors_per_dimension": "support/D",
    "local_exponent": "exponent",
    "theta_deg": "theta (deg)",
}


@dataclass(frozen=True)
class Selection:
    """Which samples are kept."""

    fraction: float = 1.0
    """Kept fraction of the pool, in (0, 1]; for hard and easy."""
    theta_deg: float = 0.0
    """Angle between probe and teacher in degrees, 0 to 90."""
    margin: str = "unsigned"
    """unsigned: ranked by |z| (published convention); signed: by y z, the probe's mistakes first."""
    window: tuple[float, float] | None = None
    """With --keep window: keep margins between these two values."""
    tilt: float | None = None
    """With --keep tilt: weight exp(-TILT / (1 + exp(beta m))); positive prefers easy samples."""
    beta: float = 1.0
    """Confidence beta of the tilt."""

    def rule(self, keep: str) -> tuple[str | Rule, float]:
        """(rule, fraction) of a strategy named on the command line."""
        if keep not in STRATEGIES:
            raise ValueError(f"--keep is {keep!r}, must be one of {', '.join(STRATEGIES)}{nearest(keep, STRATEGIES)}")
        if keep == "window":
            if self.window is None:
                raise ValueError("--keep window needs --window LOWER UPPER")
            return Window(*self.window), 1.0
        if keep == "tilt":
            if self.tilt is None:
                raise ValueError("--keep tilt needs --tilt COEFFICIENT")
            return Tilt(self.tilt, self.beta), 1.0
        return keep, 1.0 if keep == "random" else self.fraction

    def theta(self) -> float:
        """The probe's angle in radians."""
        if not 0.0 <= self.theta_deg <= 90.0:
            raise ValueError(f"--theta-deg is {self.theta_deg:g}, must lie in [0, 90] degrees")
        return math.radians(self.theta_deg)

    def solve(self, alpha: Any, keep: str) -> Solution:
        """The theory for one strategy."""
        if not 0.0 < self.fraction <= 1.0:
            raise ValueError(f"--fraction is {self.fraction:g}, must lie in (0, 1]")
        rule, fraction = self.rule(keep)
        return solve(alpha, fraction, rule, self.theta(), self.margin)


@dataclass(frozen=True)
class Solve:
    """Test error and order parameters at one alpha."""

    alpha: float
    """Kept samples per dimension."""
    selection: tyro.conf.OmitArgPrefixes[Selection]
    keep: str = "hard"
    """hard, easy, random, window or tilt."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> None:
        """Solve and print."""
        row = _row(self.selection.solve(self.alpha, self.keep), self.keep, self.selection)
        if self.json:
            _print_json(row)
        else:
            _print_table([row])


@dataclass(frozen=True)
class Curve:
    """Test error against alpha for one or more strategies: a table and a plot."""

    selection: tyro.conf.OmitArgPrefixes[Selection]
    keep: tuple[str, ...] = ("hard", "easy", "random")
    """Strategies to compare."""
    alpha_min: float = 0.1
    alpha_max: float = 100.0
    points: int = 25
    """Number of alphas, logarithmically spaced."""
    json: bool = False
    """Print JSON instead of a table."""
    csv: Path | None = None
    """Also write the numbers to this file."""
    plot: Path = Path("output/theory/curve.png")
    """Where to draw the plot (.png, .pdf or .svg)."""

    def run(self) -> None:
        """Solve, print, draw."""
        if not 0.0 < self.alpha_min < self.alpha_max < math.inf:
            raise ValueError(f"--alpha-min {self.alpha_min:g} and --alpha-max {self.alpha_max:g} must be 0 < min < max")
        if self.points < 2:
            raise ValueError(f"--points is {self.points}, must be at least 2")
        if self.plot.suffix not in (".png", ".pdf", ".svg"):
            raise ValueError(f"--plot is {str(self.plot)!r}, must end in .png, .pdf or .svg")
        if not self.keep:
            raise ValueError(f"--keep needs at least one of {', '.join(STRATEGIES)}")
        for flag, path in (("--plot", self.plot), ("--csv", self.csv)):
            if path is not None:
                refuse_file(path, flag)
        alphas = np.geomspace(self.alpha_min, self.alpha_max, self.points)
        solutions = {keep: self.selection.solve(alphas, keep) for keep in self.keep}
        rows = [row for keep, s in solutions.items() for row in _rows(s, keep, self.selection)]
        if self.csv is not None:
            _write(self.csv, _as_csv(rows))
        self._draw(solutions)
        if self.json:
            _print_json(rows)
        else:
            _print_table(rows)

    def _draw(self, solutions: dict[str, Solution]) -> None:
        from matplotlib.figure import (
            Figure,
        )  # drawn without a display, and only this command pays for the import

        figure = Figure(figsize=(5.0, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for (keep, solution), style in zip(solutions.items(), ("-", "--", ":", "-.", (0, (5, 1, 1, 1))), strict=False):
            axes.loglog(solution.alpha, solution.test_error, linestyle=style, label=keep)
        axes.set_xlabel(r"kept samples per dimension $\alpha$")
        axes.set_ylabel(r"test error $\epsilon$")
        s = self.selection
        axes.set_title(f"f = {s.fraction:g}, θ = {s.theta_deg:g}°, {s.margin} margin", fontsize="medium")
        axes.legend()
        buffer = io.BytesIO()
        figure.savefig(buffer, format=self.plot.suffix[1:], dpi=200)
        _write(self.plot, buffer.getvalue())


@dataclass(frozen=True)
class Simulate:
    """Finite-size trials at one alpha, beside the theory."""

    alpha: float
    """Kept samples per dimension."""
    selection: tyro.conf.OmitArgPrefixes[Selection]
    keep: str = "hard"
    """hard, easy, random, window or tilt."""
    dimension: int = 200
    trials: int = 100
    seed: int = 0
    workers: int | None = None
    """Threads; one a processor by default. The numbers do not depend on it."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> None:
        """Simulate and print, with the theory at the alpha that a whole number of samples realises."""
        rule, fraction = self.selection.rule(self.keep)
        theta = self.selection.theta()
        found = simulate(
            self.alpha,
            fraction,
            rule,
            theta,
            self.dimension,
            self.trials,
            self.seed,
            margin=self.selection.margin,
            workers=self.workers,
            progress=None,
        )
        exact = solve(found.alpha, found.fraction if isinstance(rule, str) else 1.0, rule, theta, self.selection.margin)
        rows = []
        for name in ("test_error", "R", "rho", "kappa"):
            mean, error, limit = getattr(found, name), getattr(found, f"{name}_se"), getattr(exact, name)
            z = (mean - limit) / error if error > 0.0 else math.nan
            rows.append({"quantity": name, "simulated": mean, "standard_error": error, "theory": limit, "z": z})
        if self.json:
            settings = {
                "alpha": found.alpha,
                "fraction": found.fraction,
                "keep": self.keep,
                "theta_deg": self.selection.theta_deg,
                "margin": self.selection.margin,
                "dimension": self.dimension,
                "trials": self.trials,
                "seed": self.seed,
            }
            _print_json(settings | {row.pop("quantity"): row for row in rows})
        else:
            print(f"{found.samples} samples in D = {self.dimension} (alpha {found.alpha:g}), {self.trials} trials")
            _print_table(rows)


@dataclass(frozen=True)
class Crossover:
    """The alphas at which two strategies have the same test error, compared at equal kept alpha."""

    selection: tyro.conf.OmitArgPrefixes[Selection]
    first: str = "hard"
    second: str = "easy"
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> None:
        """Find and print; an empty table means that there is none between 1e-3 and 1e3."""
        s = self.selection
        if not 0.0 < s.fraction <= 1.0:
            raise ValueError(f"--fraction is {s.fraction:g}, must lie in (0, 1]")
        first, second = s.rule(self.first)[0], s.rule(self.second)[0]
        found = scaling.crossovers(s.fraction, s.theta(), first, second, s.margin)
        rows = [
            {
                "alpha": float(alpha),
                "test_error": float(s.solve(alpha, self.first).test_error),
                "below": _better(s, 0.9 * alpha, self.first, self.second),
                "above": _better(s, 1.1 * alpha, self.first, self.second),
            }
            for alpha in found
        ]
        if self.json:
            _print_json(rows)
        elif rows:
            _print_table(rows)
        else:
            better = _better(s, 1.0, self.first, self.second)
            print(f"no crossover between alpha 1e-3 and 1e3; {better} is better at alpha 1")


def _better(selection: Selection, alpha: float, first: str, second: str) -> str:
    errors = [float(selection.solve(alpha, keep).test_error) for keep in (first, second)]
    return first if errors[0] < errors[1] else second


def _row(s: Solution, keep: str, selection: Selection) -> dict[str, Any]:
    return {
        "alpha": s.alpha,
        "fraction": s.fraction,
        "keep": keep,
        "theta_deg": selection.theta_deg,
        "margin": s.margin,
        "test_error": s.test_error,
        "R": s.R,
        "rho": s.rho,
        "kappa": s.kappa,
        "residual": s.residual,
        "support_vectors_per_dimension": s.support,
        "local_exponent": s.local_exponent,
        "status": s.status,
    }


def _rows(s: Solution, keep: str, selection: Selection) -> list[dict[str, Any]]:
    """One dictionary a point of an array solution."""
    whole = _row(s, keep, selection)
    return [{k: v[i].item() if isinstance(v, np.ndarray) else v for k, v in whole.items()} for i in range(len(s.alpha))]


def _print_json(content: Any) -> None:
    """JSON has no NaN: a number that does not exist is null."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items()}
        if isinstance(value, list):
            return [clean(v) for v in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    print(json.dumps(clean(content), indent=1))


def _print_table(rows: list[dict[str, Any]]) -> None:
    names = [column for column in ("keep", "alpha", "quantity") if column in rows[0]]
    columns = [*names, *(column for column in rows[0] if column not in names)]
    table = Sheet([HEADINGS.get(column, column) for column in columns], names=len(names), lines=False)
    for row in rows:
        table.add_row(*(f"{row[c]:.8g}" if isinstance(row[c], float) else str(row[c]) for c in columns))
    Plain().print(table)


def _as_csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, content)
    print(f"wrote {path}", file=sys.stderr)


Command = (
    Annotated[Solve, tyro.conf.subcommand("solve")]
    | Annotated[Curve, tyro.conf.subcommand("curve")]
    | Annotated[Simulate, tyro.conf.subcommand("simulate")]
    | Annotated[Crossover, tyro.conf.subcommand("crossover")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 for a wrong value, 1 if equations or a margin did not converge."""

    def body() -> None:
        chosen: Any = read_arguments(
            lambda: tyro.cli(Command, prog="python -m theory", description=__doc__, args=arguments)
        )
        with flags_named(chosen):
            chosen.run()

    return command(body)


if __name__ == "__main__":
    leave(main)
