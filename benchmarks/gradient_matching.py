"""A gradient-matching step against the same arithmetic written plainly, in one run: ratios and agreement.

    python -m benchmarks.gradient_matching                 # width 128, 3x32x32, 10 classes x 256 real images
    python -m benchmarks.gradient_matching --classes 4 --threads 1

The baseline goes class by class: one forward and backward pass over the class's whole real batch, one over
its synthetic images with a graph, the distance row by row of each layer, and a sum over classes. Rounds
alternate, so that a busy machine slows all alike; times are the smallest of the rounds, in wall-clock and in
CPU seconds.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from empirical import networks
from empirical.gradient_matching.class_gradients import Execution, class_gradients
from empirical.gradient_matching.distances import layerwise
from empirical.runtime.heap import keep_freed_memory

Step = Callable[[nn.Module, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def plain_distance(synthetic: tuple[Tensor, ...], real: tuple[Tensor, ...]) -> Tensor:
    """The layer-wise distance, layer by layer."""
    total = torch.zeros((), dtype=real[0].dtype)
    for a, b in zip(synthetic, real, strict=True):
        if a.dim() > 1:
            rows, others = a.flatten(1), b.flatten(1)
            total = total + (1 - (rows * others).sum(1) / (rows.norm(dim=1) * others.norm(dim=1) + 1e-6)).sum()
    return total


def plain_step(network: nn.Module, synthetic: Tensor, real: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and image gradient of DC, class by class."""
    parameters = list(network.parameters())
    loss = torch.zeros((), dtype=real.dtype)
    for images, own, label in zip(real, synthetic, labels, strict=True):
        target = torch.autograd.grad(cross_entropy(network(images), label.expand(len(images))), parameters)
        target = tuple(g.detach() for g in target)
        ours = torch.autograd.grad(
            cross_entropy(network(own), label.expand(len(own))), parameters, create_graph=True
        )
        loss = loss + plain_distance(ours, target)
    return loss.detach(), torch.autograd.grad(loss, synthetic)[0]


def our_step(execution: Execution) -> Step:
    """The same by the project's class gradients."""

    def step(network: nn.Module, synthetic: Tensor, real: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        target = class_gradients(network, real, labels, False, execution=execution)
        ours = class_gradients(network, synthetic, labels, True, execution=execution)
        loss = layerwise(ours, target).sum()
        return loss.detach(), torch.autograd.grad(loss, synthetic)[0]

    return step


def relative(a: Tensor, b: Tensor) -> float:
    """Relative 2-norm of a difference."""
    return float((a - b).norm() / b.norm())


def problem(
    options: argparse.Namespace, ipc: int, dtype: torch.dtype
) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """Network, synthetic and real images, labels."""
    generator = torch.Generator().manual_seed(0)
    shape = (3, 32, 32)
    network = networks.build("convnet", shape, 10, generator, width=options.width).to(dtype)
    synthetic = torch.randn(options.classes, ipc, *shape, generator=generator).to(dtype).requires_grad_()
    real = torch.randn(options.classes, options.real, *shape, generator=generator).to(dtype)
    return network, synthetic, real, torch.arange(options.classes)


def agreement(options: argparse.Namespace) -> None:
    """Every strategy against the plain step, in float64 on a small problem."""
    small = argparse.Namespace(width=16, classes=3, real=20)
    for strategy in ("loop", "vmap", "grouped"):
        network, synthetic, real, labels = problem(small, 2, torch.float64)
        loss, gradient = plain_step(network, synthetic, real, labels)
        ours, found = our_step(Execution(strategy))(network, synthetic, real, labels)  # type: ignore[arg-type]
        errors = f"loss {relative(ours, loss):.1e}  image gradient {relative(found, gradient):.1e}"
        print(f"float64 {strategy:8} {errors}")


def steps(options: argparse.Namespace) -> dict[str, Step]:
    """What is timed, by name; the first is the baseline."""
    chosen = {"plain loop": plain_step, "micro-batched, channels last": our_step(Execution())}
    if not options.no_compile:
        chosen["the same, compiled"] = our_step(Execution(compiled=True))
    if options.bfloat16:
        chosen["compiled, bfloat16 real side"] = our_step(Execution(compiled=True, bfloat16=True))
    return chosen


def compare(options: argparse.Namespace, ipc: int) -> None:
    """Time all steps on one problem and print ratios to the first, and how far the results are from its."""
    arguments = problem(options, ipc, torch.float32)
    chosen = steps(options)
    for step in list(chosen.values())[2:]:  # compile before the clock runs
        step(*arguments)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
    results: dict[str, tuple[Tensor, Tensor]] = {}
    for _ in range(options.rounds):
        for name, step in chosen.items():
            wall, cpu = time.perf_counter(), time.process_time()
            results[name] = step(*arguments)
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    base = next(iter(chosen))
    base_wall, base_cpu = (min(column) for column in zip(*times[base], strict=True))
    for name in chosen:
        wall, cpu = (min(column) for column in zip(*times[name], strict=True))
        errors = [relative(a, b) for a, b in zip(results[name], results[base], strict=True)]
        print(
            f"ipc {ipc:2}  {name:30} {wall:6.2f} s wall ({base_wall / wall:4.2f}x) "
            f"{cpu:6.2f} s CPU ({base_cpu / cpu:4.2f}x)  "
            f"loss {errors[0]:.0e}  image gradient {errors[1]:.0e}",
            flush=True,
        )


def main() -> None:
    """Print agreement and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--real", type=int, default=256, help="real images a class")
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--kept-heap", action="store_true", help="keep freed memory, as the commands do, for all")
    parser.add_argument("--bfloat16", action="store_true", help="also the real side in mixed precision")
    options = parser.parse_args()
    if options.kept_heap:
        keep_freed_memory()
    torch.set_num_threads(options.threads)
    agreement(options)
    size = f"{options.classes} classes x {options.real} real images"
    print(f"width {options.width}, {size}, {options.threads} threads")
    for ipc in options.ipc:
        compare(options, ipc)


if __name__ == "__main__":
    main()
