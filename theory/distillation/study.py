"""Distillation inside the perceptron: synthetic points are learnt, where everything else is known exactly.

The theory replaces "synthesised" by "selected": training on distilled points is described as training on samples whose
margin along the probe has another density. Here a teacher labels a real set, M = alpha D free points are learnt by
gradient matching (`theory.distillation.matching`) with and without the correction, a max-margin perceptron is trained
on them, and its error is laid beside

    (a) the theory at the margins that the points really have along the probe (`theory.saddle_point.kept.Samples`),
    (b) the theory at the tilted density with the same mean difficulty h: maximum entropy, nothing else fitted.

Where they differ, synthesis is no selection; how far the points are from isotropic and independent in the complement of
teacher and probe is measured (`theory.distillation.departure`), and how long they are.

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
from shared.terminal.command import command, refuse_folder
from shared.terminal.printing import Plain, Sheet
from shared.terminal.progress import Report, reporting
from theory.distillation.departure import departure, signed_margins, tilt_of_mean
from theory.distillation.matching import DISTANCES, Probes, class_gradient, matching_loss
from theory.perceptron.blas import single_blas_thread
from theory.perceptron.max_margin import NotCertified, NotSeparable, max_margin
from theory.saddle_point.kept import Samples, Tilt, nearest
from theory.saddle_point.order_parameters import solve
from theory.simulation.simulate import overlaps

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Distillation:
    """One distillation.

    Attributes:
        alpha: synthetic points per dimension.
        coefficient: lambda of the correction.
        seed: of teacher, real set, probes and start; the same for all lambda, so they are paired.
        dimension: D.
        real: real samples per dimension, from which the points also start.
        steps: updates of the points.
        rate: learning rate, in units of M (each point's share of the loss is 1 / M).
        distance: cosine or squared.
        probe_alpha: samples per dimension that matching's probes were trained on; 0: random directions.
        beta: their confidence.
        probes: their number.
    """

    alpha: float = 1.0
    coefficient: float = 0.0
    seed: int = 0
    dimension: int = 200
    real: float = 10.0
    steps: int = 300
    rate: float = 0.5
    distance: str = "cosine"
    probe_alpha: float = 1.0
    beta: float = 2.0
    probes: int = 20

    def __post_init__(self) -> None:
        if self.distance not in DISTANCES:
            names = tuple(DISTANCES)
            raise ValueError(f"distance is {self.distance!r}, must be one of {names}{nearest(self.distance, names)}")
        for name in ("alpha", "real", "rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise ValueError(f"{name} is {getattr(self, name):g}, must be positive")
        if self.dimension < 4 or self.steps < 0 or self.seed < 0 or not math.isfinite(self.coefficient):
            raise ValueError(
                f"dimension {self.dimension}, steps {self.steps}, seed {self.seed}, coefficient {self.coefficient:g}: "
                "must be at least 4, at least 0, at least 0, and finite"
            )
        if not 2 <= self.count <= round(self.real * self.dimension):
            raise ValueError(
                f"alpha {self.alpha:g} means {self.count} points: at least 2, and at most the real set's "
                f"{round(self.real * self.dimension)}"
            )
        Probes(self.probe_alpha, self.beta, self.probes)

    @property
    def count(self) -> int:
        """Number M of points."""
        return round(self.alpha * self.dimension)


@dataclass(frozen=True, eq=False)
class Distilled:
    """Learnt points [M, D] with labels [M], the teacher [D], a probe [D] that matching never saw, and the losses.

    Attributes:
        points, labels, teacher, probe: see above.
        start: [M, D], the real samples from which the points started.
        losses: [steps].
        pull: mean over steps of the norm of the correction's gradient over that of the distance.
    """

    points: Array
    labels: Array
    start: Array
    teacher: Array
    probe: Array
    losses: Array
    pull: float


def distil(settings: Distillation) -> Distilled:
    """Learn the points; everything but lambda is shared by settings of the same seed."""
    streams = [np.random.default_rng([settings.seed, k]) for k in range(4)]
    D, M = settings.dimension, settings.count
    teacher = streams[0].standard_normal(D)
    teacher /= np.linalg.norm(teacher)
    X = streams[0].standard_normal((round(settings.real * D), D))
    y = np.where(X @ teacher >= 0.0, 1.0, -1.0)
    by_label = {label: X[y == label] for label in (1.0, -1.0)}
    half = M // 2
    points = np.concatenate([by_label[1.0][: M - half], by_label[-1.0][:half]])
    labels = np.concatenate([np.ones(M - half), -np.ones(half)])
    if len(points) < M:
        raise ValueError(f"the real set has too few samples of a class for {M} points: raise real")
    start = points.copy()
    probes = Probes(settings.probe_alpha, settings.beta, settings.probes)
    ensemble = settings.beta * probes.draw(streams[1], teacher)
    held_out = probes.draw(streams[2], teacher, 1)[0]
    real = [{c: class_gradient(samples, c, w)[0] for c, samples in by_label.items()} for w in ensemble]
    losses = np.empty(settings.steps)
    pulls = np.empty(settings.steps)
    for step in range(settings.steps):
        k = int(streams[3].integers(len(ensemble)))
        found = matching_loss(points, labels, real[k], ensemble[k], settings.coefficient, DISTANCES[settings.distance])
        points = points - settings.rate * M * found.gradient
        losses[step] = found.loss
        pulls[step] = found.penalty_pull / max(found.distance_pull, 1e-300)
    pull = float(pulls.mean()) if settings.steps else 0.0
    return Distilled(points, labels, start, teacher, held_out, losses, pull)


@dataclass(frozen=True)
class Measured:
    """What one distillation gave, beside the theory; NaN where something does not exist.

    Attributes:
        test_error: of the max-margin perceptron on the points; NaN if they are not separable.
        start_error: of the one on the real samples from which the points started.
        theta: angle of the held-out probe, radians.
        mislabelled: share of points on the wrong side of the teacher.
        theory_probe, theory_teacher: theory at the realised margins along the held-out probe (at its angle) and along
            the teacher (a perfect probe; mislabelled points left out).
        tau: tilt with the realised mean h along the held-out probe. theory_tilted: theory at that tilt.
        mean_h, start_h: mean difficulty along the held-out probe, and that of the start.
        mean_margin: mean margin along the held-out probe.
        length: mean |s| / sqrt(D).
        moved: mean |s - start| / sqrt(D).
        pull: relative pull of the correction, mean over steps.
        loss: mean of the last tenth of steps.
        common, common_z, overlap, overlap_z, dimensions: see `theory.distillation.departure.Departure`.
    """

    test_error: float
    start_error: float
    theta: float
    mislabelled: float
    theory_probe: float
    theory_teacher: float
    tau: float
    theory_tilted: float
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


def _student_error(points: Array, labels: Array, teacher: Array) -> float:
    try:
        return overlaps(max_margin(points, labels).w, teacher, teacher)[0]
    except (NotSeparable, NotCertified):
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
    tilted = math.nan
    if math.isfinite(tau):
        tilted = solve(settings.alpha, 1.0, Tilt(tau, settings.beta, True), theta, "signed").test_error
    apart = departure(made.points, y, T, J)
    perfect = solve(settings.alpha, 1.0, Samples(along_teacher[right])).test_error if right.any() else math.nan
    last = made.losses[-max(1, settings.steps // 10) :]
    return Measured(
        test_error=_student_error(made.points, y, T),
        start_error=_student_error(made.start, y, T),
        theta=theta,
        mislabelled=float(1.0 - right.mean()),
        theory_probe=solve(settings.alpha, 1.0, Samples(along), theta, "signed").test_error,
        theory_teacher=perfect,
        tau=tau,
        theory_tilted=tilted,
        mean_h=h,
        start_h=start_h,
        mean_margin=float(along.mean()),
        length=float(np.linalg.norm(made.points, axis=1).mean() / math.sqrt(D)),
        moved=float(np.linalg.norm(made.points - made.start, axis=1).mean() / math.sqrt(D)),
        pull=made.pull,
        loss=float(last.mean()) if last.size else math.nan,
        **asdict(apart),
    )


RECORD = "distilled.jsonl"


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
            if key not in kept:
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
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            _key(row)
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path}, line {number}, is no record of this program: name another --out") from error
        yield row


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
    steps: int = 300
    rate: float = 0.5
    distance: str = "cosine"
    """cosine or squared."""
    probe_alpha: float = 1.0
    """Samples per dimension that the probes were trained on; 0: random directions."""
    beta: float = 2.0
    real: float = 10.0
    """Real samples per dimension."""
    out: Path = Path("output/distilled")
    """Folder of the record, which is resumed."""

    def settings(self) -> list[Distillation]:
        """All cells; ValueError if a value is out of range."""
        if self.seeds < 1:
            raise ValueError(f"--seeds is {self.seeds}, must be at least 1")
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
            "test_error": "error", "start_error": "start", "theory_probe": "theory (a)", "theory_tilted": "theory (b)",
            "theory_teacher": "by teacher", "mean_h": "mean h", "tau": "tau", "pull": "pull", "length": "length",
            "common": "common", "overlap": "overlap",
        }  # fmt: skip
        table = Sheet(("alpha", "lambda", *columns.values()), names=2, lines=False)
        for a in self.alpha:
            for c in self.coefficient:
                cells = [r for r in rows if r["alpha"] == a and r["coefficient"] == c]
                table.add_row(f"{a:g}", f"{c:g}", *(f"{_mean([r[k] for r in cells]):.3g}" for k in columns))
        Plain().print(table)
        print(f"{self.out / RECORD}: {len(rows)} distillations")


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
