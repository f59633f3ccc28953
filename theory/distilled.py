"""`python -m theory.distilled`: distillation inside the perceptron; see `theory.distillation.study`."""

from shared.terminal.command import leave
from theory.distillation.study import main

if __name__ == "__main__":
    leave(main)
