"""Three claims that no run of the book decides, and how tests read a table of claims."""

from html.parser import HTMLParser

from memhelpers.stats import Interval

ENTRY = {
    "id": "C3.1",
    "chapter": "04",
    "source": "Paper 2017, Fig. 3",
    "sentence": "Real digits are\n  less equal than <noise>.",
    "statistic": "Gini, real minus randX",
    "unit": "Gini",
    "direction": "above",
    "threshold": 0.1,
    "seeds": 5,
    "short": "Real digits are less <equal>",
}
SECOND = {**ENTRY, "id": "C3.2", "direction": "within", "threshold": [0.5, 2]}
SECOND |= {"under": "under this cut", "added_after_data": True}
OTHER = {**ENTRY, "id": "C1.1a", "chapter": "02", "direction": "below"}


def interval(low: float, high: float, n: int = 5, **changes: object) -> Interval:
    usual = {"estimate": (low + high) / 2, "low": low, "high": high, "level": 0.95, "n": n}
    return Interval(**{**usual, **changes})


class Table(HTMLParser):
    """The cells of a table, row by row, with their tags' attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.scopes: list[str | None] = []
        self.classes: set[str] = set()
        self.caption = ""
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.classes |= set((values.get("class") or "").split())
        if tag == "br":
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "th":
            self.scopes.append(values.get("scope"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "caption" in self.open:
            self.caption += data
        elif {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
