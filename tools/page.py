"""What the theme leaves open in a page: lean scripts, description, card, glossary links, a 404.

A Sphinx extension, named in `_config.yml`.
"""

import html
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

FONTS = ("source-sans-3-latin-wght-normal.woff2", "source-serif-4-latin-wght-normal.woff2")
FONTS = tuple(f"_static/fonts/{name}" for name in FONTS)
CHARTS = "_static/vega-bundle.js"
CARD = "_static/card.png"
GLOSSARY = "book/glossary"
DESCRIPTION = (
    "A paper on memorization in deep networks, run in front of the reader: every figure comes from "
    "code on its page, and every claim is held to a test."
)
# The chapter's sentence that says what was found, as its first screen gives it.
FINDING = re.compile(r'<p class="mem-finding">(.*?)</p>', re.DOTALL)
# What draws a figure where the book's own script is absent: 2 kB a figure that no page needs.
ALONE = re.compile(
    r"<script>\s*\(\(\) => \{\s*if \(document\.querySelector\('script\[src\*=.memhelpers\.js"
    r".*?</script>\n?",
    re.DOTALL,
)
# The search quotes a page's prose, not its code, formulas and tables.
PROSE = """addEventListener("DOMContentLoaded", () => {
  const other = "pre, details.hide, script, style, svg, table, .math, .headerlink, .mem-switch";
  Search.htmlToText = (page, anchor) => {
    const article = new DOMParser().parseFromString(page, "text/html").querySelector("article");
    article?.querySelectorAll(other).forEach((one) => one.remove());
    const part = (anchor && article?.querySelector(anchor)) || article;
    return part?.textContent.replace(/\\s+/g, " ") ?? "";
  };
})"""
# In the navigation: the number before a chapter's title.
NUMBERED = re.compile(r"(>\s*)(\d+) (?=[^<]*</a>)")
# The parts of MathJax named in `_config.yml`, once the first chart is drawn or is long in coming.
LATE = """addEventListener("load", function late() {
  const waits = document.querySelector(".mem-spec") && performance.now() < 5000;
  if (waits && !document.querySelector(".mem-chart[data-drawn]")) return setTimeout(late, 100);
  const script = {id: "MathJax-script", src: "%s"};
  document.head.append(Object.assign(document.createElement("script"), script));
})"""
# All styles of a page in one file: the browser paints nothing before it has each of them.
STYLES = "_static/book.css"
OWN = (
    "memhelpers.css",
    "figures.css",
    "claims.css",
    "live.css",
)  # whose names scripts of the page make, too
THEMES = ("basic.css", "styles/pydata-sphinx-theme.css", "pygments.css")
THEMES += ("styles/sphinx-book-theme.css", "copybutton.css", "mystnb.*.css")
# Scripts whose words are no names of the theme's styles, or that no page loads.
UNRELATED = ("vega-bundle.js", "fontawesome.js", "searchtools.js", "language_data.js")
RULE = re.compile(r"([^{};]*)\{([^{}]*)\}")
BRACKETED = re.compile(r":(?:not|is|where|has)\((?:[^()]|\([^()]*\))*\)")
NAME = re.compile(r"[.#](-?[A-Za-z_][\w-]*)")
STYLE = re.compile(r"<style>.*?</style>\n?", re.DOTALL)

# Pages that define words or only list things, and terms that are everyday words, too.
NOT_LINKED = (GLOSSARY, "book/api", "book/references", "book/scoreboard")
EVERYDAY = ("example", "fit", "fitted", "parameter", "claim", "scoreboard", "update", "paired")
EVERYDAY += ("replaced", "changed", "band", "depth", "width")

# Words in these are no prose: a link there would be wrong, or would lead nowhere new.
NO_PROSE = (
    *(nodes.title, nodes.literal, nodes.literal_block, nodes.reference, nodes.term, nodes.raw),
    *(nodes.math, nodes.math_block, nodes.caption, nodes.table, nodes.comment),
)


class GlossaryLinks(SphinxPostTransform):
    """Links the first word of each glossary term on a page to its entry."""

    default_priority = 200
    formats = ("html",)

    def run(self, **_: Any) -> None:
        """Go through the prose in reading order; each term is linked once."""
        if self.env.docname in NOT_LINKED:
            return
        anchors = self.anchors()
        for text in list(self.document.findall(nodes.Text)):
            if anchors and is_prose(text):
                text.parent.replace(text, list(linked(text.astext(), anchors)))

    def anchors(self) -> dict[str, str]:
        """List the terms, each with the address of its entry; two terms may share one."""
        glossary = self.app.builder.get_relative_uri(self.env.docname, GLOSSARY)
        found = {}
        for name, _, kind, page, anchor, _ in self.env.domains["std"].get_objects():
            if (kind, page) == ("term", GLOSSARY) and " and " not in name:
                for word in re.sub(r" \((\w+)\)$", r", \1", name).split(", "):
                    found[word] = f"{glossary}#{anchor}"
        return {word: place for word, place in found.items() if word not in EVERYDAY}


def is_prose(text: nodes.Text) -> bool:
    """Tell words of a sentence from code, headings, links and what cells put out."""
    parent = text.parent
    while parent is not None:
        if isinstance(parent, NO_PROSE) or {"cell", "mem-predict"} & set(parent.get("classes", ())):
            return False
        parent = parent.parent
    return True


def linked(text: str, anchors: dict[str, str]) -> Iterator[nodes.Node]:
    """Cut a text at the terms that it is the first to name, and take these from `anchors`."""
    while anchors and (found := pattern(anchors).search(text)):
        word = next(w for w in anchors if re.fullmatch(spelled(w), found[0]))
        place = anchors.pop(word)
        # A plural or another name of the same entry needs no second link.
        for other in [w for w in anchors if anchors[w] == place]:
            del anchors[other]
        yield nodes.Text(text[: found.start()])
        link = nodes.reference("", "", internal=True, refuri=place, classes=["mem-term"])
        link += nodes.inline("", found[0])
        yield link
        text = text[found.end() :]
    yield nodes.Text(text)


def pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Match any of the words, the longest first, also as a plural; not in an id such as L1.2."""
    choice = "|".join(spelled(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<![\w-])(?:{choice})(?![\w-]|\.\d)")


def spelled(word: str) -> str:
    """Match one term; names such as SGD are taken as they are written."""
    first = f"[{word[0].upper()}{word[0]}]" if word.islower() else re.escape(word[0])
    return first + r"\s+".join(map(re.escape, word[1:].split(" "))) + "s?"


def dress(app: Sphinx, pagename: str, _: str, context: dict[str, Any], __: Any) -> None:
    """Give a page its head, its scripts and its numbered navigation, after all other extensions."""
    context["metatags"] = context.get("metatags", "") + head(app, pagename, context)
    context["script_files"] = scripts(pagename, context)
    context["css_files"] = [type(sheet)(STYLES) for sheet in context.get("css_files", [])[:1]]
    if "body" in context:
        context["body"] = lean(context["body"])
    if "generate_toctree_html" in context:
        plain = context["generate_toctree_html"]
        context["generate_toctree_html"] = lambda *a, **k: NUMBERED.sub(
            r'\1<span class="mem-number">\2</span> ', str(plain(*a, **k))
        )


def lean(body: str) -> str:
    """Take out what a page has already: scripts that draw a figure alone, and repeated styles."""
    seen: set[str] = set()

    def first(style: re.Match[str]) -> str:
        known = style[0] in seen
        seen.add(style[0])
        return "" if known else style[0]

    return STYLE.sub(first, ALONE.sub("", body))


def head(app: Sphinx, pagename: str, context: dict[str, Any]) -> str:
    """Return the base of a page that any address may show, description, card, and what to load."""
    site = app.config.html_baseurl
    path = context["pathto"]
    found = FINDING.search(context.get("body") or "")
    said = re.sub(r"<[^>]+>", "", found[1]) if found else html.escape(DESCRIPTION)
    title = re.sub(r"<[^>]+>", "", context.get("title") or app.config.html_title)
    named = {"description": " ".join(said.split()), "twitter:card": "summary_large_image"}
    opened = {
        "og:type": "website",
        "og:title": title,
        "og:description": named["description"],
        "og:image": urljoin(site, CARD) if site else path(CARD, 1),
        "og:url": context.get("pageurl") or "",
    }
    # A missing page is shown at the address that was asked for, whatever its depth.
    lines = [f'<base href="{site or "/"}">'] if pagename == "404" else []
    lines += [f'<meta name="{name}" content="{text}">' for name, text in named.items()]
    lines += [f'<meta property="{name}" content="{text}">' for name, text in opened.items() if text]
    for font in FONTS:  # a letter that comes after the text moves it
        lines += [
            f'<link rel="preload" as="font" type="font/woff2" href="{path(font, 1)}" crossorigin>'
        ]
    if 'class="mem-spec"' in (context.get("body") or ""):
        lines += [f'<link rel="preload" as="script" fetchpriority="low" href="{path(CHARTS, 1)}">']
    return "\n".join(lines)


def scripts(pagename: str, context: dict[str, Any]) -> list[Any]:
    """Return the scripts that the page needs; those in files wait until its text is there."""
    formulas = 'class="math' in (context.get("body") or "")
    kept = []
    for script in context["script_files"]:
        body, name = script.attributes.get("body") or "", str(script.filename or "")
        if ("MathJax" in body or "mathjax" in name) and not formulas:
            continue
        if "mathjax" in name:
            late = LATE % context["pathto"]("_static/mathjax/startup.js", 1)
            script, name = type(script)(None, priority=script.priority, body=late), ""
        if pagename != "search":  # whose own scripts, further down, need the others at once
            if body.startswith("DOCUMENTATION_OPTIONS"):
                continue
            if name and "async" not in script.attributes:
                deferred = {**script.attributes, "defer": "defer"}
                script = type(script)(script.filename, priority=script.priority, **deferred)
        kept.append(script)
    if pagename == "search":
        kept.insert(0, type(kept[0])(None, body=PROSE))
    return kept


def styles(app: Sphinx, failed: Exception | None) -> None:
    """Write one style sheet: the book's own rules, and of the theme's those that a page can use."""
    if failed is not None or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    used = names(Path(app.outdir))
    theirs = [found for name in THEMES for found in sorted(static.glob(name))]
    sheets = [pruned(file.read_text(encoding="utf-8"), used) for file in theirs]
    sheets += [(static / name).read_text(encoding="utf-8") for name in OWN]
    text = re.sub(
        r"/\*.*?\*/|\n\s*", "", "\n".join(sheets).replace("url(../", "url("), flags=re.DOTALL
    )
    (Path(app.outdir) / STYLES).write_text(text, encoding="utf-8")


def names(folder: Path) -> set[str]:
    """Return the classes and ids of all pages, and the words of the scripts, which may set some."""
    found: set[str] = set()
    for page in folder.rglob("*.html"):
        for value in re.findall(r'(?:class|id)="([^"]*)"', page.read_text(encoding="utf-8")):
            found.update(value.split())
    for script in [*(folder / "_static").glob("*.js"), *(folder / "_static/scripts").glob("*.js")]:
        if script.name not in UNRELATED:
            found.update(re.findall(r"[A-Za-z_][\w-]*", script.read_text(encoding="utf-8")))
    return found


def pruned(sheet: str, used: set[str]) -> str:
    """Take out the rules with a class or an id that is not used."""

    def kept(rule: re.Match[str]) -> str:
        choices = re.split(r",(?![^(]*\))", rule[1])
        wanted = [one for one in choices if set(NAME.findall(BRACKETED.sub("", one))) <= used]
        return f"{','.join(wanted)}{{{rule[2]}}}" if wanted else ""

    return RULE.sub(kept, re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL))


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it."""
    app.add_post_transform(GlossaryLinks)
    app.connect("html-page-context", dress, priority=900)
    app.connect("build-finished", styles, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
