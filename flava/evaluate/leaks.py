"""Searches the test examples of a study's tasks in its pretraining corpora.

    python -m flava.evaluate.leaks --config results/<study>/configs/leaks.json

An image is found if a corpus has one with a near perceptual hash whose pixels correlate with it; a
text if the corpus has one with the same words in the same order (docs/evaluation.md).
"""

from __future__ import annotations

import time

from flava.data.commands import config_argument
from flava.data.hash_corpus import CorpusHashes
from flava.data.text_hash import TextHash
from flava.data.tokenizer import load_tokenizer
from flava.errors import FlavaError, run_cli
from flava.evaluate.datasets import load_task
from flava.evaluate.leak_result import ImageLeaks, Leaks, TextLeaks, counts
from flava.evaluate.leak_search import TaskHashes, image_leaks, text_leaks
from flava.evaluate.scored import scored_images, scored_texts
from flava.io import write_json
from flava.jobs import LeaksJob, load_job
from flava.records import make_record


def find_leaks(job: LeaksJob) -> Leaks:
    """Every task in every corpus that has images or texts.

    Raises:
        DataError: a task's data or a corpus is missing or damaged, or its hashes are another's.
    """
    tasks = [_load(name, job) for name in sorted(job.tasks)]
    images: list[ImageLeaks] = []
    texts: list[TextLeaks] = []
    for name, corpus in sorted(job.corpora.items()):
        hashed = CorpusHashes.of(corpus)
        if corpus.images:
            images += image_leaks(name, corpus, hashed, tasks, job.settings)
        if corpus.tokenizer_path is not None:
            hasher = TextHash(load_tokenizer(corpus.tokenizer_path))
            found = [text_leaks(name, hashed.texts, hasher, t, job.settings) for t in tasks]
            texts += [leaks for leaks in found if leaks.test]
    return Leaks(study=job.study, settings=job.settings, images=images, texts=texts)


def _load(name: str, job: LeaksJob) -> TaskHashes:
    spec = job.tasks[name]
    try:
        data = load_task(name, spec.task, spec.data)
        return TaskHashes(name, scored_images(data), scored_texts(data))
    except FlavaError as error:
        raise type(error)(f"task '{name}': {error}") from error


def run(job: LeaksJob) -> None:
    """Writes the counts and examples with their record."""
    started = time.time()
    leaks = find_leaks(job)
    manifests = [f"{corpus.corpus}/manifest.json" for corpus in job.corpora.values()]
    record = make_record("leaks", job, started, manifests=manifests, extra=counts(leaks))
    write_json(job.output, {**leaks.model_dump(mode="json"), "record": record})
    for kind, found in counts(leaks).items():
        total = {name: count for name, count in found.items() if count}
        print(f"{kind}: {len(found)} searches, found in {len(total)}: {total}")


def main() -> None:
    """Command line."""
    run(load_job(LeaksJob, config_argument("Search test examples in the pretraining data.")))


if __name__ == "__main__":
    run_cli(main)
