"""Which of a run's evaluation points stand for it: the best on the test set, the last, the best on held-out images.

Trajectory matching is published at the maximum over points, which selects on the test set; the other two do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from shared.records import metric_names as metric

MAXIMUM, LAST, CHOSEN = "maximum", "last", "chosen"


def evaluation_points(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Mapping[str, Any]], int]:
    """The rows of a run's metrics at those points, and how many points there are. Of equals the earliest counts.

    Args:
        rows: of the metrics, in order; points have `test_accuracies` and perhaps `validation_accuracies`, one
            number in [0, 1] for each evaluation network.

    Returns:
        `maximum` and `last`, and `chosen` if every point has validation accuracies; empty without any point.

    """
    found = [row for row in rows if metric.accuracies(metric.TEST) in row]
    if not found:
        return {}, 0

    def best(name: str) -> Mapping[str, Any]:
        return max(found, key=lambda row: fmean(row[metric.accuracies(name)]))

    points = {MAXIMUM: best(metric.TEST), LAST: found[-1]}
    if all(metric.accuracies(metric.VALIDATION) in row for row in found):
        points[CHOSEN] = best(metric.VALIDATION)
    return points, len(found)
