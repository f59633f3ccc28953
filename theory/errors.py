"""What `theory` raises besides ValueError, where catching it costs no import of compiled code."""

from __future__ import annotations


class NotConverged(RuntimeError):  # noqa: N818 - the name users catch
    """The saddle point was not found to the residual that `theory.solve` promises."""

    exit_status = 1


class ImpossibleMargin(ValueError):  # noqa: N818 - says what is wrong, as the others do
    """A margin that no sample of the pool has at this angle."""
