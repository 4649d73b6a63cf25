"""BERT WordPiece and CLIP's BPE behind one small wrapper, and the step that makes both.

python -m flava.data.tokenizer --config results/<study>/configs/tokenizer.json
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

from flava.config import SourceConfig, TokenizerConfig
from flava.errors import ConfigError, DataError, run_cli
from flava.io import atomic_path
from flava.jobs import TokenizerJob, load_job

WORDPIECE_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BPE_SPECIALS = ("<|startoftext|>", "<|endoftext|>")


class Tokenizer:
    """Text to ids, with the special tokens of BERT (`wordpiece`) or CLIP (`bpe`).

    Special tokens written out in a text are ordinary text here: no input can inject them. The one
    exception is WordPiece's harmless [UNK], which stands for words removed by a corpus.

    Attributes:
        kind: "wordpiece" or "bpe".
        vocab_size: number of entries; ids are below it.
        pad_id: [PAD], or 0 for CLIP as in its released code (never attended to).
        cls_id, sep_id: [CLS] and [SEP], or <|startoftext|> and <|endoftext|>.
        special_ids: ids that are never masked and never a random replacement.
    """

    def __init__(self, library: tokenizers.Tokenizer, kind: str) -> None:
        self.library = library
        self.kind = kind
        self.vocab_size = library.get_vocab_size()
        specials = WORDPIECE_SPECIALS if kind == "wordpiece" else BPE_SPECIALS
        ids = {name: self._id(name) for name in specials}
        self.special_ids = frozenset(ids.values())
        if kind == "wordpiece":
            self.pad_id, self.cls_id, self.sep_id = ids["[PAD]"], ids["[CLS]"], ids["[SEP]"]
        else:
            self.pad_id, self.cls_id, self.sep_id = 0, *ids.values()

    def _id(self, token: str) -> int:
        index: int | None = self.library.token_to_id(token)
        if index is None:
            raise DataError(f"The tokenizer's vocabulary lacks {token}. Make the tokenizer anew.")
        return index

    @property
    def mask_id(self) -> int:
        """Id of [MASK].

        Raises:
            ConfigError: CLIP's vocabulary has no mask token.
        """
        if self.kind != "wordpiece":
            raise ConfigError("CLIP's BPE has no mask token: masked text needs 'wordpiece'.")
        return self._id("[MASK]")

    def encode(self, text: str) -> list[int]:
        """Ids of `text` without special tokens."""
        ids: list[int] = self.library.encode(self._read(text), add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of several texts, each without special tokens."""
        read = [self._read(text) for text in texts]
        encodings = self.library.encode_batch_fast(read, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _read(self, text: str) -> str:
        return text if self.kind == "wordpiece" else unescaped(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, special tokens left out."""
        plain = [index for index in ids if index not in self.special_ids]
        text: str = self.library.decode(plain, skip_special_tokens=False)
        return text.strip()

    def pair(self, text_a: str, text_b: str | None = None, max_length: int = 512) -> list[int]:
        """Ids with special tokens: [CLS] a [SEP] b [SEP], or <|startoftext|> a b <|endoftext|>.

        Over `max_length` the longer text loses its last token, again and again, until all fits
        (Hugging Face's `longest_first`); special tokens are never cut.
        """
        first, second = self.encode(text_a), None if text_b is None else self.encode(text_b)
        return self.with_specials(first, second, max_length)

    def with_specials(
        self, first: Sequence[int], second: Sequence[int] | None, max_length: int
    ) -> list[int]:
        """As `pair`, from ids.

        Raises:
            ConfigError: `max_length` has room for the special tokens alone.
        """
        middle = [self.sep_id] if second is not None and self.kind == "wordpiece" else []
        room = max_length - 2 - len(middle)
        if room < 1:
            raise ConfigError(
                f"A text length of {max_length} leaves no room for a token beside the "
                f"{2 + len(middle)} special ones. Raise flava.max_text_length (CLIP: "
                "clip.context_length), or the text length that was asked for."
            )
        keep_a, keep_b = _longest_first(len(first), len(second or ()), room)
        b = list(second or ())[:keep_b]
        return [self.cls_id, *first[:keep_a], *middle, *b, self.sep_id]

    def types(self, ids: Sequence[int]) -> list[int]:
        """BERT's token types of what `pair` gave: 1 after the first [SEP], else 0.

        CLIP's vocabulary has no separator between two texts: 0 throughout.
        """
        if self.kind != "wordpiece":
            return [0] * len(ids)
        end = ids.index(self.sep_id) + 1
        return [0] * end + [1] * (len(ids) - end)

    def is_word_start(self, index: int) -> bool:
        """Whether a WordPiece begins a word (has no "##").

        Raises:
            ConfigError: a BPE token does not tell whether it begins a word.
        """
        if self.kind != "wordpiece":
            raise ConfigError("Only WordPiece marks word starts: whole-word masking needs it.")
        return not str(self.library.id_to_token(index)).startswith("##")

    def word_starts(self) -> NDArray[np.bool_]:
        """`is_word_start` of every id, bool [vocab_size]."""
        return np.array([self.is_word_start(index) for index in range(self.vocab_size)])

    def specials(self) -> NDArray[np.bool_]:
        """Membership in `special_ids` of every id, bool [vocab_size]."""
        return np.isin(np.arange(self.vocab_size), list(self.special_ids))


def unescaped(text: str) -> str:
    """A text without HTML's character references, `&amp;lt;` too; so CLIP reads it.

    Source: `basic_clean` of CLIP's simple_tokenizer.py, whose ftfy is left out.
    """
    return html.unescape(html.unescape(text))


def _longest_first(a: int, b: int, room: int) -> tuple[int, int]:
    """Lengths of two texts after truncation to `room` tokens."""
    excess = max(0, a + b - room)
    if excess and a != b:
        cut = min(excess, abs(a - b))
        a, b = (a - cut, b) if a > b else (a, b - cut)
        excess -= cut
    return a - excess // 2, b - (excess + 1) // 2


def load_tokenizer(path: Path | str) -> Tokenizer:
    """Reads a tokenizer that the tokenizer step has written.

    Raises:
        DataError: the file is missing, damaged or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"Tokenizer {path} is missing. Run the tokenizer step first.")
    try:
        library = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise DataError(f"{path} is not a tokenizer file ({error}). Make it anew.") from None
    kinds = {"WordPiece": "wordpiece", "BPE": "bpe"}
    model = type(library.model).__name__
    if model not in kinds:
        raise DataError(f"{path} holds a {model} tokenizer; WordPiece or BPE is needed.")
    return Tokenizer(library, kinds[model])


def build_tokenizer(config: TokenizerConfig, texts: Iterator[str]) -> Tokenizer:
    """Converts the published vocabulary of `config`, or trains one on `texts`.

    A trained vocabulary is smaller than asked for where the texts have too few words.

    Raises:
        DataError: the vocabulary file is missing or malformed; there is no text to train on.
    """
    from flava.data import bpe, wordpiece

    module = wordpiece if config.kind == "wordpiece" else bpe
    if config.vocab_file is not None:
        library = module.from_published(config.vocab_file)
    else:
        assert config.vocab_size is not None  # one of the two is set: TokenizerConfig checks it
        library = module.train(texts, config.vocab_size)
    return Tokenizer(library, config.kind)


def training_texts(pairs: list[SourceConfig], texts: list[SourceConfig]) -> Iterator[str]:
    """Captions and documents of the sources, in order."""
    from flava.data.sources import read_captions, read_texts

    for source in pairs:
        for captions in read_captions(source):
            yield from captions
    for source in texts:
        yield from read_texts(source)


def make_tokenizers(job: TokenizerJob) -> None:
    """Writes <output>/<name>.json for each tokenizer of the study."""
    for name, config in job.tokenizers.items():
        tokenizer = build_tokenizer(config, training_texts(job.pairs, job.texts))
        with atomic_path(Path(job.output) / f"{name}.json") as path:
            tokenizer.library.save(str(path))
        print(f"{name}: {tokenizer.vocab_size} entries")


def main() -> None:
    """Command-line entry point."""
    from flava.data.commands import config_argument

    make_tokenizers(load_job(TokenizerJob, config_argument(__doc__)))


if __name__ == "__main__":
    run_cli(main)
