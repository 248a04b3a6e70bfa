"""Reads docs/tutorial/*.md and docs/labs/*.md, the one source of the tutorial and of the labs, and makes pages of them.

A step is a heading followed by ``<!-- step: NAME -->``. Its paragraphs begin with **Do.**, **Predict.** (with a
numbered list of options and the answer in ``<details>``), **See.**, **Why.**, **In the code.** and **Check.**
A lab is a file whose title is followed by ``<!-- lab: NAME kind: KIND -->``. Its hints and its solution are in
``<details>``, too.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markupsafe import Markup

from pickup_learn import glossary, sources

FOLDER = Path(__file__).parent.parent / "docs" / "tutorial"
LABS = FOLDER.parent / "labs"
PARTS = ("Do", "Predict", "See", "Why", "In the code", "Check")
LAB_PARTS = ("Goal", "Do", "Predict", "Hint 1", "Hint 2", "Hint 3", "Check", "Solution", "Reset")
KINDS = {"watch": "Watch", "mend": "Find and mend", "attack": "Attack and repair"}
STEP = re.compile(r"^## (?P<title>.+)\n<!-- step: (?P<name>[a-z-]+) -->\n", re.MULTILINE)
LAB = re.compile(r"# (?P<title>.+)\n<!-- lab: (?P<name>[a-z0-9-]+) kind: (?P<kind>[a-z]+) -->\n")
PART = re.compile(rf"^\*\*({'|'.join({*PARTS, *LAB_PARTS})})\.\*\*", re.MULTILINE)
OPTION = re.compile(r"^\d\. (.+(?:\n   .+)*)", re.MULTILINE)
FOLDED = re.compile(
    r"^<details><summary>(Answer|Hint \d|Solution)</summary>\n(.+?)</details>", re.DOTALL | re.MULTILINE
)

BESIDE = re.compile(r'<a href="(https?://[^"]+)">(.+?)</a>', re.DOTALL)  # what the reader uses beside this page
NEW_TAB = '<span class="unseen"> (opens in a new tab)</span>'

markdown = MarkdownIt("commonmark", {"html": True}).enable("table").use(glossary.links)


class Step(NamedTuple):
    """One step or one lab, in parts that are Markdown."""

    name: str
    title: str
    parts: Mapping[str, str]
    options: tuple[str, ...]
    answer: str  # begins with the number of the right option
    kind: str = ""  # of a lab: one of KINDS

    @property
    def right(self) -> int:
        """The number of the right option."""
        number = re.match(r"\s*\*\*(\d)", self.answer)
        return int(number[1]) if number else 0


class Chapter(NamedTuple):
    """One file."""

    name: str  # such as 1-sign-in
    title: str
    intro: str
    steps: tuple[Step, ...]


@cache
def chapters() -> tuple[Chapter, ...]:
    """The chapters in their order."""
    return tuple(read_chapter(path) for path in sorted(FOLDER.glob("[0-9]-*.md")))


def read_chapter(path: Path) -> Chapter:
    """The chapter in a file."""
    text = path.read_text(encoding="utf-8")
    title, _, rest = text.removeprefix("# ").partition("\n")
    intro, *steps = STEP.split(rest)
    triples = zip(steps[::3], steps[1::3], steps[2::3], strict=True)
    return Chapter(path.stem, title, intro, tuple(read_step(*triple) for triple in triples))


def read_step(title: str, name: str, text: str, kind: str = "") -> Step:
    """The step with this heading."""
    folded = {label: piece.strip() for label, piece in FOLDED.findall(text)}
    answer = folded.pop("Answer", "")
    _, *pieces = PART.split(FOLDED.sub("", text))
    parts = folded | {label: piece.strip() for label, piece in zip(pieces[::2], pieces[1::2], strict=True)}
    question = parts["Predict"]
    options = tuple(option.replace("\n   ", " ") for option in OPTION.findall(question))
    parts["Predict"] = OPTION.sub("", question).strip()
    return Step(name, title, parts, options, answer, kind)


@cache
def labs() -> Mapping[str, Step]:
    """The labs by name."""
    return {lab.name: lab for lab in map(read_lab, sorted(LABS.glob("[a-z0-9]*.md")))}


def read_lab(path: Path) -> Step:
    """The lab in a file."""
    text = path.read_text(encoding="utf-8")
    head = LAB.match(text)
    if head is None:
        raise ValueError(
            f"{path.name} does not begin with a title and a comment such as <!-- lab: NAME kind: watch -->"
        )
    return read_step(head["title"], head["name"], text[head.end() :], head["kind"])


@cache
def pages() -> Mapping[str, str]:
    """The pages without steps, such as the glossary, by name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("[a-z]*.md")}


def html(text: str, addresses: Mapping[str, str], source: str, linked: set[str] | None = None) -> Markup:
    """Markdown as HTML, with the addresses of this stack.

    ``source``: where the files of the repository are shown. ``linked``: the terms of the glossary that have a link on
    this page already; None adds no links.
    """
    rendered = markdown.render(text, {"linked": linked})
    for default, address in addresses.items():
        rendered = rendered.replace(default, address)
    rendered = re.sub(r'href="((?:\.\./(?:tutorial|labs)/)?[a-z0-9-]+)\.md(#[\w-]+)?"', r'href="\1\2"', rendered)
    rendered = re.sub(
        r'<a href="\.\./\.\./([\w/.]+)#(\w+)">(.+?)</a>', lambda found: link_to(source, *found.groups()), rendered
    )
    rendered = re.sub(r'href="\.\./\.\./([\w/.]+)"', rf'href="{source}\1"', rendered)
    rendered = BESIDE.sub(rf'<a href="\1" target="_blank" rel="noopener">\2{NEW_TAB}</a>', rendered)
    return Markup(rendered)  # noqa: S704 # our own files, no input


def link_to(source: str, path: str, name: str, words: str) -> str:
    """A link to a function, with its lines."""
    lines = sources.names_in(path)[name]
    return f'<a href="{source}{path}#{name}">{words}</a>, lines {lines.first}–{lines.last}'  # noqa: RUF001 # a range
