"""What an experiment found: evaluations of each set over repetitions, for the record and for the reader."""

from dataclasses import dataclass, field
from typing import Any

from empirical.evaluation.protocol import Evaluation, spread
from shared.terminal.printing import Sheet


@dataclass
class Results:
    """Evaluations by what was evaluated, one list a repetition."""

    found: dict[str, list[Evaluation]] = field(default_factory=dict)

    def add(self, name: str, evaluation: Evaluation) -> None:
        """One more repetition of `name`."""
        self.found.setdefault(name, []).append(evaluation)

    def describe(self) -> dict[str, Any]:
        """For the record."""
        described: dict[str, Any] = {}
        for name, evaluations in self.found.items():
            accuracies = [list(e.accuracies) for e in evaluations]
            described[name] = {"accuracies": accuracies, **vars(spread(accuracies))}
        return described

    def table(self, title: str) -> Sheet:
        """Mean and both spreads, per cent."""
        drawn = Sheet(("set", "accuracy %", "std over networks", "std over distillations", "n"), title)
        for name, evaluations in self.found.items():
            s = spread([e.accuracies for e in evaluations])
            numbers = [
                f"{100 * x:.2f}" if x == x else "-" for x in (s.mean, s.std_networks, s.std_distillations)
            ]
            drawn.add_row(name, *numbers, f"{s.distillations} x {s.networks}")
        return drawn
