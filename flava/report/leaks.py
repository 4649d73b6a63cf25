"""The section on test examples that were found in the pretraining data."""

from __future__ import annotations

from flava.evaluate.leak_result import ImageLeaks, Leaks, TextLeaks, load_leaks
from flava.jobs import ReportJob
from flava.report.html import DASH, paragraph, quantity, table, text

NO_CHECK = "The leak check was not run: the study turns it off (<code>leaks: null</code>)."


def leaks_section(job: ReportJob) -> str:
    """Counts by task and corpus, or that the check was not run.

    Raises:
        DataError: the result is missing or damaged.
    """
    if job.leaks is None:
        return paragraph(NO_CHECK)
    found, _ = load_leaks(job.leaks)
    parts = [paragraph(summary(found)), *(paragraph(line, "small") for line in notes(job, found))]
    if found.images:
        parts += ["<h3>Test images</h3>", _images(found)]
    if found.texts:
        parts += ["<h3>Test texts</h3>", _texts(found)]
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
        lines.append(
            f"Test {kind}s of {quantity(len(tasks), 'task')} were searched in "
            f"{', '.join(sorted(text(name.replace('_', ' ')) for name in corpora))}: "
            f"{f'some of {len(hit)} were' if hit else 'none was'} found."
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


def _images(found: Leaks) -> str:
    head = ["task", "corpus", "test images", "near by hash", "found", "for example"]
    return table(head, [_image_row(found, each) for each in found.images])


def _image_row(found: Leaks, each: ImageLeaks) -> list[str]:
    example = DASH
    if each.examples:
        first = each.examples[0]
        example = f"<code>{text(first.test)}</code> = <code>{text(first.corpus)}</code>"
    flat = f" ({each.flat:,} flat, not searched)" if each.flat else ""
    return [*_names(found, each), f"{each.test:,}{flat}", f"{each.near:,}", _count(each), example]


def _texts(found: Leaks) -> str:
    words = found.settings.min_words
    head = ["task", "corpus", "test texts", f"under {words} words", "of these found", "found"]
    return table(head, [_text_row(found, each) for each in found.texts])


def _text_row(found: Leaks, each: TextLeaks) -> list[str]:
    unknown = f" ({each.unknown:,} with unknown words)" if each.unknown else ""
    short = [f"{each.short:,}", f"{each.short_matched:,}"]
    return [*_names(found, each), f"{each.test:,}{unknown}", *short, _count(each)]


def _names(found: Leaks, each: ImageLeaks | TextLeaks) -> list[str]:
    return [text(found.titles.get(each.task, each.task)), text(each.corpus.replace("_", " "))]


def _count(each: ImageLeaks | TextLeaks) -> str:
    if not each.matched:
        return "0"
    return f"<b>{each.matched:,}</b> ({100 * each.matched / each.test:.1f} %)"
