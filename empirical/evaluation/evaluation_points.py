"""The score of a run from its evaluation points.

Three of them: the maximum (as published, which selects on the test set), the last, and the one that held-out training
images choose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from empirical.evaluation.protocol import Evaluation
from shared.records import metric_names as metric
from shared.records.evaluation_points import CHOSEN, LAST, MAXIMUM, evaluation_points


@dataclass(frozen=True)
class Scores:
    """Test accuracies at three of the evaluation points, and how many updates the images had had there.

    Attributes:
        maximum: at the point of the best mean test accuracy; comparable with published tables, biased upwards.
        last: at the end.
        chosen: at the point of the best mean validation accuracy; None if nothing was held out.
        steps: updates at those three points.
        points: number of evaluation points.

    """

    maximum: Evaluation
    last: Evaluation
    chosen: Evaluation | None
    steps: Mapping[str, int]
    points: int

    def labelled(self, name: str) -> dict[str, Evaluation]:
        """What a table shows, the last point first."""
        found = {f"{name}, last": self.last, f"{name}, max of {self.points} points": self.maximum}
        if self.chosen is not None:
            found[f"{name}, chosen on validation"] = self.chosen
        return found


def scores(rows: Sequence[Mapping[str, Any]], network: str) -> Scores | None:
    """From the rows of a run's metrics; None if there is no evaluation point. Of equals the earliest counts."""
    points, count = evaluation_points(rows)
    if not points:
        return None
    of = {name: Evaluation(network, tuple(row[metric.accuracies(metric.TEST)])) for name, row in points.items()}
    steps = {name: int(row[metric.STEP]) for name, row in points.items()}
    return Scores(of[MAXIMUM], of[LAST], of.get(CHOSEN), steps, count)


def skipped_share(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Share of iterations whose matching loss was above the threshold; None where there is no threshold."""
    found = [row[metric.SKIPPED] for row in rows if metric.SKIPPED in row]
    return fmean(found) if found else None
