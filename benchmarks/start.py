"""What a command costs before it computes: CPU time of whole processes, as ratios to importing what it stands on.

    python -m benchmarks.start

Best of several processes each. The first call compiles into an empty cache; the others find theirs full.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile

from rich.console import Console
from rich.table import Table

BARE = ("-c", "import numpy, numba, scipy.special")
TORCH = ("-c", "import torch")
BARE_NAME, TORCH_NAME = "bare imports: numpy, numba, scipy.special", "bare import: torch"
SOLVE = ("-m", "theory", "solve", "--alpha", "2")
HELP = (
    "theory", "theory solve", "theory.distilled", "figures", "figures compare", "figures runs", "figures.tables",
    "empirical.run", "empirical.sweep", "empirical.evaluate", "empirical.experts",
)  # fmt: skip
CASES = {BARE_NAME: BARE, TORCH_NAME: TORCH, "python -m theory solve --alpha 2, compiled before": SOLVE}
CASES |= {f"python -m {words} --help": ("-m", *words.split(), "--help") for words in HELP}
REPEATS = 5


def seconds(arguments: tuple[str, ...], cache: str, repeats: int = REPEATS) -> float:
    """Least CPU time of a Python process and its children, with compiled code kept in `cache`."""
    best = float("inf")
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Python's own bytecode is kept as well: a machine that writes none compiles every module at every start.
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONPYCACHEPREFIX": f"{cache}/bytecode"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


def run() -> dict[str, float]:
    """Measure and print; CPU seconds by case. About two minutes."""
    with tempfile.TemporaryDirectory() as cache:
        found = {"python -m theory solve --alpha 2, first call": seconds(SOLVE, cache, 1)}
        found |= {name: seconds(arguments, cache) for name, arguments in CASES.items()}
    bare = found[BARE_NAME]
    table = Table(title="Start of a command: CPU time of the whole process")
    for heading in ("case", "CPU s", "over bare imports"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for name, value in found.items():
        table.add_row(name, f"{value:.2f}", f"{value / bare:.2f}")
    Console(width=100).print(table)
    return found


if __name__ == "__main__":
    run()
