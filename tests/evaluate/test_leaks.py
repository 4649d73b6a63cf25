"""The leak check on planted doubles: prepared corpora and task files as a study has them."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from flava.config import LeakConfig, SourceConfig, TokenizerConfig
from flava.data.hash_corpus import CorpusHashes, hash_corpus
from flava.data.hash_corpus import main as hash_main
from flava.data.prepare import prepare
from flava.data.tokenizer import make_tokenizers
from flava.errors import DataError
from flava.evaluate import leaks
from flava.evaluate.images import ArrayImages
from flava.evaluate.leak_result import load_leaks
from flava.evaluate.scored import scored_images, scored_texts
from flava.evaluate.taskdata import LabelledTask, Split
from flava.jobs import EvaluateTask, HashJob, LeaksJob, PrepareJob, TokenizerJob
from flava.report.leaks import leaks_section
from tests.data.test_hashes import COPIES, photo
from tests.evaluate.fakes import data_config, task_config, write, write_zip
from tests.report.fake_study import fake_job

TRAIN = range(20)
PLANTED = dict(zip(COPIES, (2, 5, 9, 14), strict=True))
LONG, SHORT = "A man rides a brown horse", "a dog"


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def karpathy(folder, images, split):
    """images: {name: (picture, captions)}."""
    write_zip(folder / "images.zip", {name: jpeg(image) for name, (image, _) in images.items()})
    entries = [
        {"filename": name, "split": split, "sentences": [{"raw": text} for text in captions]}
        for name, (_, captions) in images.items()
    ]
    write(folder / "dataset_x.json", json.dumps({"images": entries}))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Pairs, images and texts; a retrieval set with four copies of pairs and one broken image."""
    root = tmp_path_factory.mktemp("leaks")
    pairs = {f"{i:03d}.jpg": (photo(i), [f"scene number {i} with a tree", SHORT]) for i in TRAIN}
    pairs["003.jpg"] = (photo(3), [LONG + "."])
    pairs["grey.jpg"] = (Image.new("RGB", (40, 40), (90, 90, 90)), ["nothing at all in this"])
    karpathy(root / "pairs", pairs, "train")
    write(root / "news.txt", "Rain fell. The tree by the river is old!\nAnother day begins.\n")
    test = {
        f"copy_{name.split()[0].strip(',')}.jpg": (COPIES[name](photo(i)), ["not seen", "or that"])
        for name, i in PLANTED.items()
    }
    test |= {f"new_{i}.jpg": (photo(100 + i), [f"a new scene {i} is not there"]) for i in range(9)}
    test["new_0.jpg"] = (photo(100), ["a man, rides a BROWN horse", "A dog!", "the 猫 is here now"])
    test["flat.jpg"] = (Image.new("RGB", (64, 64), (200, 10, 10)), ["all of it is red here"])
    karpathy(root / "test", test, "test")
    write(root / "SST-2" / "train.tsv", "sentence\tlabel\nfine\t1\nbad\t0\n")
    dev = "sentence\tlabel\nthe tree by the river is old\t1\nrain fell\t0\nnobody said so\t1\n"
    write(root / "SST-2" / "dev.tsv", dev)
    return root


def source(name, adapter, path):
    plain = {"name": name, "adapter": adapter, "path": str(path), "split": "train"}
    return SourceConfig.model_validate(plain | {"licence": "made here", "version": "1"})


@pytest.fixture(scope="module")
def job(world):
    pairs = source("pairs", "karpathy", world / "pairs")
    texts = source("news", "text_lines", world / "news.txt")
    tokenizers = {name: TokenizerConfig(kind=name, vocab_size=600) for name in ("wordpiece", "bpe")}
    make_tokenizers(
        TokenizerJob(
            study="x", tokenizers=tokenizers, pairs=[pairs], texts=[texts],
            output=str(world / "tokenizers"),
        )
    )  # fmt: skip
    corpora = {}
    for kind, used, name in (("pairs", pairs, "bpe"), ("texts", texts, "wordpiece")):
        path = str(world / "tokenizers" / f"{name}.json")
        folder = str(world / "data" / kind)
        prepare(
            PrepareJob(
                study="x", kind=kind, sources=[used], tokenizers={name: path},
                shard_bytes=40_000, output=folder,
            )
        )  # fmt: skip
        corpora[kind] = HashJob(
            study="x", corpus=folder, images=kind == "pairs", tokenizer=name,
            tokenizer_path=path, output=str(world / "hashes" / f"{kind}.npz"),
        )  # fmt: skip
    tasks = {
        "flickr30k": (task_config("retrieval"), data_config("karpathy", world / "test")),
        "sst2": (task_config("glue"), data_config("glue_tsv", world / "SST-2")),
    }
    return LeaksJob(
        study="x", settings=LeakConfig(), corpora=corpora,
        tasks={name: EvaluateTask(task=task, data=data) for name, (task, data) in tasks.items()},
        output=str(world / "leaks.json"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def done(job, world, request):
    """The steps as commands run them; returns the content of leaks.json."""
    patch = pytest.MonkeyPatch()
    request.addfinalizer(patch.undo)
    for kind, corpus in job.corpora.items():
        config = write(world / f"hash_{kind}.json", corpus.model_dump_json())
        patch.setattr("sys.argv", ["hash_corpus", "--config", str(config)])
        hash_main()
    config = write(world / "leaks_config.json", job.model_dump_json())
    patch.setattr("sys.argv", ["leaks", "--config", str(config)])
    leaks.main()
    return json.loads((world / "leaks.json").read_text())


def test_planted_images_are_found_and_no_other(done):
    (found,) = done["images"]
    assert (found["corpus"], found["task"]) == ("pairs", "flickr30k")
    assert (found["test"], found["flat"], found["matched"]) == (14, 1, 4)
    pairs = {each["test"]: each["corpus"] for each in found["examples"]}
    assert pairs == {
        f"copy_{name.split()[0].strip(',')}.jpg": f"pairs/{i:03d}.jpg"
        for name, i in PLANTED.items()
    }
    assert all(each["correlation"] > 0.95 for each in found["examples"])


def test_a_near_hash_counts_only_where_the_pixels_are_alike(done, job):
    found = [each["correlation"] for each in done["images"][0]["examples"]]
    strict = LeakConfig(min_correlation=float(np.mean(found)))
    (again,) = leaks.find_leaks(job.model_copy(update={"settings": strict})).images
    assert (again.near, again.matched) == (4, sum(np.array(found) >= strict.min_correlation))
    assert 0 < again.matched < 4


def test_both_texts_and_all_scored_splits_are_searched():
    images = ArrayImages(np.zeros((3, 4, 4, 3), np.uint8))
    first, second = (
        Split(np.zeros(1, np.int64), images, np.array([row]), [("the premise", hypothesis)])
        for row, hypothesis in ((0, "one"), (2, "another"))
    )
    data = LabelledTask(first, {"matched": first, "mismatched": second}, ["no"])
    assert scored_texts(data) == ["the premise", "one", "another"]
    assert [part.rows.tolist() for part in scored_images(data)] == [[0], [2]]


def test_texts_are_found_whatever_their_case_and_marks(done):
    found = {(each["corpus"], each["task"]): each for each in done["texts"]}
    assert set(found) == {(c, t) for c in ("pairs", "texts") for t in ("flickr30k", "sst2")}
    pairs = found["pairs", "flickr30k"]
    assert pairs["examples"] == ["a man, rides a BROWN horse"] and pairs["matched"] == 1
    assert (pairs["short"], pairs["short_matched"]) == (3, 1)  # not seen, or that, A dog!
    news = found["texts", "sst2"]
    assert news["examples"] == ["the tree by the river is old"]
    assert (news["test"], news["matched"], news["short"], news["short_matched"]) == (3, 1, 2, 1)
    assert found["pairs", "sst2"]["matched"] == found["texts", "flickr30k"]["matched"] == 0
    assert found["texts", "flickr30k"]["unknown"] >= 1  # 猫


def test_counts_are_in_the_record(done, job, world):
    record = done["record"]
    assert record["step"] == "leaks" and len(record["manifests"]) == 2
    assert record["extra"]["images"] == {"flickr30k in pairs": 4}
    assert record["extra"]["texts"]["sst2 in texts"] == 1
    found, parsed = load_leaks(world / "leaks.json")
    assert found.images[0].matched == 4 and parsed.extra == record["extra"]


def test_report_shows_counts_and_says_where_it_was_not_run(done, world):
    titles = {"flickr30k": "Flickr30K titled"}
    page = leaks_section(fake_job(world, leaks=str(world / "leaks.json"), tasks=titles))
    assert ">Flickr30K titled<" in page and ">sst2<" in page
    words = re.sub("<[^>]+>", "", page)
    assert "4 (28.6 %)" in words and "14 (1 flat, not searched)" in words
    assert re.search(r"<b><span[^>]*>4 \(28\.6 %\)</span></b>", page)
    assert "copy_re-encoded.jpg</code> = <code>pairs/002.jpg" in page
    assert "Test images of 1 task were searched in pairs: 1 task had some that were found." in page
    assert "6 of 64 bits" in page and "what the published weights" not in page
    imported = fake_job(world, leaks=str(world / "leaks.json"), imported=["clip_400m-s0"])
    assert "published weights of clip_400m-s0" in leaks_section(imported)
    assert "The leak check was not run" in leaks_section(fake_job(world))


def test_two_processes_give_the_same_hashes(job, done, monkeypatch):
    monkeypatch.setattr("flava.data.hash_corpus.IMAGES_AT_ONCE", 8)
    one, two = (hash_corpus(job.corpora["pairs"], threads) for threads in (1, 2))
    stored = CorpusHashes.load(job.corpora["pairs"].output)
    for name in ("hashes", "states", "texts"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
        assert np.array_equal(getattr(one, name), getattr(stored, name))
    assert (stored.states == 1).sum() == 1  # the grey picture


def test_errors_name_the_task_and_the_step(job, done, world, tmp_path):
    data = data_config("karpathy", tmp_path / "nowhere")
    broken = job.model_copy(
        update={"tasks": {"coco": EvaluateTask(task=task_config("retrieval"), data=data)}}
    )
    with pytest.raises(DataError, match=r"task 'coco': .*nowhere is missing"):
        leaks.run(broken)
    lost = job.corpora["pairs"].model_copy(update={"output": str(tmp_path / "no.npz")})
    with pytest.raises(DataError, match=r"no.npz is missing. Run the step that hashes"):
        leaks.run(job.model_copy(update={"corpora": {"pairs": lost}}))
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 broken")
    bad = lost.model_copy(update={"output": str(tmp_path / "bad.npz")})
    with pytest.raises(DataError, match=r"bad.npz is damaged"):
        leaks.run(job.model_copy(update={"corpora": {"pairs": bad}}))
    other = lost.model_copy(update={"output": job.corpora["texts"].output})
    with pytest.raises(DataError, match=r"is not of .*pairs. Hash that corpus again"):
        leaks.run(job.model_copy(update={"corpora": {"pairs": other}}))
    texts = job.corpora["texts"]
    other = texts.model_copy(update={"output": job.corpora["pairs"].output})
    with pytest.raises(DataError, match=r"is not of .*texts. Hash that corpus again"):
        leaks.run(job.model_copy(update={"corpora": {"texts": other}}))
    other = texts.model_copy(update={"tokenizer_path": job.corpora["pairs"].tokenizer_path})
    with pytest.raises(DataError, match=r"bpe.json is not the tokenizer that .*texts was prepared"):
        leaks.run(job.model_copy(update={"corpora": {"texts": other}}))
    value = json.loads((world / "leaks.json").read_text())
    (tmp_path / "leaks.json").write_text(json.dumps(value | {"texts": [{"corpus": 1}]}))
    with pytest.raises(DataError, match=r"leaks.json: texts.0.corpus"):
        load_leaks(tmp_path / "leaks.json")
