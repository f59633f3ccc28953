"""How the test error of learnt sets answers to the correction: d error / d lambda against alpha, and where it turns.

Central differences at lambda +- `STEP`, paired: a seed has one teacher, real set and start at both. A slope below zero
says that easier samples help. Beside the measured slope: theories at the measured quantities of the same sets, and the
dynamical theory, whose populations are paired in the same way. Three kinds of matching.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.terminal.atomic import write_atomically
from shared.terminal.progress import Report
from theory.distillation.dynamics import PREDICTED, predict
from theory.distillation.learning import Distillation
from theory.distillation.study import study
from theory.scaling import tilt_critical_alpha

Array = NDArray[np.float64]

STEP = 0.03
SEEDS = 12
POPULATIONS = 3
POPULATION = 600
KINDS = (
    ("cosine", 1.0, (0.1, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)),
    ("squared", 1.0, (0.1, 0.25, 0.5, 0.7, 1.0, 2.0, 4.0)),
    ("cosine", 0.0, (0.1, 0.25, 0.5, 0.7, 1.0, 2.0, 4.0)),
)
# Where a class has few points beside the probes, learnt sets are far from the limit: measured in more dimensions too.
LARGE = 800
AT_LARGE = (("cosine", 1.0, (0.1, 0.25)),)
# Column of the table -> column of a measured set.
MEASURED = {
    "measured": "test_error", "theory_a": "theory_a", "theory_b": "theory_b", "theory_d": "theory_d",
    "selection_probe": "theory_probe", "selection_teacher": "theory_teacher",
}  # fmt: skip
RESAMPLED = 2000


@dataclass(frozen=True)
class Kind:
    """One kind of matching: slopes by seed of every quantity, [alphas, seeds]; NaN where a pair has no slope."""

    distance: str
    probe_alpha: float
    alphas: Array
    slopes: dict[str, Array]


@dataclass(frozen=True)
class Change:
    """Where a slope turns from below zero to above it, for good.

    Attributes:
        alpha: the zero, by interpolation in log(alpha); NaN if there is none.
        low, high: 95 % of the zeros of slopes averaged over resampled seeds.
        share: of the resamples that have a zero.
    """

    alpha: float
    low: float
    high: float
    share: float


def settings(seeds: int = SEEDS) -> list[Distillation]:
    """All distillations."""
    return [
        Distillation(alpha, coefficient, seed, dimension, distance=distance, probe_alpha=probe_alpha)
        for kinds, dimension in ((KINDS, 200), (AT_LARGE, LARGE))
        for distance, probe_alpha, alphas in kinds
        for alpha in alphas
        for coefficient in (-STEP, STEP)
        for seed in range(seeds)
    ]


def predictions(
    populations: int, folder: Path | None = None, report: Report = lambda done, total: None
) -> list[dict[str, Any]]:
    """The dynamical theory at both coefficients: a row a population; kept in ``predicted.jsonl`` and resumed."""
    path = None if folder is None else folder / "predicted.jsonl"
    kept = {} if path is None else {_key(row): row for row in _stored(path)}
    wanted = [
        Distillation(alpha, coefficient, seed, distance=distance, probe_alpha=probe_alpha)
        for distance, probe_alpha, alphas in KINDS
        for alpha in alphas
        for seed in range(populations)
        for coefficient in (-STEP, STEP)
    ]
    rows = []
    for number, one in enumerate(wanted, 1):
        row: dict[str, Any] = asdict(one) | {"population": POPULATION}
        key = _key(row)
        if key not in kept:
            found = predict(one, POPULATION, 1, one.seed)
            error = found.test_error if found.status == PREDICTED else None
            kept[key] = row | {"status": found.status, "test_error": error}
            if path is not None:
                write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept.values()))
        known = kept[key]["test_error"]
        rows.append(kept[key] | {"test_error": math.nan if known is None else known})
        report(number, len(wanted))
    return rows


def _key(row: Mapping[str, Any]) -> str:
    return json.dumps({name: row[name] for name in (*asdict(Distillation()), "population")}, sort_keys=True)


def _stored(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            row = json.loads(line)
            _key(row)
            error = row["test_error"]
            if not (error is None or (isinstance(error, float) and 0.0 <= error <= 1.0)):
                raise ValueError(error)
        except (ValueError, KeyError, TypeError) as wrong:
            raise ValueError(f"{path}, line {number}, is no record of this program: name another --out") from wrong
        yield row


def paired(rows: Sequence[Mapping[str, Any]], column: str, alphas: Sequence[float]) -> Array:
    """Slopes of a column [alphas, seeds] at lambda +- STEP, of one kind of rows; NaN where one of a pair is missing."""
    seeds = sorted({int(row["seed"]) for row in rows})
    slopes = np.full((len(alphas), len(seeds)), math.nan)
    values = {(row["alpha"], row["coefficient"], row["seed"]): float(row[column]) for row in rows}
    for i, alpha in enumerate(alphas):
        for j, seed in enumerate(seeds):
            up, down = (values.get((alpha, c, seed), math.nan) for c in (STEP, -STEP))
            slopes[i, j] = (up - down) / (2.0 * STEP)
    return slopes


def kinds(measured: Sequence[Mapping[str, Any]], predicted: Sequence[Mapping[str, Any]]) -> list[Kind]:
    """Slopes by seed of every kind of matching; "measured_large" at `LARGE` dimensions, "dynamics" by population."""
    found = []
    for distance, probe_alpha, alphas in KINDS:

        def own(rows: Sequence[Mapping[str, Any]], kind: tuple[str, float] = (distance, probe_alpha)) -> list[Any]:
            return [row for row in rows if (row["distance"], row["probe_alpha"]) == kind]

        small, large = ([r for r in own(measured) if r["dimension"] == D] for D in (200, LARGE))
        slopes = {name: paired(small, column, alphas) for name, column in MEASURED.items()}
        slopes["measured_large"] = paired(large, "test_error", alphas)
        slopes["dynamics"] = paired(own(predicted), "test_error", alphas)
        found.append(Kind(distance, probe_alpha, np.array(alphas), slopes))
    return found


def mean_and_error(slopes: Array) -> tuple[float, float, int]:
    """Mean, standard error and number of the finite slopes of one alpha."""
    kept = slopes[np.isfinite(slopes)]
    mean = float(kept.mean()) if kept.size else math.nan
    return mean, float(kept.std(ddof=1) / math.sqrt(kept.size)) if kept.size > 1 else math.nan, kept.size


def zero(alphas: Array, slopes: Array) -> float:
    """The last zero from below, in log(alpha), after which mean slopes [alphas] stay positive; NaN if there is none."""
    known = np.isfinite(slopes)
    alphas, slopes = alphas[known], slopes[known]
    below = np.flatnonzero(slopes < 0.0)
    if not below.size or below[-1] == slopes.size - 1:
        return math.nan
    i = int(below[-1])
    share = slopes[i] / (slopes[i] - slopes[i + 1])
    return float(np.exp(np.log(alphas[i]) + share * np.log(alphas[i + 1] / alphas[i])))


def sign_change(alphas: Array, slopes: Array, resampled: int = RESAMPLED) -> Change:
    """Zero of slopes [alphas, seeds] with the interval of a bootstrap over seeds (all alphas of a seed together)."""
    rng = np.random.default_rng(0)
    whole = zero(alphas, _means(slopes))
    picks = rng.integers(slopes.shape[1], size=(resampled, slopes.shape[1]))
    zeros = np.array([zero(alphas, _means(slopes[:, pick])) for pick in picks])
    kept = zeros[np.isfinite(zeros)]
    low, high = np.quantile(kept, [0.025, 0.975]) if kept.size else (math.nan, math.nan)
    return Change(whole, float(low), float(high), kept.size / resampled)


def _means(slopes: Array) -> Array:
    """Means over the finite seeds of every alpha; NaN where there is none."""
    finite = np.isfinite(slopes)
    count = finite.sum(axis=1)
    return np.where(count > 0, np.where(finite, slopes, 0.0).sum(axis=1) / np.maximum(count, 1), math.nan)


def tilted() -> float:
    """The alpha at which the theory of selection has its zero: a small tilt of selected samples by their own h.

    Along the teacher; an exact number of the limit, without an error.  (Along a trained probe it has no zero.)
    """
    return tilt_critical_alpha(0.0, beta=Distillation().beta, gradient_weighted=True)


def table(found: Sequence[Kind]) -> list[dict[str, Any]]:
    """One row a kind and alpha: means and standard errors of all slopes."""
    rows = []
    for kind in found:
        for i, alpha in enumerate(kind.alphas):
            row: dict[str, Any] = {"distance": kind.distance, "probe_alpha": kind.probe_alpha, "alpha": float(alpha)}
            row["sets"] = mean_and_error(kind.slopes["measured"][i])[2]
            for name, slopes in kind.slopes.items():
                row[name], row[f"{name}_se"], count = mean_and_error(slopes[i])
                if name == "dynamics":
                    row["populations"] = count
            rows.append(row)
    return rows


def changes(found: Sequence[Kind]) -> list[dict[str, Any]]:
    """One row a kind and quantity: where its slope turns; for a tilt in the theory of selection without an interval."""
    rows: list[dict[str, Any]] = []
    turn = tilted()
    for kind in found:
        names = {"distance": kind.distance, "probe_alpha": kind.probe_alpha}
        for name, slopes in kind.slopes.items():
            if name != "measured_large":
                rows.append(names | {"quantity": name} | asdict(sign_change(kind.alphas, slopes)))
        rows.append(names | {"quantity": "selection_tilt"} | asdict(Change(turn, math.nan, math.nan, 1.0)))
    return rows


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as CSV, four decimals; what does not exist is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.4f}" if not value.is_integer() else f"{value:.1f}"


def run(
    folder: Path, seeds: int, populations: int, stage: Callable[[str], Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Distil and predict what is missing in the folder (resumed), write ``slopes.csv`` and ``sign_changes.csv`` there.

    ``stage(label)`` gives a context with a `Report`. Returns the rows of both tables.
    """
    wanted = settings(seeds)
    with stage(f"distilling {len(wanted)} sets") as report:
        measured = study(wanted, folder, report)
    with stage("predicting without measuring") as report:
        predicted = predictions(populations, folder, report)
    found = kinds(measured, predicted)
    slopes, turns = table(found), changes(found)
    write_atomically(folder / "slopes.csv", as_csv(slopes))
    write_atomically(folder / "sign_changes.csv", as_csv(turns))
    return slopes, turns
