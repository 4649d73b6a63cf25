"""The docs' table of directions, from what a study wrote."""

from __future__ import annotations

import pytest

from flava.errors import DataError
from flava.report.directions_markdown import markdown


def direction(column: str, domain: str, **more: object) -> dict[str, object]:
    return {
        "claim": "MMM and ITM help", "column": column, "baseline": "flava_c", "domain": domain,
        "sign": 1, "ours": 1.26, "std_error": 0.5, "paper_same": -0.17, "word": "undecided",
    } | more  # fmt: skip


def test_a_claim_and_a_pair_are_named_once() -> None:
    found = markdown(
        [
            direction("flava_mm", "nlp"),
            direction("flava_mm", "vision", sign=None, std_error=None, word="not claimed"),
            direction("flava_dino", "nlp", ours=None, std_error=None, sign=-1, word="not run"),
        ]
    )
    first = "| MMM and ITM help | `flava_mm` − `flava_c` | nlp | higher "
    assert found.splitlines()[2:] == [
        first + "| +1.3 ± 0.5 | −0.2 | undecided |",
        "|  |  | vision | – | +1.3 | −0.2 | not claimed |",
        "|  | `flava_dino` − `flava_c` | nlp | lower | – | −0.2 | not run |",
    ]  # fmt: skip


def test_an_older_file_is_refused() -> None:
    old = direction("flava_mm", "nlp")
    del old["sign"]
    with pytest.raises(DataError, match="has no 'sign'"):
        markdown([old])
