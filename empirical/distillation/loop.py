"""The one loop of every distillation: step, update, record, checkpoint, resume, stop on divergence.

A method (`empirical.distillation.method.Method`) turns the synthetic set and a step number into a loss and gradients;
the loop moves the synthetic tensors by SGD with momentum and knows no method by name. All randomness comes from
one generator, whose state is part of the checkpoint, so a run that is killed at any time and resumed ends bit
for bit (on a CPU) where an uninterrupted run ends. Nothing in a step waits for the device: metrics are read
when they are written.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Generator as Coroutine
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Generator, Tensor

from empirical.distillation.method import Matched, StepFailed, is_finite
from empirical.distillation.state import CHECKPOINT, OtherRun, State, first_state, refuse_difference, resume, save
from empirical.distillation.task import Distillation, Measurement, Probe, Schedule, Step
from empirical.synthetic.synthetic_set import SyntheticSet
from shared.records import metric_names as metric
from shared.records.records import MetricsWriter
from shared.terminal.atomic import remove_parts
from shared.terminal.progress import Reporter

__all__ = [
    "CHECKPOINT", "Distillation", "Diverged", "Interrupted", "Interruption", "Lane", "Measurement", "OtherRun", "Probe",
    "Request", "Schedule", "Step", "distil", "lane", "refuse_difference",
]  # fmt: skip

SHOWN = (metric.DISTANCE, metric.MATCHING_LOSS, metric.NORM, metric.PULL, metric.STUDENT_RATE, metric.LOSS)


class Diverged(ArithmeticError):  # noqa: N818
    """A loss, a gradient or an image stopped being finite; the set handed back is the last finite one."""

    exit_status = 4

    def __init__(self, reason: str, synthetic: SyntheticSet):
        super().__init__(reason)
        self.synthetic = synthetic


class Interrupted(Exception):  # noqa: N818
    """Ctrl-C or a termination signal; the run was saved and can be resumed."""

    exit_status = 130


Request = tuple[SyntheticSet, Generator, int]
"""What a method's `step` takes: synthetic set, generator, number of the step."""
Lane = Coroutine[Request, Matched, SyntheticSet]
"""One distillation, suspended at each step: yields what the step takes, is sent what it found."""


class _AtOnce(BaseException):
    """A signal that came during a measurement: nothing of the distillation is lost by breaking it off."""


@dataclass
class Interruption:
    """Turns the first SIGINT or SIGTERM into a flag that is looked at between steps; a second one acts as usual.

    A measurement, which may train networks for minutes, is broken off at once. Where a job of a cluster listens to
    SIGUSR2 (a handler is set), it counts too, and a signal that is repeated changes nothing: the cluster kills.
    """

    seen: bool = False
    _before: dict[int, Any] = field(default_factory=dict)
    _at_once: bool = False

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            listening = callable(signal.getsignal(signal.SIGUSR2))
            for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR2] if listening else [])):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        if signal.SIGUSR2 not in self._before:
            signal.signal(number, self._before[number])
        if self._at_once:
            self._at_once = False
            raise _AtOnce

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """For the block a signal, also one seen before, raises instead of waiting for the step's end."""
        self._at_once = True
        try:
            if self.seen:
                raise _AtOnce
            yield
        finally:
            self._at_once = False

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@torch.no_grad()
def _update(state: State, matched: Matched, steps: Mapping[str, Step]) -> None:
    """Moves the synthetic tensors, unless something is not finite: then nothing moves, from this step on.

    What is not finite comes first: a method that refuses a step, for a loss above its threshold, hides no divergence.
    """
    moved, tensors = {}, state.tensors()
    finite = is_finite(matched)
    sound = torch.ones_like(finite)
    for name, gradient in matched.gradients.items():
        velocity = steps[name].momentum * state.velocities[name] + gradient
        value = tensors[name] - steps[name].rate * velocity
        if (lowest := steps[name].lowest) is not None:
            value = value.clamp_min(lowest)
        good = torch.isfinite(value).all()
        if (above := steps[name].above) is not None:
            good = good & (value > above).all()
        state.failed[name] = ~good
        sound = sound & good
        moved[name] = value, velocity
    wanted = torch.ones_like(finite) if matched.accept is None else matched.accept
    state.alive &= finite & (sound | ~wanted)
    accepted = wanted & state.alive
    for name, (value, velocity) in moved.items():
        tensors[name].copy_(torch.where(accepted, value, tensors[name]))
        state.velocities[name] = torch.where(accepted, velocity, state.velocities[name])
        if (decay := steps[name].average) is not None:
            moved_average = decay * state.averages[name] + (1 - decay) * value
            state.averages[name] = torch.where(accepted, moved_average, state.averages[name])


class _Recorder:
    """Holds metrics on the device until they are written."""

    def __init__(self, writer: MetricsWriter, progress: Reporter):
        self._writer, self._progress = writer, progress
        self._rows: list[tuple[int, dict[str, Tensor | float]]] = []

    def add(self, step: int, matched: Matched) -> None:
        """Keeps a step's metrics."""
        self._rows.append((step, {metric.LOSS: matched.loss, **matched.metrics}))

    def write(self, done: int) -> str | None:
        """Writes what is kept, waiting once for the device; the first number that is not finite, in words."""
        tensors = [v for _, row in self._rows for v in row.values() if isinstance(v, Tensor)]
        values = iter(torch.stack([t.detach().double() for t in tensors]).tolist() if tensors else [])
        numbers: dict[str, float] = {}
        bad = None
        for step, row in self._rows:
            numbers = {name: next(values) if isinstance(v, Tensor) else v for name, v in row.items()}
            self._writer.write(step, **numbers)
            wrong = [name for name, value in numbers.items() if not math.isfinite(value)]
            bad = bad or (f"{wrong[0]} is not finite at step {step}" if wrong else None)
        self._rows.clear()
        self._progress.update(done, {name: numbers[name] for name in SHOWN if name in numbers})
        return bad


def _moved(start: Tensor, now: Tensor) -> float:
    """How far images are from the start, in units of its own size: root mean squares."""
    return float((now - start).norm() / start.norm().clamp_min(torch.finfo(start.dtype).tiny))


def _stopped(done: int, steps: int) -> str:
    return f"stopped after {done} of {steps} steps; --resume goes on from there"


def lane(task: Distillation, interruption: Interruption) -> Lane:
    """One distillation as a coroutine, so that several can go in step and share work.

    Result (at the coroutine's end) and errors are those of `distil`; `task.method.step` is not called here, and
    `interruption` is entered by whoever drives the lanes.
    """
    state, schedule, steps = first_state(task), task.schedule, task.method.steps
    waiting_costs = state.synthetic.images.device.type != "cpu"
    remove_parts(task.folder)
    if task.resume and (task.folder / CHECKPOINT).exists():
        resume(task, state)
    with (
        MetricsWriter(task.folder, resume_at=state.done) as writer,
        Reporter(task.title, steps, state.done, task.quiet) as progress,
    ):
        recorder = _Recorder(writer, progress)

        def measure() -> None:
            """What is due after this many steps; its rows are written again by the resumed run if it is broken off."""
            due = [m for m in task.measurements if m.is_due(state.done, steps)]
            if not due:
                return
            try:
                with interruption.at_once():
                    for measurement in due:
                        writer.write(state.done, **measurement.probe(state.reported(), state.done))
                    moved = _moved(task.start.images, state.reported().images)
                    writer.write(state.done, **{metric.IMAGES_MOVED: moved})
            except _AtOnce:
                if bad := recorder.write(state.done):
                    raise Diverged(bad, state.reported()) from None
                writer.sync()
                save(task, state)
                raise Interrupted(_stopped(state.done, steps)) from None

        measure()
        saved = written = time.monotonic()
        while state.done < steps:
            try:
                matched = yield state.synthetic, state.generator, state.done
            except StepFailed as failure:
                raise Diverged(str(failure), state.reported()) from failure
            _update(state, matched, task.steps)
            recorder.add(state.done, matched)
            state.done += 1
            now = time.monotonic()
            due = now - saved > schedule.checkpoint_seconds or interruption.seen or state.done == steps
            if due or not waiting_costs or now - written > schedule.record_seconds:
                bad = recorder.write(state.done)
                written = now
                if not state.alive:
                    raise Diverged(bad or state.why(task.steps), state.reported())
            if due:
                writer.sync()  # before the checkpoint that counts its rows
                save(task, state)
                saved = now
            if interruption.seen and state.done < steps:
                raise Interrupted(_stopped(state.done, steps))
            measure()
    return state.reported()


def distil(task: Distillation) -> SyntheticSet:
    """Runs a distillation to its end.

    Returns:
        The distilled set.

    Raises:
        Diverged: with the reason; its `synthetic` is the last finite set.
        Interrupted: by a signal, after saving.
        OtherRun: the checkpoint belongs to other settings.
        BadCheckpoint: it is damaged, or the record lacks steps that it counts.

    """
    with Interruption() as interruption:
        running = lane(task, interruption)
        try:
            request = next(running)
            while True:
                try:
                    matched = task.method.step(*request)
                except StepFailed as failure:
                    running.throw(failure)  # the lane knows the last finite state
                    raise
                request = running.send(matched)
        except StopIteration as end:
            return end.value
        finally:
            running.close()
