"""By which rule a table's macro averages were made: rules are tried until one gives them all."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from flava.report.audit.finding import Finding
from flava.report.audit.printed import Cell, Grid, Printed
from flava.report.audit.sums import SLACK
from flava.report.published import DOMAINS, MACRO

Domains = Mapping[str, Cell]
EXAMPLES = 2
TITLES = {"nlp": "NLP", "vision": "vision", "multimodal": "multimodal"}


def rules() -> dict[str, tuple[tuple[str, ...], bool]]:
    """What may have been averaged: name -> domains, and whether a missing one counts as 0."""
    found = {}
    for size in (3, 2):
        for names in combinations(DOMAINS, size):
            words = ", ".join(TITLES[name] for name in names)
            found[f"mean of {words}"] = (names, False)
            found[f"mean of {words}, a missing one counted as 0"] = (names, True)
    return found


def fits(macro: Printed, domains: Domains, names: tuple[str, ...], as_zero: bool) -> bool:
    """Whether the rule gives the printed macro average, within the rounding of all."""
    cells = [domains[name] for name in names]
    if not as_zero and any(cell is None for cell in cells):
        return False
    known = [cell for cell in cells if cell is not None]
    mean = sum(cell.value for cell in known) / len(names)
    off = macro.step / 2 + sum(cell.step for cell in known) / len(names) / 2
    return abs(mean - macro.value) <= off + SLACK


def rule_of(grid: Grid, position: int) -> str | None:
    """The first rule that gives a model's macro average; None where none does."""
    macro = grid.averages[MACRO][position]
    if macro is None:
        return None
    domains = domains_at(grid, position)
    for name, (names, as_zero) in rules().items():
        if fits(macro, domains, names, as_zero):
            return name
    return None


def domains_at(grid: Grid, position: int) -> Domains:
    """Domain -> printed average of one model."""
    return {name: grid.averages[name][position] for name in DOMAINS}


def macro_findings(grids: list[Grid]) -> list[Finding]:
    """Macro averages that are no mean of three domains, by the rule that gives them."""
    standard = next(iter(rules()))
    found = []
    for grid in grids:
        by_rule: dict[str | None, list[int]] = {}
        for position, macro in enumerate(grid.averages[MACRO]):
            if macro is not None:
                by_rule.setdefault(rule_of(grid, position), []).append(position)
        for rule, positions in by_rule.items():
            if rule != standard:
                found.append(_finding(grid, rule, positions))
    return found


def _finding(grid: Grid, rule: str | None, positions: list[int]) -> Finding:
    names = ", ".join(grid.models[position] for position in positions)
    macros = grid.averages[MACRO]
    shown = [_example(grid, position, macros[position]) for position in positions[-EXAMPLES:]]
    return Finding(
        "macro",
        f"{grid.title}, macro average of {names}",
        f"It is no mean of the three domains but the {rule}."
        if rule
        else "No mean of domains gives it.",
        "; ".join(shown) + ("." if len(positions) <= EXAMPLES else "; the others alike."),
        "The mean of the three domain averages, as the text defines it; where a domain is missing, "
        "there is none.",
    )


def _example(grid: Grid, position: int, macro: Cell) -> str:
    domains = domains_at(grid, position)
    known = [cell.value for cell in domains.values() if cell is not None]
    parts = ", ".join(f"{TITLES[name]} {cell or '–'}" for name, cell in domains.items())
    three = f"{sum(known) / 3:.2f}" if len(known) == 3 else "none"
    return f"{grid.models[position]}: {parts}; printed {macro}, mean of three {three}"
