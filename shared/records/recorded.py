"""The one reader of run folders: what a recorded distillation is, for grids, figures and tables alike.

Of the settings are read `method`, `dataset`, `ipc`, `sdc` (lambda; absent is 0), `asdc` (its schedule), `sdc_pull`
and `asdc_pull` (the same by their pull), `hard_threshold` and `seed`; of the summary `evaluation`. Everything else
about a run's settings its record says itself (`shared.records.roles`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.records.agreement import Cell, cell_of, disagreement, short
from shared.records.decoding import CONFIG, FAILURE, BadRecord, damaged
from shared.records.records import Run, failure_of, select
from shared.records.roles import Settings

NOT_FINISHED = "not finished"
STRENGTHS = ("sdc", "asdc", "sdc_pull", "asdc_pull")
"""Settings that each give the correction its strength."""
HARD_THRESHOLD = "its correction is not one coefficient: a hard threshold"
DIVERGED = "diverged"


class NoRuns(BadRecord):
    """A folder below which nothing is recorded."""


class NotOneExperiment(ValueError):  # noqa: N818
    """Runs of one cell that differ in more than what is compared."""

    exit_status = 2


@dataclass(frozen=True, order=True)
class Correction:
    """The coefficient lambda of SDC, 0 for the plain method; with `end` the schedule of ASDC.

    With `pull` the numbers are pulls at the start, from which each run measured its own lambda.
    """

    start: float = 0.0
    end: float | None = None
    pull: bool = False

    @property
    def adaptive(self) -> bool:
        """Whether lambda changes along the run."""
        return self.end is not None

    def __str__(self) -> str:
        by = "pull" if self.pull else "λ"
        if self.adaptive:
            return f"ASDC, {by} {self.start:g} to {self.end:g}"
        return f"SDC, {by} = {self.start:g}" if self.start else "plain"


PLAIN = Correction()


@dataclass(frozen=True, eq=False)
class Recorded:
    """A run with a result.

    Attributes:
        run: its record.
        cell: data set, method, images a class.
        correction: lambda, or its schedule.
        seed: of the distillation.
        accuracies: in [0, 1], one an evaluation network, of the set that the run made; None where it made none to be
            judged (a folder of repetitions, a run that diverged).
        diverged: why, if it did; empty otherwise.

    """

    run: Run
    cell: Cell
    correction: Correction
    seed: int
    accuracies: NDArray[np.float64] | None = None
    diverged: str = ""

    @property
    def family(self) -> str:
        """What its method matches (`shared.records.roles`)."""
        return self.run.roles.family

    @property
    def percent(self) -> NDArray[np.float64]:
        """The accuracies in percent.

        Raises:
            ValueError: it has none.
        """
        if self.accuracies is None:
            raise ValueError(f"{self.run.folder} has no accuracy")
        return 100.0 * self.accuracies


@dataclass(frozen=True)
class LeftOut:
    """A run without a result: its folder, and why."""

    folder: Path
    why: str

    def __str__(self) -> str:
        return f"{self.folder}: {self.why}"


def outcome_of(run: Run) -> Recorded | LeftOut:
    """What one run has to say.

    Raises:
        BadRecord: it is not the record of a distillation.
    """
    if run.settings.get("hard_threshold") is not None:
        return LeftOut(run.folder, HARD_THRESHOLD)
    failure = failure_of(run.folder)
    diverged = failure is not None and failure.kind == DIVERGED
    if failure is not None and not diverged:
        return LeftOut(run.folder, f"{failure.kind} ({failure.reason})")
    if run.summary is None and not diverged:
        return LeftOut(run.folder, NOT_FINISHED)
    try:
        settings, correction = run.settings, _correction(run.settings)
        seed = int(run.config.get("seed", settings.get("seed", 0)))
        recorded = Recorded(run, cell_of(settings), correction, seed)
        if failure is not None:
            return Recorded(run, recorded.cell, correction, seed, diverged=failure.reason)
        evaluation = (run.summary or {}).get("evaluation")
        if evaluation is None:
            return recorded
        return Recorded(run, recorded.cell, correction, seed, np.array(evaluation["accuracies"], float))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(run.folder / CONFIG, f"it is not the record of a distillation ({error!r})") from error


def _correction(settings: Settings) -> Correction:
    """What was asked for. A run asks for one strength at most."""
    for name in STRENGTHS:
        if value := settings.get(name):
            numbers = value if isinstance(value, list | tuple) else [value]
            start, end = float(numbers[0]), float(numbers[1]) if len(numbers) > 1 else None
            return Correction(start, end, name.endswith("_pull"))
    return PLAIN


def refuse_empty(folders: Iterable[str | Path]) -> None:
    """NoRuns for the first folder that holds no run at any depth."""
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise NoRuns(f"{folder} holds no runs: it is not a folder; name one that holds recorded runs, at any depth")
        if not any(folder.rglob(CONFIG)):
            raise NoRuns(f"{folder} holds no runs: no {CONFIG} in it or below it")


def runs_below(folders: Iterable[str | Path]) -> Iterator[Run]:
    """All runs below the folders, by folder name; one that is found twice comes once.

    Raises:
        BadRecord: a record is damaged.
    """
    seen: set[Path] = set()
    for folder in folders:
        for run in select(folder):
            if (there := run.folder.resolve()) not in seen:
                seen.add(there)
                yield run


def read_recorded(folders: Sequence[str | Path]) -> tuple[list[Recorded], list[LeftOut]]:
    """All runs below the folders that have a result, and those that have none.

    Raises:
        BadRecord: a record is damaged, or not one of a distillation.
    """
    found: list[Recorded] = []
    left_out: list[LeftOut] = []
    for run in runs_below(folders):
        outcome = outcome_of(run)
        if isinstance(outcome, Recorded):
            found.append(outcome)
        else:
            left_out.append(outcome)
    return found, left_out + _failed_at_once(folders)


def _failed_at_once(folders: Sequence[str | Path]) -> list[LeftOut]:
    """Runs that failed before they had written down what they were to be."""
    places = sorted({path.parent for folder in folders for path in Path(folder).rglob(FAILURE)})
    failures = [(place, failure_of(place)) for place in places if not (place / CONFIG).exists()]
    return [LeftOut(place, f"{failure.kind} ({failure.reason})") for place, failure in failures if failure]


def refuse_disagreement(recorded: Iterable[Recorded]) -> None:
    """Runs of one cell must agree in every setting that counts; each is held against one of every correction.

    Raises:
        NotOneExperiment: two differ; says where, and what to do.
    """
    first: dict[Cell, dict[tuple[Correction, bool], Recorded]] = {}
    for new in recorded:
        known = first.setdefault(new.cell, {})
        for other in known.values():
            differ = disagreement(other.run.settings, new.run.settings, (other.run.roles, new.run.roles))
            if differ:
                name, one, two = differ
                dataset, method, ipc = new.cell
                raise NotOneExperiment(
                    f"{method} on {dataset} at IPC {ipc} was run with {name} = {short(one)} ({other.run.folder}) and "
                    f"{short(two)} ({new.run.folder}): name folders that hold one of them"
                )
        # A coefficient of 0 that was asked for says how it would be computed, no coefficient does not.
        asked = any(new.run.settings.get(name) is not None for name in STRENGTHS)
        known.setdefault((new.correction, asked), new)
