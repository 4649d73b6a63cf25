"""BERT's uncased WordPiece from a vocabulary file, or trained on a study's text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from flava.data.paths import expand
from flava.data.tokenizer import WORDPIECE_SPECIALS
from flava.errors import DataError


def assemble(vocab: dict[str, int]) -> tokenizers.Tokenizer:
    """The library's tokenizer with BERT's lower-casing, splitting and greedy matching."""
    model = models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100)  # noqa: S106
    library = tokenizers.Tokenizer(model)
    library.normalizer = normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece()
    # Only [UNK] is recognised in text; the others stay text, so that no input can inject them.
    library.add_special_tokens([tokenizers.AddedToken("[UNK]", normalized=False)])
    return library


def from_published(vocab_file: str) -> tokenizers.Tokenizer:
    """From BERT's vocab.txt: one token a line, the line number is the id.

    Raises:
        DataError: the file is missing, is not UTF-8, repeats a token or lacks a special one.
    """
    path = expand(vocab_file)
    if not path.is_file():
        raise DataError(
            f"Vocabulary file {path} is missing. It is named by 'vocab_file'. BERT's is vocab.txt "
            "of huggingface.co/google-bert/bert-base-uncased (30,522 lines)."
        )
    try:
        tokens = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a UTF-8 vocabulary file ({error}).") from None
    vocab = {token: index for index, token in enumerate(tokens)}
    if len(vocab) != len(tokens):
        raise DataError(f"{path} has {len(tokens)} lines but only {len(vocab)} different tokens.")
    missing = [token for token in WORDPIECE_SPECIALS if token not in vocab]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}: is it a BERT vocab.txt?")
    return assemble(vocab)


def train(texts: Iterator[str], vocab_size: int) -> tokenizers.Tokenizer:
    """Trains a vocabulary of at most `vocab_size` entries.

    Raises:
        DataError: there is no text.
    """
    corpus = list(texts)
    if not corpus:
        raise DataError("No text to train the WordPiece vocabulary on: check the data sources.")
    library = assemble({token: index for index, token in enumerate(WORDPIECE_SPECIALS)})
    alphabet = _alphabet(library, corpus)
    # The trainer numbers "##x" in hash order, so that two trainings differ; named first, they do
    # not.
    pieces = [f"##{character}" for character in alphabet]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*WORDPIECE_SPECIALS, *pieces],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    library.train_from_iterator(corpus, trainer)
    return assemble(library.get_vocab())


def _alphabet(library: tokenizers.Tokenizer, corpus: list[str]) -> list[str]:
    """The most frequent characters of the normalised text, at most 1,000 (BERT's limit)."""
    counts: Counter[str] = Counter()
    for text in corpus:
        counts.update(library.normalizer.normalize_str(text))
    ranked = sorted((-count, character) for character, count in counts.items())
    return sorted(character for _, character in ranked[:1000] if not character.isspace())
