"""Names that users gave (data sets, methods, labels) on their way into file names, pictures and Markdown.

A name may hold anything: a path, several lines, what a picture takes for mathematics, what Markdown takes for a link.
Each way out has its own dangers, and each is dealt with here and nowhere else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

LONGEST = 60
"""Most characters of a name in a file's name or at the head of a picture."""
PANEL = 24
"""Most characters of a name at a panel of a picture."""


def stem(name: str) -> str:
    """A name as part of a file's name: letters, digits, `.`, `_` and `-`; never empty, a path, or hidden."""
    clean = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    if len(clean) > LONGEST:
        clean = f"{clean[: LONGEST - 7]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return clean or "unnamed"


def stems(names: Iterable[str]) -> dict[str, str]:
    """A part of a file's name for each name, all of them different: of a path the last part, if that is enough.

    On some file systems names that differ in case alone are one, so they count as the same here.
    """
    wanted = sorted(set(names))
    found = {name: stem(re.split(r"[/\\]", name.rstrip("/\\"))[-1]) for name in wanted}
    for longer in (stem, lambda name: f"{stem(name)}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"):
        taken = [s.casefold() for s in found.values()]
        for name in wanted:
            if taken.count(found[name].casefold()) > 1:
                found[name] = longer(name)
    return found


def shown(name: str, most: int = LONGEST) -> str:
    """A name as a picture shows it: one line of at most `most` characters, dollars as dollars and no mathematics."""
    line = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    if len(line) > most:
        line = line[: most - 3] + "..."
    return line.replace("$", r"\$")


def markdown(text: str, start: bool = True) -> str:
    """Text as Markdown that shows it as it is, in one line: no emphasis, code, links, pictures, tags or entities.

    Brackets alone mean nothing and stay, so that intervals are read as they are; what would make a link of them does
    not. `start`: it stands where a heading, a quotation or a list could begin.
    """
    line = " ".join(text.split())
    line = re.sub(r"([\\`*<]|~(?=\S)|(?<=\S)~)", r"\\\1", line)
    line = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", line)
    line = re.sub(r"&(?=#?\w+;)", r"\\&", line)
    line = re.sub(r"\](?=[(\[:])", r"\\]", line)
    if not start:
        return line
    return re.sub(r"^(#{1,6}(?=\s|$)|[-+](?=\s|$)|\d+(?=[.)](\s|$))|>|={3,}|-{3,})", _escaped, line)


def _escaped(match: re.Match[str]) -> str:
    found = match.group(0)
    return f"{found}\\" if found.isdigit() else f"\\{found}"
