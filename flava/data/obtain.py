"""Sections of docs/pmd.md on how to obtain the paper's data. Nothing here downloads anything."""

from __future__ import annotations

from pathlib import Path

from flava.errors import ConfigError, DataError, unknown_name

PAGE = Path(__file__).parents[2] / "docs" / "pmd.md"
SETS = "\n## Sets\n"


def sections() -> dict[str, str]:
    """Markdown on each data set by its name.

    Raises:
        DataError: the page is not there: the package was installed without the repository.
    """
    if not PAGE.is_file():
        raise DataError(f"{PAGE} is missing. Read docs/pmd.md in the project's repository.")
    parts = PAGE.read_text(encoding="utf-8").split(SETS, 1)[1].split("\n### ")[1:]
    return {part.split("\n", 1)[0]: f"### {part.strip()}" for part in parts}


def how_to_obtain(name: str) -> str:
    """Markdown on one data set, on all of them ("all"), or the names (empty name).

    Raises:
        ConfigError: no data set has this name or begins with it.
    """
    known = sections()
    if not name:
        return "\n".join(["Name one of these, or 'all':", *known])
    if name == "all":
        return "\n\n".join(known.values())
    wanted = name.lower().removesuffix(" (filtered)")  # Table 2's name of YFCC100M
    begins = [key for key in known if key.lower().startswith(wanted)]
    exact = [key for key in known if key.lower() == wanted]
    if not begins:
        raise ConfigError(unknown_name("data set", name, list(known), "--how"))
    return "\n\n".join(known[key] for key in exact or begins)
