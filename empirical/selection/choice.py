"""Which images are kept: the easiest, the hardest or a window between them, of a pool, by class or over all.

The pool of a kept fraction f is so large that f of it is kept: f = 0.2 at 10 images a class ranks 50 random ones. That
is the selection of the theory, where alpha counts what is kept. Without a fraction everything there is is ranked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

EASIEST, HARDEST, WINDOW = "easiest", "hardest", "window"
ORDERS = (EASIEST, HARDEST, WINDOW)


def choose(
    members: Sequence[Tensor],
    difficulty: Tensor,
    count: int,
    order: str,
    generator: Generator,
    fraction: float | None = None,
    start: float | None = None,
    names: Sequence[str] | None = None,
) -> tuple[Tensor, ...]:
    """Indices of the kept images of each class, [count] each, from easy to hard.

    Args:
        members: for each class the indices of its images.
        difficulty: [n], larger is harder; images without one (NaN) are in no pool.
        count: images a class.
        order: easiest, hardest or window.
        generator: of the pool, and of the order of equal images.
        fraction: kept fraction of the pool; None: the pool is the whole class.
        start: of a window, the share of the pool that is easier than all of it.
        names: of the classes, for messages.

    Raises:
        ValueError: a number is out of range, or a class is too small for the pool.

    """
    _check(count, order, fraction, start)
    chosen = []
    for label, own in enumerate(members):
        known = own[torch.isfinite(difficulty[own.cpu()]).to(own.device)]
        pool = math.ceil(count / fraction - 1e-9) if fraction is not None else len(known)
        if pool > len(known) or count > len(known):
            name = names[label] if names else str(label)
            at = "" if fraction is None else f" at --keep {fraction:g}"
            raise ValueError(
                f"{count} images a class{at} need {max(pool, count)} scored ones to choose from, but class {name} has "
                f"{len(known)}"
            )
        shuffled = known[torch.randperm(len(known), generator=generator, device=generator.device).to(known.device)]
        ranked = shuffled[:pool]
        ranked = ranked[torch.argsort(difficulty[ranked.cpu()], stable=True).to(ranked.device)]
        first = _first(len(ranked), count, order, start)
        chosen.append(ranked[first : first + count])
    return tuple(chosen)


def choose_over_all(
    members: Sequence[Tensor],
    difficulty: Tensor,
    count: int,
    order: str,
    generator: Generator,
    fraction: float | None = None,
    start: float | None = None,
) -> tuple[Tensor, ...]:
    """As `choose`, ranked over all classes together: `count` times the number of classes are kept, as they fall.

    A class may get any number of them, none too.
    """
    everything = torch.cat(list(members))
    (kept,) = choose([everything], difficulty, count * len(members), order, generator, fraction, start, ["all"])
    return tuple(kept[torch.isin(kept, own)] for own in members)


def _check(count: int, order: str, fraction: float | None, start: float | None) -> None:
    if count < 1:
        raise ValueError(f"images a class must be at least 1, got {count}")
    if order not in ORDERS:
        raise ValueError(f"images are kept as one of {', '.join(ORDERS)}, not {order!r}")
    if fraction is not None and not 0.0 < fraction <= 1.0:
        raise ValueError(f"--keep is a fraction in (0, 1], not {fraction:g}")
    if start is not None and not 0.0 <= start <= 1.0:
        raise ValueError(f"--window-start is a share in [0, 1], not {start:g}")


def _first(pool: int, count: int, order: str, start: float | None) -> int:
    """Place of the first kept image in the pool from easy to hard; a window that begins too late ends with the pool."""
    if order == EASIEST:
        return 0
    if order == HARDEST:
        return pool - count
    middle = (pool - count) // 2 if start is None else round(start * pool)
    return min(middle, pool - count)
