"""The paper's ablation claims as pairs of columns: its difference beside ours."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flava.report.averages import average, mean, rows_that_ran
from flava.report.compare import Comparison, Estimate
from flava.report.published import DOMAINS
from flava.report.summary import average_estimate, printed_average


@dataclass(frozen=True)
class Claim:
    """`column` is said to beat `baseline` on the mean of `domains`."""

    text: str
    column: str
    baseline: str
    domains: tuple[str, ...]
    source: str


CLAIMS = (
    Claim("Contrastive gradients through all GPUs beat local ones (3 domains)",
          "flava_c", "flava_c_local", DOMAINS, "Section 4"),
    Claim("FLAVA_C, contrastive only, beats CLIP on the same pairs (3 domains)",
          "flava_c", "clip_pmd", DOMAINS, "Section 4"),
    Claim("MMM and ITM help multimodal tasks",
          "flava_mm", "flava_c", ("multimodal",), "Section 4"),
    Claim("MMM and ITM help language",
          "flava_mm", "flava_c", ("nlp",), "Section 4"),
    Claim("MMM and ITM help vision a little",
          "flava_mm", "flava_c", ("vision",), "Section 4"),
    Claim("Multimodal losses beat MIM alone on vision",
          "flava_mm", "mim", ("vision",), "Section 4"),
    Claim("Multimodal losses beat MLM alone on language",
          "flava_mm", "mlm", ("nlp",), "Section 4"),
    Claim("Unimodal images and texts added help language",
          "flava_no_init", "flava_mm", ("nlp",), "Section 4"),
    Claim("Initialised encoders beat random ones (3 domains)",
          "flava_dino", "flava_no_init", DOMAINS, "Section 4"),
    Claim("DINO beats BEiT initialisation on vision",
          "flava_dino", "flava_beit", ("vision",), "supplement C"),
    Claim("DINO beats BEiT initialisation on multimodal tasks",
          "flava_dino", "flava_beit", ("multimodal",), "supplement C"),
    Claim("Full FLAVA beats CLIP on the same pairs: language",
          "flava_dino", "clip_pmd", ("nlp",), "Section 4.1"),
    Claim("Full FLAVA beats CLIP on the same pairs: multimodal",
          "flava_dino", "clip_pmd", ("multimodal",), "Section 4.1"),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What this study says of a claim; differences in percentage points over the same rows.

    `word`: holds, reversed, undecided (within two standard errors), or not run. With a single
    seed the error is the test sets' alone, so the words are 'same sign' and 'opposite sign'.
    """

    claim: Claim
    paper_all: float | None
    paper_same: float | None
    ours: float | None
    std_error: float | None
    error_source: str
    n_rows: int
    n_rows_paper: int
    word: str


def judge(comparison: Comparison, claim: Claim) -> Verdict:
    """The claim's difference in the paper and here, over the rows that both columns ran."""
    published = comparison.published
    all_rows = {domain: published.row_names(domain) for domain in claim.domains}
    pair = (claim.column, claim.baseline)
    known = {column.name for column in comparison.ran()}
    scores = [comparison.scores(name) for name in pair if name in known]
    rows = {
        domain: rows_that_ran(names, scores) if len(scores) == 2 else ()
        for domain, names in all_rows.items()
    }
    ours = [average_estimate(comparison, name, rows) if name in known else None for name in pair]
    difference, error, source = _difference(ours[0], ours[1])
    return Verdict(
        claim,
        _printed_difference(comparison, claim),
        _paper_difference(comparison, claim, rows),
        difference,
        error,
        source,
        sum(len(names) for names in rows.values()) if difference is not None else 0,
        sum(len(names) for names in all_rows.values()),
        _word(difference, error, source),
    )


def judge_all(comparison: Comparison) -> tuple[Verdict, ...]:
    """All claims in the paper's order."""
    return tuple(judge(comparison, claim) for claim in CLAIMS)


def _printed_difference(comparison: Comparison, claim: Claim) -> float | None:
    first, second = (
        mean(printed_average(comparison, domain, name) for domain in claim.domains)
        for name in (claim.column, claim.baseline)
    )
    return None if first is None or second is None else first - second


def _paper_difference(
    comparison: Comparison, claim: Claim, rows: dict[str, tuple[str, ...]]
) -> float | None:
    means = [
        mean(average(comparison.published.column(name), names) for names in rows.values())
        for name in (claim.column, claim.baseline)
    ]
    return None if means[0] is None or means[1] is None else means[0] - means[1]


def _difference(
    ours: Estimate | None, baseline: Estimate | None
) -> tuple[float | None, float | None, str]:
    if ours is None or baseline is None:
        return None, None, "none"
    difference = ours.mean - baseline.mean
    if ours.std_error is None or baseline.std_error is None:
        return difference, None, "none"
    source = "seeds" if ours.error_source == baseline.error_source == "seeds" else "test set"
    return difference, math.hypot(ours.std_error, baseline.std_error), source


def _word(difference: float | None, error: float | None, source: str) -> str:
    if difference is None:
        return "not run"
    if error is None or abs(difference) <= 2 * error:
        return "undecided"
    if source == "seeds":
        return "holds" if difference > 0 else "reversed"
    return "same sign" if difference > 0 else "opposite sign"
