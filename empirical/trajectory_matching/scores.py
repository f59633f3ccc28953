"""The score of a run from its evaluation points: the maximum (as published, which selects on the test set), the last,
and the one that held-out training images choose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from empirical.evaluation import Evaluation


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
    found = [row for row in rows if "test_accuracies" in row]
    if not found:
        return None

    def best(name: str) -> Mapping[str, Any]:
        return max(found, key=lambda row: fmean(row[f"{name}_accuracies"]))

    def of(row: Mapping[str, Any]) -> Evaluation:
        return Evaluation(network, tuple(row["test_accuracies"]))

    chosen = best("validation") if all("validation_accuracies" in row for row in found) else None
    points = {"maximum": best("test"), "last": found[-1], **({"chosen": chosen} if chosen else {})}
    return Scores(
        of(points["maximum"]),
        of(points["last"]),
        of(chosen) if chosen else None,
        {name: int(row["step"]) for name, row in points.items()},
        len(found),
    )


def skipped_share(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Share of iterations whose matching loss was above the threshold; None where there is no threshold."""
    found = [row["skipped"] for row in rows if "skipped" in row]
    return fmean(found) if found else None
