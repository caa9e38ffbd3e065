"""Three claims that no run of the book decides, and how tests read what a page shows."""

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


class Page(HTMLParser):
    """What a reader of HTML gets: texts by class of their tag, and the tags' attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        self.tags: list[tuple[str, dict]] = []
        self.open: list[tuple[str, list[str]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append((tag, values))
        if tag != "br":
            names = [tag, *(values.get("class") or "").split()]
            self.open.append((tag, names))
            for name in names:
                self.texts.setdefault(name, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        for name in {name for _, names in self.open for name in names}:
            self.texts[name][-1] += data

    def values(self, tag: str, attribute: str) -> list[str]:
        """An attribute of all tags of a kind that have it."""
        return [given[attribute] for name, given in self.tags if name == tag and attribute in given]
