"""`python -m theory synthesis curve | solve | predict | cells | slopes | kick`: the theory of learnt sets."""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from shared.terminal.command import refuse_file, refuse_folder
from theory.output import as_csv, print_json, print_table, write
from theory.vocabulary import KEEP_NAMES, MOST_POINTS, brief, nearest

# What computes is imported by the command that needs it: `--help` needs none of it.
ARRAYS = ("points", "labels", "teacher", "probes")


@dataclass(frozen=True)
class Curve:
    """Test error against alpha of samples whose noise along h is shrunk to a residual s: a table."""

    residual: tuple[float, ...] = (1.0, 0.5, 0.3, 0.0)
    """Values of s: 1 independent noise, 0 all of it cancelled along h, above 1 shared."""
    keep: tuple[str, ...] = ("easy", "hard")
    """hard, easy, random."""
    fraction: float = 0.5
    """Kept fraction of the pool, in (0, 1]."""
    theta_deg: float = 0.0
    """Angle between probe and teacher in degrees, 0 to 90."""
    margin: str = "unsigned"
    """unsigned or signed."""
    beta: float = 2.0
    """Confidence of the probe in h = 1 / (1 + exp(beta m))."""
    alpha_min: float = 0.1
    """Smallest alpha, points per dimension."""
    alpha_max: float = 10.0
    """Largest alpha."""
    points: int = 13
    """Number of alphas, logarithmically spaced."""
    json: bool = False
    """Print JSON instead of a table."""
    csv: Path | None = None
    """Also write the numbers to this file."""

    def run(self) -> None:
        """Solve and print."""
        from theory.solver import solve
        from theory.synthesis.noise import Matched

        if not 0.0 < self.alpha_min < self.alpha_max < math.inf:
            raise ValueError(f"--alpha-min {self.alpha_min:g} and --alpha-max {self.alpha_max:g} must be 0 < min < max")
        if not 2 <= self.points <= MOST_POINTS:
            raise ValueError(f"--points is {brief(self.points)}, must be at least 2 and at most {MOST_POINTS}")
        if not 0.0 <= self.theta_deg <= 90.0:
            raise ValueError(f"--theta-deg is {self.theta_deg:g}, must lie in [0, 90] degrees")
        _refuse_none(self, "residual", "keep")
        if self.csv is not None:
            refuse_file(self.csv, "--csv")
        for keep in self.keep:
            if keep not in KEEP_NAMES:
                raise ValueError(
                    f"--keep is {keep!r}, must be one of {', '.join(KEEP_NAMES)}{nearest(keep, KEEP_NAMES)}"
                )
        noises = [Matched(s, self.beta) for s in self.residual]
        alphas = np.geomspace(self.alpha_min, self.alpha_max, self.points)
        rows: list[dict[str, Any]] = [{"alpha": float(a)} for a in alphas]
        for keep in self.keep:
            fraction = 1.0 if keep == "random" else self.fraction
            for s, noise in zip(self.residual, noises, strict=True):
                found = solve(alphas, fraction, keep, math.radians(self.theta_deg), self.margin, noise=noise)
                for row, error in zip(rows, found.test_error, strict=True):
                    row[f"{keep}, s = {s:g}"] = float(error)
        _show(rows, self.json)
        if self.csv is not None:
            write(self.csv, as_csv(rows))


@dataclass(frozen=True)
class Solve:
    """The theories at measured sets: .npz files of points [M, D], labels [M], teacher [D], probes w = beta J [K, D]."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> None:
        """Read all, then solve and print."""
        from theory.distillation.learnt import explain

        if not self.files:
            raise ValueError("name at least one .npz file with points, labels, teacher and probes")
        sets = [_read(path) for path in self.files]
        rows = []
        for path, one in zip(self.files, sets, strict=True):
            found = explain(**one)
            known = found.moments
            rows.append(
                {
                    "set": path.stem,
                    "alpha": known.alpha,
                    "test_error": found.test_error,
                    "(A) U, l": found.lengths,
                    "(B) + s1": found.mean,
                    "(C) {1, U}": found.two,
                    "(D) {1, U, h}": found.three,
                    "mean U": float(known.signal[:, 0].mean()),
                    "sd U": float(known.signal[:, 0].std()),
                    "l": float(known.lengths.mean()),
                    "s1": known.s1,
                }
            )
        _show(rows, self.json)


def _read(path: Path) -> dict[str, Any]:
    """The four arrays of a file; ValueError in one sentence if they are not there."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} cannot be read as .npz: it is no archive of arrays")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in ARRAYS if name in file}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as .npz: {error}") from None
    missing = [name for name in ARRAYS if name not in found]
    if missing:
        raise ValueError(f"{path} has no array {missing[0]!r}: it must hold {', '.join(ARRAYS)}")
    return found


@dataclass(frozen=True)
class Predict:
    """What distillation will give, from its settings alone: no set is learnt, nothing is measured."""

    alpha: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Synthetic points per dimension."""
    coefficient: tuple[float, ...] = (-0.03, 0.0, 0.03)
    """Coefficients lambda of the correction; paired."""
    steps: int = 300
    """Updates of the points."""
    rate: float = 0.5
    """Learning rate, in units of the number of points."""
    distance: str = "cosine"
    """cosine or squared."""
    probe_alpha: float = 1.0
    """Samples per dimension that the probes were trained on; 0: random directions."""
    probes: int = 20
    """Probes in the ensemble, one drawn a step."""
    beta: float = 2.0
    """Confidence of the probes."""
    real: float = 10.0
    """Real samples per dimension."""
    population: int = 600
    """Effective points: the accuracy. More than steps + probes + 1."""
    populations: int = 2
    """Independent populations to average over."""
    seed: int = 0
    """Of the populations; the same for all coefficients, so they are paired."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> None:
        """Check all settings, predict, print."""
        from theory.distillation import dynamics
        from theory.distillation.learning import Distillation

        _refuse_none(self, "alpha", "coefficient")
        names = ("steps", "rate", "distance", "probe_alpha", "probes", "beta", "real")
        shared = {name: getattr(self, name) for name in names}
        wanted = [Distillation(a, c, **shared) for a in self.alpha for c in self.coefficient]
        rows = []
        from shared.terminal.progress import reporting

        with reporting(None, f"predicting {len(wanted)} sets") as report:
            for k, one in enumerate(wanted):
                found = dynamics.predict(one, self.population, self.populations, self.seed)
                report(k + 1, len(wanted))
                rows.append(
                    {
                        "alpha": one.alpha,
                        "lambda": one.coefficient,
                        "status": found.status,
                        "test_error": found.test_error,
                        "standard_error": found.test_error_se,
                        "mean U": found.teacher_margin,
                        "sd U": found.teacher_margin_sd,
                        "s1": found.s1,
                        "loss a class": found.loss,
                    }
                )
        _show(rows, self.json)


@dataclass(frozen=True)
class Cells:
    """Distil the 54 cells (resumed) and print by how much each theory misses them; writes cells.csv."""

    out: Path = Path("output/synthesis")
    """Folder of the record, which is resumed."""

    def run(self) -> None:
        """Distil what is missing and print the misses."""
        from theory.distillation import cells

        refuse_folder(self.out)
        from shared.terminal.progress import reporting

        with reporting(True, "distilling 54 cells") as report:
            found = cells.misses(cells.run(self.out, report))
        _show(
            [{"theory": name, "bias": m.bias, "median": m.median, "worst": m.worst} for name, m in found.items()], False
        )
        print(f"{self.out / 'cells.csv'}: means over {cells.SEEDS} distillations a cell")


@dataclass(frozen=True)
class Slopes:
    """Distil pairs at lambda +- 0.03 (resumed), predict them, print d error / d lambda and where it changes sign."""

    out: Path = Path("output/synthesis")
    """Folder of the record, which is resumed (the one of cells will do); gets slopes.csv and sign_changes.csv."""
    seeds: int = 12
    """Paired distillations an alpha."""
    populations: int = 3
    """Paired populations of the theory of descent, an alpha."""

    def run(self) -> None:
        """Distil and predict what is missing, print both tables."""
        from shared.terminal.progress import reporting
        from theory.distillation import slopes

        for name, least in (("seeds", 2), ("populations", 2)):
            if not least <= getattr(self, name) <= MOST_POINTS:
                raise ValueError(
                    f"--{name} is {brief(getattr(self, name))}, must be at least {least}, for a standard error, and at "
                    f"most {MOST_POINTS}"
                )
        refuse_folder(self.out)
        rows, turns = slopes.run(self.out, self.seeds, self.populations, lambda label: reporting(True, label))
        shown = [name for name in rows[0] if not name.endswith("_se") and name not in ("sets", "populations")]
        _show([{name: _rounded(row[name]) for name in shown} for row in rows], False)
        _show([{name: _rounded(value) for name, value in row.items()} for row in turns], False)
        print(f"{self.out / 'slopes.csv'}: with standard errors; {self.out / 'sign_changes.csv'}: where slopes turn")


@dataclass(frozen=True)
class Kick:
    """The correction alone, once, on sets learnt without it: what it does to margins and to the test error."""

    alpha: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
    """Synthetic points per dimension."""
    size: float = 1.0
    """lambda times twice the rate times steps: how much of the pull."""
    seeds: int = 5
    """Distillations an alpha."""
    json: bool = False
    """Print JSON instead of a table."""
    csv: Path | None = None
    """Also write the numbers, with standard errors, to this file."""

    def run(self) -> None:
        """Distil, pull, print."""
        from shared.terminal.progress import reporting
        from theory.distillation import mechanism

        _refuse_none(self, "alpha")
        if not math.isfinite(self.size):
            raise ValueError(f"--size is {self.size:g}, must be finite")
        if not 2 <= self.seeds <= MOST_POINTS:
            raise ValueError(f"--seeds is {brief(self.seeds)}, must be at least 2 and at most {MOST_POINTS}")
        if self.csv is not None:
            refuse_file(self.csv, "--csv")
        with reporting(None, f"{len(self.alpha) * self.seeds} sets") as report:
            rows = mechanism.table(self.alpha, self.seeds, self.size, report)
        if self.csv is not None:
            write(self.csv, mechanism.as_csv(rows))
        shown = [{name: _rounded(value) for name, value in row.items() if name[-3:] != "_se"} for row in rows]
        _show(rows if self.json else shown, self.json)


def _rounded(value: Any) -> Any:
    """Four digits after the point, for a table."""
    return round(value, 4) if isinstance(value, float) else value


Action = (
    Annotated[Curve, tyro.conf.subcommand("curve")]
    | Annotated[Solve, tyro.conf.subcommand("solve")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Cells, tyro.conf.subcommand("cells")]
    | Annotated[Slopes, tyro.conf.subcommand("slopes")]
    | Annotated[Kick, tyro.conf.subcommand("kick")]
)


@dataclass(frozen=True)
class Synthesis:
    """Learnt sets: points whose noise is correlated."""

    action: tyro.conf.OmitArgPrefixes[tyro.conf.OmitSubcommandPrefixes[Action]]

    def run(self) -> None:
        """Do it."""
        self.action.run()


def _refuse_none(chosen: Any, *names: str) -> None:
    """ValueError if one of these flags was given without a value."""
    for name in names:
        if not getattr(chosen, name):
            raise ValueError(f"--{name} needs at least one value")


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """A table, or JSON with null for what does not exist."""
    if as_json:
        print_json(rows)
    else:
        print_table(rows)
