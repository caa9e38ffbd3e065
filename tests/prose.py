"""Numbers that stand typed in the prose of a page."""

import re
from pathlib import Path

from tools import notebooks

# What is no prose: matched text is removed before numbers are looked for.
NOT_PROSE = [
    r"\A---\n.*?\n---\n",  # front matter
    r"^(`{3,}|~{3,})(?!\{)[^\n]*\n.*?^\1",  # code blocks; directives hold prose
    r"\$\$.*?\$\$",
    r"\$[^$\n]+\$",
    r"(?:\{[\w:-]+\})?`[^`]+`",  # code and roles
    r"^#+ [^\n]*$",
    r"\]\([^)]*\)",
    r"https?://\S+",
    r"<[^>]+>",
    r"\barXiv[: ]+\d{4}\.\d{4,5}",
    r"\b(?:Secs?\.|Sections?|Figs?\.|Figures?|Tables?|Eqs?\.|[Cc]hapters?)\s*\d+(?:\.\d+)*[a-z]?",
    r"\b[A-Z]\d+\.\d+[a-z]?\b",  # claims
]
NUMBER = re.compile(r"(?<![\w.,])(?:\d*\.\d+(?:e-?\d+)?|\d+e-?\d+|\d+(?=\s?%))(\s?%)?")


def text(path: Path) -> str:
    """The Markdown of a page or of a notebook's text cells."""
    if path.suffix == ".md":
        return path.read_text()
    cells = notebooks.read(path).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def numbers(markdown: str) -> set[str]:
    """Decimal numbers and percentages in the prose, percentages with one space: `93 %`."""
    for pattern in NOT_PROSE:
        markdown = re.sub(pattern, " ", markdown, flags=re.MULTILINE | re.DOTALL)
    found = NUMBER.finditer(markdown)
    return {re.sub(r"\s?%", " %", match[0]) for match in found}
