"""The table of methods: what a name stands for, asked here and nowhere else.

A `Method` is one row: a name, the family that it belongs to, and what tells it apart there. A `Family` knows what its
methods have in common: which settings they read, what a preset and a published table say, what is refused, how
settings are filled in, how a set is made, what that costs, which work is shared. The package registers the project's
own methods when it is imported; a user's file registers others by the same call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from empirical.data.datasets import Dataset
from empirical.distillation.together import Outcome
from empirical.experiment.experiment import Experiment
from empirical.networks.cost import Cost
from empirical.runtime.registry import unknown
from empirical.settings.presets import coefficient, presets
from empirical.settings.roles import Role, flag, numbered, typed_flags
from empirical.settings.settings import Resolved, Settings
from empirical.synthetic.synthetic_set import SyntheticSet
from shared.records.roles import OTHER, Roles


@dataclass(frozen=True)
class Work:
    """What making one set costs.

    Attributes:
        flop: floating-point operations by part.
        evaluations: how often the set is judged on the way to its end.
        rows: lines of its metrics.

    """

    flop: Mapping[str, float] = field(default_factory=dict)
    evaluations: int = 0
    rows: int = 0


def along_the_run(settings: Settings, updates: int) -> dict[str, int]:
    """What of a distillation follows from the number of its updates, where it is not typed."""
    return {
        "asdc_steps": settings.asdc_steps or updates,
        "probe_every": max(1, updates // 10) if settings.probe_every is None else settings.probe_every,
    }


def evaluations_along(settings: Settings, updates: int) -> int:
    """How often a set is judged on the way, the start included, beside the evaluation of the finished one."""
    return 2 + (updates - 1) // settings.eval_along if settings.eval_along else 0


class Family(ABC):
    """Methods that are made alike.

    Attributes:
        name: what records call it: one of those in `shared.records.roles`.
        tags: of all its methods; settings name them in `Role.read_by`. `distilled`: images are learnt, so that a
            correction has a place; `set`: a set is made and judged.
        resolved: type of its resolved settings.
        judged_along: whether the accuracies of its evaluation points stand in the metrics, so that a finished set is
            not judged once more.

    """

    name: str = OTHER
    tags: frozenset[str] = frozenset({"set"})
    resolved: type[Resolved] = Resolved
    judged_along: bool = False

    def own_tags(self, method: Method) -> frozenset[str]:
        """Tags of one of its methods beside the family's."""
        return frozenset()

    def preset(self, method: Method, settings: Settings, preset: str) -> dict[str, Any]:
        """Values that a preset gives to the settings, and perhaps others of its own."""
        return {key: value for key, value in presets()[preset].items() if key != "description"}

    def published_lambda(self, method: Method, dataset: str, ipc: int) -> float | None:
        """The published coefficient of the correction; None where none is published."""
        return coefficient(dataset, method.name, ipc)

    def check(self, method: Method, settings: Settings) -> None:  # noqa: B027  (most refuse nothing more)
        """Refuses what no data set could make right, beyond what each setting's role says.

        Raises:
            ValueError: one sentence.

        """

    def resolve(self, method: Method, settings: Settings, dataset: Dataset) -> dict[str, Any]:
        """Values of the settings that are to be filled in (`eval_...` are filled by `resolve`)."""
        return {}

    @abstractmethod
    def make(self, experiment: Experiment) -> SyntheticSet | None:
        """The set of an experiment; None: there is nothing to make, the training images themselves are judged."""

    def work(self, settings: Resolved, dataset: Dataset, image: Cost) -> Work:
        """Cost of one set, by the cost of one image's forward pass."""
        return Work()

    def shared(self, settings: Resolved) -> float | None:
        """Share of the real gradients that runs have in common which differ in the coefficient alone.

        None: the family cannot make several sets at once.
        """
        return None

    def make_together(self, experiments: Sequence[Experiment]) -> list[Outcome]:
        """Sets that differ in the coefficient alone, with shared work; see `empirical.experiment.make`.

        Raises:
            ValueError: the family shares nothing.

        """
        raise ValueError(f"{experiments[0].settings.method} shares no work between coefficients")

    def prepared(self, settings: Resolved, dataset: Dataset, fitted: bool = True) -> Dataset:
        """The data as the method sees them: whitened where it asks for that.

        `fitted` false: only the description is right, which is quick and enough to find a folder.
        """
        return dataset

    def notes(self, settings: Resolved) -> list[str]:
        """What of a run is not as its name or its preset lets one expect, a sentence each; told at its start."""
        return []

    def refuse(self, settings: Resolved, dataset: Dataset) -> None:  # noqa: B027  (as above)
        """Refuses what only data and device tell, before any work.

        Raises:
            ValueError: one sentence.

        """


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        name: as it is typed.
        family: its kind.
        summary: one line for the help.
        own: what tells it apart in its family.

    """

    name: str
    family: Family
    summary: str = ""
    own: Any = None

    @property
    def tags(self) -> frozenset[str]:
        """What it is; settings say by tags who reads them."""
        return self.family.tags | self.family.own_tags(self)

    def reads(self, role: Role) -> bool:
        """Whether it reads a setting."""
        return not role.read_by or bool(self.tags & set(role.read_by))


_METHODS: dict[str, Method] = {}


def register(method: Method) -> Method:
    """Makes a method known by its name.

    Raises:
        ValueError: the name is taken by another method.

    """
    known = _METHODS.get(method.name)
    if known is not None and known != method:
        raise ValueError(
            f"a method named {method.name!r} is registered already ({known.summary or known.family.name}): "
            "give yours another name"
        )
    if not method.name or any(c.isspace() or c in "-/," for c in method.name):
        raise ValueError(f"a method's name is one word without '-', '/' or ',', not {method.name!r}")
    _METHODS[method.name] = method
    return method


def methods(*tags: str) -> list[Method]:
    """All methods in the order of their registration; with tags those that have one of them."""
    return [m for m in _METHODS.values() if not tags or m.tags & set(tags)]


def names(*tags: str) -> list[str]:
    """Their names."""
    return [method.name for method in methods(*tags)]


def method_named(name: str) -> Method:
    """The method of that name.

    Raises:
        ValueError: there is none; the nearest is named.

    """
    if name not in _METHODS:
        raise unknown("method", name, _METHODS)
    return _METHODS[name]


def family_of(settings: Settings) -> Family:
    """Of the settings' method."""
    return method_named(settings.method).family


def recorded_roles(settings: Resolved) -> Roles:
    """What a run's record says of its own settings, so that runs are compared without knowing any flag."""
    method = method_named(settings.method)
    tags = (settings.tags | method.tags) - {"comparison"}  # what is evaluated beside is a run of its own
    free, unread = [], []
    for name, _, role in numbered(settings, dotted=True):
        if role.compared:
            free.append(name)
        if not method.reads(role) or (role.needs and not tags & set(role.needs)):
            unread.append(name)
    return Roles(tuple(free), tuple(unread), method.family.name)


def notes(runs: Iterable[Resolved]) -> list[str]:
    """What of some runs is not as their names let one expect (`Family.notes`), each sentence once."""
    return list(dict.fromkeys(told for run in runs for told in family_of(run).notes(run)))


def unread(arguments: Iterable[str], runs: Sequence[Settings]) -> list[str]:
    """What a command line gives that nothing it runs ever reads, a sentence each.

    Args:
        arguments: as typed.
        runs: the settings that they came to; a flag that one of them reads is not named.

    """
    chosen = list(dict.fromkeys(method_named(run.method) for run in runs))
    given, told = typed_flags(arguments), []
    tags = frozenset[str]().union(*(run.tags for run in runs), *(m.tags for m in chosen))
    for name, _, role in numbered(runs[0]) if runs else ():
        if name not in given:
            continue
        if not any(m.reads(role) for m in chosen):
            readers = ", ".join(names(*role.read_by)) or "no method"
            told.append(f"{flag(name)} is read by {readers}, not by {', '.join(m.name for m in chosen)}")
        elif role.needs and not tags & set(role.needs):
            told.append(f"{flag(name)} has no effect without {_NEEDED[role.needs[0]]}")
    return told


_NEEDED: Mapping[str, str] = {
    "correction": "--sdc, --asdc or --sdc-pull",
    "schedule": "--asdc or --asdc-pull",
    "whole": "--compare or --method whole",
}
