"""Network training against the published way, in one run: `python -m benchmarks.network_training`.

First a ConvNet of width 128 on 100 images of 3x32x32 (ten images a class): the published loop feeds a plain
autograd step from a data loader that indexes one image at a time; ours indexes the set by a permutation and
sums the gradient over micro-batches that fit the cache, compiled or not. One arithmetic thread, processor
time. Then 20 evaluation networks at once against one by one, wall-clock time, all threads.

Rounds alternate between the ways, so that a busy machine slows all alike; the ratio is of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from empirical.networks import build
from empirical.training.sgd import Job, Recipe, Strategy, choose, train

PLAIN = "published loop"


class OneByOne(Dataset[tuple[Tensor, Tensor]]):
    """The published programs' set of tensors, indexed one image at a time."""

    def __init__(self, images: Tensor, labels: Tensor):
        self.images, self.labels = images.detach().float(), labels.detach()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.labels[index]


def published_loop(network: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe) -> None:
    """Epochs as the public programs run them, their statistics included."""
    optimiser = torch.optim.SGD(
        network.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
    )
    loader = DataLoader(OneByOne(images, labels), recipe.batch, shuffle=True)
    for _ in range(recipe.epochs):
        for x, y in loader:
            output = network(x.float())
            loss = cross_entropy(output, y.long())
            (output.detach().argmax(1) == y).sum().item(), loss.item() * len(y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def compare(
    ways: Mapping[str, Callable[[], None]], rounds: int, clock: Callable[[], float], base: str
) -> None:
    """Time every way in alternation and print medians and ratios to `base`."""
    for way in ways.values():
        way()  # warm: allocations, compilation
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = clock()
            way()
            times[name].append(clock() - start)
    reference = statistics.median(times[base])
    for name, found in times.items():
        median = statistics.median(found)
        print(f"  {name:28s} {median:8.3f} s   {reference / median:5.2f}x", flush=True)


def generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(count)]


def one_network(epochs: int, rounds: int) -> None:
    shape, images = (3, 32, 32), torch.randn(100, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels, recipe = torch.arange(10).repeat_interleave(10), Recipe(epochs)
    print(f"ConvNet, width 128, 100 images of 3x32x32, {epochs} epochs, one thread, processor time")

    def ours(compiled: bool) -> Callable[[], None]:
        network = build("convnet", shape)
        return lambda: train([network], Job(images, labels, recipe), generators(1), compiled=compiled)

    plain = build("convnet", shape)
    torch.set_num_threads(1)
    ways = {
        PLAIN: lambda: published_loop(plain, images, labels, recipe),
        "micro-batches": ours(False),
        "micro-batches, compiled": ours(True),
    }
    compare(ways, rounds, time.process_time, PLAIN)


def many_networks(
    name: str,
    shape: tuple[int, int, int],
    ipc: int,
    epochs: int,
    rounds: int,
    threads: int,
    width: int | None,
) -> None:
    count = 20
    images = torch.randn(10 * ipc, *shape, generator=torch.Generator().manual_seed(0))
    labels, recipe = torch.arange(10).repeat_interleave(ipc), Recipe(epochs)
    variant = {} if width is None else {"width": width}
    torch.set_num_threads(threads)

    def way(strategy: Strategy) -> Callable[[], None]:
        networks = [build(name, shape, 10, generator, **variant) for generator in generators(count)]
        return lambda: train(
            networks, Job(images, labels, recipe), generators(count), strategy=strategy, compiled=False
        )

    chosen = choose([build(name, shape, 10, **variant)] * count, images.device)
    what = f"{name} {variant or ''}, {10 * ipc} images of {shape}"
    print(f"20 networks, {what}, {epochs} epochs, {threads} threads, wall-clock time")
    ways = {"one by one": way("one by one"), f"at once ({chosen})": way("auto")}
    compare(ways, rounds, time.perf_counter, "one by one")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    one_network(options.epochs, options.rounds)
    for name, shape, ipc, width in (
        ("convnet", (1, 16, 16), 1, 32),
        ("convnet", (1, 16, 16), 10, 32),
        ("convnet", (3, 32, 32), 1, None),
        ("lenet", (1, 28, 28), 10, None),
        ("mlp", (1, 28, 28), 1, None),
    ):
        many_networks(name, shape, ipc, options.epochs, options.rounds, options.threads, width)


if __name__ == "__main__":
    main()
