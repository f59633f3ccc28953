"""Several coefficients of one seed that share work, against one run and against separate runs: ratios, one process.

    python -m benchmarks.sweep                          # 10 coefficients, digits, 1 image a class, laptop preset
    python -m benchmarks.sweep --real 256 --width 128   # the published sizes of a step

Distillation alone: evaluation is a set's own and cannot be shared. One step of one run and of all together comes
first, untimed, for what is imported and laid out once; then rounds alternate, so that a busy machine slows all alike,
and the smallest time of the rounds counts, in CPU seconds (and wall-clock), without compilation. The sets are
compared too.

Real gradients are common wherever the network does not depend on the synthetic images: in all steps at 1 image a
class or with --network-epochs 0, in the first matching step of each outer iteration otherwise (a tenth of the steps
at the published 10 images a class); the other steps cost as much as apart. The share is printed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from empirical.data.datasets import Dataset, load
from empirical.experiment.experiment import Experiment
from empirical.experiment.families import family_of
from empirical.experiment.make import make, make_together
from empirical.experiment.resolve import resolve
from empirical.settings.settings import Settings
from empirical.synthetic.synthetic_set import SyntheticSet

Way = Callable[[], list[SyntheticSet]]
COEFFICIENTS = (-0.01, 0.0, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 10.0)


def timed(work: Way) -> tuple[float, float, list[SyntheticSet]]:
    """CPU seconds, wall-clock seconds, and what was made."""
    cpu, wall = time.process_time(), time.perf_counter()
    made = work()
    return time.process_time() - cpu, time.perf_counter() - wall, made


def together(experiments: list[Experiment]) -> list[SyntheticSet]:
    """All at once; a divergence is an error here."""
    made = [outcome for outcome in make_together(experiments) if isinstance(outcome, SyntheticSet)]
    if len(made) < len(experiments):
        raise RuntimeError("a run diverged: choose smaller coefficients")
    return made


def ways(settings: Settings, dataset: Dataset, folder: Path, separate: bool) -> dict[str, Way]:
    """One run, all together and (if asked for) all one after the other: name -> what makes the sets."""
    experiments = [
        Experiment(resolve(replace(settings, sdc=c or None), dataset), dataset, folder / f"{c:g}", 0)
        for c in COEFFICIENTS
    ]
    found: dict[str, Way] = {
        "one": lambda: [make(experiments[len(experiments) // 2])],
        "together": lambda: together(experiments),
    }
    if separate:
        found["separate"] = lambda: [make(experiment) for experiment in experiments]
    return found


def main() -> None:
    """Print ratios and agreement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--real", type=int, default=64, help="real images a class")
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--network-epochs", type=int, help="0 shares everything at any ipc")
    parser.add_argument("--method", default="dsa")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-separate", action="store_true", help="time one run and all together only")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", message="a negative coefficient")
    dataset = load(options.dataset, data_root=options.data_root)
    settings = Settings(
        method=options.method, dataset=options.dataset, ipc=options.ipc, iterations=options.iterations,
        width=options.width, batch_real=options.real, network_epochs=options.network_epochs, probe_every=0,
        compiled="off", quiet=True,
    )  # fmt: skip
    best: dict[str, tuple[float, float]] = {}
    made: dict[str, list[SyntheticSet]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        first = replace(settings, iterations=1, matching_steps=1)
        for work in ways(first, dataset, Path(scratch) / "first", False).values():
            work()
        for number in range(options.rounds):
            timed_ways = ways(settings, dataset, Path(scratch) / str(number), not options.no_separate)
            for name, work in timed_ways.items():
                cpu, wall, made[name] = timed(work)
                before = best.get(name, (float("inf"), float("inf")))
                best[name] = min(cpu, before[0]), min(wall, before[1])
    count = len(COEFFICIENTS)
    print(f"{options.method} {options.dataset} ipc {options.ipc}, width {options.width}, {options.real} real a class")
    share = family_of(resolved := resolve(settings, dataset)).shared(resolved) or 0.0
    print(f"  real gradients common to all coefficients in {share:.0%} of the steps")
    for name, (cpu, wall) in best.items():
        runs = {"one": "one run", "together": f"{count} together", "separate": f"{count} separate"}[name]
        ratio = f"{cpu / best['one'][0]:5.2f} times one run"
        print(f"  {runs:12} {cpu:7.2f} s CPU  {wall:7.2f} s wall  {ratio} (wall {wall / best['one'][1]:.2f})")
    if "separate" in made:
        pairs = zip(made["together"], made["separate"], strict=True)
        print("  largest difference of an image:", max(float((a.images - b.images).abs().max()) for a, b in pairs))


if __name__ == "__main__":
    main()
