"""A study's directions as the Markdown table that the docs show.

python -m flava.report.directions_markdown --study toy

Reads results/<study>/directions.json, which the study wrote.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flava.errors import DataError, run_cli
from flava.io import read_json
from flava.report.directions import SIDES
from flava.report.html import DASH, number, signed

HEAD = ("claim", "columns", "average", "claimed", "ours", "paper", "verdict")


def markdown(directions: Sequence[dict[str, Any]]) -> str:
    """One line a difference between two columns; a claim and a pair are named once.

    Raises:
        DataError: a key is missing.
    """
    lines: list[Sequence[str]] = [HEAD, ["---"] * len(HEAD)]
    claim = pair = ""
    for each in directions:
        try:
            columns = f"`{each['column']}` \N{MINUS SIGN} `{each['baseline']}`"
            new, other = each["claim"] != claim, each["claim"] != claim or columns != pair
            claim, pair = each["claim"], columns
            facts = [
                each["domain"],
                SIDES.get(each["sign"], DASH),
                _ours(each),
                _signed(each["paper_same"]),
            ]
            lines.append([claim if new else "", pair if other else "", *facts, each["word"]])
        except KeyError as error:
            raise DataError(f"directions.json has no {error}. Render the report again.") from None
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ours(each: dict[str, Any]) -> str:
    if each["ours"] is None:
        return DASH
    shown, error = _signed(each["ours"]), each["std_error"]
    return shown if error is None else f"{shown} \N{PLUS-MINUS SIGN} {number(error, 1)}"


def _signed(value: float | None) -> str:
    return DASH if value is None else signed(value, 1)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="A study's directions as Markdown.")
    parser.add_argument("--study", default="toy", help="folder of results/, with the budget's name")
    path = Path("results") / parser.parse_args().study / "directions.json"
    tree = read_json(path)
    if not isinstance(tree, dict) or not isinstance(tree.get("directions"), list):
        raise DataError(f"{path} holds no directions. Delete it and render the report again.")
    print(f"Seeds: {', '.join(map(str, tree['seeds']))}\n")
    print(markdown(tree["directions"]))


if __name__ == "__main__":
    run_cli(main)
