"""Every relative link of the documentation leads to a file, and its fragment to a heading."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
CHECKLIST = ROOT / "docs" / "checklist.md"


def anchors(path: Path) -> set[str]:
    """Fragments of a Markdown file's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def dead_links(path: Path) -> list[str]:
    found = []
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, fragment = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        whole = target.exists() and (not fragment or fragment in anchors(target))
        found += [] if whole else [link]
    return found


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    assert dead_links(path) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One\n[a](page.md#one) [b](page.md#two) [c](gone.md) [d](#one)\n")
    assert dead_links(page) == ["page.md#two", "gone.md"]


def test_every_item_of_the_checklist_links_to_its_evidence() -> None:
    items = [
        line for line in CHECKLIST.read_text(encoding="utf-8").splitlines() if line.startswith("- ")
    ]
    assert len(items) > 20
    assert [item for item in items if not LINK.search(item)] == []
