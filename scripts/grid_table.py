"""Sums up the runs of scripts/grid: ``grid_table.py [--write] PROVIDER+APP…``. With ``--write``, into docs/grid.md."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "grid.md"
BEGIN, END = "<!-- written by make grid -->\n", "<!-- end -->\n"
OWN = {"pickup": "Pickup"}  # the other names are those of their products
TITLES = {"node_oidc_provider": "node oidc-provider", "keycloak": "Keycloak", "express": "express-openid-connect"}
Table = dict[str, Any]
Finding = dict[str, str]


def tables(pairs: list[str]) -> dict[str, Table | None]:
    """The result of each pair; None if it did not run."""
    found: dict[str, Table | None] = {}
    for pair in pairs:
        file = ROOT / ".run" / "e2e" / f"{pair.replace('+', '-')}.json"
        found[pair] = json.loads(file.read_text("utf-8")) if file.exists() else None
    return found


def known(findings: list[Finding], pair: str, story: str) -> bool:
    """Whether this failure is a finding that was checked by hand."""
    return any(pair == one["pair"] and story == one["story"] for one in findings)


def cell(row: Table | None) -> str:
    """What the page says about one story of one pair."""
    if row is None:
        return "not run"
    if row["outcome"] == "not applicable":
        return f"n/a: {row['why']}"
    without = f", without {', '.join(row['left_out'])}" if row["left_out"] else ""
    return f"**failed**{without}" if row["outcome"] == "failed" else f"passed{without}"


def head(pair: str, table: Table | None) -> str:
    """The name of a column, with the versions."""
    provider, app = pair.split("+")
    versions = [table[kind]["version"] for kind in ("provider", "app")] if table else ["", ""]
    names = [
        OWN.get(name) or f"{TITLES.get(name, name)} {version}".strip()
        for name, version in zip((provider, app), versions, strict=True)
    ]
    apps = "our apps" if app == "pickup" else f"Dispatch and {names[1]}"
    return f"{apps} at {'our IdP' if provider == 'pickup' else names[0]}"


def markdown(found: dict[str, Table | None]) -> str:
    """The whole table. Stories of one file that only our own pair tells share a row."""
    rows_of = {pair: {row["story"]: row for row in table["stories"]} if table else {} for pair, table in found.items()}
    stories = sorted({story for rows in rows_of.values() for story in rows})
    cells = {story: tuple(cell(rows_of[pair].get(story)) for pair in found) for story in stories}
    lines = [" | ".join(["| story", *(head(pair, table) for pair, table in found.items())]) + " |"]
    lines.append("| --- " * (len(found) + 1) + "|")
    for file in sorted({story.split("::")[0] for story in stories}):
        together: dict[tuple[str, ...], list[str]] = {}
        for story in stories:
            if story.startswith(f"{file}::"):
                together.setdefault(cells[story], []).append(story)
        for outcomes, same in together.items():
            only_ours = all(outcome.startswith("n/a") for outcome in outcomes[1:])
            names = [f"{len(same)} stories"] if only_ours and len(same) > 1 else [words(story) for story in same]
            lines += [" | ".join([f"| `{file}`: {name}", *outcomes]) + " |" for name in names]
    dates = sorted({table["date"] for table in found.values() if table})
    return f"Run on {', '.join(dates)}.\n\n" + "\n".join(lines) + "\n"


def words(story: str) -> str:
    """A story's name as a sentence."""
    return story.split("::")[1].removeprefix("test_").replace("_", " ").replace("chromium-", "")


def main(arguments: list[str]) -> int:
    """Prints a line for each pair; 0 if all is well."""
    pairs = [one for one in arguments if one != "--write"]
    found = tables(pairs)
    findings: list[Finding] = tomllib.loads((ROOT / "e2e" / "findings.toml").read_text("utf-8"))["findings"]
    is_good = True
    for pair, table in found.items():
        if table is None:
            print(f"{pair}: NOT RUN")
            is_good = False
            continue
        failed = [row["story"] for row in table["stories"] if row["outcome"] == "failed"]
        new = [story for story in failed if not known(findings, pair, story)]
        is_good = is_good and not new
        counts = ", ".join(f"{count} {outcome}" for outcome, count in table["count"].items())
        print(f"{pair}: {counts}; {len(failed) - len(new)} of the failed are known findings")
        for story in new:
            print(f"    FAILED {story}")
    if "--write" in arguments:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(before + BEGIN + markdown(found) + END + after, "utf-8")
        print(f"written into {PAGE.relative_to(ROOT)}")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
