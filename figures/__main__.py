"""``python -m figures NAME...``: draw figures into a folder as PDF, PNG and the numbers behind them as CSV.

``python -m figures --list`` names all figures and commands; a command (compare, difficulty, runs, ...) has flags of
its own: ``python -m figures compare --help``. ``--plugin FILE`` adds the figures of a file of one's own
(`figures.registry`, `examples/figure_of_your_own.py`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import tyro

from figures import registry
from figures.desk import Desk, Effort
from figures.limits import refuse_excess
from figures.style import make_writable
from shared.terminal.arguments import flags_named, read_arguments
from shared.terminal.command import command, leave
from shared.terminal.plugins import load_installed, named_plugins
from shared.terminal.start import loaded
from theory.vocabulary import nearest


@dataclass(frozen=True)
class Figures:
    """Draw figures: a group (theory) or single ones."""

    names: tyro.conf.Positional[tuple[str, ...]] = ("theory",)
    """Figures, or a group of them."""
    out: Path = Path("output/theory")
    """Folder to write to."""
    quick: bool = False
    """Fewer trials, alphas and cells: a look, not a result."""
    dimension: int = 200
    """Input dimension D of the simulations (even)."""
    trials: int | None = None
    """Trials a point; 100, or 10 with --quick."""
    seed: int = 0
    """Seed of the simulations."""
    workers: Annotated[int | None, tyro.conf.arg(help="Threads; one a processor by default.")] = None
    plugin: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """A Python file that registers figures; may be given several times."""
    list: bool = False
    """Name all figures and commands, what each shows and the files it writes, and stop."""

    def effort(self) -> Effort:
        """How much is simulated; ValueError if a number is out of range."""
        trials = (10 if self.quick else 100) if self.trials is None else self.trials
        if self.dimension < 4 or self.dimension % 2:
            raise ValueError(f"--dimension is {self.dimension}, must be even and at least 4")
        if trials < 2:
            raise ValueError(f"--trials is {trials}, must be at least 2 for a standard error")
        if self.seed < 0 or (self.workers is not None and self.workers < 1):
            raise ValueError(f"--seed is {self.seed} and --workers {self.workers}: must be >= 0 and >= 1")
        refuse_excess(dimension=self.dimension, trials=trials, seed=self.seed, workers=self.workers)
        return Effort(self.dimension, trials, 8 if self.quick else 20, self.seed, self.workers)

    def run(self) -> None:
        """Draw; ValueError before any work if a name or number is wrong."""
        for path in self.plugin:
            registry.load_plugin(path)
        if self.list:
            print("\n".join(_listed()))
            return
        wanted = _wanted(self.names)
        desk = Desk(self.out, self.quick, self.effort())
        draws = [registry.draw_of(name) for name in wanted]
        make_writable(self.out)
        start = time.monotonic()
        for draw in draws:
            print("wrote " + ", ".join(map(str, draw(desk))), flush=True)
        for remark in desk.remarks:
            print(remark)
        count = f"{len(wanted)} figure{'s' if len(wanted) != 1 else ''}"
        print(f"{count} in {time.monotonic() - start:.0f} s")


def _wanted(names: Sequence[str]) -> list[str]:
    """The figures that are meant, each once; ValueError for a name that is none."""
    entries, groups = registry.entries(), registry.groups()
    for name in names:
        if name in groups:
            continue
        if name not in entries:
            known = (*groups, *entries)
            raise ValueError(f"no figure is called {name!r}; there are {', '.join(known)}{nearest(name, known)}")
        if entries[name].is_command:
            raise ValueError(f"{name} is a command with flags of its own: python -m figures {name} ...")
    return list(dict.fromkeys(n for name in names for n in groups.get(name, (name,))))


def _listed() -> list[str]:
    """A line each: name, what it shows, group, files."""
    lines: list[str] = []
    entries = registry.entries().values()
    width = max(len(entry.name) for entry in entries)
    for is_command, title in ((False, "figures"), (True, "commands, each with flags of its own")):
        lines += ["", f"{title}:"] if lines else [f"{title}:"]
        for entry in (e for e in entries if e.is_command == is_command):
            files = f" ({', '.join(entry.writes)})" if entry.writes else ""
            group = f" [{entry.group}]" if entry.group else ""
            lines.append(f"  {entry.name:{width}}  {entry.said}{group}{files}")
    return lines


def parse(given: Sequence[str]) -> registry.Command:
    """What to draw; plugins are loaded first, so that their names are known.

    Raises:
        ValueError: a plugin cannot be loaded.
        SystemExit: status 2, unknown flag or a value of the wrong type.

    """
    plugins, rest = named_plugins(given)
    load_installed(registry.ENTRY_POINTS)
    for path in plugins:
        registry.load_plugin(path)
    entry = registry.entries().get(rest[0]) if rest else None
    if entry is not None and entry.is_command:
        kind = registry.command_of(entry.name)
        name, said, given = f"python -m figures {entry.name}", sys.modules[kind.__module__].__doc__, rest[1:]
    else:
        kind = Figures
        names = "\n".join(["", *_listed()])
        name, said = "python -m figures", f"{__doc__}{names}"
    chosen: registry.Command = read_arguments(lambda: tyro.cli(kind, prog=name, description=said, args=list(given)))
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status: 0, or 2 for a wrong value; all are in `shared.terminal.command`."""

    def body() -> None:
        chosen = parse(sys.argv[1:] if arguments is None else arguments)
        loaded()
        with flags_named(chosen):
            chosen.run()

    return command(body, "the same command goes on; what its folder keeps is not computed again", loads=True)


def console() -> NoReturn:
    """The installed command `easy-or-hard-figures`: the same as `python -m figures`."""
    leave(main)


if __name__ == "__main__":
    console()
