"""Which real samples the experts of trajectory matching lean on: shares of their way by decile of difficulty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray

from empirical.data.datasets import Dataset
from empirical.evaluation.difficulty_ensemble import Ensemble, Scores
from empirical.evaluation.segment_shares import Plain, segment_shares
from empirical.runtime.seeds import generator
from figures.difficulty.leaning import DECILES, within_classes
from figures.names import shown
from figures.style import BLACK, COLUMN, look, look_of, save

Array = NDArray[np.float64]


def segments_of(epochs: int) -> list[tuple[int, int]]:
    """The first epoch, a middle one and the last: early, middle and late starts of a segment."""
    return sorted({(0, 1), (epochs // 2, epochs // 2 + 1), (epochs - 1, epochs)})


def expert_shares(
    ensemble: Ensemble, dataset: Dataset, scores: Scores, experts: int, report: Callable[[float, float], None]
) -> Array:
    """Share of each decile of difficulty in the way of plain SGD, [segments, experts, deciles].

    Each row of deciles sums to 1. Experts learn the scored training samples alone; difficulty is the mean GraDN on the
    ensemble, ranked within each class.
    """
    difficulty = scores.mean("gradn")
    decile = within_classes(difficulty, scores.labels, DECILES)
    split = dataset.train.subset(torch.from_numpy(scores.indices))
    images = dataset.normalise(split.images)
    segments = segments_of(ensemble.epochs)
    found = np.zeros((len(segments), experts, DECILES))
    for k in range(experts):
        report(k, experts)
        network = ensemble.build(1000 + k, dataset).eval()
        recipe = Plain(ensemble.epochs, ensemble.learning_rate, ensemble.batch)
        order = generator(ensemble.seed, "difficulty", "expert", k)
        shares = segment_shares(network, images, split.labels, recipe, segments, order).double().numpy()
        for d in range(DECILES):
            found[:, k, d] = shares[:, decile == d].sum(axis=1)
    return found


def experts_figure(shares: Array, epochs: int, title: str, folder: Path, name: str) -> list[Path]:
    """Shares by decile for early, middle and late segments, mean and standard error over experts."""
    rows = []
    with look():
        figure, axes = plt.subplots(figsize=(COLUMN, 2.9))
        axes.axhline(100 / DECILES, color=BLACK, linewidth=0.6, linestyle=":", label="no preference")
        for k, ((first, last), own) in enumerate(zip(segments_of(epochs), shares, strict=True)):
            colour, marker = look_of(k)
            se = own.std(axis=0, ddof=1) / np.sqrt(len(own)) if len(own) > 1 else np.zeros(DECILES)
            mean = own.mean(axis=0)
            axes.errorbar(
                np.arange(1, DECILES + 1), 100 * mean, 100 * se, fmt=f"{marker}-", color=colour, capsize=1.5,
                label=f"epoch {first} to {last}",
            )  # fmt: skip
            rows += [
                {"first_epoch": first, "last_epoch": last, "experts": len(own), "decile": d + 1, "share": m, "se": s}
                for d, (m, s) in enumerate(zip(mean.tolist(), se.tolist(), strict=True))
            ]
        axes.set_xticks(range(1, DECILES + 1))
        axes.set_xlabel("decile of difficulty within the class (10: hardest)")
        axes.set_ylabel("share of the expert's way (%)")
        axes.set_title(f"{shown(title)}\nmean ± s.e. over {shares.shape[1]} experts", fontsize=7)
        figure.legend(loc="outside lower center", ncols=2)
        return save(figure, folder, f"experts-{name}", rows)
