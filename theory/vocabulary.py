"""Names that a user may type, and the sentences about wrong ones: nothing here takes time to import."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence

KEEP_NAMES = ("hard", "easy", "random")
MARGINS = ("unsigned", "signed")
MOST_POINTS = 100_000  # of a curve


def nearest(name: str, allowed: Sequence[str]) -> str:
    """`", did you mean 'hard'?"` or nothing, for error sentences."""
    close = difflib.get_close_matches(name, allowed, n=1, cutoff=0.4)
    return f", did you mean {close[0]!r}?" if close else ""


def brief(count: int) -> str:
    """A whole number for a sentence, however long it is."""
    return str(count) if abs(count) < 10**12 else f"about 1e{int(math.log10(abs(count)))}"
