"""`python -m benchmarks.theory` (`make bench-theory`): the theory's speed as ratios, all in one run."""

from __future__ import annotations

import platform

from rich.console import Console
from rich.table import Table

from benchmarks import saddle_point, start, theory_simulation

ASKED = (25, 200)  # the ratios this project set itself


def main() -> None:
    """Print the tables."""
    console = Console(width=160)
    console.print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    table = Table(title="Saddle point: nested adaptive quadrature, warm-started root finder, over ours (CPU time)")
    for heading in (
        "case",
        "ours, ms a point",
        "baseline, ms a point",
        "times faster",
        "asked",
        "our error",
        "its error",
    ):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for row, asked in zip(saddle_point.run(), ASKED, strict=True):
        table.add_row(
            row.case,
            f"{row.ours_ms:.3f}",
            f"{row.baseline_ms:.1f}",
            f"{row.ratio:.0f}",
            str(asked),
            f"{row.ours_error:.0e}",
            f"{row.baseline_error:.0e}",
        )
    table.caption = "errors: largest relative error of the test error, against the published equations solved to 1e-13"
    console.print(table)
    theory_simulation.run()
    start.run()


if __name__ == "__main__":
    main()
