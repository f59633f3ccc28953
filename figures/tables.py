"""`python -m figures.tables FOLDER...`: the table of recorded runs; see `figures.runs.tables`."""

from typing import NoReturn

from figures.runs.tables import main
from shared.terminal.command import leave


def console() -> NoReturn:
    """The installed command `easy-or-hard-figures-tables`: the same as `python -m figures.tables`."""
    leave(main)


if __name__ == "__main__":
    console()
