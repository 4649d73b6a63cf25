"""Tokenizers: equal to BERT's and CLIP's published ones, trained ones deterministic."""

from __future__ import annotations

import gzip
import html
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from data_helpers import sentence, source

from flava.config import TokenizerConfig
from flava.data.sources import read_captions, read_texts
from flava.data.tokenizer import Tokenizer, build_tokenizer, load_tokenizer
from flava.errors import ConfigError, DataError

TRICKY = [
    "A photo of a Cat's 3 dogs, it's 100% héllo!!",
    "  two\n spaces\tand  ÉCLAIRS don't we'll I'm you've she'd ",
    "日本語 and emoji 😀 and ½ Ångström",
    "under_score #hash a-b ... !!!",
    "",
]
BERT = "$FLAVA_DATA/vocab/bert-base-uncased-vocab.txt"
CLIP = "$FLAVA_DATA/vocab/bpe_simple_vocab_16e6.txt.gz"


def published(kind: Any, vocab_file: str) -> Tokenizer:
    return build_tokenizer(TokenizerConfig(kind=kind, vocab_file=vocab_file), iter(()))


def trained(kind: Any, size: int, texts: list[str]) -> Tokenizer:
    return build_tokenizer(TokenizerConfig(kind=kind, vocab_size=size), iter(texts))


@pytest.fixture(scope="module")
def clip(real_data: Path) -> Tokenizer:
    return published("bpe", CLIP)


@pytest.fixture(scope="module")
def bert(real_data: Path) -> Tokenizer:
    return published("wordpiece", BERT)


@pytest.fixture(scope="module")
def real_texts(real_data: Path) -> list[str]:
    captions = read_captions(source("karpathy", "$FLAVA_DATA/flickr8k", limit=300))
    news = read_texts(source("ag_news_csv", "$FLAVA_DATA/text/ag_news_csv", split="test"))
    return [*(text for five in captions for text in five), *islice(news, 300), *TRICKY]


def test_clip_ids_equal_transformers(
    clip: Tokenizer, real_data: Path, real_texts: list[str], tmp_path: Path
) -> None:
    from transformers import CLIPTokenizer

    merges = gzip.decompress((real_data / "vocab" / Path(CLIP).name).read_bytes()).decode()
    lines = merges.split("\n")[1 : 49152 - 256 - 2 + 1]
    vocab = clip.library.get_vocab()
    theirs = CLIPTokenizer(vocab=vocab, merges=[tuple(line.split()) for line in lines])
    assert (clip.vocab_size, clip.cls_id, clip.sep_id) == (49408, 49406, 49407)
    for text in real_texts:
        cleaned = html.unescape(html.unescape(text))  # OpenAI's does, transformers' does not
        expected = theirs(cleaned, add_special_tokens=True)["input_ids"]
        assert clip.pair(text, max_length=10_000) == expected, text


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [
        ("salt &amp; pepper", "salt & pepper"),
        ("&amp;lt;b&amp;gt; it&#39;s caf&eacute;", "<b> it's café"),
        ("AT&T, R&D; a & b, &; 5 &amp;amp;amp; 6", "AT&T, R&D; a & b, &; 5 &amp; 6"),
    ],
)
def test_clip_reads_html_s_references_as_openai_s_tokenizer(
    escaped: str, plain: str, clip: Tokenizer, bert: Tokenizer
) -> None:
    """It unescapes twice (`basic_clean`); BERT's does not."""
    without = clip.library.encode(plain, add_special_tokens=False).ids
    assert clip.encode(escaped) == clip.encode_batch([escaped])[0] == without
    assert bert.encode(escaped) == bert.library.encode(escaped, add_special_tokens=False).ids


def test_bpe_is_trained_on_the_text_that_it_reads() -> None:
    texts = [sentence(i) for i in range(300)]
    escaped = [text.replace(" ", "&amp;#32;") for text in texts]
    first, second = (trained("bpe", 600, each).library.to_str() for each in (texts, escaped))
    assert first == second


def test_clip_known_ids(clip: Tokenizer) -> None:
    """Ids of CLIP's own README examples, as its simple_tokenizer gives them."""
    assert clip.pair("a photo of a cat") == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert clip.pair("a diagram") == [49406, 320, 22697, 49407]


def test_bert_ids_equal_transformers(
    bert: Tokenizer, real_texts: list[str], real_data: Path
) -> None:
    from transformers import BertTokenizer

    theirs = BertTokenizer(vocab=bert.library.get_vocab(), do_lower_case=True)
    assert (bert.vocab_size, bert.pad_id, bert.cls_id, bert.sep_id) == (30522, 0, 101, 102)
    assert bert.mask_id == 103
    for text in real_texts:
        assert bert.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], text


def test_special_tokens_in_text_stay_text(bert: Tokenizer, clip: Tokenizer) -> None:
    assert not set(bert.encode("a [MASK] b [SEP] [CLS] [PAD]")) & bert.special_ids
    assert not set(clip.encode("a <|endoftext|> b <|startoftext|>")) & clip.special_ids
    assert bert.encode("a [UNK] b")[1] == 100


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_training_is_deterministic(kind: str) -> None:
    texts = [sentence(i) + " Ünï-code 123" for i in range(300)]
    first, second = (trained(kind, 600, texts) for _ in range(2))
    assert first.library.to_str() == second.library.to_str()
    assert first.vocab_size <= 600
    for text in texts[:20]:
        assert first.decode(first.encode(text)).replace(" ", "") != ""
        assert first.encode(text) == first.encode_batch([text])[0]


def test_trained_bpe_has_clips_layout() -> None:
    tokenizer = trained("bpe", 600, [sentence(i) for i in range(300)])
    assert (tokenizer.cls_id, tokenizer.sep_id) == (
        tokenizer.vocab_size - 2,
        tokenizer.vocab_size - 1,
    )
    assert tokenizer.library.id_to_token(0) == "!"
    assert tokenizer.library.id_to_token(256) == "!</w>"
    assert len(tokenizer.encode("circle")) == 1
    assert tokenizer.decode(tokenizer.encode("Red  CIRCLE")) == "red circle"


def test_save_and_load(tmp_path: Path) -> None:
    for kind in ("wordpiece", "bpe"):
        tokenizer = trained(kind, 600, [sentence(i) for i in range(50)])
        tokenizer.library.save(str(tmp_path / "t.json"))
        loaded = load_tokenizer(tmp_path / "t.json")
        assert loaded.kind == kind
        assert loaded.pair("red circle", "x") == tokenizer.pair("red circle", "x")


def test_pair_layout_and_truncation(bert: Tokenizer, clip: Tokenizer) -> None:
    one, five = "dog", "red dog and blue dog"
    assert bert.pair(one) == [101, *bert.encode(one), 102]
    assert bert.pair(one, five) == [101, *bert.encode(one), 102, *bert.encode(five), 102]
    assert clip.pair(one, five) == [49406, *clip.encode(one), *clip.encode(five), 49407]
    # longest first: the single word stays, the long text is cut
    assert bert.pair(one, five, 7) == [101, *bert.encode(one), 102, *bert.encode(five)[:3], 102]
    assert bert.pair(five, one, 7) == [101, *bert.encode(five)[:3], 102, *bert.encode(one), 102]
    assert bert.pair(five, five, 8) == [
        101,
        *bert.encode(five)[:3],
        102,
        *bert.encode(five)[:2],
        102,
    ]
    assert len(clip.pair(five * 50, max_length=77)) == 77
    assert clip.pair(five * 50, max_length=77)[-1] == clip.sep_id
    says = r"A text length of 3 leaves .* the 3 special ones\. Raise flava\.max_text_length .*\.$"
    with pytest.raises(ConfigError, match=says):
        bert.pair(one, five, 3)


def test_word_starts(bert: Tokenizer, clip: Tokenizer) -> None:
    ids = bert.encode("unaffable dogs")
    assert [bert.is_word_start(i) for i in ids] == [True, False, False, True][: len(ids)]
    assert bert.word_starts().sum() > 20_000
    with pytest.raises(ConfigError, match="Only WordPiece"):
        clip.is_word_start(5)
    with pytest.raises(ConfigError, match="no mask token"):
        _ = clip.mask_id


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.json is missing"):
        load_tokenizer(tmp_path / "no.json")
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(DataError, match="not a tokenizer file"):
        load_tokenizer(tmp_path / "t.json")
    for kind in ("wordpiece", "bpe"):
        with pytest.raises(DataError, match="missing"):
            published(kind, str(tmp_path / "absent"))
        with pytest.raises(DataError, match="No text"):
            trained(kind, 600, [])
    (tmp_path / "vocab.txt").write_text("a\nb\na\n")
    with pytest.raises(DataError, match="only 2 different"):
        published("wordpiece", str(tmp_path / "vocab.txt"))
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\na\n")
    with pytest.raises(DataError, match=r"lacks \[CLS\], \[SEP\], \[MASK\]"):
        published("wordpiece", str(tmp_path / "vocab.txt"))
    with pytest.raises(DataError, match="not a gzip file"):
        published("bpe", str(tmp_path / "vocab.txt"))
    (tmp_path / "m.gz").write_bytes(gzip.compress(b"# version\na b\n"))
    with pytest.raises(DataError, match="has 2 merges"):
        published("bpe", str(tmp_path / "m.gz"))
    (tmp_path / "m.gz").write_bytes(gzip.compress(b"# version\n" + b"a b c\n" * 50_000))
    with pytest.raises(DataError, match="line 2: 'a b c' is not a merge"):
        published("bpe", str(tmp_path / "m.gz"))
    with pytest.raises(ConfigError, match="below 514"):
        trained("bpe", 500, ["a"])


def test_wrong_kind_of_file(tmp_path: Path) -> None:
    import tokenizers

    library = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a"))
    library.save(str(tmp_path / "t.json"))
    with pytest.raises(DataError, match="WordLevel"):
        load_tokenizer(tmp_path / "t.json")
    value = json.loads(trained("wordpiece", 100, ["a b"]).library.to_str())
    del value["model"]["vocab"]["[MASK]"]
    (tmp_path / "t.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match=r"lacks \[MASK\]"):
        load_tokenizer(tmp_path / "t.json")
