"""`python -m figures.tables FOLDER...`: the table of recorded runs; see `figures.runs.tables`."""

from figures.runs.tables import main
from shared.terminal.command import leave

if __name__ == "__main__":
    leave(main)
