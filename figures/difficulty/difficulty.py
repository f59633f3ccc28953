"""``python -m figures difficulty``: two measures of difficulty on real data, and which samples gradient matching uses.

Trains an ensemble, scores real samples on it (`empirical.evaluation.difficulty_ensemble`), and draws

    difficulty-DATASET   GraDN against misclassification rate, with Spearman's rank correlation
    pairs-DATASET        GraDN, misclassification rate and loss, each two against each other
    classes-DATASET      GraDN against misclassification rate, a panel a class
    leaning-DATASET      share of the class gradient by decile of difficulty: what gradient matching looks at
    experts-DATASET      share of the experts' way by decile, in early, middle and late epochs: what trajectory matching
                         follows (with ``--experts``; training samples alone)

Published protocol (arXiv 2408.12483): ``--dataset cifar10 --network resnet18 --norm batch --networks 20 --epochs 20
--scoring test``: 20 ResNet-18, 1000 held-out samples a class; batch norm and 20 epochs are this project's choice where
the text is silent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from empirical.data.datasets import Dataset, load
from empirical.data.errors import DataError
from empirical.evaluation.difficulty_ensemble import Ensemble, Scores, score
from empirical.runtime.devices import device_named
from figures.difficulty.along_experts import expert_shares, experts_figure, segments_of
from figures.difficulty.leaning import DECILES, Leaning, leanings
from figures.difficulty.pairs import classes_figure, pairs_figure
from figures.limits import refuse_excess
from figures.names import shown, stems
from figures.registry import command
from figures.style import BLACK, BLUE, COLUMN, MARKERS, RED, look, make_writable, save
from shared.measures.correlation import Correlation, spearman
from shared.terminal.progress import reporting

BINS = 20
"""Most bins of the misclassification rate; fewer networks have fewer values."""


@command("difficulty")
@dataclass(frozen=True)
class Difficulty:
    """GraDN against misclassification on real data, and which samples the matching loss leans on."""

    dataset: str = "digits"
    """Name of a data set, or prefix of a local pair PREFIX_train.npz, PREFIX_test.npz."""
    networks: int = 20
    """Size of the ensemble; published: 20."""
    network: str = "convnet"
    """Architecture; published: resnet18."""
    width: int | None = None
    """Channels; by default 16 for convnet, the network's own otherwise."""
    norm: str | None = None
    """instance, batch, layer, group or none; by default the network's own; published (not stated there): batch."""
    epochs: int = 5
    """Of training; published (not stated there): 20."""
    batch: int = 32
    """Images a step."""
    learning_rate: float = 0.01
    """Of SGD with momentum 0.9, divided by 10 at half time."""
    scoring: str = "crossed"
    """crossed: training images on networks that never saw them; test: test images (published); train: in-sample."""
    samples: int | None = None
    """Most scored images a class, drawn at random; all by default; published: 1000, of CIFAR-100 100."""
    classes: int | None = None
    """Classes that are scored, drawn at random; all by default; published for CIFAR-100: 10."""
    experts: int = 4
    """Experts whose way is taken apart; 0 for none. Needs scores of training samples (--scoring crossed or train)."""
    quick: bool = False
    """Four networks of two epochs, fifty samples a class, two experts: minutes on two cores, to look at."""
    seed: int = 0
    """Of networks, training and draws."""
    data_root: Path | None = None
    """Where the data set is."""
    download: bool = False
    """Fetch the data set if it is missing."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N."""
    resamples: int = 1000
    """Of the bootstrap over samples."""
    out: Path = Path("output/difficulty")
    """Folder to write to; holds the ensemble's scores, and goes on from them."""

    def run(self) -> None:
        """Train, score, draw; ValueError before any long work if an input is wrong."""
        if self.quick:
            epochs, samples, experts = min(self.epochs, 2), min(self.samples or 50, 50), min(self.experts, 2)
            replace(self, quick=False, networks=4, epochs=epochs, samples=samples, experts=experts).run()
            return
        if self.experts < 0:
            raise ValueError(f"--experts is {self.experts}, must be at least 0")
        if self.networks < 4:
            raise ValueError(f"--networks is {self.networks}, must be at least 4: a network is judged by the others")
        if self.resamples < 100:
            raise ValueError(f"--resamples is {self.resamples}, must be at least 100")
        refuse_excess(
            networks=self.networks, resamples=self.resamples, epochs=self.epochs, batch=self.batch, seed=self.seed
        )
        ensemble = self.ensemble()
        try:
            dataset = load(
                self.dataset, data_root=self.data_root, download=self.download, device=device_named(self.device)
            )
        except DataError as error:
            raise ValueError(str(error)) from error
        pool = dataset.test if self.scoring == "test" else dataset.train
        smallest = min(*pool.class_sizes, self.samples or len(pool)) // (2 if self.scoring == "crossed" else 1)
        if smallest < DECILES:
            raise ValueError(
                f"a network scores {smallest} samples of the smallest class, deciles need at least {DECILES}"
            )
        ensemble.build(0, dataset)
        make_writable(self.out)
        with reporting(True, f"training and scoring {self.networks} networks") as report:
            scores = score(ensemble, dataset, self.out / "scores", report)
        self._draw(scores, dataset)
        if self.experts and self.scoring != "test":
            with reporting(True, f"the way of {self.experts} experts") as report:
                shares = expert_shares(ensemble, dataset, scores, self.experts, report)
            title = f"{shown(Path(dataset.name).name)}, {self.experts} {self.network}"
            name = stems([dataset.name])[dataset.name]
            paths = experts_figure(shares, ensemble.epochs, title, self.out, name)
            for (first, last), own in zip(segments_of(ensemble.epochs), shares, strict=True):
                hard, easy = 100 * own[:, -1].mean(), 100 * own[:, 0].mean()
                said = f"hardest decile carries {hard:.1f} % of the experts' way, easiest {easy:.1f} %"
                print(f"epoch {first} to {last}: {said}")
            print("wrote " + ", ".join(map(str, paths)), flush=True)

    def ensemble(self) -> Ensemble:
        """The settings of the ensemble; ValueError if one is out of range."""
        width = 16 if self.width is None and self.network.lower() == "convnet" else self.width
        variant = tuple((k, v) for k, v in (("norm", self.norm), ("width", width)) if v is not None)
        return Ensemble(
            self.dataset, self.scoring, self.networks, self.network, variant, self.epochs, self.learning_rate,
            self.batch, self.samples, self.seed, self.classes,
        )  # fmt: skip

    def _draw(self, scores: Scores, dataset: Dataset) -> None:
        name = stems([dataset.name])[dataset.name]
        found = correlations(scores, self.resamples, self.seed)
        parts = leanings(scores)
        title = f"{shown(Path(dataset.name).name)}, {self.networks} {self.network}"
        note = {
            "crossed": "training samples on networks that never saw them",
            "test": "test samples",
            "train": "training samples on networks trained on them",
        }[self.scoring]
        paths = agreement_figure(scores, found[0], f"{title}: {note}", self.out, name)
        paths += pairs_figure(scores, f"{title}: {note}", self.out, name, self.resamples, self.seed)
        called = dict(enumerate(dataset.class_names))
        paths += classes_figure(scores, title, self.out, name, self.resamples, self.seed, called)
        paths += leaning_figure(parts, f"{title}: {note}", self.out, name)
        print(
            f"{len(scores.labels)} {note}; mean misclassification rate {np.nanmean(scores.mean('misclassified')):.4f}"
        )
        for words, c in zip(
            ("same networks", "GraDN of one half of the networks, rate of the other"), found, strict=False
        ):
            print(f"Spearman, {words}: {c.value:.3f} [{c.low:.3f}, {c.high:.3f}] (95 %, n = {c.n})")
        for part in parts:
            print(
                f"hardest decile carries {100 * part.mean[-1]:.1f} ± {100 * part.se[-1]:.2f} % of the class gradient, "
                f"easiest {100 * part.mean[0]:.1f} ± {100 * part.se[0]:.2f} % ({WORDS[part.stage]}, "
                f"{WORDS[part.direction]}; 10 % without preference)"
            )
        print("wrote " + ", ".join(map(str, paths)), flush=True)


WORDS = {
    "fresh": "untrained networks",
    "trained": "trained networks",
    "vector": "one vector",
    "rows": "row by row",
}


def correlations(scores: Scores, resamples: int, seed: int) -> list[Correlation]:
    """Spearman's correlation over samples of GraDN and misclassification rate: on the same networks, on disjoint ones.

    The second is free of what the two share by being measured on the same networks: GraDN is the mean over one half of
    the networks, the rate over the other.
    """
    networks = range(len(scores.values["gradn"]))
    halves = [[k for k in networks if k // 2 % 2 == half] for half in (0, 1)]
    found = []
    for first, second in ((networks, networks), halves):
        gradn, rate = scores.mean("gradn", list(first)), scores.mean("misclassified", list(second))
        kept = np.isfinite(gradn) & np.isfinite(rate)
        found.append(spearman(gradn[kept], rate[kept], resamples=resamples, seed=seed))
    return found


def bins(rate: np.ndarray, gradn: np.ndarray, most: int = BINS) -> list[dict[str, Any]]:
    """Mean GraDN with its 95 % interval in bins of the misclassification rate: its values, or `most` equal steps."""
    steps = min(len(np.unique(rate)) - 1, most) or 1
    place = (
        np.rint(rate * steps).astype(int)
        if len(np.unique(rate)) > most + 1
        else np.unique(rate, return_inverse=True)[1]
    )
    found = []
    for k in np.unique(place):
        members = gradn[place == k]
        half = 1.96 * members.std(ddof=1) / np.sqrt(members.size) if members.size > 1 else np.nan
        found.append(
            {
                "rate": float(rate[place == k].mean()),
                "gradn": float(members.mean()),
                "half": float(half),
                "n": members.size,
            }
        )
    return found


def agreement_figure(scores: Scores, found: Correlation, title: str, folder: Path, name: str) -> list[Path]:
    """GraDN against misclassification rate: every sample, and means in bins; the CSV has a row a sample."""
    rate, gradn = scores.mean("misclassified"), scores.mean("gradn")
    kept = np.isfinite(rate) & np.isfinite(gradn)
    binned = bins(rate[kept], gradn[kept])
    spread = 0.35 * min(np.diff([b["rate"] for b in binned]), default=0.1)
    # Folded at the ends: no rate is below 0 or above 1, not even a jittered one.
    jittered = 1.0 - np.abs(1.0 - np.abs(rate[kept] + np.random.default_rng(0).uniform(-spread, spread, kept.sum())))
    with look():
        figure, axes = plt.subplots(figsize=(COLUMN, 2.5))
        axes.plot(
            100 * jittered, gradn[kept], ".", color="0.6", markersize=1.5, alpha=0.5, rasterized=True,
            label="samples (jittered)",
        )  # fmt: skip
        axes.errorbar(
            [100 * b["rate"] for b in binned], [b["gradn"] for b in binned], [np.nan_to_num(b["half"]) for b in binned],
            fmt="o", color=BLUE, capsize=1.5, label="mean ± 95 % interval",
        )  # fmt: skip
        axes.set_xlabel("misclassification rate over networks (%)")
        axes.set_ylabel(r"GraDN $\langle |\nabla_\theta \ell|_2 \rangle$")
        axes.set_ylim(bottom=0)
        interval = f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
        axes.set_title(f"{_headed(title)}\nSpearman {interval} (95 %, over samples; these networks)", fontsize=7)
        axes.legend(loc="lower right")
        rows = [
            {"sample": i, "label": label, "misclassified": r, "gradn": g}
            for i, label, r, g in zip(scores.indices[kept], scores.labels[kept], rate[kept], gradn[kept], strict=True)
        ]
        return save(figure, folder, f"difficulty-{name}", rows)


def _headed(title: str) -> str:
    """What was scored, and below it on which networks: one line has no room for both."""
    return "\n".join(shown(part) for part in title.split(": ", 1))


def leaning_figure(parts: list[Leaning], title: str, folder: Path, name: str) -> list[Path]:
    """Share of the class gradient by decile of difficulty, for untrained and trained networks."""
    with look():
        figure, axes = plt.subplots(figsize=(COLUMN, 2.9))
        axes.axhline(100 / DECILES, color=BLACK, linewidth=0.6, linestyle=":", label="no preference")
        for part in parts:
            colour = RED if part.stage == "trained" else BLUE
            dashed = part.direction == "rows"
            axes.errorbar(
                np.arange(1, len(part.mean) + 1), 100 * part.mean, 100 * part.se, color=colour, capsize=1.5,
                fmt=MARKERS[int(dashed)] + ("--" if dashed else "-"), markerfacecolor="none" if dashed else colour,
                label=f"{WORDS[part.stage]}, {WORDS[part.direction]}",
            )  # fmt: skip
        axes.set_xticks(range(1, DECILES + 1))
        axes.set_ylim(bottom=min(0.0, 100 * min(float(part.mean.min()) for part in parts)))
        axes.set_xlabel("decile of difficulty within the class (10: hardest)")
        axes.set_ylabel("share of the class gradient (%)")
        axes.set_title(f"{_headed(title)}\nmean ± s.e. over networks", fontsize=7)
        figure.legend(loc="outside lower center", ncols=2)  # curves leave no corner that is always free
        return save(figure, folder, f"leaning-{name}", [row for part in parts for row in part.rows()])
