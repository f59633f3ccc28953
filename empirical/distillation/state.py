"""What changes during a distillation, and its checkpoint: written whole, taken up if it is this run's and undamaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from empirical.distillation.task import Distillation, Step
from empirical.runtime import checkpoint
from empirical.synthetic.synthetic_set import SyntheticSet
from shared.records import metric_names as metric
from shared.records.decoding import METRICS
from shared.records.records import plain, recorded_rows

CHECKPOINT = "checkpoint.safetensors"


class OtherRun(ValueError):  # noqa: N818
    """The folder's checkpoint belongs to other settings."""

    exit_status = 2


@dataclass
class State:
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

    def why(self, steps: Mapping[str, Step]) -> str:
        """Which tensor stopped the run."""
        wrong = [name for name, failed in self.failed.items() if bool(failed)]
        if "learning_rate" in wrong:
            advice = f": {steps['learning_rate'].advice}" if steps["learning_rate"].advice else ""
            return f"the student's learning rate fell to 0 or below, or is not finite, by step {self.done}{advice}"
        return f"{' and '.join(wrong) or 'a gradient'} (or the gradient) not finite by step {self.done}"

    def tensors(self) -> dict[str, Tensor]:
        """The synthetic tensors that move, by name."""
        return {name: getattr(self.synthetic, name) for name in self.velocities}


def first_state(task: Distillation) -> State:
    """As it is before the first step; the start itself is left alone."""
    owned = replace(task.start, **{name: getattr(task.start, name).detach().clone() for name in task.steps})
    return State(
        owned,
        {name: torch.zeros_like(getattr(owned, name)) for name in task.steps},
        task.generator,
        torch.tensor(True, device=owned.images.device),
        {name: getattr(owned, name).clone() for name, step in task.steps.items() if step.average is not None},
    )


def save(task: Distillation, state: State) -> None:
    """Writes the folder's checkpoint, in one step."""
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


def resume(task: Distillation, state: State) -> None:
    """Takes up the folder's checkpoint.

    Raises:
        OtherRun: it belongs to other settings.
        BadCheckpoint: it is damaged, or the record lacks steps that it counts.

    """
    path = task.folder / CHECKPOINT
    tensors, document = checkpoint.load(path)
    if not isinstance(document.get("identity"), dict):
        raise checkpoint.BadCheckpoint(f"{path} is damaged: it does not say which run it is of; {checkpoint.CURE}")
    refuse_difference(task.folder, document["identity"], plain(task.identity))
    done = document.get("done")
    if not isinstance(done, int) or not 0 <= done <= task.method.steps:
        raise checkpoint.BadCheckpoint(
            f"{path} is damaged: it counts {done} finished steps of a run of {task.method.steps}; {checkpoint.CURE}"
        )
    _refuse_lost_rows(task.folder, done)
    try:
        with torch.no_grad():
            for name, tensor in state.tensors().items():
                tensor.copy_(tensors[f"synthetic.{name}"])
        state.velocities = {name: tensors[f"velocity.{name}"].to(v) for name, v in state.velocities.items()}
        state.averages = {name: tensors[f"average.{name}"].to(e) for name, e in state.averages.items()}
        state.generator.set_state(tensors["generator"])
        task.method.load_state(_part(tensors, "method."))
    except KeyError as error:
        raise checkpoint.BadCheckpoint(f"{path} is damaged: it lacks {error}; {checkpoint.CURE}") from error
    except (RuntimeError, TypeError) as error:  # other shapes, or no state of a generator
        raise checkpoint.BadCheckpoint(f"{path} is damaged: {error}; {checkpoint.CURE}") from error
    state.done = done


def _refuse_lost_rows(folder: Path, done: int) -> None:
    """The record must have the loss of every step that a checkpoint counts, or a resumed run would have gaps.

    Raises:
        BadCheckpoint: naming the first step that is missing.

    """
    recorded = {row["step"] for row in recorded_rows(folder) if metric.LOSS in row}
    if missing := sorted(set(range(done)) - recorded):
        raise checkpoint.BadCheckpoint(
            f"{folder / METRICS} lacks step {missing[0]}, and {len(missing) - 1} more of the {done} that {CHECKPOINT} "
            f"counts: remove {CHECKPOINT} to start again from the beginning"
        )
