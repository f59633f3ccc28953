"""The compiled student against double backward, in float64."""

import os
import subprocess
import sys

import pytest
import torch

from empirical import networks
from empirical.networks import Functional
from empirical.trajectory_matching.compiled_student import Compiled, written_out
from empirical.trajectory_matching.student import Eager, TrainingLoss

# the first use of forward mode in a process makes the library warn of a deprecated function of its own
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")


def case(kind):
    g = torch.Generator().manual_seed(1)
    functional = Functional(networks.build("convnet", (1, 8, 8), 3, g, width=4, depth=2).double())
    theta = functional.flatten([p.detach() for p in functional.network.parameters()])
    x = torch.randn(5, 1, 8, 8, generator=g, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 1, 0]) if kind == "hard" else torch.randn(5, 3, generator=g, dtype=torch.float64)
    y = y.softmax(1) if kind == "probabilities" else y
    v = torch.randn(theta.shape, generator=g, dtype=torch.float64)
    return TrainingLoss(functional, kind), theta, x, y, v


@pytest.mark.parametrize("kind", ["hard", "logits", "probabilities"])
def test_written_out_loss_and_forward_mode(kind):
    loss, theta, x, y, v = case(kind)
    value = written_out(loss)
    assert float(value(theta, x, y)) == pytest.approx(float(loss(theta, x, y)), rel=1e-14)
    eager = Eager(loss).second(theta, x, y, lambda g: v, None, True, kind == "logits")

    def along(theta, x):
        return torch.func.jvp(lambda at: value(at, x, y), (theta,), (v,))[1]

    of_theta, of_x = torch.func.grad(along, argnums=(0, 1))(theta, x)
    assert (of_theta - eager.theta).norm() < 1e-12 * eager.theta.norm()
    assert (of_x - eager.inputs).norm() < 1e-12 * eager.inputs.norm()


def test_batch_norm_is_refused():
    network = networks.build("convnet", (1, 8, 8), 3, width=4, depth=2, norm="batch")
    with pytest.raises(ValueError, match="batch norm"):
        Compiled(TrainingLoss(Functional(network)))


def test_a_run_without_a_compiler_is_refused_in_one_sentence(tmp_path):
    environment = {**os.environ, "CXX": "/bin/false", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    words = ["--method", "mtt", "--compiled-student", "--device", "cpu", "--out", str(tmp_path / "run")]
    command = [sys.executable, "-m", "empirical.run", *words]
    found = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 2, found.stderr
    assert found.stderr.splitlines()[-1].startswith("error: nothing can be compiled for cpu")
    assert "leave out --compiled-student" in found.stderr
    assert [path.name for path in tmp_path.iterdir()] in ([], ["cache"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["hard", "logits"])
def test_compiled_equals_eager(kind):
    loss, theta, x, y, v = case(kind)
    compiled, eager = Compiled(loss), Eager(loss)
    value, gradient = compiled.first(theta, x, y)
    expected_value, expected = eager.first(theta, x, y)
    assert float(value) == pytest.approx(float(expected_value), rel=1e-12)
    assert (gradient - expected).norm() < 1e-12 * expected.norm()
    soft = kind == "logits"
    for wants_theta in (True, False):
        a = compiled.second(theta, x, y, lambda g: v, gradient, wants_theta, soft)
        b = eager.second(theta, x, y, lambda g: v, None, wants_theta, soft)
        for name in ("theta", "inputs", "labels"):
            ours, theirs = getattr(a, name), getattr(b, name)
            assert (ours is None) == (theirs is None)
            assert ours is None or (ours - theirs).norm() < 1e-11 * theirs.norm()
