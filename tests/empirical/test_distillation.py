import json
import math

import pytest
import torch

from empirical.distillation.loop import (
    CHECKPOINT,
    Distillation,
    Diverged,
    Interrupted,
    Measurement,
    OtherRun,
    Schedule,
    Step,
    distil,
)
from empirical.distillation.method import Matched
from empirical.synthetic.synthetic_set import SyntheticSet


class Quadratic:
    """A method whose minimum is at its state, with noise: a stand-in that any loop can be checked with."""

    def __init__(self, steps=8, bad_at=None, stop_at=None, refuse=()):
        self.steps, self.bad_at, self.stop_at, self.refuse = steps, bad_at, stop_at, refuse
        self.target = torch.zeros(2, 1, 2, 2)
        self.calls = []

    def step(self, synthetic, generator, step):
        if step == self.stop_at:
            raise KeyboardInterrupt
        self.calls.append(step)
        self.target = self.target + torch.randn(self.target.shape, generator=generator)
        gradient = synthetic.images - self.target
        loss = gradient.square().sum() / 2
        if step == self.bad_at:
            gradient = gradient * math.nan
        accept = torch.tensor(step not in self.refuse)
        return Matched(loss, {"images": gradient}, {"distance": loss}, accept)

    def state(self):
        return {"target": self.target}

    def load_state(self, state):
        self.target = state["target"]


EAGER = Schedule(checkpoint_seconds=-1.0)


def start():
    return SyntheticSet(torch.ones(2, 1, 2, 2), torch.tensor([0, 1]), 2)


def go(method, folder, *, identity=None, resume=False, schedule=EAGER, **options):
    task = Distillation(
        method=method,
        start=start(),
        generator=torch.Generator().manual_seed(0),
        steps={"images": Step(0.1, 0.5)},
        folder=folder,
        identity=identity or {"ipc": 1},
        resume=resume,
        schedule=schedule,
        quiet=True,
        **options,
    )
    return distil(task)


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_it_is_sgd_with_momentum_for_exactly_the_steps_of_the_method(tmp_path):
    method = Quadratic(steps=5)
    made = go(method, tmp_path)
    assert method.calls == [0, 1, 2, 3, 4]
    image = torch.nn.Parameter(torch.ones(2, 1, 2, 2))
    optimiser = torch.optim.SGD([image], 0.1, momentum=0.5)
    other, generator = Quadratic(), torch.Generator().manual_seed(0)
    for step in range(5):
        image.grad = other.step(
            SyntheticSet(image.detach(), torch.tensor([0, 1]), 2), generator, step
        ).gradients["images"]
        optimiser.step()
    torch.testing.assert_close(made.images, image.detach())
    assert [row["step"] for row in rows(tmp_path)] == [0, 1, 2, 3, 4]


def test_the_start_is_not_changed(tmp_path):
    begin = start()
    task = Distillation(
        method=Quadratic(), start=begin, generator=torch.Generator(), steps={"images": Step(0.1)}, folder=tmp_path,
        identity={}, quiet=True,
    )  # fmt: skip
    distil(task)
    assert torch.equal(begin.images, torch.ones(2, 1, 2, 2))


@pytest.mark.parametrize("stop_at", [1, 4, 7])
def test_a_run_that_dies_and_resumes_ends_where_an_uninterrupted_one_ends(tmp_path, stop_at):
    whole = go(Quadratic(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        go(Quadratic(stop_at=stop_at), tmp_path / "cut")
    second = Quadratic()
    resumed = go(second, tmp_path / "cut", resume=True)
    assert second.calls == list(range(stop_at, 8))
    assert torch.equal(resumed.images, whole.images)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


def test_an_old_checkpoint_is_as_good(tmp_path):
    whole = go(Quadratic(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        go(Quadratic(stop_at=3), tmp_path / "cut")
    old = (tmp_path / "cut" / CHECKPOINT).read_bytes()
    with pytest.raises(KeyboardInterrupt):
        go(Quadratic(stop_at=6), tmp_path / "cut", resume=True)
    (tmp_path / "cut" / CHECKPOINT).write_bytes(old)
    resumed = go(Quadratic(), tmp_path / "cut", resume=True)
    assert torch.equal(resumed.images, whole.images)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


def test_a_finished_run_is_not_run_again(tmp_path):
    whole = go(Quadratic(), tmp_path)
    again = Quadratic()
    assert torch.equal(go(again, tmp_path, resume=True).images, whole.images)
    assert again.calls == []


def test_another_run_is_refused_with_both_values(tmp_path):
    go(Quadratic(), tmp_path, identity={"ipc": 1, "method": "dsa"})
    with pytest.raises(OtherRun, match="--ipc 1, not 10"):
        go(Quadratic(), tmp_path, identity={"ipc": 10, "method": "dsa"}, resume=True)


def test_divergence_stops_with_the_reason_and_the_last_finite_set(tmp_path):
    good = go(Quadratic(steps=3), tmp_path / "good")
    with pytest.raises(Diverged, match="step 4") as failure:
        go(Quadratic(bad_at=3), tmp_path / "bad")
    assert failure.value.exit_status == 4
    assert torch.equal(failure.value.synthetic.images, good.images)


def test_a_refused_step_moves_nothing(tmp_path):
    refused = go(Quadratic(steps=3, refuse=(2,)), tmp_path / "a")
    assert torch.equal(refused.images, go(Quadratic(steps=2), tmp_path / "b").images)


def test_a_signal_ends_the_step_saves_and_resumes(tmp_path):
    import os
    import signal

    class Signalled(Quadratic):
        def step(self, synthetic, generator, step):
            if step == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return super().step(synthetic, generator, step)

    whole = go(Quadratic(), tmp_path / "whole")
    with pytest.raises(Interrupted, match="3 of 8"):
        go(Signalled(), tmp_path / "cut", schedule=Schedule())
    assert torch.equal(go(Quadratic(), tmp_path / "cut", resume=True).images, whole.images)


def test_the_probe_comes_before_along_and_after(tmp_path):
    seen = []

    def probe(synthetic, done):
        seen.append(done)
        return {"mean": float(synthetic.images.mean())}

    go(Quadratic(steps=5), tmp_path, schedule=Schedule(), measurements=[Measurement(probe, 2), Measurement(probe, 0)])
    assert seen == [0, 2, 4, 5]
    assert [row["step"] for row in rows(tmp_path) if "mean" in row] == [0, 2, 4, 5]
