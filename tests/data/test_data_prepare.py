"""Preparing: what lies in a corpus folder, what is skipped, and that it is whole or absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_helpers import (
    CAPTIONS,
    IMAGES,
    make_corpus,
    pairs_source,
    png,
    prepare_job,
    sentence,
    source,
)

from flava.data.corpus import ImageCorpus, PairCorpus, TextCorpus
from flava.data.prepare import TokenWriter, prepare
from flava.data.shards import read_manifest
from flava.data.tokenizer import load_tokenizer
from flava.errors import ConfigError, DataError
from flava.io import sha256_file
from tests.memory import peak_bytes


def karpathy(folder: Path, entries: list[tuple[str, bytes, list[str]]]) -> None:
    folder.mkdir(exist_ok=True)
    images = []
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for name, data, captions in entries:
            archive.writestr(name, data)
            sentences = [{"raw": caption} for caption in captions]
            images.append({"filename": name, "split": "train", "sentences": sentences})
    (folder / "dataset_x.json").write_text(json.dumps({"images": images}))


def test_pairs_round_trip(corpus: Path) -> None:
    pairs = PairCorpus(corpus / "pairs", "wordpiece")
    tokenizer = load_tokenizer(corpus / "tokenizers" / "wordpiece.json")
    assert len(pairs) == CAPTIONS * (IMAGES - 4)
    assert len(pairs.images) == IMAGES - 4
    assert len(pairs.images.reader.names) > 2
    for pair in (0, 1, 17, len(pairs) - 1):
        expected = tokenizer.encode(f"{sentence(pair)} .")
        assert pairs.caption(pair).tolist() == expected
        assert pairs.image_index(pair) == pair // CAPTIONS
        assert pairs.images.image_bytes(pair // CAPTIONS) == png(pair // CAPTIONS)
    assert pairs.images.key(3) == "toy pairs/003.png"
    assert pairs.key(7) == "toy pairs/003.png#7"
    bpe = PairCorpus(corpus / "pairs", "bpe")
    assert (
        load_tokenizer(corpus / "tokenizers" / "bpe.json").decode(bpe.caption(5).tolist())
        == f"{sentence(5)} ."
    )


def test_manifest(corpus: Path) -> None:
    manifest = read_manifest(corpus / "pairs")
    assert manifest["counts"] == {"images": IMAGES - 4, "pairs": CAPTIONS * (IMAGES - 4)}
    row = manifest["sources"][0]
    assert (row["name"], row["licence"], row["version"]) == ("toy pairs", "test", "1")
    words = [len(f"{sentence(pair)} .".split()) for pair in range(CAPTIONS * (IMAGES - 4))]
    assert row["mean_words"] == pytest.approx(np.mean(words))
    for name, about in manifest["files"].items():
        path = corpus / "pairs" / name
        assert about == {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        if name.endswith(".tar"):
            with tarfile.open(path) as shard:
                assert shard.getmembers() and shard.offset <= 6000  # after the last of them
    assert {path.name for path in (corpus / "pairs").iterdir()} == {
        "shards", "manifest.json", "record.json", "index.npy", "keys.npy", "pair_image.npy",
        "tokens_wordpiece.npy", "offsets_wordpiece.npy", "tokens_bpe.npy", "offsets_bpe.npy",
    }  # fmt: skip


def test_shards_are_webdataset_readable(corpus: Path) -> None:
    import webdataset

    shards = sorted(str(path) for path in (corpus / "pairs" / "shards").iterdir())
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert len(samples) == IMAGES - 4
    assert samples[5]["png"] == png(5)
    about = json.loads(samples[5]["json"])
    assert about["key"] == "toy pairs/005.png"
    assert about["captions"] == [f"{sentence(10)} .", f"{sentence(11)} ."]


def test_image_labels_are_kept(corpus: Path) -> None:
    import webdataset

    shards = sorted(str(path) for path in (corpus / "images" / "shards").iterdir())
    first = next(iter(webdataset.WebDataset(shards, shardshuffle=False)))
    assert json.loads(first["json"]) == {"key": "image_folder/train/a/000.png", "label": "a"}
    assert len(ImageCorpus(corpus / "images")) == 30


def test_texts_end_with_separator(raw: Path, corpus: Path, tmp_path: Path) -> None:
    texts = TextCorpus(corpus / "texts", "wordpiece")
    tokenizer = load_tokenizer(corpus / "tokenizers" / "wordpiece.json")
    assert len(texts) == 200
    assert texts.lines[3].tolist() == [*tokenizer.encode(sentence(10_003)), tokenizer.sep_id]
    (tmp_path / "two.txt").write_text("red circle\nblue square\n\nstar\n")
    job = prepare_job(corpus, "texts", [source("text_lines", tmp_path / "two.txt")])
    prepare(job.model_copy(update={"output": str(tmp_path / "texts")}))
    lines = TextCorpus(tmp_path / "texts", "bpe").lines
    separator = load_tokenizer(corpus / "tokenizers" / "bpe.json").sep_id
    assert [lines[i][-1] == separator for i in range(3)] == [False, True, True]
    assert read_manifest(tmp_path / "texts")["counts"] == {"documents": 2, "lines": 3}


def test_lines_take_no_memory(corpus: Path, tmp_path: Path) -> None:
    """A text corpus has hundreds of millions; the arrays are those that NumPy would write."""
    texts = [[n % 1000] * (n % 5) for n in range(100_000)]
    tokenizer = load_tokenizer(corpus / "tokenizers" / "wordpiece.json")

    def write() -> None:
        writer = TokenWriter(tmp_path, "x", tokenizer)
        for text in texts:
            writer.add(text)
        writer.save()

    peak = peak_bytes(write)
    np.save(tmp_path / "offsets.npy", np.cumsum([0, *map(len, texts)]))
    np.save(tmp_path / "tokens.npy", np.concatenate(texts).astype("<u2"))
    for name in ("offsets", "tokens"):
        assert sha256_file(tmp_path / f"{name}_x.npy") == sha256_file(tmp_path / f"{name}.npy")
    assert peak < 300_000


def test_preparing_again_gives_equal_bytes(raw: Path, corpus: Path, tmp_path: Path) -> None:
    again = make_corpus(raw, tmp_path)
    for kind in ("pairs", "images", "texts"):
        assert read_manifest(again / kind) == read_manifest(corpus / kind)


def test_empty_captions_are_skipped_and_counted(corpus: Path, tmp_path: Path) -> None:
    entries = [
        ("a.png", png(1), ["red circle", "", "  \n"]),
        ("b.png", png(2), ["", " "]),
        ("c.png", png(3), ["star", "\u0000"]),  # only a control character: no token
        ("d.png", b"<html>not found</html>", ["blue"]),
    ]
    karpathy(tmp_path / "raw", entries)
    job = prepare_job(corpus, "pairs", [source("karpathy", tmp_path / "raw")])
    prepare(job.model_copy(update={"output": str(tmp_path / "pairs")}))
    manifest = read_manifest(tmp_path / "pairs")
    assert manifest["counts"] == {"images": 2, "pairs": 2}
    assert manifest["sources"][0]["skipped"] == {
        "empty captions": 5,
        "images without caption": 1,
        "files that are no image": 1,
    }
    pairs = PairCorpus(tmp_path / "pairs", "wordpiece")
    assert [pairs.image_index(i) for i in range(2)] == [0, 1]
    assert pairs.images.key(1) == "karpathy/c.png"


def test_several_sources(raw: Path, corpus: Path, tmp_path: Path) -> None:
    sources = [pairs_source(raw, limit=3), pairs_source(raw, split="val", limit=2)]
    sources[1] = sources[1].model_copy(update={"name": "val"})
    job = prepare_job(corpus, "pairs", sources)
    prepare(job.model_copy(update={"output": str(tmp_path / "pairs")}))
    pairs = PairCorpus(tmp_path / "pairs", "wordpiece")
    assert len(pairs) == 10
    assert pairs.images.key(3) == "val/036.png"
    rows = read_manifest(tmp_path / "pairs")["sources"]
    assert [row["counts"]["images"] for row in rows] == [3, 2]


def test_failure_leaves_the_old_corpus(raw: Path, corpus: Path, tmp_path: Path) -> None:
    job = prepare_job(corpus, "pairs", [pairs_source(raw, limit=3)])
    job = job.model_copy(update={"output": str(tmp_path / "pairs")})
    prepare(job)
    broken = [pairs_source(raw, limit=3), source("karpathy", tmp_path / "nowhere")]
    with pytest.raises(DataError, match="nowhere"):
        prepare(job.model_copy(update={"sources": broken}))
    assert len(PairCorpus(tmp_path / "pairs", "wordpiece").images) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [".pairs.lock", "pairs"]


@pytest.mark.parametrize("kind", ["pairs", "images", "texts"])
def test_a_wrong_path_of_the_last_source_is_met_before_the_first_is_written(
    raw: Path, corpus: Path, tmp_path: Path, kind: str
) -> None:
    good = {
        "pairs": pairs_source(raw),
        "images": source("image_folder", raw / "images" / "images.zip"),
        "texts": source("text_lines", raw / "lines.txt"),
    }[kind]
    wrong = good.model_copy(update={"path": str(tmp_path / "nowhere")})
    job = prepare_job(corpus, kind, [good, wrong])
    with pytest.raises(DataError, match="nowhere"):
        prepare(job.model_copy(update={"output": str(tmp_path / "out" / kind)}))
    assert not (tmp_path / "out").exists()


def test_what_a_killed_process_left_is_removed(raw: Path, corpus: Path, tmp_path: Path) -> None:
    """Not while another process writes: it is the one that may have made it."""
    output = tmp_path / "pairs"
    job = prepare_job(corpus, "pairs", [pairs_source(raw, limit=3)])
    job = job.model_copy(update={"output": str(output)})
    wait = (
        "import sys, time; from flava.io import atomic_directory, without_leftovers\n"
        "with without_leftovers(sys.argv[1]), atomic_directory(sys.argv[1]) as folder:\n"
        "    (folder / 'shard').write_text('half'); print(folder, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", wait, str(output)], stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            assert other.stdout is not None
            half = Path(other.stdout.readline().strip())
            prepare(job)
            assert (half / "shard").read_text() == "half"
        finally:
            other.kill()
    assert half.is_dir(), "a killed process cleans nothing"
    beside = tmp_path / ".pairs.number.tmp"
    beside.write_text("another file")
    prepare(job)
    assert not half.exists()
    assert beside.exists()
    assert len(PairCorpus(output, "wordpiece").images) == 3


NOTHING = (
    r"'karpathy' of pairs gave nothing to use: .*raw, split 'train', left out: 1 empty captions, "
    r"1 images without caption\. Check its path, split and filter\."
)


def test_source_without_anything_is_an_error(corpus: Path, tmp_path: Path) -> None:
    karpathy(tmp_path / "raw", [("a.png", png(1), [""])])
    job = prepare_job(corpus, "pairs", [source("karpathy", tmp_path / "raw")])
    with pytest.raises(DataError, match=NOTHING):
        prepare(job.model_copy(update={"output": str(tmp_path / "pairs")}))
    assert not (tmp_path / "pairs").exists()


def test_unknown_kind(corpus: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'pairs'"):
        prepare(prepare_job(corpus, "pair", []))


def command(module: str, config: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {key: value for key, value in os.environ.items() if key != "FLAVA_DATA"}
    return subprocess.run(
        [sys.executable, "-m", module, "--config", str(config)],
        env={**known, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_command_line(raw: Path, corpus: Path, tmp_path: Path) -> None:
    sources = [source("karpathy", "$FLAVA_DATA/pairs")]
    job = prepare_job(corpus, "pairs", sources)
    job = job.model_copy(update={"output": str(tmp_path / "pairs")})
    (tmp_path / "job.json").write_text(json.dumps(job.model_dump()))
    failed = command("flava.data.prepare", tmp_path / "job.json")
    assert failed.returncode == DataError.exit_code
    assert failed.stderr.strip().splitlines()[-1].startswith("error: '$FLAVA_DATA/pairs' uses")
    assert "Traceback" not in failed.stderr
    done = command("flava.data.prepare", tmp_path / "job.json", FLAVA_DATA=str(raw))
    assert done.returncode == 0, done.stderr
    manifest = (tmp_path / "pairs" / "manifest.json").read_text()
    assert "$FLAVA_DATA/pairs" in manifest
    assert str(raw) not in manifest


def test_real_flickr8k(real_data: Path, corpus: Path, tmp_path: Path) -> None:
    source_ = source("flickr8k_tokens", "$FLAVA_DATA/flickr8k", limit=20)
    job = prepare_job(corpus, "pairs", [source_], shard_bytes=50_000)
    prepare(job.model_copy(update={"output": str(tmp_path / "pairs")}))
    pairs = PairCorpus(tmp_path / "pairs", "wordpiece")
    assert len(pairs) == 100
    for pair in range(0, 100, 5):
        index, crop = pairs.good_crop(pair, 32, 0.9)
        assert (index, crop.shape) == (pair, (32, 32, 3))
