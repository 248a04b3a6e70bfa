"""One sentence about each thing that the pages show, from explanations.toml."""

import tomllib
from pathlib import Path

# kinds have a title before the sentence; everything is {vocabulary: {name: {"text": …, "clause": …}}}
EXPLANATIONS: dict[str, dict[str, dict[str, str]]] = {
    vocabulary: {
        name: dict(zip(("title", "text", "clause")[-len(said) :], said, strict=True)) for name, said in entries.items()
    }
    for vocabulary, entries in tomllib.loads(Path(__file__).with_name("explanations.toml").read_text("utf-8")).items()
}


def title_of(kind: str) -> str:
    """What a kind of message is called on the pages."""
    return EXPLANATIONS["kinds"].get(kind, {}).get("title") or kind.replace("_", " ").capitalize()
