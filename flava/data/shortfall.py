"""What a pairs corpus should hold, what is there, and why the rest is not.

    python -m flava.data.shortfall --config results/<study>/configs/prepare_pairs.json

counts all sources without reading an image. Preparing writes the same numbers into the manifest.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flava.config import SourceConfig
from flava.data.sources import count_pairs
from flava.errors import DataError, run_cli
from flava.jobs import PrepareJob, load_job
from flava.text_table import aligned

LISTED = "listed pairs"
HEAD = ("source", "expected", "listed", "kept", "missing images", "left out")
# Reasons that are told of images beside the pairs of the same images.
OF_IMAGES = ("missing images", "images without caption")


def expectation(source: SourceConfig, tally: Mapping[str, int], kept: int) -> dict[str, Any]:
    """Entries of the manifest: pairs expected and listed, and the share that is missing.

    The share is of `expected_pairs`, else of the pairs listed; None where nothing is known.
    """
    listed = int(tally.get(LISTED, 0))
    goal = source.expected_pairs or listed
    share = max(0.0, 1 - kept / goal) if goal else None
    return {"expected_pairs": source.expected_pairs, "listed_pairs": listed, "shortfall": share}


def count(sources: Iterable[SourceConfig]) -> list[dict[str, Any]]:
    """Rows as in the manifest from the annotations and the presence of images.

    Raises:
        DataError: a file is missing or malformed.
    """
    rows = []
    for source in sources:
        tally: Counter[str] = Counter()
        kept = count_pairs(source, tally)
        facts = expectation(source, tally, kept)
        skipped = {reason: n for reason, n in tally.items() if reason != LISTED}
        rows.append({"name": source.name, "counts": {"pairs": kept}, "skipped": skipped, **facts})
    return rows


def check(sources: Sequence[SourceConfig], rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuses a shortfall above `max_shortfall`; warns of others on the error output.

    Raises:
        DataError: names the source, the counts and what can be done.
    """
    for source, row in zip(sources, rows, strict=True):
        if not row["shortfall"]:
            continue
        message = f"Source '{source.name}' {_sentence(row)}"
        limit = source.max_shortfall
        if limit is not None and row["shortfall"] > limit:
            raise DataError(
                f"{message} The study allows {limit:.1%} (max_shortfall). Get more of it (see: "
                f"python -m flava.data.sources --how '{source.name}') or allow more."
            )
        print(f"warning: {message}", file=sys.stderr)


def _sentence(row: Mapping[str, Any]) -> str:
    goal = row["expected_pairs"] or row["listed_pairs"]
    return (
        f"gives {row['counts'].get('pairs', 0):,} of {goal:,} pairs, {row['shortfall']:.1%} too "
        f"few: {_reasons(row['skipped']) or 'nothing was left out'}."
    )


def _reasons(skipped: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {reason}" for reason, n in skipped.items() if n)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of a manifest as a text table, with their sum."""
    body = [_cells(row) for row in rows]
    if len(rows) > 1:
        body.append(_cells(_total(rows)))
    return "\n".join(aligned([HEAD, *body]))


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    skipped = row["skipped"]
    others = {reason: n for reason, n in skipped.items() if reason not in OF_IMAGES}
    expected = row["expected_pairs"]
    return (
        row["name"],
        f"{expected:,}" if expected else "-",
        f"{row['listed_pairs']:,}",
        f"{row['counts'].get('pairs', 0):,}",
        f"{skipped.get('missing images', 0):,}",
        _reasons(others) or "-",
    )


def _total(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    skipped: Counter[str] = Counter()
    for row in rows:
        skipped.update(row["skipped"])
    return {
        "name": "total",
        "expected_pairs": sum(row["expected_pairs"] or 0 for row in rows),
        "listed_pairs": sum(row["listed_pairs"] for row in rows),
        "counts": {"pairs": sum(row["counts"].get("pairs", 0) for row in rows)},
        "skipped": skipped,
    }


def main() -> None:
    """Command-line entry point."""
    from flava.data.commands import config_argument

    job = load_job(PrepareJob, config_argument(__doc__))
    rows = count(job.sources)
    print(table(rows))
    check(job.sources, rows)


if __name__ == "__main__":
    run_cli(main)
