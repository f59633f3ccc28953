"""`python -m theory solve | curve | simulate | crossover | synthesis`. Angles in degrees here, in radians in Python."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NoReturn, Union

import numpy as np
import tyro

from shared.terminal.arguments import flags_named, read_arguments
from shared.terminal.command import command, leave, refuse_file
from shared.terminal.start import loaded
from theory.distillation.command import Synthesis
from theory.output import as_csv, print_json, print_table, write
from theory.vocabulary import KEEP_NAMES, MOST_POINTS, brief, nearest

if TYPE_CHECKING:  # what computes is imported by the command that needs it: `--help` needs none of it
    from theory.saddle_point.kept import Rule
    from theory.saddle_point.order_parameters import Solution

# What the command line calls a strategy: the named ones, and two rules that take numbers of their own.
STRATEGIES = (*KEEP_NAMES, "window", "tilt")
# Which strategies read a flag; one that none of a command's strategies reads is refused.
READ_BY = {
    "fraction": ("hard", "easy"),
    "margin": ("hard", "easy", "window", "tilt"),
    "window": ("window",),
    "tilt": ("tilt",),
    "beta": ("tilt",),
}


# The parser judges a default by `typeguard`, a tenth of a second's import, unless the union is typing's, None first.
OptionalNumber = Union[None, float]  # noqa: UP007
OptionalName = Union[None, str]  # noqa: UP007
OptionalPair = Union[None, tuple[float, float]]  # noqa: UP007


@dataclass(frozen=True)
class Selection:
    """Which samples are kept."""

    fraction: Annotated[OptionalNumber, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="(default: 1)")] = None
    """Kept fraction of the pool, in (0, 1]; for hard and easy."""
    theta_deg: float = 0.0
    """Angle between probe and teacher in degrees, 0 to 90; random samples feel it in rho alone."""
    margin: Annotated[OptionalName, tyro.conf.arg(metavar="STR", help_behavior_hint="(default: unsigned)")] = None
    """unsigned: ranked by |z| (published convention); signed: by y z, the probe's mistakes first."""
    window: OptionalPair = None
    """With --keep window: keep margins between these two values."""
    tilt: OptionalNumber = None
    """With --keep tilt: weight exp(-TILT / (1 + exp(beta m))); positive prefers easy samples."""
    beta: Annotated[OptionalNumber, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="(default: 1)")] = None
    """Confidence beta of the tilt."""

    def rules(self, *keep: str) -> tuple[Kept, ...]:
        """What each strategy named on the command line means.

        Raises:
            ValueError: no strategy or an unknown one, a flag out of range or missing, or one that none of them reads.
        """
        if not keep:
            raise ValueError(f"--keep names no strategy, needs at least one of {', '.join(STRATEGIES)}")
        for name in keep:
            if name not in STRATEGIES:
                known = ", ".join(STRATEGIES)
                raise ValueError(f"--keep is {name!r}, must be one of {known}{nearest(name, STRATEGIES)}")
        for flag, readers in READ_BY.items():
            if getattr(self, flag) is not None and not set(keep) & set(readers):
                others = " and ".join(dict.fromkeys(keep))
                raise ValueError(f"--{flag} is read by {', '.join(readers)}, not by {others}")
        if self.fraction is not None and not 0.0 < self.fraction <= 1.0:
            raise ValueError(f"--fraction is {self.fraction:g}, must lie in (0, 1]")
        if not 0.0 <= self.theta_deg <= 90.0:
            raise ValueError(f"--theta-deg is {self.theta_deg:g}, must lie in [0, 90] degrees")
        return tuple(self._kept(name) for name in keep)

    def _kept(self, keep: str) -> Kept:
        from theory.saddle_point.kept import Tilt, Window

        rule: str | Rule = keep
        fraction = 1.0
        if keep in READ_BY["fraction"] and self.fraction is not None:
            fraction = self.fraction
        if keep == "window":
            if self.window is None:
                raise ValueError("--keep window needs --window LOWER UPPER")
            rule = Window(*self.window)
        if keep == "tilt":
            if self.tilt is None:
                raise ValueError("--keep tilt needs --tilt COEFFICIENT")
            rule = Tilt(self.tilt, 1.0 if self.beta is None else self.beta)
        return Kept(keep, rule, fraction, math.radians(self.theta_deg) + 0.0, self.convention)

    @property
    def convention(self) -> str:
        """The margin's convention."""
        return "unsigned" if self.margin is None else self.margin


class Kept(NamedTuple):
    """A strategy: its name on the command line, and what `theory.solve` takes."""

    name: str
    rule: str | Rule
    fraction: float
    theta: float
    margin: str

    def solve(self, alpha: Any) -> Solution:
        """The theory at kept samples per dimension."""
        from theory.saddle_point.order_parameters import solve

        return solve(alpha, self.fraction, self.rule, self.theta, self.margin)


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
        (kept,) = self.selection.rules(self.keep)
        row = _row(kept.solve(self.alpha), self.keep, self.selection)
        if self.json:
            print_json(row)
        else:
            print_table([row])


@dataclass(frozen=True)
class Curve:
    """Test error against alpha for one or more strategies: a table and a plot."""

    selection: tyro.conf.OmitArgPrefixes[Selection]
    keep: tuple[str, ...] = ("hard", "easy", "random")
    """Strategies to compare."""
    alpha_min: float = 0.1
    """Smallest alpha, kept samples per dimension."""
    alpha_max: float = 100.0
    """Largest alpha."""
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
        if not 2 <= self.points <= MOST_POINTS:
            raise ValueError(f"--points is {brief(self.points)}, must be at least 2 and at most {MOST_POINTS}")
        if self.plot.suffix not in (".png", ".pdf", ".svg"):
            raise ValueError(f"--plot is {str(self.plot)!r}, must end in .png, .pdf or .svg")
        if not self.keep:
            raise ValueError(f"--keep needs at least one of {', '.join(STRATEGIES)}")
        for flag, path in (("--plot", self.plot), ("--csv", self.csv)):
            if path is not None:
                refuse_file(path, flag)
        strategies = self.selection.rules(*self.keep)
        alphas = np.geomspace(self.alpha_min, self.alpha_max, self.points)
        solutions = {kept.name: kept.solve(alphas) for kept in strategies}
        rows = [row for keep, s in solutions.items() for row in _rows(s, keep, self.selection)]
        if self.csv is not None:
            write(self.csv, as_csv(rows))
        self._draw(solutions)
        if self.json:
            print_json(rows)
        else:
            print_table(rows)

    def _draw(self, solutions: dict[str, Solution]) -> None:
        # drawn without a display, and only this command pays for the import
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.0, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for (keep, solution), style in zip(solutions.items(), ("-", "--", ":", "-.", (0, (5, 1, 1, 1))), strict=False):
            axes.loglog(solution.alpha, solution.test_error, linestyle=style, label=keep)
        axes.set_xlabel(r"kept samples per dimension $\alpha$")
        axes.set_ylabel(r"test error $\epsilon$")
        s = self.selection
        fraction = 1.0 if s.fraction is None else s.fraction
        axes.set_title(f"f = {fraction:g}, θ = {s.theta_deg:g}°, {s.convention} margin", fontsize="medium")
        axes.legend()
        buffer = io.BytesIO()
        figure.savefig(buffer, format=self.plot.suffix[1:], dpi=200)
        write(self.plot, buffer.getvalue())


@dataclass(frozen=True)
class Simulate:
    """Finite-size trials at one alpha, beside the theory."""

    alpha: float
    """Kept samples per dimension."""
    selection: tyro.conf.OmitArgPrefixes[Selection]
    keep: str = "hard"
    """hard, easy, random, window or tilt."""
    dimension: int = 200
    """D."""
    trials: int = 100
    """Independent sets, each with a student of its own."""
    seed: int = 0
    """Of all draws."""
    workers: int | None = None
    """Threads; one a processor by default. The numbers do not depend on it."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> None:
        """Simulate and print, with the theory at the alpha that a whole number of samples realises."""
        from theory.simulation.simulate import simulate

        (kept,) = self.selection.rules(self.keep)
        found = simulate(
            self.alpha,
            kept.fraction,
            kept.rule,
            kept.theta,
            self.dimension,
            self.trials,
            self.seed,
            margin=kept.margin,
            workers=self.workers,
            progress=None,
        )
        exact = kept._replace(fraction=found.fraction if isinstance(kept.rule, str) else 1.0).solve(found.alpha)
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
                "theta_deg": self.selection.theta_deg + 0.0,
                "margin": kept.margin,
                "dimension": self.dimension,
                "trials": self.trials,
                "seed": self.seed,
            }
            print_json(settings | {row.pop("quantity"): row for row in rows})
        else:
            print(f"{found.samples} samples in D = {self.dimension} (alpha {found.alpha:g}), {self.trials} trials")
            print_table(rows)


@dataclass(frozen=True)
class Crossover:
    """The alphas at which two strategies have the same test error, compared at equal kept alpha."""

    selection: tyro.conf.OmitArgPrefixes[Selection]
    first: str = "hard"
    """hard, easy, random, window or tilt."""
    second: str = "easy"
    """The strategy it is compared with."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> None:
        """Find and print; an empty table means that there is none between 1e-3 and 1e3."""
        from theory import scaling

        first, second = self.selection.rules(self.first, self.second)
        # Not both of two strategies need have the fraction.
        fraction = min(first.fraction, second.fraction)
        found = scaling.crossovers(fraction, first.theta, first.rule, second.rule, first.margin)
        rows = [
            {
                "alpha": float(alpha),
                "test_error": float(first.solve(alpha).test_error),
                "below": _better(0.9 * alpha, first, second),
                "above": _better(1.1 * alpha, first, second),
            }
            for alpha in found
        ]
        if self.json:
            print_json(rows)
        elif rows:
            print_table(rows)
        else:
            better = _better(1.0, first, second)
            print(f"no crossover between alpha 1e-3 and 1e3; {better} is better at alpha 1")


def _better(alpha: float, first: Kept, second: Kept) -> str:
    return first.name if first.solve(alpha).test_error < second.solve(alpha).test_error else second.name


def _row(s: Solution, keep: str, selection: Selection) -> dict[str, Any]:
    return {
        "alpha": s.alpha,
        "fraction": s.fraction,
        "keep": keep,
        "theta_deg": selection.theta_deg + 0.0,
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


COMMANDS = {"solve": Solve, "curve": Curve, "simulate": Simulate, "crossover": Crossover, "synthesis": Synthesis}
Command = (
    Annotated[Solve, tyro.conf.subcommand("solve")]
    | Annotated[Curve, tyro.conf.subcommand("curve")]
    | Annotated[Simulate, tyro.conf.subcommand("simulate")]
    | Annotated[Crossover, tyro.conf.subcommand("crossover")]
    | Annotated[Synthesis, tyro.conf.subcommand("synthesis")]
)


def _parse(given: Sequence[str]) -> Any:
    """The command that is meant. One that is named first is read alone: the others' parsers cost as much as a solve."""
    kind: Any = COMMANDS.get(given[0]) if given else None
    name, said, rest = f"python -m theory {given[0]}" if given else "", None, given[1:]
    if kind is None:
        kind, name, said, rest = Command, "python -m theory", __doc__, given
    return read_arguments(lambda: tyro.cli(kind, prog=name, description=said, args=list(rest)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 for a wrong value, 1 if equations or a margin did not converge."""

    def body() -> None:
        chosen = _parse(sys.argv[1:] if arguments is None else arguments)
        if not isinstance(chosen, Solve):  # which loads all it needs at once, and ends
            loaded()
        with flags_named(chosen):
            chosen.run()

    return command(body, loads=True)


def console() -> NoReturn:
    """The installed command `easy-or-hard-theory`: the same as `python -m theory`."""
    leave(main)


if __name__ == "__main__":
    console()
