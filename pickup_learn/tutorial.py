"""Reads docs/tutorial/*.md, the one source of the tutorial, and makes pages of it.

A step is a heading followed by ``<!-- step: NAME -->``. Its paragraphs begin with **Do.**, **Predict.** (with a
numbered list of options and the answer in ``<details>``), **See.**, **Why.**, **In the code.** and **Check.**
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
PARTS = ("Do", "Predict", "See", "Why", "In the code", "Check")
STEP = re.compile(r"^## (?P<title>.+)\n<!-- step: (?P<name>[a-z-]+) -->\n", re.MULTILINE)
PART = re.compile(rf"^\*\*({'|'.join(PARTS)})\.\*\*", re.MULTILINE)
OPTION = re.compile(r"^\d\. (.+(?:\n   .+)*)", re.MULTILINE)
ANSWER = re.compile(r"<details><summary>Answer</summary>\n(.+?)</details>", re.DOTALL)

markdown = MarkdownIt("commonmark", {"html": True}).enable("table").use(glossary.links)


class Step(NamedTuple):
    """One step, in parts that are Markdown."""

    name: str
    title: str
    parts: Mapping[str, str]
    options: tuple[str, ...]
    answer: str  # begins with the number of the right option

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


def read_step(title: str, name: str, text: str) -> Step:
    """The step with this heading."""
    answer = ANSWER.search(text)
    _, *pieces = PART.split(ANSWER.sub("", text))
    parts = {label: piece.strip() for label, piece in zip(pieces[::2], pieces[1::2], strict=True)}
    question = parts["Predict"]
    options = tuple(option.replace("\n   ", " ") for option in OPTION.findall(question))
    parts["Predict"] = OPTION.sub("", question).strip()
    return Step(name, title, parts, options, answer[1].strip() if answer else "")


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
    rendered = re.sub(r'href="(\d-[a-z-]+|[a-z-]+)\.md(#[\w-]+)?"', r'href="\1\2"', rendered)
    rendered = re.sub(
        r'<a href="\.\./\.\./([\w/.]+)#(\w+)">(.+?)</a>', lambda found: link_to(source, *found.groups()), rendered
    )
    rendered = re.sub(r'href="\.\./\.\./([\w/.]+)"', rf'href="{source}\1"', rendered)
    return Markup(rendered)  # noqa: S704 # our own files, no input


def link_to(source: str, path: str, name: str, words: str) -> str:
    """A link to a function, with its lines."""
    lines = sources.names_in(path)[name]
    return f'<a href="{source}{path}#{name}">{words}</a>, lines {lines.first}–{lines.last}'  # noqa: RUF001 # a range
