"""CLIP's lower-case byte-level BPE from its published merges, or trained on a study's text.

Vocabulary order, as in CLIP's simple_tokenizer.py: the 256 bytes, the 256 bytes that end a word
("</w>"), one entry a merge, <|startoftext|>, <|endoftext|>. Published: 49,408 entries.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from itertools import chain

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from flava.data.lines import BAD_TEXT
from flava.data.paths import expand
from flava.data.tokenizer import BPE_SPECIALS, unescaped
from flava.errors import ConfigError, DataError

END = "</w>"
FIXED_ENTRIES = 2 * 256 + len(BPE_SPECIALS)
PUBLISHED_MERGES = 49152 - 256 - 2
# CLIP's splitting: contractions, runs of letters, single digits, runs of anything else.
SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

Merges = list[tuple[str, str]]


def byte_symbols() -> list[str]:
    """The printable character that stands for each byte, in CLIP's (GPT-2's) order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def assemble(merges: Merges) -> tokenizers.Tokenizer:
    """The library's tokenizer for a list of merges."""
    symbols = byte_symbols()
    tokens = [*symbols, *(symbol + END for symbol in symbols)]
    tokens += [left + right for left, right in merges] + list(BPE_SPECIALS)
    vocab = {token: index for index, token in enumerate(tokens)}
    model = models.BPE(vocab, merges, end_of_word_suffix=END)
    library = tokenizers.Tokenizer(model)
    _prepare(library)
    return library


def _prepare(library: tokenizers.Tokenizer) -> None:
    whitespace = normalizers.Replace(Regex(r"\s+"), " ")
    library.normalizer = normalizers.Sequence(
        [normalizers.NFC(), whitespace, normalizers.Lowercase()]
    )
    split = pre_tokenizers.Split(Regex(SPLIT), behavior="removed", invert=True)
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    replace = decoders.Replace(END, " ")
    library.decoder = decoders.Sequence([replace, decoders.ByteLevel()])


def from_published(vocab_file: str) -> tokenizers.Tokenizer:
    """From CLIP's bpe_simple_vocab_16e6.txt.gz; ids are CLIP's.

    Raises:
        DataError: the file is missing, is not gzip text or has a malformed or missing merge.
    """
    path = expand(vocab_file)
    if not path.is_file():
        raise DataError(
            f"Vocabulary file {path} is missing. It is named by 'vocab_file'. CLIP's is "
            "clip/bpe_simple_vocab_16e6.txt.gz of github.com/openai/CLIP."
        )
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            lines = file.read().split("\n")
    except BAD_TEXT as error:
        raise DataError(f"{path} is not a gzip file of BPE merges ({error}).") from None
    lines = lines[1 : PUBLISHED_MERGES + 1]  # the first line is a header; the rest is not used
    if len(lines) < PUBLISHED_MERGES:
        raise DataError(f"{path} has {len(lines)} merges, CLIP's file at least {PUBLISHED_MERGES}.")
    return assemble([_merge(line, number, str(path)) for number, line in enumerate(lines, 2)])


def _merge(line: str, number: int, where: str) -> tuple[str, str]:
    parts = line.split()
    if len(parts) != 2:
        raise DataError(f"{where}, line {number}: '{line}' is not a merge of two symbols.")
    return parts[0], parts[1]


def train(texts: Iterator[str], vocab_size: int) -> tokenizers.Tokenizer:
    """Trains merges for at most `vocab_size` entries.

    Raises:
        ConfigError: `vocab_size` does not hold the bytes and special tokens.
        DataError: there is no text.
    """
    if vocab_size < FIXED_ENTRIES:
        raise ConfigError(f"A BPE vocab_size of {vocab_size} is below {FIXED_ENTRIES}: the bytes.")
    first = next(texts, None)
    if first is None:
        raise DataError("No text to train the BPE vocabulary on: check the data sources.")
    library = tokenizers.Tokenizer(models.BPE(end_of_word_suffix=END))
    _prepare(library)
    symbols = byte_symbols()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[symbol + END for symbol in symbols],  # numbered first: same every time
        initial_alphabet=symbols,
        end_of_word_suffix=END,
        show_progress=False,
    )
    library.train_from_iterator(map(unescaped, chain([first], texts)), trainer)
    merges = [tuple(merge) for merge in json.loads(library.to_str())["model"]["merges"]]
    return assemble(merges[: vocab_size - FIXED_ENTRIES])
