"""`python -m theory.distilled`: distillation inside the perceptron; see `theory.distillation.study`."""

from typing import NoReturn

from shared.terminal.command import leave
from theory.distillation.study import main


def console() -> NoReturn:
    """The installed command `easy-or-hard-theory-distilled`: the same as `python -m theory.distilled`."""
    leave(main)


if __name__ == "__main__":
    console()
