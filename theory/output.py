"""How the theory's commands show and store their rows: tables, JSON, CSV, files whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from pathlib import Path
from typing import Any

from shared.terminal.atomic import write_atomically
from shared.terminal.printing import Plain, Sheet

# Short headings of long columns; JSON and CSV keep the long names.
HEADINGS = {
    "support_vectors_per_dimension": "support/D",
    "local_exponent": "exponent",
    "theta_deg": "theta (deg)",
}


def print_json(content: Any) -> None:
    """JSON has no NaN: a number that does not exist is null."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items()}
        if isinstance(value, list):
            return [clean(v) for v in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    print(json.dumps(clean(content), indent=1))


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print rows, at least one, under the names of their columns, what is solved for first."""
    names = [column for column in ("keep", "alpha", "quantity") if column in rows[0]]
    columns = [*names, *(column for column in rows[0] if column not in names)]
    table = Sheet([HEADINGS.get(column, column) for column in columns], names=len(names), lines=False)
    for row in rows:
        table.add_row(*(f"{row[c]:.8g}" if isinstance(row[c], float) else str(row[c]) for c in columns))
    Plain().print(table)


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    """Rows, at least one, as a CSV file with the names of their columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and say so."""
    write_atomically(path, content)
    print(f"wrote {path}", file=sys.stderr)
