"""The loader: stateless, equal over ranks and micro-batches, right content, clear errors."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import data_helpers
import numpy as np
import pytest
import torch
from data_helpers import PAIRS_OBJECTIVES, pairs_source, png, prepare_job, run_config, write_raw

from flava.config import ClipConfig, SourceConfig
from flava.data.batch import Batch
from flava.data.corpus import PairCorpus
from flava.data.mixture import MixtureLoader
from flava.data.prepare import prepare
from flava.data.tokenizer import load_tokenizer
from flava.data.transforms import decode_image, normalise, training_crop
from flava.errors import ConfigError, DataError

CLIP = ClipConfig(
    image_size=32, patch_size=8, vision_width=64, vision_heads=1, text_width=64, text_heads=1,
    vocab_size=600, context_length=16,
).model_dump()  # fmt: skip


def equal(a: Batch, b: Batch) -> bool:
    """Whether two batches agree, up to the padding of texts."""
    return a.kind == b.kind and rows(a) == rows(b)


def rows(*batches: Batch) -> list[list[object]]:
    """All rows of several batches as plain values, texts without padding."""
    found = []
    for batch in batches:
        for i, key in enumerate(batch.keys):
            row: list[object] = [key]
            for field in fields(batch):
                value = getattr(batch, field.name)
                if not isinstance(value, torch.Tensor):
                    continue
                kept = value[i]
                if field.name.startswith("text_"):
                    assert batch.text_attention_BL is not None
                    kept = kept[batch.text_attention_BL[i]]
                row.append((field.name, kept.tolist()))
            found.append(row)
    return found


def first(loader: MixtureLoader, kind: str) -> Batch:
    return loader.batch(loader.schedule().tolist().index(kind))


def test_batches_repeat_and_do_not_depend_on_the_past(corpus: Path) -> None:
    run = run_config(corpus)
    once, again = MixtureLoader(run), MixtureLoader(run)
    updates = range(len(once.schedule()))
    batches = [once.batch(update) for update in updates]
    for update in reversed(updates):  # another order, another object: as after a restart
        assert equal(again.batch(update), batches[update])
    keys = {tuple(batch.keys) for batch in batches}
    assert len(keys) == len(batches)


def test_cache_changes_nothing(corpus: Path) -> None:
    run = run_config(corpus)
    cached, plain = MixtureLoader(run), MixtureLoader(run, cache_bytes=0)
    for update in range(8):
        assert equal(cached.batch(update), plain.batch(update))


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize(("accumulate", "contrastive"), [(1, "whole"), (2, "whole"), (2, "micro")])
def test_ranks_together_have_the_batch_of_one(
    corpus: Path, world_size: int, accumulate: int, contrastive: str
) -> None:
    """Rank by rank; where each micro-batch is compared by itself, micro-batch by micro-batch."""
    options = {"accumulate": accumulate, "contrastive_batch": contrastive}
    run = run_config(corpus, pretrain=options)
    alone = MixtureLoader(run_config(corpus))
    ranks = [MixtureLoader(run, rank, world_size) for rank in range(world_size)]
    for update in range(len(alone.schedule())):
        if contrastive == "micro":
            parts = [rank.batch(update, m) for m in range(accumulate) for rank in ranks]
        else:
            parts = [rank.batch(update, m) for rank in ranks for m in range(accumulate)]
        assert all(len(part.keys) == 16 // world_size // accumulate for part in parts)
        assert rows(*parts) == rows(alone.batch(update))


def test_pairs(corpus: Path) -> None:
    loader = MixtureLoader(run_config(corpus))
    tokenizer = load_tokenizer(corpus / "tokenizers" / "wordpiece.json")
    pairs = PairCorpus(corpus / "pairs", "wordpiece")
    tokens = np.load(corpus / "pairs_tokens.npy")
    batch = first(loader, "pairs")
    assert batch.pixels_BCHW is not None
    assert batch.pixels_BCHW.shape == (16, 3, 32, 32)
    assert batch.text_BL is not None
    assert batch.text_attention_BL is not None
    assert batch.text_masked_BL is not None
    assert batch.text_labels_BL is not None
    assert batch.patch_mask_BP is not None
    assert batch.image_tokens_BP is not None
    assert batch.itm_labels_B is not None
    lengths = batch.text_attention_BL.sum(1)
    assert lengths.max() == batch.text_BL.shape[1] <= 12
    assert batch.patch_mask_BP.any(1).all()
    assert batch.patch_mask_BP.sum(1).max() <= 6
    for i, key in enumerate(batch.keys):
        name, _, number = key.rpartition("#")
        image = pairs.image_index(int(number))
        crop = training_crop(decode_image(png(image)), name, 0.9, 32)
        assert torch.equal(batch.pixels_BCHW[i], normalise(crop[None])[0])
        assert batch.image_tokens_BP[i].tolist() == tokens[image].tolist()
        text = batch.text_BL[i, : lengths[i]].tolist()
        caption = pairs.caption(int(number)).tolist()[:10]
        assert (text == [tokenizer.cls_id, *caption, tokenizer.sep_id]) == bool(
            batch.itm_labels_B[i]
        )
        labels = batch.text_labels_BL[i]
        masked = labels != -100
        assert masked.any()
        assert not masked[lengths[i] :].any()
        assert torch.equal(labels[masked], batch.text_BL[i][masked])
        assert torch.equal(batch.text_masked_BL[i][~masked], batch.text_BL[i][~masked])
        assert (batch.text_BL[i, lengths[i] :] == tokenizer.pad_id).all()


def test_itm_negatives(corpus: Path) -> None:
    run = run_config(corpus, pretrain={"pair_updates": 60})
    loader = MixtureLoader(run)
    pairs = PairCorpus(corpus / "pairs", "wordpiece")
    captions = {tuple(pairs.caption(i).tolist()[:10]): i for i in range(len(pairs))}
    labels = []
    for update in np.flatnonzero(loader.schedule() == "pairs").tolist():
        batch = loader.batch(update)
        assert batch.itm_labels_B is not None
        assert batch.text_BL is not None
        assert batch.text_attention_BL is not None
        labels += batch.itm_labels_B.tolist()
        for i in torch.nonzero(batch.itm_labels_B == 0)[:, 0].tolist():
            own = int(batch.keys[i].rpartition("#")[2])
            text = batch.text_BL[i][batch.text_attention_BL[i]].tolist()[1:-1]
            assert text != pairs.caption(own).tolist()[:10]
            assert pairs.image_index(captions[tuple(text)]) != pairs.image_index(own)
    assert np.mean(labels) == pytest.approx(0.9, abs=0.035)


@pytest.mark.parametrize("share", [0.9, 1.0])
def test_rows_that_count_do_not_depend_on_the_ranks(corpus: Path, share: float) -> None:
    """All rows count only where no pair of the whole update matches, whatever a rank holds."""
    run = run_config(corpus, masking={"itm_negative_probability": share})
    alone = MixtureLoader(run)
    ranks = [MixtureLoader(run, rank, 8) for rank in range(8)]
    lonely = 0
    for update in np.flatnonzero(alone.schedule() == "pairs").tolist():
        whole, parts = alone.batch(update), [rank.batch(update) for rank in ranks]
        assert whole.itm_labels_B is not None and whole.counted_B is not None
        matching = whole.itm_labels_B.bool()
        assert whole.counted_B.tolist() == (matching | ~matching.any()).tolist()
        assert torch.cat([p.counted_B for p in parts]).tolist() == whole.counted_B.tolist()  # type: ignore[misc]
        lonely += sum(not part.counted_B.any() for part in parts)  # type: ignore[union-attr]
    assert (lonely > 0) == (share < 1)


def test_negatives_only_with_itm(corpus: Path) -> None:
    objectives = {"pairs": ["global_contrastive", "mmm_text"]}
    batch = MixtureLoader(run_config(corpus, objectives=objectives, image_tokens={})).batch(0)
    assert batch.itm_labels_B is None
    assert batch.image_tokens_BP is None
    assert batch.patch_mask_BP is not None  # MMM reads masked images and masked text together
    assert batch.text_masked_BL is not None
    contrastive = {"pairs": ["global_contrastive"]}
    batch = MixtureLoader(run_config(corpus, objectives=contrastive, image_tokens={})).batch(0)
    assert batch.patch_mask_BP is None
    assert batch.text_masked_BL is None


def test_same_masks_whatever_else_is_trained(corpus: Path) -> None:
    full = MixtureLoader(run_config(corpus, objectives={"pairs": PAIRS_OBJECTIVES})).batch(3)
    objectives = {"pairs": ["mmm_image"]}
    alone = MixtureLoader(run_config(corpus, objectives=objectives)).batch(3)
    assert torch.equal(full.patch_mask_BP, alone.patch_mask_BP)  # type: ignore[arg-type]
    assert full.keys == alone.keys


def test_images_and_texts(corpus: Path) -> None:
    loader = MixtureLoader(run_config(corpus))
    images, texts = first(loader, "images"), first(loader, "texts")
    assert images.text_BL is None
    assert images.image_tokens_BP is not None
    tokens = np.load(corpus / "images_tokens.npy")
    for i, key in enumerate(images.keys):
        number = int(key.rpartition("/")[2].removesuffix(".png"))
        index = number // 2 if number % 2 == 0 else 15 + number // 2  # sorted by class
        assert images.image_tokens_BP[i].tolist() == tokens[index].tolist()
    assert texts.pixels_BCHW is None
    assert texts.text_BL is not None
    assert texts.text_attention_BL is not None
    tokenizer = load_tokenizer(corpus / "tokenizers" / "wordpiece.json")
    lengths = texts.text_attention_BL.sum(1)
    assert texts.text_BL.shape[1] <= 24
    assert lengths.float().mean() > 12  # packed: single sentences have 4 to 12 words
    assert (texts.text_BL[:, 0] == tokenizer.cls_id).all()
    for row, length in zip(texts.text_BL, lengths, strict=True):
        assert row[length - 1] == tokenizer.sep_id
        assert row[length - 2] != tokenizer.sep_id
    short = run_config(corpus, objectives={"texts": ["mlm"]}, pretrain={"text_batch_length": 8})
    cut = MixtureLoader(short).batch(0).text_BL  # pieces of lines fill their samples
    assert cut is not None and cut.shape[1] == 8


def test_an_epoch_of_texts_has_every_token_once(corpus: Path) -> None:
    run = run_config(corpus, objectives={"texts": ["mlm"]}, pretrain={"batch_size": 1})
    loader = MixtureLoader(run)
    count = loader.report()["samples"]["texts"]
    assert count > 20
    loader = MixtureLoader(
        run_config(
            corpus, objectives={"texts": ["mlm"]},
            pretrain={"batch_size": 1, "pair_updates": count},
        )
    )  # fmt: skip
    seen = sum(int((loader.batch(i).text_BL > 4).sum()) for i in range(count))  # type: ignore[operator]
    flat = np.load(corpus / "texts" / "tokens_wordpiece.npy")
    assert seen == (flat > 4).sum()


def test_kinds_of_the_pairs_corpus(corpus: Path) -> None:
    objectives = {"pair_images": ["mim"], "pair_texts": ["mlm"]}
    sampling = {"pair_images": 0.5, "pair_texts": 0.5}
    options = {"pair_text_length": 8}
    run = run_config(corpus, objectives=objectives, sampling=sampling, pretrain=options)
    loader = MixtureLoader(run)
    images, texts = first(loader, "pair_images"), first(loader, "pair_texts")
    assert images.image_tokens_BP is not None
    assert images.text_BL is None
    assert texts.text_labels_BL is not None
    assert texts.pixels_BCHW is None
    assert texts.text_BL is not None and texts.text_BL.shape[1] == 8
    assert loader.report()["samples"] == {"pair_images": 36, "pair_texts": 72}


def test_clip(corpus: Path) -> None:
    run = run_config(
        corpus, arch="clip", flava=None, clip=CLIP, objectives={"pairs": ["global_contrastive"]},
        tokenizer="bpe", tokenizer_path=str(corpus / "tokenizers" / "bpe.json"), image_tokens={},
        pretrain={"pair_text_length": 8},
    )  # fmt: skip
    loader = MixtureLoader(run)
    batch = loader.batch(0)
    tokenizer = load_tokenizer(corpus / "tokenizers" / "bpe.json")
    assert batch.text_BL is not None
    assert batch.text_attention_BL is not None
    assert batch.text_BL.shape[1] == 8
    assert (batch.text_BL[:, 0] == tokenizer.cls_id).all()
    assert ((batch.text_BL == tokenizer.sep_id).sum(1) == 1).all()
    last = batch.text_attention_BL.sum(1) - 1
    assert torch.equal(batch.text_BL.argmax(1), last)  # EOT has the highest id, and ends the text


def test_corrupt_images_are_replaced_and_reported(corpus: Path, tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", lambda i: png(i)[:100] if i == 3 else png(i))
    job = prepare_job(corpus, "pairs", [pairs_source(tmp_path / "raw")])
    prepare(job.model_copy(update={"output": str(tmp_path / "pairs")}))
    corpora = {"pairs": str(tmp_path / "pairs")}
    changes = {"objectives": {"pairs": PAIRS_OBJECTIVES}, "corpora": corpora}
    run = run_config(corpus, **changes, pretrain={"bad_image_fraction": 0.03})
    loader = MixtureLoader(run)
    keys = [key for update in range(20) for key in loader.batch(update).keys]
    assert not any(key.startswith("toy pairs/003.png") for key in keys)
    assert loader.report()["images"]["pairs"]["corrupt_images"] == 1
    halves = [MixtureLoader(run, rank, 2) for rank in range(2)]
    assert rows(*(half.batch(2) for half in halves)) == rows(loader.batch(2))
    alone = MixtureLoader(
        run_config(
            corpus, objectives={"pair_images": ["mim"]}, corpora=corpora,
            pretrain={"bad_image_fraction": 0.03},
        )
    )  # fmt: skip
    tokens = np.load(corpus / "pairs_tokens.npy")
    numbers = list[int]()
    for update in range(8):
        batch = alone.batch(update)
        assert batch.image_tokens_BP is not None
        numbers += [int(key[-7:-4]) for key in batch.keys]
        assert batch.image_tokens_BP.tolist() == tokens[numbers[-16:]].tolist()
    assert 3 not in numbers and numbers.count(4) > numbers.count(5)  # it takes the place of 3
    strict = MixtureLoader(run_config(corpus, **changes, pretrain={"bad_image_fraction": 0.01}))
    with pytest.raises(DataError, match=r"more than the declared share of 0\.01"):
        for update in range(20):
            strict.batch(update)


def test_itm_without_another_caption(corpus: Path, tmp_path: Path) -> None:
    job = prepare_job(corpus, "pairs", [pairs_source_of_one(tmp_path)])
    prepare(job.model_copy(update={"output": str(tmp_path / "pairs")}))
    run = run_config(
        corpus, objectives={"pairs": ["itm"]}, corpora={"pairs": str(tmp_path / "pairs")},
        masking={"itm_negative_probability": 1.0},
    )  # fmt: skip
    with pytest.raises(DataError, match="no caption that differs from that of"):
        MixtureLoader(run).batch(0)


def test_no_itm_negative_is_an_equal_caption(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three images with one caption: the fourth's is the only one that does not match them."""
    monkeypatch.setattr(data_helpers, "sentence", lambda i: "star" if i > 5 else "red circle")
    write_raw(tmp_path / "raw")
    job = prepare_job(corpus, "pairs", [pairs_source(tmp_path / "raw", limit=4)])
    prepare(job.model_copy(update={"output": str(tmp_path / "pairs")}))
    run = run_config(
        corpus, objectives={"pairs": ["itm"]}, corpora={"pairs": str(tmp_path / "pairs")},
        masking={"itm_negative_probability": 1.0},
    )  # fmt: skip
    batch, pairs = MixtureLoader(run).batch(0), PairCorpus(tmp_path / "pairs", "wordpiece")
    assert batch.itm_labels_B is not None and not batch.itm_labels_B.any()
    assert batch.text_BL is not None and batch.text_attention_BL is not None
    for key, text, attention in zip(
        batch.keys, batch.text_BL, batch.text_attention_BL, strict=True
    ):
        own = pairs.caption(int(key.rpartition("#")[2])).tolist()
        assert text[attention].tolist()[1:-1] != own


def pairs_source_of_one(folder: Path) -> SourceConfig:
    write_raw(folder / "raw")
    return pairs_source(folder / "raw", limit=1)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"pretrain": {"text_batch_length": 64}}, ConfigError, "exceeds the model's 32"),
        ({"pretrain": {"pair_text_length": 2}}, ConfigError, "at least 3"),
        ({"corpora": {"pairs": "x"}}, ConfigError, "corpora lacks images, texts"),
        ({"image_tokens": {}}, ConfigError, "image_tokens lacks 'pairs', needed by pairs"),
        ({"masking": {"image_patches": 75}}, ConfigError, "more than the 4x4"),
        ({"tokenizer": "bpe"}, DataError, "prepared with another tokenizer"),
        (
            {"tokenizer": "bpe", "objectives": {"pairs": ["itm"]}},
            DataError,
            "pairs was prepared with another tokenizer",
        ),
        (
            {"tokenizer": "bpe", "objectives": {"texts": ["mlm"]}},
            DataError,
            "texts was prepared with another tokenizer",
        ),
        (
            {"flava": {"image_size": 32, "patch_size": 8, "vocab_size": 50}},
            ConfigError,
            "the model's vocab_size is 50",
        ),
        (
            {"flava": {"image_size": 32, "patch_size": 4, "vocab_size": 200}},
            DataError,
            "16 tokens an image, the model 64 patches",
        ),
        ({"flava": None}, ConfigError, "neither 'flava' nor 'clip'"),
    ],
)
def test_refused_runs(corpus: Path, changes: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        MixtureLoader(run_config(corpus, **changes))


def test_bpe_cannot_be_masked(corpus: Path) -> None:
    path = str(corpus / "tokenizers" / "bpe.json")
    flava = {"image_size": 32, "patch_size": 8, "vocab_size": 600, "max_text_length": 32}
    with pytest.raises(ConfigError, match="no mask token"):
        MixtureLoader(run_config(corpus, tokenizer="bpe", tokenizer_path=path, flava=flava))


def test_ranks_must_divide_the_batch(corpus: Path) -> None:
    with pytest.raises(ConfigError, match=r"batch_size 16 cannot be split over 3 ranks"):
        MixtureLoader(run_config(corpus), 0, 3)


def test_updates_and_micro_batches_outside(corpus: Path) -> None:
    loader = MixtureLoader(run_config(corpus))
    for update, micro in ((len(loader.schedule()), 0), (-1, 0), (0, 1)):
        with pytest.raises(IndexError, match="no micro-batch"):
            loader.batch(update, micro)
