"""Distillation inside the perceptron: synthetic points are learnt, where everything else is known exactly.

The theory replaces "synthesised" by "selected": training on distilled points is described as training on samples whose
margin along the probe has another density. Here a teacher labels a real set, M = alpha D free points are learnt by
gradient matching (`theory.distillation.matching`) with and without the correction, a max-margin perceptron is trained
on them, and its error is laid beside two theories of selection,

    (a) samples selected at the margins of the points, rescaled to |s| = sqrt(D), along the probe or along the teacher,
    (b) samples selected by the tilt of the same mean difficulty h: maximum entropy, nothing else fitted,

and theories of synthesis (A) to (D) at the points as they are (`theory.distillation.learnt`). (a) fails because margins
along a held-out probe do not fix those along the teacher once points are learnt (see `theory.distillation.departure`).
`theory.distillation.learning` learns the points.

`python -m theory.distilled --out FOLDER` runs a grid of alpha and lambda, resumes what is there, prints a table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray

from shared.measures.perceptron import gradient_factor
from shared.terminal.arguments import flags_named, read_arguments
from shared.terminal.atomic import write_atomically
from shared.terminal.command import command, refuse_folder, sentence
from shared.terminal.printing import Plain, Sheet
from shared.terminal.progress import Report, reporting
from theory.distillation.departure import departure, signed_margins, tilt_of_mean
from theory.distillation.learning import Distillation, Distilled, distil
from theory.distillation.learnt import theories
from theory.errors import ImpossibleMargin, NotConverged
from theory.perceptron.blas import single_blas_thread
from theory.perceptron.max_margin import NotCertified, NotSeparable, max_margin
from theory.saddle_point.kept import Rule, Samples, Tilt
from theory.saddle_point.order_parameters import solve
from theory.simulation.simulate import overlaps
from theory.synthesis.moments import moments
from theory.vocabulary import brief

Array = NDArray[np.float64]
SELECTION = ("theory_probe", "theory_teacher", "theory_tilted")
SYNTHESIS = ("theory_a", "theory_b", "theory_c", "theory_d")
THEORIES = (*SELECTION, *SYNTHESIS)
GRAM = ("gram_11", "gram_1u", "gram_1h", "gram_uu", "gram_uh", "gram_hh")
# What an earlier version did not measure: its rows are kept, and measured again when they are asked for.
LATER = (*SYNTHESIS, *GRAM, "s1", "teacher_margin", "teacher_margin_sd", "noise_length")
MOST_CELLS = 100_000


@dataclass(frozen=True)
class Measured:
    """What one distillation gave, beside the theory; NaN where something does not exist.

    Attributes:
        test_error: of the max-margin perceptron on the points; NaN if they are not separable.
        start_error: of the one on the real samples from which the points started.
        theta: angle of the held-out probe, radians.
        mislabelled: share of points on the wrong side of the teacher.
        theory_probe, theory_teacher: theory of selection at the realised margins along the held-out probe (at its
            angle) and along the teacher (a perfect probe; mislabelled points left out). NaN where the model has no such
            margins.
        tau: tilt with the realised mean h along the held-out probe. theory_tilted: theory of selection at that tilt.
        theory_a, theory_b, theory_c, theory_d: theory of synthesis (A) to (D), see `theory.distillation.learnt`. No
            theory has a number where there is no student to lay beside it.
        mean_h, start_h: mean difficulty along the held-out probe, and that of the start.
        mean_margin: mean margin along the held-out probe.
        length: mean |s| / sqrt(D).
        moved: mean |s - start| / sqrt(D).
        pull: relative pull of the correction, mean over steps.
        loss: mean of the last tenth of steps.
        common, common_z, overlap, overlap_z, dimensions, s1: see `theory.distillation.departure.Departure`.
        teacher_margin, teacher_margin_sd, noise_length: mean and spread of U = y x.T, mean length outside the teacher.
        gram_11, gram_1u, gram_1h, gram_uu, gram_uh, gram_hh: entries of the Gram matrix of {1, U, mean h}.
    """

    test_error: float
    start_error: float
    theta: float
    mislabelled: float
    theory_probe: float
    theory_teacher: float
    tau: float
    theory_tilted: float
    theory_a: float
    theory_b: float
    theory_c: float
    theory_d: float
    mean_h: float
    start_h: float
    mean_margin: float
    length: float
    moved: float
    pull: float
    loss: float
    common: float
    common_z: float
    overlap: float
    overlap_z: float
    dimensions: float
    s1: float
    teacher_margin: float
    teacher_margin_sd: float
    noise_length: float
    gram_11: float
    gram_1u: float
    gram_1h: float
    gram_uu: float
    gram_uh: float
    gram_hh: float


def _student_error(points: Array, labels: Array, teacher: Array) -> float:
    try:
        return overlaps(max_margin(points, labels).w, teacher, teacher)[0]
    except (NotSeparable, NotCertified):
        return math.nan


def _theory(alpha: float, rule: Rule, theta: float) -> float:
    """The theory's test error for label-signed margins; NaN if the model has none like these, or no solution."""
    try:
        return float(solve(alpha, 1.0, rule, theta, "signed").test_error)
    except (ImpossibleMargin, NotConverged):
        return math.nan


def measure(settings: Distillation, made: Distilled) -> Measured:
    """Train on the points and lay the result beside the theory."""
    T, J, y, D = made.teacher, made.probe, made.labels, settings.dimension
    theta = math.atan2(float(np.linalg.norm(J - (J @ T) * T)), float(J @ T))
    theta = min(theta, math.pi - theta)  # an untrained probe may point away from the teacher by chance
    sign = 1.0 if J @ T >= 0.0 else -1.0
    along = signed_margins(made.points, y, sign * J)
    along_teacher = signed_margins(made.points, y, T)
    right = along_teacher >= 0.0
    h, start_h = (
        float(gradient_factor(signed_margins(p, y, sign * J), settings.beta).mean()) for p in (made.points, made.start)
    )
    tau = tilt_of_mean(h, theta, settings.beta)
    error = _student_error(made.points, y, T)
    found = dict.fromkeys(THEORIES, math.nan)
    if math.isfinite(error):
        found["theory_probe"] = _theory(settings.alpha, Samples(along), theta)
        if right.any():
            found["theory_teacher"] = _theory(settings.alpha, Samples(along_teacher[right]), 0.0)
        if math.isfinite(tau):
            found["theory_tilted"] = _theory(settings.alpha, Tilt(tau, settings.beta, True), theta)
        found |= zip(SYNTHESIS, theories(moments(made.points, y, T, made.ensemble)), strict=True)
    apart = departure(made.points, y, T, J, made.ensemble)
    last = made.losses[-max(1, settings.steps // 10) :]
    return Measured(
        test_error=error,
        start_error=_student_error(made.start, y, T),
        theta=theta,
        mislabelled=float(1.0 - right.mean()),
        **found,
        tau=tau,
        mean_h=h,
        start_h=start_h,
        mean_margin=float(along.mean()),
        length=float(np.linalg.norm(made.points, axis=1).mean() / math.sqrt(D)),
        moved=float(np.linalg.norm(made.points - made.start, axis=1).mean() / math.sqrt(D)),
        pull=made.pull,
        loss=float(last.mean()) if last.size else math.nan,
        **{name: getattr(apart, name) for name in ("common", "common_z", "overlap", "overlap_z", "dimensions", "s1")},
        teacher_margin=float(apart.teacher_margins.mean()),
        teacher_margin_sd=float(apart.teacher_margins.std()),
        noise_length=float(apart.lengths.mean()),
        **dict(zip(GRAM, apart.gram[np.triu_indices(3)].tolist(), strict=True)),
    )


RECORD = "distilled.jsonl"
ERRORS = ("test_error", "start_error", *THEORIES)


def study(
    settings: Sequence[Distillation], folder: Path | None = None, report: Report = lambda done, total: None
) -> list[dict[str, Any]]:
    """Distil and measure every setting: one row each, settings and results together, in the order given.

    With a folder, finished rows are kept in `distilled.jsonl` and not computed again; the file is replaced whole
    after each, so an interruption costs one setting at most.
    """
    kept = {} if folder is None else {_key(row): row for row in _stored(folder / RECORD)}
    total = float(sum(s.count * s.steps for s in settings)) or 1.0
    done = 0.0
    rows = []
    with single_blas_thread():
        for one in settings:
            key = _key(asdict(one))
            if key not in kept or not kept[key].keys() >= set(LATER):
                numbers = asdict(measure(one, distil(one)))
                clean = {k: (v if math.isfinite(v) else None) for k, v in numbers.items()}
                kept[key] = asdict(one) | clean
                if folder is not None:
                    write_atomically(folder / RECORD, "".join(json.dumps(row) + "\n" for row in kept.values()))
            rows.append({k: math.nan if v is None else v for k, v in kept[key].items()})
            done += one.count * one.steps
            report(done, total)
    return rows


def _key(row: dict[str, Any]) -> str:
    return json.dumps({f.name: row[f.name] for f in fields(Distillation)}, sort_keys=True)


def _stored(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({sentence(error)}): name another --out") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            _key(row)
            _check_results(row)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}, is no record of this program: name another --out") from error
        if row["test_error"] is None:  # an earlier version kept theories of sets that have no student
            row |= dict.fromkeys(name for name in THEORIES if name in row)
        yield row


def _check_results(row: dict[str, Any]) -> None:
    """ValueError or KeyError unless every result is there, a finite number or null, and errors lie in [0, 1].

    What an earlier version did not measure may be missing.
    """
    for field in fields(Measured):
        if field.name in LATER and field.name not in row:
            continue
        value = row[field.name]
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not (number and (field.name not in ERRORS or 0.0 <= value <= 1.0)):
            raise ValueError(f"{field.name} is {value!r}")


@dataclass(frozen=True)
class Study:
    """Distil inside the perceptron, over alpha and lambda, and lay the errors beside the theory."""

    alpha: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """Synthetic points per dimension."""
    coefficient: tuple[float, ...] = (-0.03, 0.0, 0.03, 0.1, 0.3)
    """Coefficients lambda of the correction."""
    seeds: int = 3
    """Distillations a cell."""
    dimension: int = 200
    """D."""
    steps: int = 300
    """Updates of the points."""
    rate: float = 0.5
    """Learning rate, in units of the number of points."""
    distance: str = "cosine"
    """cosine or squared."""
    probe_alpha: float = 1.0
    """Samples per dimension that the probes were trained on; 0: random directions."""
    beta: float = 2.0
    """Confidence of the probes."""
    real: float = 10.0
    """Real samples per dimension."""
    out: Path = Path("output/distilled")
    """Folder of the record, which is resumed."""

    def settings(self) -> list[Distillation]:
        """All cells; ValueError if a value is out of range."""
        if self.seeds < 1:
            raise ValueError(f"--seeds is {brief(self.seeds)}, must be at least 1")
        for name in ("alpha", "coefficient"):
            if not getattr(self, name):
                raise ValueError(f"--{name} needs at least one number")
        cells = len(self.alpha) * len(self.coefficient) * self.seeds
        if cells > MOST_CELLS:
            raise ValueError(
                f"{brief(cells)} distillations are asked for (alpha x coefficient x seeds), at most {MOST_CELLS}"
            )
        names = ("dimension", "steps", "rate", "distance", "probe_alpha", "beta", "real")
        shared = {name: getattr(self, name) for name in names}
        return [
            Distillation(a, c, seed, **shared)
            for a in self.alpha
            for c in self.coefficient
            for seed in range(self.seeds)
        ]

    def run(self) -> None:
        """Distil what is missing and print means over seeds."""
        settings = self.settings()
        refuse_folder(self.out)
        with reporting(True, f"distilling {len(settings)} sets") as report:
            rows = study(settings, self.out, report)
        columns = {
            "test_error": "error", "start_error": "start", "theory_a": "(A) U, l", "theory_b": "(B) + s1",
            "theory_c": "(C) {1, U}", "theory_d": "(D) {1, U, h}", "theory_probe": "selected by probe",
            "theory_teacher": "by teacher", "theory_tilted": "by tilt", "teacher_margin": "mean U",
            "teacher_margin_sd": "sd U", "noise_length": "l", "s1": "s1", "mean_h": "mean h", "tau": "tau",
            "pull": "pull", "overlap": "overlap",
        }  # fmt: skip
        table = Sheet(("alpha", "lambda", *columns.values()), names=2, lines=False)
        for a in self.alpha:
            for c in self.coefficient:
                cells = [r for r in rows if r["alpha"] == a and r["coefficient"] == c]
                table.add_row(f"{a:g}", f"{c:g}", *(f"{_mean([r[k] for r in cells]):.3g}" for k in columns))
        Plain().print(table)
        print(f"{self.out / RECORD}: {len(rows)} distillations")
        lost = sum(math.isnan(row["test_error"]) for row in rows)
        if lost:
            print(f"{lost} of the learnt sets cannot be separated: they have no test error and no theory, in no mean")


def _mean(values: Sequence[float]) -> float:
    kept = [v for v in values if math.isfinite(v)]
    return sum(kept) / len(kept) if kept else math.nan


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status: 0, or 2 for a wrong value; all are in `shared.terminal.command`."""

    def body() -> None:
        chosen = read_arguments(
            lambda: tyro.cli(Study, prog="python -m theory.distilled", description=__doc__, args=arguments)
        )
        with flags_named(chosen):
            chosen.run()

    return command(body, "the same command goes on from the distillations that are done")
