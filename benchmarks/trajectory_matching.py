"""Trajectory matching against a plain unrolled loop, in one run: `python -m benchmarks.trajectory_matching`.

The reference is the published way: a functional network, N inner steps with `create_graph=True`, one backward pass
through all of them. Variants are timed in turn, best of several; memory is the peak resident size of a fresh process a
row, less what it has before the first iteration. Each row is one JSON line; the ratios are what counts.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from empirical import networks
from empirical.correction import SampleDifficultyCorrection
from empirical.networks import Functional
from empirical.runtime.heap import keep_freed_memory
from empirical.training.sgd import Job, Recipe, train
from empirical.trajectory_matching.adjoint import InnerLoop, InnerStep, SyntheticInputs, pull_back, student_rollout
from empirical.trajectory_matching.compiled_student import Compiled
from empirical.trajectory_matching.penalty import TrajectoryPenalty
from empirical.trajectory_matching.student import Chunked, Eager, TrainingLoss


class Case:
    """One size: a network, a synthetic set, a segment of a trajectory."""

    def __init__(
        self, width: int, ipc: int, steps: int, depth: int, side: int, classes: int, batch: int, device: str
    ):
        g = torch.Generator().manual_seed(0)
        network = networks.build("convnet", (3, side, side), classes, g, width=width, depth=depth).to(device)
        self.functional = Functional(network)
        self.loss = TrainingLoss(self.functional)
        self.start = self.functional.flatten([p.detach() for p in network.parameters()])
        self.target = self.start + 0.01 * torch.randn(self.start.shape, generator=g).to(device)
        self.images = torch.randn(classes * ipc, 3, side, side, generator=g).to(device)
        self.labels = torch.arange(classes, device=device).repeat_interleave(ipc)
        self.rate = torch.tensor(0.01, device=device)
        count = min(batch, len(self.images)) if batch else len(self.images)
        self.steps = [InnerStep(torch.arange(count, device=device))] * steps

    def fill(self, count: int) -> None:
        """As many images, of random classes."""
        g = torch.Generator().manual_seed(1)
        self.images = torch.randn(count, *self.images.shape[1:], generator=g).to(self.images)
        self.labels = torch.randint(int(self.labels.max()) + 1, (count,), generator=g).to(self.labels)

    def unrolled(self) -> None:
        """The reference."""
        images, rate = self.images.clone().requires_grad_(), self.rate.clone().requires_grad_()
        theta = self.start.clone().requires_grad_()
        for step in self.steps:
            loss = self.loss(theta, images[step.indices], self.labels[step.indices])
            (g,) = torch.autograd.grad(loss, theta, create_graph=True)
            theta = theta - rate * g
        scale = (self.start - self.target).square().sum()
        torch.autograd.grad((theta - self.target).square().sum() / scale, [images, rate])

    def adjoint(self, student: Eager | Compiled | Chunked, propagate: bool = True, weight: float = 0.0) -> None:
        """Ours."""
        loop = InnerLoop(student, SyntheticInputs(self.images, self.labels), self.steps, self.rate)
        rollout = student_rollout(loop, self.start)
        penalty = TrajectoryPenalty(SampleDifficultyCorrection(weight)) if weight else None
        pull_back(loop, rollout, self.target, propagate=propagate, penalty=penalty)


def variants(case: Case, names: Sequence[str], chunk: int) -> dict[str, Callable[[], None]]:
    """Name -> one iteration."""
    eager: Eager | Chunked = Chunked(Eager(case.loss), chunk) if chunk else Eager(case.loss)
    known: dict[str, Callable[[], None]] = {
        "unrolled": case.unrolled,
        "exact": lambda: case.adjoint(eager),
        "exact + SDC": lambda: case.adjoint(eager, weight=0.002),
        "TESLA": lambda: case.adjoint(eager, propagate=False),
    }
    if "compiled" in names:
        compiled = Compiled(case.loss)
        known["compiled"] = lambda: case.adjoint(compiled)
    if "compiled, CUDA graphs" in names:
        graphs = Compiled(case.loss, mode="reduce-overhead")
        known["compiled, CUDA graphs"] = lambda: case.adjoint(graphs)
    return {name: known[name] for name in names}


def timed(case: Case, names: Sequence[str], rounds: int, chunk: int) -> dict[str, float]:
    """Seconds of an iteration, best of `rounds`, the variants in turn."""
    wait = torch.cuda.synchronize if case.images.is_cuda else lambda: None
    best: dict[str, float] = {}
    for round_ in range(rounds + 1):  # the first warms up and compiles
        for name, once in variants_cached(case, names, chunk).items():
            wait()
            begun = time.perf_counter() if case.images.is_cuda else time.process_time()
            once()
            wait()
            now = time.perf_counter() if case.images.is_cuda else time.process_time()
            if round_:
                best[name] = min(best.get(name, float("inf")), now - begun)
    return best


_made: dict[int, dict[str, Callable[[], None]]] = {}


def variants_cached(case: Case, names: Sequence[str], chunk: int) -> dict[str, Callable[[], None]]:
    """The same objects for every round, so that a variant compiles once."""
    return _made.setdefault(id(case), variants(case, names, chunk))


def plain_training(case: Case, recipe: Recipe) -> None:
    """The usual eager loop: forward, mean cross-entropy, backward, the library's optimiser."""
    network, images, labels = case.functional.network, case.images, case.labels
    optimiser = torch.optim.SGD(
        network.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
    )
    for _ in range(recipe.epochs):
        for x, y in zip(images.split(recipe.batch), labels.split(recipe.batch), strict=True):
            loss = cross_entropy(network(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def first_order(case: Case, rounds: int, recipe: Recipe) -> dict[str, float]:
    """Processor seconds of a step of an expert or an evaluation network, medians of rounds in alternation: the plain
    loop, and `empirical.training.sgd.train`, which is what makes experts and evaluates, eager and compiled.
    Augmentation, the same for all, is left out.
    """

    def ours(compiled: bool) -> Callable[[], None]:
        network, generators = case.functional.network, [torch.Generator().manual_seed(0)]
        return lambda: train([network], Job(case.images, case.labels, recipe), generators, compiled=compiled)

    ways = {"plain": lambda: plain_training(case, recipe), "eager": ours(False), "compiled": ours(True)}
    steps = recipe.epochs * -(-len(case.images) // recipe.batch)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):  # the first warms up and compiles
        for name, way in ways.items():
            begun = time.process_time()
            way()
            if round_:
                times[name].append((time.process_time() - begun) / steps)
    return {name: statistics.median(found) for name, found in times.items()}


def extra_memory(case: Case, once: Callable[[], None]) -> float:
    """MiB that one iteration takes at its peak beyond what is held before."""
    if case.images.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        once()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew at what is resident now
    before = resident("VmRSS")
    once()
    return (resident("VmHWM") - before) / 1024


def resident(name: str) -> int:
    """KiB that this process holds (VmRSS) or held at most (VmHWM); Linux."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def memory_row(arguments: argparse.Namespace, name: str, steps: int) -> dict[str, float]:
    """Peak memory of one variant at one N, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.trajectory_matching", "--memory-of", name, "--steps", str(steps)]
    for option in ("width", "ipc", "depth", "side", "classes", "batch", "chunk", "device"):
        command += [f"--{option}", str(getattr(arguments, option))]
    command += ["--kept-heap"] * arguments.kept_heap
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def make_case(a: argparse.Namespace, steps: int) -> Case:
    return Case(a.width, a.ipc, steps, a.depth, a.side, a.classes, a.batch, a.device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("width", 32), ("ipc", 1), ("depth", 3), ("side", 32), ("classes", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--batch", type=int, default=0, help="synthetic images an inner step; 0: all")
    parser.add_argument("--chunk", type=int, default=0, help="images whose graph is held at once; 0: all")
    parser.add_argument("--steps", type=int, nargs="*", default=[10, 20, 40])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--variants", nargs="+", default=["unrolled", "exact", "exact + SDC", "TESLA"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--kept-heap", action="store_true", help="keep freed memory, as the commands do, for all")
    parser.add_argument("--first-order", action="store_true", help="also steps of experts and evaluation networks")
    parser.add_argument("--epochs", type=int, default=5, help="of the first-order training that is timed")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    if a.kept_heap:
        keep_freed_memory()
    if a.memory_of:
        case = make_case(a, a.steps[0])
        once = variants(case, [a.memory_of], a.chunk)[a.memory_of]
        stored = 4 * case.functional.size * a.steps[0] / 2**20
        print(json.dumps({"MiB": extra_memory(case, once), "of which stored vectors": stored}))
        return
    size = {n: getattr(a, n) for n in ("width", "ipc", "depth", "side", "classes", "batch", "chunk")}
    for steps in a.steps:
        seconds = timed(make_case(a, steps), a.variants, a.rounds, a.chunk)
        base = seconds.get("unrolled")
        for name, value in seconds.items():
            line: dict[str, object] = {**size, "N": steps, "variant": name, "ms an inner step": 1e3 * value / steps}
            if base:
                line["time / unrolled"] = value / base
            if not a.no_memory and not name.startswith("compiled"):
                line.update(memory_row(a, name, steps))
            print(json.dumps(line), flush=True)
    if a.first_order:
        # the synthetic set as an evaluation sees it, whole; and one batch of real images
        experts = Recipe(a.epochs, momentum=0.0, weight_decay=0.0)
        cases = {"evaluation": (make_case(a, 1), Recipe(a.epochs)), "experts": (make_case(a, 1), experts)}
        cases["experts"][0].fill(experts.batch)
        for name, (case, recipe) in cases.items():
            found = first_order(case, a.rounds, recipe)
            ratios = {f"plain / {way}": found["plain"] / found[way] for way in ("eager", "compiled")}
            line = {**size, "first order": name, "images a step": len(case.images), "ms plain": 1e3 * found["plain"]}
            print(json.dumps({**line, **ratios}), flush=True)


if __name__ == "__main__":
    main()
