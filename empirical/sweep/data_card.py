"""What planning has to know of a data set, kept in the sweep's folder, so that a look at a sweep loads no data.

A card says sizes, labels a class, preprocessing and fingerprint. The stand-in made of it has images without content:
settings are resolved, cells named and costs reckoned with it as with the data; a job compares the fingerprint with that
of the data that it loads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from empirical.data.datasets import Dataset, Split
from empirical.data.preprocessing import Normalisation
from empirical.settings.settings import Settings
from shared.records.records import plain, write_json

FILE = "data.json"
Card = Mapping[str, Any]
_SPLITS = ("train", "test", "validation")


def source_of(settings: Settings) -> dict[str, Any]:
    """What names the data of a cell."""
    s = settings
    return plain(
        {"name": s.dataset, "root": s.data_root, "validation": s.validation, "train_images": s.train_images}
    )


def card_of(settings: Settings, dataset: Dataset) -> Card | None:
    """The card of a data set; None for one whose preprocessing is no normalisation."""
    pixels = dataset.preprocessing
    if not isinstance(pixels, Normalisation):
        return None
    splits = {name: getattr(dataset, name) for name in _SPLITS}
    return {
        "source": source_of(settings),
        "fingerprint": dataset.fingerprint,
        "shape": list(dataset.shape),
        "class_names": list(dataset.class_names),
        "sizes": {name: list(split.class_sizes) for name, split in splits.items() if split is not None},
        "mean": list(pixels.mean),
        "std": list(pixels.std),
        "flip": dataset.flip,
        "described": {n: plain(getattr(dataset, n)) for n in ("source", "root", "place", "held_out", "train_images")},
    }


def stand_in(card: Card) -> Dataset:
    """A data set without content, which planning cannot tell from the real one."""
    shape, classes = card["shape"], len(card["class_names"])

    def split(sizes: Sequence[int]) -> Split:
        labels = torch.repeat_interleave(torch.arange(classes), torch.tensor(sizes))
        return Split(torch.zeros((), dtype=torch.uint8).expand(len(labels), *shape), labels, classes)

    splits: dict[str, Split | None] = {name: split(sizes) for name, sizes in card["sizes"].items()}
    train, test = splits["train"], splits["test"]
    assert train is not None and test is not None
    pixels = Normalisation(tuple(card["mean"]), tuple(card["std"]))
    return Dataset(
        card["source"]["name"], train, test, splits.get("validation"), tuple(card["class_names"]), pixels,
        card["flip"], fingerprint=card["fingerprint"], **card["described"],
    )  # fmt: skip


class Cards:
    """The cards of a sweep's folder; called with settings it gives their data set, the stand-in where there is one.

    Args:
        root: the sweep's folder.
        load: settings -> the data set itself, where there is no card.

    """

    def __init__(self, root: Path, load: Callable[[Settings], Dataset]):
        self._path, self._load = root / FILE, load
        try:
            self._cards: list[Card] = json.loads(self._path.read_text(encoding="utf-8"))["cards"]
            self._made = [(card["source"], stand_in(card)) for card in self._cards]
        except (OSError, ValueError, KeyError, TypeError):  # none, or damaged: it is only kept to save time
            self._cards, self._made = [], []

    def __call__(self, settings: Settings) -> Dataset:
        """The data set of a cell, for planning."""
        source = source_of(settings)
        for named, dataset in self._made:
            if named == source:
                return dataset
        dataset = self._load(settings)
        if (card := card_of(settings, dataset)) is not None:
            self._cards.append(card)
        self._made.append((source, dataset))
        return dataset

    @property
    def cards(self) -> Sequence[Card]:
        """All that were read or made."""
        return self._cards

    def keep(self) -> None:
        """Writes them."""
        write_json(self._path, {"cards": self._cards})
