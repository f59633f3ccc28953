"""Several distillations in step: the loop of `empirical.distillation` once for each, one shared call a step.

Every distillation keeps its own folder, record, checkpoint and end, exactly as if it ran alone; a run that was
begun alone can be gone on with here, and the other way round. One that diverges leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Generator

from empirical.distillation.loop import Diverged, Interrupted, Lane, Request
from empirical.distillation.method import Matched
from empirical.synthetic.synthetic_set import SyntheticSet

Outcome = SyntheticSet | Diverged
"""The distilled set, or why there is none."""


class PairedMethod(Protocol):
    """One step of some of several distillations."""

    def step(
        self,
        members: Sequence[int],
        synthetics: Sequence[SyntheticSet],
        generators: Sequence[Generator],
        step: int,
    ) -> list[Matched]:
        """Loss and gradients of the `members` at a step, in their order."""
        ...


class _Driven:
    """A lane with the step that it waits for, or its outcome."""

    def __init__(self, lane: Lane):
        self.lane = lane
        self.request: Request | None = None
        self.outcome: Outcome | None = None
        self.interrupted: Interrupted | None = None
        self.advance(None)

    def advance(self, matched: Matched | None) -> None:
        """Hands in what a step found (None: starts the lane) and runs to the next step."""
        self.request = None
        try:
            self.request = next(self.lane) if matched is None else self.lane.send(matched)
        except StopIteration as end:
            self.outcome = end.value
        except Diverged as failure:
            self.outcome = failure
        except Interrupted as stop:
            self.interrupted = stop


def drive(method: PairedMethod, lanes: Sequence[Lane]) -> list[Outcome]:
    """Runs lanes to their ends; those that are behind (after a kill between two checkpoints) catch up first.

    Raises:
        Interrupted: by a signal, after every lane was saved.
        OtherRun: a lane's folder belongs to other settings.

    """
    driven: list[_Driven] = []
    try:
        driven.extend(_Driven(lane) for lane in lanes)
        while waiting := [(i, d.request) for i, d in enumerate(driven) if d.request is not None]:
            step = min(request[2] for _, request in waiting)
            ready = [(i, request) for i, request in waiting if request[2] == step]
            members = [i for i, _ in ready]
            found = method.step(members, [r[0] for _, r in ready], [r[1] for _, r in ready], step)
            for i, matched in zip(members, found, strict=True):
                driven[i].advance(matched)
    finally:
        for lane in lanes:
            lane.close()
    for d in driven:
        if d.interrupted is not None:
            raise d.interrupted
    return [d.outcome for d in driven if d.outcome is not None]
