"""What one distillation is: the method and the start, how each tensor moves, what is measured and where it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Generator

from empirical.distillation.method import Method
from empirical.synthetic.synthetic_set import SyntheticSet

Probe = Callable[[SyntheticSet, int], Mapping[str, Any]]
"""(synthetic set, steps done) -> numbers for the record; must draw from no generator of the run."""


@dataclass(frozen=True)
class Step:
    """How one kind of synthetic tensor moves: v <- momentum v + gradient, x <- x - rate v.

    Attributes:
        rate: of the step.
        momentum: of the velocity.
        above: a value at or below this bound stops the run as diverged.
        lowest: values are kept from falling below this one.
        advice: what the message of a stop through `above` adds: how to go on.
        average: decay d of a running average e <- d e + (1 - d) x, which is then what is evaluated and handed
            back in place of x.

    """

    rate: float
    momentum: float = 0.5
    above: float | None = None
    lowest: float | None = None
    average: float | None = None
    advice: str = ""


@dataclass(frozen=True)
class Schedule:
    """When the loop writes.

    Attributes:
        checkpoint_seconds: between two checkpoints.
        record_seconds: between two writings of metrics, on a device that should not be waited for.

    """

    checkpoint_seconds: float = 30.0
    record_seconds: float = 1.0


DEFAULT_SCHEDULE = Schedule()


@dataclass(frozen=True)
class Measurement:
    """What is measured along the way.

    Attributes:
        probe: what measures; its numbers go into the record.
        every: steps between two measurements; one more comes before the first step and one after the last. 0: never.

    """

    probe: Probe
    every: int

    def is_due(self, done: int, steps: int) -> bool:
        """Whether it is its turn after `done` of `steps` steps."""
        return self.every > 0 and (done % self.every == 0 or done == steps)


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """One distillation: what is learned, by what method, and where it is kept.

    Attributes:
        method: what is matched.
        start: the synthetic set to start from; not changed.
        generator: of everything random, on the CPU.
        steps: for each synthetic tensor that is learned ("images", "labels", "learning_rate") how it moves.
        folder: gets `metrics.jsonl` and the checkpoint. The caller holds its lock.
        identity: settings that tell this run from others, plain values; a checkpoint of other settings is refused.
        resume: go on from the folder's checkpoint, if there is one.
        schedule: when to write.
        measurements: of the set along the way, each at a pace of its own.
        title: for the progress bar.
        quiet: no progress.

    """

    method: Method
    start: SyntheticSet
    generator: Generator
    steps: Mapping[str, Step]
    folder: Path
    identity: Mapping[str, Any]
    resume: bool = False
    schedule: Schedule = DEFAULT_SCHEDULE
    measurements: Sequence[Measurement] = ()
    title: str = "distilling"
    quiet: bool = False
