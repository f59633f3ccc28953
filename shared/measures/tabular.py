"""Results as dictionaries and tables: what every result with numbers in its fields can do besides.

A frame is pandas', which nothing here needs otherwise: it is imported when one is asked for.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np


class Tabular:
    """`to_dict()` and `to_frame()` for a dataclass whose fields are numbers, arrays of one shape, or names."""

    def to_dict(self) -> dict[str, Any]:
        """The fields that are shown, by name; arrays as they are."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.repr}  # type: ignore[arg-type]

    def to_frame(self) -> Any:
        """A `pandas.DataFrame` with a row a point and a column a field; a rule is shown by its repr.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "to_frame needs pandas, which is not installed: pip install pandas, or use to_dict()", name="pandas"
            ) from None
        return pd.DataFrame(self._columns())

    def _columns(self) -> dict[str, Any]:
        """Columns of one length: what is a row's own (an array of more dimensions than the rest) is listed by index."""
        shape = np.shape(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]
        points = int(np.prod(shape))
        columns: dict[str, Any] = {}
        for name, value in self.to_dict().items():
            if value is None:
                continue
            array = np.asarray(value if isinstance(value, str | bool | int | float | np.ndarray) else repr(value))
            if array.ndim > len(shape):  # an axis of its own, as the columns of correlated noise
                for k in range(array.shape[-1]):
                    columns[f"{name}_{k}"] = array[..., k].reshape(points)
            else:
                columns[name] = np.broadcast_to(array, shape).reshape(points)
        return columns


def spread(values: Any) -> str:
    """A number, or how many there are and between which they lie."""
    array = np.asarray(values, dtype=float)
    if array.ndim == 0:
        return f"{array:.6g}"
    finite = array[np.isfinite(array)]
    if not finite.size:
        return f"{array.size} x nan"
    low, high = finite.min(), finite.max()
    return f"{low:.6g}" if low == high else f"{array.size} in [{low:.6g}, {high:.6g}]"


def label_axes(axes: Any, x: str, y: str) -> None:
    """Name the axes of a picture, those that have no name yet."""
    if not axes.get_xlabel():
        axes.set_xlabel(x)
    if not axes.get_ylabel():
        axes.set_ylabel(y)


def draw_curve(curve: Any, axes: Any, line: dict[str, Any]) -> Any:
    """Draw error against size on a matplotlib axis, both logarithmic, with standard errors where there are any.

    Args:
        curve: a `shared.measures.scaling.ScalingCurve`.
        axes: a `matplotlib.axes.Axes`; axes without labels get the names of what is drawn.
        line: what `axes.errorbar` takes; `label` is the strategy by default.

    Returns:
        The `matplotlib.container.ErrorbarContainer`.
    """
    line = {"label": curve.strategy, "marker": "" if curve.source == "theory" else "o", **line}
    known = np.any(np.asarray(curve.uncertainty) > 0.0)
    drawn = axes.errorbar(curve.size, curve.error, yerr=curve.uncertainty if known else None, **line)
    axes.set_xscale("log")
    axes.set_yscale("log")
    sizes = {"alpha": r"kept samples per dimension $\alpha$", "ipc": "images per class"}
    label_axes(axes, sizes[curve.unit], "test error")
    return drawn
