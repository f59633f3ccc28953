"""A measured grid: accuracy over coefficient lambda x images per class, paired, and the CSV it is read from.

The compact CSV has one row for each evaluation network of each run:

    method         dsa, mtt, ...; `random` (random real subsets, for the alpha map); `whole` (the whole training set)
    dataset        any name; rows of one data set belong together
    classes        number of classes
    ipc            images per class (0 for `whole`)
    lambda         coefficient of the correction; 0 for runs without it, `random` and `whole`
    seed           of the distillation: the same seed shares start, networks and batches across lambda (paired)
    network        name of the evaluation network, the same one for every lambda (such as convnet/0)
    accuracy       test accuracy in [0, 1]; trajectory matching: the maximum over evaluation points

and optionally, the same in all rows of a run, empty where not measured:

    family                          gradient, trajectory or other; by default that of the method's name
    accuracy_last                   at the last evaluation point
    accuracy_validated              at the point chosen on a validation split
    relative_pull_start             lambda |image gradient of the correction| / |that of the matching loss|, step 0
    relative_pull                   the same, mean along the run
    mediator_gradn_start            mean GraDN of the synthetic set on held-out probe networks, before the first step
    mediator_gradn                  the same, of the finished set
    mediator_misclassified_start    misclassification rate on those networks, before the first step
    mediator_misclassified          the same, of the finished set
    probe_error_low                 smallest error on real images of the networks used for matching, or of those that
                                    stand for them (`shared.comparison.run_grid`); the same as the next where all were
                                    untrained
    probe_error_high                the largest
    images_moved                    root mean square of how far the images moved, over that of the start
    diverged                        why a run has no accuracy: it diverged; such a row has no numbers
    architecture                    of the networks, such as "convnet, width 32": grids of different architectures are
                                    kept apart, each with its own random subsets and whole set

Other columns are ignored. `lambda` may be negative. Rows may come in any order and from several files.
"""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.records.metric_names import RANDOM, WHOLE
from shared.records.roles import GRADIENT, OTHER, TRAJECTORY, family_of
from shared.terminal.atomic import write_atomically

Array = NDArray[np.float64]

REQUIRED = ("method", "dataset", "classes", "ipc", "lambda", "seed", "network", "accuracy")
ACCURACIES = ("accuracy", "accuracy_last", "accuracy_validated")
PER_RUN = (
    "relative_pull_start",
    "relative_pull",
    "mediator_gradn_start",
    "mediator_gradn",
    "mediator_misclassified_start",
    "mediator_misclassified",
    "probe_error_low",
    "probe_error_high",
    "images_moved",
)
RATES = {*ACCURACIES, "mediator_misclassified_start", "mediator_misclassified", "probe_error_low", "probe_error_high"}
NORMS = {"mediator_gradn_start", "mediator_gradn"}
COLUMNS = (*REQUIRED, "family", *ACCURACIES[1:], *PER_RUN, "diverged", "architecture")
FAMILIES = (GRADIENT, TRAJECTORY, OTHER)
"""What a grid can say that its method matches; methods that choose real images match nothing, `OTHER` here."""
LARGEST = 2**53
"""Whole numbers of a grid are read as floats, which hold none beyond."""


class BadGrid(ValueError):  # noqa: N818
    """A grid that cannot be read or compared; says which file, line and value."""

    exit_status = 2


def family_in_grid(family: str) -> str:
    """A run's family (`shared.records.roles`) as a grid has it."""
    return family if family in FAMILIES else OTHER


@dataclass(frozen=True)
class Measurement:
    """One row of the CSV; `values` holds the numbers that were measured, by column; family by default the method's.

    A run that diverged is a row without numbers, with the reason in `diverged`.
    """

    method: str
    dataset: str
    classes: int
    ipc: int
    coefficient: float
    seed: int
    network: str
    values: Mapping[str, float]
    family: str = ""
    diverged: str = ""
    architecture: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "family", self.family or family_in_grid(family_of(self.method)))

    def row(self) -> dict[str, Any]:
        """As a row of the CSV."""
        names = ("method", "dataset", "classes", "ipc", "seed", "network", "family", "diverged", "architecture")
        named = {c: getattr(self, c) for c in names}
        return {**dict.fromkeys(COLUMNS, ""), **named, "lambda": self.coefficient, **self.values}


@dataclass(frozen=True, eq=False)
class Grid:
    """One method on one data set.

    Attributes:
        method, dataset, family, classes: what it is.
        ipc: [I], increasing.
        coefficient: [L], increasing, containing 0.
        accuracy: [I, L, S, N] over seeds and evaluation networks; NaN where absent.
        per_run: quantities by name, each [I, L, S]; NaN where absent.
        other_accuracy: `accuracy_last` and `accuracy_validated` where measured, each [I, L, S, N].
        random: images per class -> accuracies of random subsets [seeds][networks].
        whole: accuracies of the whole training set.
        incomplete: (ipc, lambda) cells, in words, that lack seeds which others have.
        architecture: of the networks; empty if not recorded.

    """

    method: str
    dataset: str
    family: str
    classes: int
    ipc: NDArray[np.int64]
    coefficient: Array
    accuracy: Array
    per_run: Mapping[str, Array] = field(default_factory=dict)
    other_accuracy: Mapping[str, Array] = field(default_factory=dict)
    random: Mapping[int, Sequence[Sequence[float]]] = field(default_factory=dict)
    whole: Sequence[float] = ()
    incomplete: tuple[str, ...] = ()
    architecture: str = ""

    @property
    def name(self) -> str:
        """The method on the data set, in words."""
        name = f"{self.method} on {self.dataset}" + (f" ({self.architecture})" if self.architecture else "")
        return " ".join(name.split())  # in one line, whatever a data set is called

    @property
    def zero(self) -> int:
        """Index of lambda = 0."""
        return int(np.flatnonzero(self.coefficient == 0.0)[0])

    @property
    def others(self) -> NDArray[np.int64]:
        """Indices of the coefficients that are not 0."""
        return np.flatnonzero(self.coefficient != 0.0)

    def gains(self) -> Array:
        """Paired gains accuracy(lambda) - accuracy(0) of the same seed and network, [I, L - 1, S, N]."""
        return self.accuracy[:, self.others] - self.accuracy[:, self.zero : self.zero + 1]

    def seed_gains(self) -> Array:
        """Paired gains, mean over evaluation networks, [I, L - 1, S]."""
        return nanmean(self.gains(), -1)

    def strength(self, against: str = "lambda") -> Array:
        """What the correction is measured by, [I, L - 1]: lambda itself, or its signed mean relative pull.

        Raises:
            BadGrid: the relative pull was not recorded.

        """
        coefficient = np.broadcast_to(self.coefficient[self.others], (self.ipc.size, self.others.size))
        if against == "lambda":
            return coefficient.copy()
        if against != "relative_pull":
            raise BadGrid(f"the correction is measured by lambda or relative_pull, not {against!r}")
        pull = self.pull()
        if not np.all(np.isfinite(pull)):
            raise BadGrid(f"{self.name}: the relative pull was not recorded in every cell")
        return np.sign(coefficient) * np.abs(pull)

    def pull(self) -> Array:
        """Relative pull, mean over seeds, [I, L - 1]; NaN where not recorded."""
        return nanmean(self.per_run["relative_pull"], -1)[:, self.others]

    def with_accuracy(self, accuracy: Array) -> Grid:
        """The same grid with other accuracies [I, L, S, N]."""
        names = [n for n in self.__dataclass_fields__ if n != "accuracy"]
        return Grid(accuracy=accuracy, **{n: getattr(self, n) for n in names})


def nanmean(values: Array, axis: int | tuple[int, ...]) -> Array:
    """Mean without the absent ones; NaN (and no warning) where all are absent."""
    count = np.isfinite(values).sum(axis)
    total = np.nansum(values, axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def read_csv(path: str | Path) -> list[Measurement]:
    """The measurements of a CSV; see the module for its columns.

    Raises:
        BadGrid: unreadable, a required column is missing, or a value is not what it must be.

    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            missing = [c for c in REQUIRED if c not in (reader.fieldnames or ())]
            if missing:
                raise BadGrid(f"{path} lacks the column {missing[0]!r}; a grid needs {', '.join(REQUIRED)}")
            return [_measurement(row, f"{path}, line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadGrid(f"{path} cannot be read: {error}") from error


def _measurement(row: Mapping[str, str], where: str) -> Measurement:
    def number(column: str) -> float:
        try:
            value = float(row[column])
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise BadGrid(f"{where}: {column} is {_short(row[column])}, must be a finite number")
        return value

    if None in row:
        raise BadGrid(f"{where}: it has more fields than the first line has columns")

    whole = row["method"].strip().lower() == WHOLE
    ipc = 0.0 if whole and not row["ipc"] else number("ipc")
    classes, seed = number("classes"), number("seed")
    if max(abs(ipc), abs(classes), abs(seed)) > LARGEST:
        raise BadGrid(f"{where}: ipc, classes and seed must be at most {LARGEST}")
    if ipc != int(ipc) or (ipc < 1 and not whole) or classes != int(classes) or classes < 2 or seed != int(seed):
        raise BadGrid(f"{where}: ipc, classes and seed must be whole numbers, with ipc >= 1 and classes >= 2")
    diverged = (row.get("diverged") or "").strip()
    values = {}
    if not diverged:
        values = {c: number(c) for c in (*ACCURACIES, *PER_RUN) if c == "accuracy" or (row.get(c) or "").strip()}
    for column in values.keys() & RATES:
        if not 0.0 <= values[column] <= 1.0:
            raise BadGrid(f"{where}: {column} is {values[column]:g}, must lie in [0, 1] (not per cent)")
    for column in values.keys() & NORMS:
        if not values[column] > 0.0:
            raise BadGrid(f"{where}: {column} is {values[column]:g}, a mean of norms, which must be above 0")
    method = row["method"].strip().lower()
    family = (row.get("family") or "").strip().lower() or family_in_grid(family_of(method))
    if family not in FAMILIES:
        raise BadGrid(f"{where}: family is {_short(family)}, must be gradient, trajectory or other")
    coefficient = number("lambda")
    dataset = row["dataset"].strip()
    network, architecture = row["network"].strip(), (row.get("architecture") or "").strip()
    return Measurement(
        method, dataset, int(classes), int(ipc), coefficient, int(seed), network, values, family, diverged, architecture
    )


def _short(value: str | None) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def write_csv(path: str | Path, measurements: Iterable[Measurement]) -> Path:
    """Write the compact CSV, atomically, in a fixed order of rows (see the module)."""
    def place(m: Measurement) -> tuple[Any, ...]:
        return m.dataset, m.method, m.architecture, m.ipc, m.coefficient, m.seed, m.network

    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    quoting = csv.DictWriter(text, COLUMNS, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in (m.row() for m in sorted(measurements, key=place)):
        # A carriage return ends a line for every reader, but the writer quotes only its own line ends.
        (quoting if any("\r" in value for value in row.values() if isinstance(value, str)) else writer).writerow(row)
    return write_atomically(path, text.getvalue())


def grids(measurements: Sequence[Measurement], accuracy: str = "accuracy") -> list[Grid]:
    """All grids in the measurements: one a method, data set and architecture, in alphabetical order.

    Args:
        measurements: from any number of sources; the same cell twice with the same value counts once. Runs that
            diverged have no place in a grid: `divergences` tells of them.
        accuracy: which accuracy is compared: accuracy, accuracy_last or accuracy_validated.

    Raises:
        BadGrid: no method beside random and whole, no lambda = 0 to pair with, or contradicting measurements.

    """
    if accuracy not in ACCURACIES:
        raise BadGrid(f"accuracy is {accuracy!r}, must be one of {', '.join(ACCURACIES)}")
    by_grid: dict[tuple[str, str, str], list[Measurement]] = defaultdict(list)
    for m in measurements:
        if not m.diverged:
            by_grid[m.dataset, m.method, m.architecture].append(m)
    found = []
    for (_, method, _), rows in sorted(by_grid.items()):
        if method not in (RANDOM, WHOLE):
            found.append(_grid(rows, accuracy, by_grid))
    if not found:
        raise BadGrid("there is no method to compare: only random subsets, whole sets, or nothing at all")
    return found


def divergences(measurements: Iterable[Measurement]) -> list[str]:
    """The runs that diverged: one sentence for each method, data set, IPC, lambda and reason."""
    seeds: dict[tuple[Any, ...], set[int]] = defaultdict(set)
    for m in measurements:
        if m.diverged:
            seeds[m.method, m.dataset, m.ipc, m.coefficient, m.diverged].add(m.seed)
    return [
        f"{method} on {dataset}, ipc {ipc}, lambda {coefficient:g}, seed {', '.join(map(str, sorted(found)))}: "
        f"diverged ({why})"
        for (method, dataset, ipc, coefficient, why), found in sorted(seeds.items())
    ]


def _beside(
    reference: str, row: Measurement, by_grid: Mapping[tuple[str, str, str], Sequence[Measurement]]
) -> list[Measurement]:
    """Random subsets or the whole set of a grid: of its data set and architecture, or of one not recorded."""
    return [m for a in sorted({row.architecture, ""}) for m in by_grid.get((row.dataset, reference, a), ())]


def _grid(
    rows: Sequence[Measurement], accuracy: str, by_grid: Mapping[tuple[str, str, str], Sequence[Measurement]]
) -> Grid:
    method, dataset, architecture = rows[0].method, rows[0].dataset, rows[0].architecture
    axes = [sorted({getattr(m, n) for m in rows}) for n in ("ipc", "coefficient", "seed", "network")]
    ipc, coefficient = axes[:2]
    if 0.0 not in coefficient:
        raise BadGrid(f"{method} on {dataset} has no runs with lambda = 0, to which the others are compared")
    counts = {m.classes for m in rows}
    if len(counts) != 1:
        raise BadGrid(f"{dataset} has several numbers of classes: {sorted(counts)}")
    shape = tuple(len(axis) for axis in axes)
    tables = {c: np.full(shape, np.nan) for c in ACCURACIES}
    per_run = {c: np.full(shape[:3], np.nan) for c in PER_RUN}
    index = [{value: k for k, value in enumerate(axis)} for axis in axes]
    for m in rows:
        place = tuple(t[getattr(m, n)] for t, n in zip(index, ("ipc", "coefficient", "seed", "network"), strict=True))
        for column, value in m.values.items():
            table, where = (tables[column], place) if column in ACCURACIES else (per_run[column], place[:3])
            if np.isfinite(table[where]) and table[where] != value:
                raise BadGrid(
                    f"{method} on {dataset}, ipc {m.ipc}, lambda {m.coefficient:g}, seed {m.seed}, network "
                    f"{m.network}: {column} is {table[where]:g} and {value:g}; are these two states of one run, or "
                    "two settings, to be kept apart as LABEL=PATH?"
                )
            table[where] = value
    random = _beside(RANDOM, rows[0], by_grid)
    others = sorted({a for d, reference, a in by_grid if (d, reference) == (dataset, RANDOM)})
    elsewhere = [f"random subsets were measured with {', '.join(others)} only"] if others and not random else []
    compared = tables[accuracy]
    if not np.any(np.isfinite(compared)):
        raise BadGrid(f"{method} on {dataset}: {accuracy} was not measured")
    return Grid(
        method,
        dataset,
        rows[0].family,
        rows[0].classes,
        np.array(ipc),
        np.array(coefficient),
        compared,
        per_run,
        {c: t for c, t in tables.items() if np.any(np.isfinite(t))},
        _random_of(random, accuracy),
        [m.values["accuracy"] for m in _beside(WHOLE, rows[0], by_grid)],
        (*_incomplete(compared, ipc, coefficient), *elsewhere),
        architecture,
    )


def _random_of(rows: Sequence[Measurement], accuracy: str) -> dict[int, list[list[float]]]:
    """Random subsets have no evaluation points of their own: their accuracy is used whichever is compared."""
    runs: dict[int, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for m in rows:
        runs[m.ipc][m.seed][m.network] = m.values.get(accuracy, m.values["accuracy"])
    return {ipc: [list(networks.values()) for networks in seeds.values()] for ipc, seeds in sorted(runs.items())}


def _incomplete(accuracy: Array, ipc: Sequence[int], coefficient: Sequence[float]) -> tuple[str, ...]:
    seeds = np.isfinite(accuracy).any(-1).sum(-1)
    return tuple(
        f"ipc {ipc[i]}, lambda {coefficient[k]:g}: {seeds[i, k]} of {seeds.max()} seeds"
        for i, k in zip(*np.nonzero(seeds < seeds.max()), strict=True)
    )
