"""At the end: what the learner wrote in each step beside the functions of relying_party that do the same."""

import ast
from pathlib import Path

from attack.pickup import ROOT
from pickup_learn.receiver.display import Screen
from pickup_learn.receiver.steps import Step, steps

ENTRY = "bclogout"
CODE = ast.FunctionDef | ast.ClassDef


def compare(screen: Screen, file: Path | None, learn_url: str) -> None:
    """Print all ten steps. ``file``: the learner's; without one, only where ours is."""
    text = file.read_text("utf-8") if file else ""
    for step in steps():
        screen.say(f"\nStep {step.number}: {step.title}   ({step.clause})", "strong")
        right: list[str] = []
        for place in step.ours:
            path, name = place.split(":")
            first, lines = function(path, name)
            screen.say(f"  {path}, lines {first} to {first + len(lines) - 1}: {source(learn_url, path, first)}", "weak")
            right += [*lines, ""]
        if file:
            screen.columns(["YOURS", *written(text, step)], ["RELYING_PARTY", *right])


def source(learn_url: str, path: str, line: int) -> str:
    """The page that shows a file of this repository."""
    return f"{learn_url}/tutorial/source/{path}#L{line}"


def function(path: str, name: str) -> tuple[int, list[str]]:
    """The first line of a function (``f``) or method (``Class.f``), and its lines."""
    text = (ROOT / path).read_text("utf-8")
    body: list[ast.stmt] = ast.parse(text).body
    for part in name.split("."):
        found = next(node for node in body if isinstance(node, CODE) and node.name == part)
        body = found.body
    return found.lineno, text.splitlines()[found.lineno - 1 : found.end_lineno]


def written(text: str, step: Step) -> list[str]:
    """The learner's lines: below the comment of the step in ``bclogout``, and the functions that they call."""
    tree, lines = ast.parse(text), text.splitlines()
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    entry = functions.get(ENTRY)
    if entry is None or entry.end_lineno is None:
        return ["(the function bclogout was renamed)"]
    marks = [number for number in range(entry.lineno, entry.end_lineno) if lines[number].strip().startswith("# Step ")]
    begin = next((mark for mark in marks if lines[mark].strip().startswith(f"# Step {step.number}:")), None)
    if begin is None:
        return [f"(the comment '# Step {step.number}: …' is no longer in bclogout)"]
    end = next((mark for mark in marks if mark > begin), entry.end_lineno)
    shown = [line for line in lines[begin:end] if line.strip()]
    own = {name: node for name, node in functions.items() if node.lineno > own_part(lines) and name != ENTRY}
    for name in called(entry, begin + 1, end, own):
        node = own[name]
        shown += ["", *lines[node.lineno - 1 : node.end_lineno]]
    return shown


def own_part(lines: list[str]) -> int:
    """The line with which the learner's part begins."""
    return next((number for number, line in enumerate(lines) if line.startswith("# Your part")), 0)


def called(entry: ast.FunctionDef, first: int, last: int, own: dict[str, ast.FunctionDef]) -> list[str]:
    """The learner's functions that these lines use, directly or through each other."""
    nodes = [node for node in ast.walk(entry) if first <= getattr(node, "lineno", 0) <= last]
    found: list[str] = []
    while nodes:
        names = [node.id for node in nodes if isinstance(node, ast.Name)]
        new = [name for name in dict.fromkeys(names) if name in own and name not in found]
        found += new
        nodes = [inner for name in new for inner in ast.walk(own[name])]
    return found
