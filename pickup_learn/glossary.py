"""The glossary, docs/tutorial/glossary.md, and the links that lead to it from every page of the tutorial.

A heading of the glossary is a term, such as ``## Identity provider (IdP)``. A page links each term once, where it
first stands.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

FILE = Path(__file__).parent.parent / "docs" / "tutorial" / "glossary.md"
TERM = re.compile(r"^## (.+)$", re.MULTILINE)


@cache
def terms() -> Mapping[str, str]:
    """The anchor of each word that has an explanation, by the word in small letters."""
    found = {}
    for heading in TERM.findall(FILE.read_text("utf-8")):
        name, _, also = heading.replace("`", "").rstrip(")").partition(" (")
        found.update({word.lower(): anchor(heading) for word in (name, also) if word})
    return found


def anchor(heading: str) -> str:
    """The id of a heading, as Markdown readers make it: ``## Issuer (`iss`)`` has ``issuer-iss``."""
    return re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))


@cache
def words() -> re.Pattern[str]:
    """Any of the terms, also in the plural. The longest one first, because *logout token* is no *token*."""
    longest_first = sorted(terms(), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, longest_first))})s?(?![\w-])", re.IGNORECASE)


def links(markdown: MarkdownIt) -> None:
    """A plugin: links the terms and gives each heading its anchor. ``env["linked"]`` collects what has a link."""
    markdown.core.ruler.push("anchors", add_anchors)
    markdown.core.ruler.push("glossary", link_terms)


def add_anchors(state: StateCore) -> None:
    for opening, content in zip(state.tokens, state.tokens[1:], strict=False):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor(content.content))


def link_terms(state: StateCore) -> None:
    linked: set[str] | None = state.env.get("linked")
    if linked is None:
        return
    for before, token in zip(state.tokens, state.tokens[1:], strict=False):
        if token.type == "inline" and token.children and before.type != "heading_open":
            token.children = list(with_links(token.children, linked))


def with_links(children: list[Token], linked: set[str]) -> Iterator[Token]:
    """The tokens, with links around the terms that have none yet. A link and its text stay as they are."""
    in_link = 0
    for child in children:
        in_link += {"link_open": 1, "link_close": -1}.get(child.type, 0)
        if in_link or child.type not in ("text", "code_inline"):
            yield child
        else:
            yield from linked_text(child, linked)


def linked_text(token: Token, linked: set[str]) -> Iterator[Token]:
    end = 0
    for match in words().finditer(token.content):
        target = terms()[match[1].lower()]
        if target in linked or (token.type == "code_inline" and match[0] != token.content):
            continue
        linked.add(target)
        if before := token.content[end : match.start()]:
            yield part_of(token, before)
        yield Token("link_open", "a", 1, attrs={"href": f"../tutorial/glossary.md#{target}", "class": "term"})
        yield part_of(token, match[0])
        yield Token("link_close", "a", -1)
        end = match.end()
    if rest := token.content[end:]:
        yield part_of(token, rest)


def part_of(token: Token, content: str) -> Token:
    return token.copy(content=content)
