"""Which captions are kept: the filter of Section 3.5, and how English is told.

The paper keeps English captions of more than two words and does not say how it tells English. No
language identification model is needed here: the default looks at letters and function words. It
errs on short captions without any (`Monte Cristallo Cortina`), which pass as English.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from flava.config import CaptionFilterConfig

NOT_ENGLISH, TOO_SHORT = "not English", "too few words"
MIN_ASCII = 0.9

# Frequent words that are not also words of another language in the list below.
ENGLISH = """
the and of to is are was were with from this that these those at by for it its our my your his her
their we you he she they i has have had not but or as be been some all one out into over through
after before near when where which who there here just very more on during under between behind
around what how would could can will only other about
"""
OTHER = """
el los las una del por para que como está este esta muy pero sus y en desde entre
um uma da dos das na nos nas ao pelo pela não são foi mais seu sua com também em
il lo gli della dello degli delle nel nella nelle dal dalla sul sulla e di che questo questa sono
anche più alla le les des du et un une dans sur avec pour est au aux ce cette qui sont nous vous
mon ma chez sous amb els
der das den dem ein eine einer einem einen und ist mit von zum zur auf bei nach für aus nicht auch
wir ich sich über het een van met op voor bij naar uit niet ook zijn deze onze
och det är på från som av til og fra ikke vi hos jag med
yang dan dari untuk dengan ini itu pada bir ve ile bu için w z nie się jest oraz ja kun az és egy
ang mga sa ng
"""
_ENGLISH, _OTHER = frozenset(ENGLISH.split()), frozenset(OTHER.split())
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def words(caption: str) -> int:
    """Number of words: runs of non-blank characters with a letter or a digit."""
    return sum(any(char.isalnum() for char in token) for token in caption.split())


def mostly_ascii(caption: str) -> bool:
    """Whether at least 90 % of the letters are A to Z, and there is one."""
    letters = [char for char in caption if char.isalpha()]
    return bool(letters) and sum(map(str.isascii, letters)) >= MIN_ASCII * len(letters)


def reads_english(caption: str) -> bool:
    """`mostly_ascii`, and no more words of other languages than English ones.

    A word with a letter beyond A to Z counts as one of another language.
    """
    if not mostly_ascii(caption):
        return False
    found = [word.lower() for word in _WORD.findall(caption)]
    english = sum(word in _ENGLISH for word in found)
    other = sum(word in _OTHER or not word.isascii() for word in found)
    return other <= english


_ENGLISH_BY: dict[str, Callable[[str], bool]] = {
    "function_words": reads_english,
    "ascii": mostly_ascii,
    "any": lambda caption: True,
}


def why_dropped(caption: str, config: CaptionFilterConfig) -> str | None:
    """Why the filter drops a caption; None if it keeps it."""
    if words(caption) < config.min_words:
        return TOO_SHORT
    return None if _ENGLISH_BY[config.english](caption) else NOT_ENGLISH
