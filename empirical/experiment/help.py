"""The part of a command's help that depends on what is registered: methods, data sets, networks, augmentations."""

from __future__ import annotations

from empirical import networks
from empirical.data import registry
from empirical.data.augmentation import OPERATIONS
from empirical.experiment.families import methods


def description(text: str) -> str:
    """A command's description, followed by what its names may be, plugins included."""
    listed = "; ".join(f"{m.name} ({m.summary})" if m.summary else m.name for m in methods())
    return (
        f"{text.strip()}\n\nMethods: {listed}.\n\nData sets: {', '.join(registry.SPECS)}, or a path to your files."
        f"\n\nNetworks: {', '.join(networks.names())}.\n\nAugmentations, joined by _: {', '.join(OPERATIONS)}."
    )
