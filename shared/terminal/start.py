"""What holds from a command's first moment, while its modules are still being loaded, which takes seconds.

The packages that hold commands import this before anything else. In a program that merely uses them nothing is done.
"""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from pathlib import Path
from types import FrameType

from shared.terminal.streams import hold_descriptors

STOPPED = 130
"""Exit status of a command that Ctrl-C or SIGTERM ended, as a shell reports a program killed by SIGINT."""
PACKAGES = ("empirical", "figures", "theory")
SCRIPTS = "easy-or-hard-"
"""How the names of installed commands begin."""


def is_command(argv: list[str], started_with: list[str]) -> bool:
    """Whether Python is just loading one of the packages to run a module of it.

    Args:
        argv: `sys.argv`, which is `["-m", ...]` as long as `python -m` looks for its module.
        started_with: `sys.orig_argv`, all that Python was called with.

    """
    if Path(argv[0] if argv else "").name.startswith(SCRIPTS):  # an installed command
        return True
    module = ""
    for word, following in zip(started_with[1:], [*started_with[2:], ""], strict=False):
        if found := re.fullmatch(r"-[a-zA-Z]*?m(.*)", word):
            module = found[1] or following
            break
    return argv[:1] == ["-m"] and module.split(".")[0] in PACKAGES


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"error: stopped before any work; the same command starts again\n")
    os._exit(STOPPED)


def loaded() -> None:
    """Garbage is looked for from here on. While modules are loaded there is none, and looking costs a sixth of that."""
    gc.enable()


if is_command(sys.argv, sys.orig_argv):
    gc.disable()
    hold_descriptors()
    for _number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(_number) is not signal.SIG_IGN:
            signal.signal(_number, _leave)
