"""The synthetic set: images, labels and learning rate on disk and in memory, and its pictures (`export`)."""

from empirical.synthetic.synthetic_set import (
    FILE,
    BadSyntheticSet,
    SyntheticSet,
    from_noise,
    from_real,
    from_selection,
    initialise,
    load,
    save,
)

__all__ = [

    "FILE",
    "BadSyntheticSet",
    "SyntheticSet",
    "from_noise",
    "from_real",
    "from_selection",
    "initialise",
    "load",
    "save",
]
