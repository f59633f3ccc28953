"""What a command costs before it computes: CPU time of whole processes, as ratios to importing what it stands on.

    python -m benchmarks.theory_start

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
CASES = {
    "bare imports: numpy, numba, scipy.special": BARE,
    "python -m theory --help": ("-m", "theory", "--help"),
    "python -m theory solve --alpha 2, compiled before": ("-m", "theory", "solve", "--alpha", "2"),
}
REPEATS = 5


def seconds(arguments: tuple[str, ...], cache: str, repeats: int = REPEATS) -> float:
    """Least CPU time of a Python process and its children, with compiled code kept in `cache`."""
    best = float("inf")
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


def run() -> dict[str, float]:
    """Measure and print; CPU seconds by case. About half a minute."""
    with tempfile.TemporaryDirectory() as cache:
        found = {
            "python -m theory solve --alpha 2, first call": seconds(("-m", "theory", "solve", "--alpha", "2"), cache, 1)
        }
        found |= {name: seconds(arguments, cache) for name, arguments in CASES.items()}
    bare = found["bare imports: numpy, numba, scipy.special"]
    table = Table(title="Start of a command: CPU time of the whole process")
    for heading in ("case", "CPU s", "over bare imports"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for name, value in found.items():
        table.add_row(name, f"{value:.2f}", f"{value / bare:.2f}")
    Console(width=100).print(table)
    return found


if __name__ == "__main__":
    run()
