"""A report as a list of blocks, rendered as Markdown and as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from figures.names import markdown

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 0.8rem 0; font-size: 13px; }
th, td { border-bottom: 1px solid #ddd; padding: 0.25rem 0.6rem; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #999; }
img { max-width: 100%; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } h3 { font-size: 1rem; }
""".strip()


class Block(Protocol):
    """A part of a page."""

    def markdown(self, folder: Path) -> str:
        """As Markdown in a file of `folder`."""
        ...

    def html(self) -> str:
        """As HTML."""
        ...


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the page's title."""

    text: str
    level: int = 2

    def markdown(self, folder: Path) -> str:
        """See `Block`."""
        return f"{'#' * self.level} {markdown(self.text)}"

    def html(self) -> str:
        """See `Block`."""
        return f"<h{self.level}>{html.escape(self.text)}</h{self.level}>"


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str

    def markdown(self, folder: Path) -> str:
        """See `Block`."""
        return markdown(self.text)

    def html(self) -> str:
        """See `Block`."""
        return f"<p>{html.escape(self.text)}</p>"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]

    def markdown(self, folder: Path) -> str:
        """See `Block`."""
        return "\n".join(f"- {markdown(item)}" for item in self.items)

    def html(self) -> str:
        """See `Block`."""
        return "<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in self.items) + "</ul>"


@dataclass(frozen=True)
class Table:
    """Rows of the same keys, which are the column headings."""

    rows: Sequence[Mapping[str, Any]]

    def markdown(self, folder: Path) -> str:
        """See `Block`."""
        columns = list(self.rows[0])
        lines = [
            [_in_table(c) for c in columns],
            ["---"] * len(columns),
            *([_in_table(cell(row[c])) for c in columns] for row in self.rows),
        ]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def html(self) -> str:
        """See `Block`."""
        columns = list(self.rows[0])
        head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell(row[c]))}</td>" for c in columns) + "</tr>" for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True)
class Picture:
    """A PNG file and what it shows."""

    path: Path
    caption: str

    def markdown(self, folder: Path) -> str:
        """See `Block`."""
        caption = markdown(self.caption)
        alternative = re.sub(r"(?<!\\)([][])", r"\\\1", caption)
        return f"![{alternative}]({quote(self.path.relative_to(folder).as_posix())})\n\n*{caption}*"

    def html(self) -> str:
        """See `Block`."""
        content = base64.b64encode(self.path.read_bytes()).decode()
        caption = html.escape(self.caption)
        return (
            f'<figure><img alt="{caption}" src="data:image/png;base64,{content}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )


def _in_table(text: str) -> str:
    return markdown(text, start=False).replace("|", "\\|")


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.3g}"
    return str(value)


def to_markdown(blocks: Sequence[Block], folder: Path) -> str:
    """The page as Markdown, to lie in `folder` beside its pictures."""
    return "\n\n".join(block.markdown(folder) for block in blocks) + "\n"


def to_html(blocks: Sequence[Block], title: str) -> str:
    """The page as one HTML file, pictures inside."""
    body = "\n".join(block.html() for block in blocks)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )
