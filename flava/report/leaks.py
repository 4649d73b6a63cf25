"""The section on test examples that were found in the pretraining data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from flava.evaluate.leak_result import ImageLeaks, Leaks, TextLeaks, load_leaks
from flava.jobs import ReportJob
from flava.report.html import DASH, paragraph, quantity, table, text
from flava.report.marked import own

SearchT = TypeVar("SearchT", bound=ImageLeaks | TextLeaks)
_IMAGE_HEAD = ["task", "corpus", "test images", "near by hash", "found", "for example"]
FOUND_IMAGES, FOUND_TEXTS = "images found", "texts found"
NO_CHECK = "The leak check was not run: the study turns it off (<code>leaks: null</code>)."
NO_CORPORA = (
    "The leak check was not run: the study trains nothing, and what published weights were trained "
    "on is not here to be searched."
)


def leaks_section(job: ReportJob) -> str:
    """Counts by task and corpus, or that the check was not run.

    Raises:
        DataError: the result is missing or damaged.
    """
    if job.leaks is None:
        return paragraph(NO_CORPORA if job.trains_nothing else NO_CHECK)
    found, _ = load_leaks(job.leaks)
    parts = [paragraph(summary(found)), *(paragraph(line, "small") for line in notes(job, found))]
    if found.images:
        parts += ["<h3>Test images</h3>", *_tables(_IMAGE_HEAD, job, found.images, _image_row)]
    if found.texts:
        head = _text_head(found.settings.min_words)
        parts += ["<h3>Test texts</h3>", *_tables(head, job, found.texts, _text_row)]
    return "".join(parts)


def summary(found: Leaks) -> str:
    """How many tasks have test examples in the pretraining data."""
    lines = []
    for kind, results in (("image", found.images), ("text", found.texts)):
        tasks = {each.task for each in results}
        hit = {each.task for each in results if each.matched}
        corpora = {each.corpus for each in results}
        if not tasks:
            lines.append(f"No task has a test {kind} that could be searched.")
            continue
        found_in = f"{quantity(len(hit), 'task')} had some that were" if hit else "none was"
        lines.append(
            f"Test {kind}s of {quantity(len(tasks), 'task')} were searched in "
            f"{', '.join(sorted(text(name.replace('_', ' ')) for name in corpora))}: "
            f"{found_in} found."
        )
    return " ".join(lines)


def notes(job: ReportJob, found: Leaks) -> list[str]:
    """What counts, and what was not searched."""
    settings = found.settings
    lines = [
        f"An image counts if hashes differ in at most {settings.max_distance} of 64 bits and the "
        f"pixels correlate by {settings.min_correlation:g} or more; a text if it has the same "
        f"words in the same order, {settings.min_words} or more.",
        "Not searched: tasks that this study does not evaluate; words that a vocabulary lacks.",
    ]
    if job.imported:
        names = ", ".join(text(name) for name in job.imported)
        lines.append(f"Not searched: what the published weights of {names} were trained on.")
    return lines


def _tables(
    head: list[str],
    job: ReportJob,
    searches: Sequence[SearchT],
    row: Callable[[ReportJob, SearchT], list[str]],
) -> list[str]:
    """The searches that found something, and folded away those that did not."""
    hits = [row(job, each) for each in searches if each.matched]
    rest = [row(job, each) for each in searches if not each.matched]
    pairs = quantity(len(rest), "pair")
    folded = f"<details><summary>Nothing found: {pairs} of task and corpus</summary>"
    return [
        *([table(head, hits)] if hits else []),
        *([f"{folded}{table(head, rest)}</details>"] if rest else []),
    ]


def image_counts(each: ImageLeaks) -> dict[str, str]:
    """What is counted of a task's test images in a corpus, as shown."""
    flat = {"flat, not searched": f"{each.flat:,}"} if each.flat else {}
    counts = {"test images": f"{each.test:,}", **flat, "near by hash": f"{each.near:,}"}
    return counts | {FOUND_IMAGES: _count(each)}


def text_counts(each: TextLeaks) -> dict[str, str]:
    """What is counted of a task's test texts in a corpus, as shown."""
    unknown = {"with unknown words": f"{each.unknown:,}"} if each.unknown else {}
    short = {"short": f"{each.short:,}", "short, found": f"{each.short_matched:,}"}
    return {"test texts": f"{each.test:,}", **unknown, **short, FOUND_TEXTS: _count(each)}


def leak_row(task: str, what: str) -> str:
    """Row of a count, for `workflow.trace`; its column is the corpus."""
    return f"{task}, {what}"


def _marked(each: ImageLeaks | TextLeaks, counts: dict[str, str]) -> dict[str, str]:
    return {k: own("Leaks", each.corpus, leak_row(each.task, k), v) for k, v in counts.items()}


def _image_row(job: ReportJob, each: ImageLeaks) -> list[str]:
    example = DASH
    if each.examples:
        first = each.examples[0]
        example = f"<code>{text(first.test)}</code> = <code>{text(first.corpus)}</code>"
    shown = _marked(each, image_counts(each))
    flat = f" ({shown['flat, not searched']} flat, not searched)" if each.flat else ""
    tested = shown["test images"] + flat
    return [*_names(job, each), tested, shown["near by hash"], _bold(each, shown), example]


def _text_head(words: int) -> list[str]:
    return ["task", "corpus", "test texts", f"under {words} words", "of these found", "found"]


def _text_row(job: ReportJob, each: TextLeaks) -> list[str]:
    shown = _marked(each, text_counts(each))
    unknown = f" ({shown['with unknown words']} with unknown words)" if each.unknown else ""
    short = [shown["short"], shown["short, found"]]
    return [*_names(job, each), shown["test texts"] + unknown, *short, _bold(each, shown)]


def _names(job: ReportJob, each: ImageLeaks | TextLeaks) -> list[str]:
    return [text(job.tasks.get(each.task, each.task)), text(each.corpus.replace("_", " "))]


def _bold(each: ImageLeaks | TextLeaks, shown: dict[str, str]) -> str:
    found = shown[FOUND_IMAGES if isinstance(each, ImageLeaks) else FOUND_TEXTS]
    return f"<b>{found}</b>" if each.matched else found


def _count(each: ImageLeaks | TextLeaks) -> str:
    if not each.matched:
        return "0"
    return f"{each.matched:,} ({100 * each.matched / each.test:.1f} %)"
