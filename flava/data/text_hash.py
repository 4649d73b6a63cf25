"""Texts as 64-bit digests of their words: equal but for case, punctuation and spaces.

The normal form is the sequence of a tokenizer's pieces without marks; its vocabulary is in lower
case. So prepared corpora are read as they are, without the texts.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from flava.data.corpus import TokenArray
from flava.data.image_hash import Hashes, Ints
from flava.data.tokenizer import Tokenizer

TEXTS_AT_ONCE = 2**18
SENTENCE_END = frozenset(".!?")
UNKNOWN = "[UNK]"
_ID, _PLACE, _ADD = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03, 0x8CB92BA72F3D8DD7  # odd, 64 bits
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # of splitmix64


class TextHash:
    """Digests of token lists.

    Args:
        tokenizer: that the ids belong to.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        pieces = [
            str(tokenizer.library.id_to_token(i)).removeprefix("##").removesuffix("</w>")
            for i in range(tokenizer.vocab_size)
        ]
        words = np.array([any(c.isalnum() for c in piece) for piece in pieces])
        self.unknown_V = np.array([piece == UNKNOWN for piece in pieces])
        self.word_V = words & (~tokenizer.specials() | self.unknown_V)
        self.end_V = np.array([piece in SENTENCE_END for piece in pieces])

    def texts(self, texts: Sequence[str]) -> tuple[Hashes, NDArray[np.bool_]]:
        """Digests of texts (T,), and which can be compared: words only the vocabulary knows."""
        ids = self.tokenizer.encode_batch(texts)
        ends_T1 = np.concatenate([[0], np.cumsum([len(each) for each in ids])]).astype(np.int64)
        flat = np.array([index for each in ids for index in each], np.int64)
        digests_T, words_T = self._digests(flat, ends_T1)
        unknown = np.concatenate([[0], np.cumsum(self.unknown_V[flat])])
        return digests_T, (words_T > 0) & (unknown[ends_T1[1:]] == unknown[ends_T1[:-1]])

    def corpus(self, tokens: TokenArray) -> Hashes:
        """Sorted distinct digests of a corpus' texts and of their sentences.

        Takes some 9 bytes of memory for each that is distinct within its `TEXTS_AT_ONCE` texts.
        """
        found = array("Q")
        for part in self._parts(tokens):
            found.frombytes(part.data.cast("B"))
        digests = np.frombuffer(found, np.uint64)
        digests.sort()
        return digests[: _to_the_front(digests)]

    def _parts(self, tokens: TokenArray) -> Iterator[Hashes]:
        for start in range(0, len(tokens), TEXTS_AT_ONCE):
            ends_T1 = np.asarray(tokens.offsets[start : start + TEXTS_AT_ONCE + 1], np.int64)
            flat = tokens.slice(int(ends_T1[0]), int(ends_T1[-1]))
            ends_T1 = ends_T1 - ends_T1[0]
            sentences = np.union1d(ends_T1, 1 + np.flatnonzero(self.end_V[flat]))
            both = [self._digests(flat, ends) for ends in (ends_T1, sentences)]
            yield np.unique(np.concatenate([found_T[words_T > 0] for found_T, words_T in both]))

    def _digests(self, flat: Ints, ends_T1: Ints) -> tuple[Hashes, Ints]:
        """Digest and number of words' pieces of flat[ends[t] : ends[t + 1]] for each t."""
        is_word = self.word_V[flat]
        counted = np.concatenate([[0], np.cumsum(is_word)])[ends_T1]
        length_T = np.diff(counted)
        place = np.arange(counted[-1]) - np.repeat(counted[:-1], length_T)
        mixed = _mix(flat[is_word].astype(np.uint64), place.astype(np.uint64))
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
        return sums[counted[1:]] - sums[counted[:-1]], length_T


def contains(digests: Hashes, own_T: Hashes) -> NDArray[np.bool_]:
    """Which of `own_T` are among sorted `digests`; takes no memory for those."""
    first_T, last_T = (np.searchsorted(digests, own_T, side) for side in ("left", "right"))
    return first_T < last_T


def _to_the_front(digests: Hashes) -> int:
    """Moves the distinct ones of sorted digests to the front, in place; how many they are."""
    count = 0
    for start in range(0, len(digests), TEXTS_AT_ONCE):
        part = digests[start : start + TEXTS_AT_ONCE]
        new = np.diff(part, prepend=~part[:1]) != 0
        new[0] = count == 0 or part[0] != digests[count - 1]
        distinct = part[new]
        digests[count : count + len(distinct)] = distinct
        count += len(distinct)
    return count


def _mix(ids: Hashes, place: Hashes) -> Hashes:
    """A pseudo-random number for each (id, place), by splitmix64; products wrap around."""
    x = ids * np.uint64(_ID) + place * np.uint64(_PLACE) + np.uint64(_ADD)
    for shift, factor in _ROUNDS:
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    mixed: Hashes = x ^ (x >> np.uint64(31))
    return mixed
