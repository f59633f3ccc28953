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
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Generator as Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Generator, Tensor

from empirical.distillation.method import Matched, Method, StepFailed, is_finite
from empirical.runtime import checkpoint
from empirical.synthetic.synthetic_set import SyntheticSet
from shared.records import metric_names as metric
from shared.records.records import MetricsWriter, plain
from shared.terminal.progress import Reporter

CHECKPOINT = "checkpoint.safetensors"
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


class OtherRun(ValueError):  # noqa: N818
    """The folder's checkpoint belongs to other settings."""

    exit_status = 2


@dataclass(frozen=True)
class Step:
    """How one kind of synthetic tensor moves: v <- momentum v + gradient, x <- x - rate v.

    Attributes:
        rate: of the step.
        momentum: of the velocity.
        above: a value at or below this bound stops the run as diverged.
        lowest: values are kept from falling below this one.
        average: decay d of a running average e <- d e + (1 - d) x, which is then what is evaluated and handed
            back in place of x.

    """

    rate: float
    momentum: float = 0.5
    above: float | None = None
    lowest: float | None = None
    average: float | None = None


@dataclass
class _State:
    """Everything that changes during a run."""

    synthetic: SyntheticSet
    velocities: dict[str, Tensor]
    generator: Generator
    alive: Tensor
    averages: dict[str, Tensor] = field(default_factory=dict)
    failed: dict[str, Tensor] = field(default_factory=dict)
    done: int = 0

    def reported(self) -> SyntheticSet:
        """The set with running averages in place of what they average."""
        averages: dict[str, Any] = dict(self.averages)
        return replace(self.synthetic, **averages)

    def why(self) -> str:
        """Which tensor stopped the run."""
        wrong = [name for name, failed in self.failed.items() if bool(failed)]
        if "learning_rate" in wrong:
            return f"the student's learning rate fell to 0 or below, or is not finite, by step {self.done}"
        return f"{' and '.join(wrong) or 'a gradient'} (or the gradient) not finite by step {self.done}"

    def tensors(self) -> dict[str, Tensor]:
        """The synthetic tensors that move, by name."""
        return {name: getattr(self.synthetic, name) for name in self.velocities}


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
Request = tuple[SyntheticSet, Generator, int]
"""What a method's `step` takes: synthetic set, generator, number of the step."""
Lane = Coroutine[Request, Matched, SyntheticSet]
"""One distillation, suspended at each step: yields what the step takes, is sent what it found."""
Probe = Callable[[SyntheticSet, int], Mapping[str, Any]]
"""(synthetic set, steps done) -> numbers for the record; must draw from no generator of the run."""


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


@dataclass
class Interruption:
    """Turns the first SIGINT or SIGTERM into a flag that is looked at between steps; a second one acts as usual."""

    seen: bool = False
    _before: dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        signal.signal(number, self._before[number])

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@torch.no_grad()
def _update(state: _State, matched: Matched, steps: Mapping[str, Step]) -> None:
    """Moves the synthetic tensors, unless something is not finite: then nothing moves, from this step on."""
    moved, tensors = {}, state.tensors()
    finite = is_finite(matched)
    for name, gradient in matched.gradients.items():
        velocity = steps[name].momentum * state.velocities[name] + gradient
        value = tensors[name] - steps[name].rate * velocity
        if (lowest := steps[name].lowest) is not None:
            value = value.clamp_min(lowest)
        sound = torch.isfinite(value).all()
        if (above := steps[name].above) is not None:
            sound = sound & (value > above).all()
        state.failed[name] = ~sound
        finite = finite & sound
        moved[name] = value, velocity
    accepted = finite if matched.accept is None else finite & matched.accept
    refused = ~finite if matched.accept is None else ~finite & matched.accept
    state.alive &= ~refused
    accepted = accepted & state.alive
    for name, (value, velocity) in moved.items():
        tensors[name].copy_(torch.where(accepted, value, tensors[name]))
        state.velocities[name] = torch.where(accepted, velocity, state.velocities[name])
        if (decay := steps[name].average) is not None:
            moved_average = decay * state.averages[name] + (1 - decay) * value
            state.averages[name] = torch.where(accepted, moved_average, state.averages[name])


def _first_state(task: Distillation) -> _State:
    owned = replace(task.start, **{name: getattr(task.start, name).detach().clone() for name in task.steps})
    return _State(
        owned,
        {name: torch.zeros_like(getattr(owned, name)) for name in task.steps},
        task.generator,
        torch.tensor(True, device=owned.images.device),
        {name: getattr(owned, name).clone() for name, step in task.steps.items() if step.average is not None},
    )


def _save(task: Distillation, state: _State) -> None:
    tensors = {
        **{f"synthetic.{name}": tensor for name, tensor in state.tensors().items()},
        **{f"velocity.{name}": tensor for name, tensor in state.velocities.items()},
        **{f"average.{name}": tensor for name, tensor in state.averages.items()},
        **{f"method.{name}": tensor for name, tensor in task.method.state().items()},
        "generator": state.generator.get_state(),
    }
    document = {"done": state.done, "identity": plain(task.identity)}
    checkpoint.atomic_save(task.folder / CHECKPOINT, tensors, document)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def refuse_difference(folder: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any], typed: Any = ()) -> None:
    """Compares what a folder's run is with what is asked for, both as JSON values.

    Raises:
        OtherRun: they differ; it names the first flag (one `typed` otherwise before what follows from it), and both.

    """
    for key in sorted({*theirs, *ours}, key=lambda name: (name not in typed, name)):
        if theirs.get(key) != ours.get(key):
            flag = "data" if key == "data" else "--" + key.removeprefix("trajectory ").replace("_", "-")
            both = f"{flag} {theirs.get(key)}, not {ours.get(key)}"
            cure = "resume it with its own settings or choose another folder"
            raise OtherRun(f"{folder} holds a run with {both}: {cure}")


def _resume(task: Distillation, state: _State) -> None:
    tensors, document = checkpoint.load(task.folder / CHECKPOINT)
    refuse_difference(task.folder, document["identity"], plain(task.identity))
    with torch.no_grad():
        for name, tensor in state.tensors().items():
            tensor.copy_(tensors[f"synthetic.{name}"])
    velocities = _part(tensors, "velocity.")
    state.velocities = {name: velocities[name].to(v) for name, v in state.velocities.items()}
    averages = _part(tensors, "average.")
    state.averages = {name: averages[name].to(e) for name, e in state.averages.items()}
    state.generator.set_state(tensors["generator"])
    task.method.load_state(_part(tensors, "method."))
    state.done = document["done"]


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


def lane(task: Distillation, interruption: Interruption) -> Lane:
    """One distillation as a coroutine, so that several can go in step and share work.

    Result (at the coroutine's end) and errors are those of `distil`; `task.method.step` is not called here, and
    `interruption` is entered by whoever drives the lanes.
    """
    state, schedule, steps = _first_state(task), task.schedule, task.method.steps
    waiting_costs = state.synthetic.images.device.type != "cpu"
    if task.resume and (task.folder / CHECKPOINT).exists():
        _resume(task, state)
    with (
        MetricsWriter(task.folder, resume_at=state.done) as writer,
        Reporter(task.title, steps, state.done, task.quiet) as progress,
    ):
        recorder = _Recorder(writer, progress)

        def measure() -> None:
            for measurement in task.measurements:
                if measurement.is_due(state.done, steps):
                    writer.write(state.done, **measurement.probe(state.reported(), state.done))

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
            save = now - saved > schedule.checkpoint_seconds or interruption.seen or state.done == steps
            if save or not waiting_costs or now - written > schedule.record_seconds:
                bad = recorder.write(state.done)
                written = now
                if not state.alive:
                    raise Diverged(bad or state.why(), state.reported())
            if save:
                _save(task, state)
                saved = now
            if interruption.seen and state.done < steps:
                raise Interrupted(f"stopped after {state.done} of {steps} steps; --resume goes on from there")
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
