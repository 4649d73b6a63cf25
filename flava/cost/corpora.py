"""What a cost plan needs of the data: from manifests, or from Table 2 before any are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flava.errors import DataError
from flava.io import read_json
from flava.report.printed_tables import read_table

TOTAL = "Total"


def caption_words(corpus: Path | str, published: Path | str) -> tuple[float, str]:
    """Mean words of a caption, and where that is from.

    Args:
        corpus: prepared folder of pairs.
        published: folder of the paper's tables.

    Raises:
        DataError: there is no manifest, and Table 2 is missing or damaged.
    """
    sources = [
        (int(source["counts"].get("pairs", 0)), source.get("mean_words"))
        for source in manifest_sources(corpus)
    ]
    known = [(count, float(words)) for count, words in sources if count and words]
    if known:
        total = sum(count for count, _ in known)
        return sum(count * words for count, words in known) / total, f"{corpus}/manifest.json"
    return table_2_words(published), "Table 2"


def table_2_words(published: Path | str) -> float:
    """Mean words of PMD's captions, as printed.

    Raises:
        DataError: the table is missing, or its last line has no number.
    """
    lines = {line["dataset"]: line for line in read_table(published, "table_2")}
    try:
        return float(lines[TOTAL]["avg_text_length_words"])
    except (KeyError, ValueError):
        path = Path(published) / "table_2.csv"
        raise DataError(
            f"{path} has no mean text length in its line '{TOTAL}'. Restore it."
        ) from None


def image_count(corpus: Path | str) -> int | None:
    """Images of a prepared corpus; None where it is not prepared."""
    counts = [source["counts"].get("images") for source in manifest_sources(corpus)]
    return sum(count or 0 for count in counts) if counts else None


def manifest_sources(corpus: Path | str) -> list[dict[str, Any]]:
    """Sources in a corpus's manifest; none where it is not prepared.

    Raises:
        DataError: the manifest is damaged.
    """
    path = Path(corpus) / "manifest.json"
    if not path.is_file():
        return []
    value = read_json(path)
    sources = value.get("sources") if isinstance(value, dict) else None
    if not isinstance(sources, list) or not all(
        isinstance(source, dict) and isinstance(source.get("counts"), dict) for source in sources
    ):
        raise DataError(f"{path} lists no sources. Prepare that corpus again.")
    return sources
