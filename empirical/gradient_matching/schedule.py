"""How long each loop of gradient matching is: the published table by images per class, and the warm-up rule.

An outer iteration starts from a fresh network and makes N_match matching steps (updates of the synthetic
images); between two of them the network is trained for N_net epochs on the synthetic set.
"""

from __future__ import annotations

from dataclasses import dataclass

CLASS_WISE = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""ipc -> (N_match, N_net) of DC and DSA."""

CONTRASTIVE = {**CLASS_WISE, 1: (10, 5)}
"""ipc -> (N_match, N_net) of DCC and DSAC, which update the images ten times as often at ipc 1."""


def loop_lengths(
    contrastive: bool, ipc: int, matching_steps: int | None = None, network_epochs: int | None = None
) -> tuple[int, int]:
    """(N_match, N_net): as given, else from the published table.

    Raises:
        ValueError: the table has no such ipc and not both numbers are given, or a number is out of range.

    """
    table = CONTRASTIVE if contrastive else CLASS_WISE
    if ipc not in table and (matching_steps is None or network_epochs is None):
        near = min(table, key=lambda known: (abs(known - ipc), known))
        raise ValueError(
            f"no published loop lengths for {ipc} images a class: give both --matching-steps and --network-epochs "
            f"(the nearest published, {near} a class, has {table[near][0]} and {table[near][1]})"
        )
    default = table.get(ipc, (0, 0))
    steps = default[0] if matching_steps is None else matching_steps
    epochs = default[1] if network_epochs is None else network_epochs
    if steps < 1 or epochs < 0:
        raise ValueError(
            f"matching steps are at least 1 and network epochs at least 0, not {steps} and {epochs}"
        )
    return steps, epochs


@dataclass(frozen=True)
class WarmUp:
    """When the contrastive form is used: from an outer iteration on, or from a matching step on, whichever is true.

    Attributes:
        iterations: outer iterations after which it is always used.
        steps: matching steps of any outer iteration after which it is used.

    """

    iterations: int = 250
    steps: int = 10

    def contrastive(self, iteration: int, step: int) -> bool:
        """Whether matching step `step` of outer iteration `iteration` (both from 0) is contrastive."""
        return iteration >= self.iterations or step >= self.steps


PUBLISHED_WARM_UP = WarmUp()
