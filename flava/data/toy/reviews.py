"""Review sentences with a sentiment that negation and "but" can turn."""

from __future__ import annotations

from random import Random

from flava.data.toy import vocabulary as v
from flava.data.toy.captions import an


def plain(rng: Random, good: bool, known: int | None = None) -> str:
    """A clause that says it straight, with one of the first `known` adjectives."""
    adjective = rng.choice((v.PRAISE if good else v.BLAME)[:known])
    if rng.random() < 0.4:
        adjective = f"{rng.choice(v.DEGREES)} {adjective}"
    subject = f"the {rng.choice(v.WORKS + v.PARTS)}"
    forms = (
        f"{subject} is {adjective}",
        f"{an(adjective)} {rng.choice(v.WORKS)}",
        f"{rng.choice(v.PEOPLE)} {rng.choice(v.LIKES if good else v.DISLIKES)} {subject}",
        f"{subject} has {an(adjective)} {rng.choice(v.PARTS)}",
    )
    return rng.choice(forms)


def negated(rng: Random, good: bool, known: int | None = None) -> str:
    """A clause that denies the opposite."""
    opposite = rng.choice((v.BLAME if good else v.PRAISE)[:known])
    subject = f"the {rng.choice(v.WORKS + v.PARTS)}"
    forms = (
        f"{subject} is not {opposite}",
        f"{subject} is not {opposite} at all",
        f"nobody {rng.choice(v.DISLIKES if good else v.LIKES)} {subject}",
        f"there is nothing {opposite} about {subject}",
        f"{subject} is never {opposite}",
    )
    return rng.choice(forms)


def sentence(rng: Random, good: bool, turned: float, known: int | None = None) -> str:
    """A sentence of the given sentiment.

    turned: chance of a negation or of a contrast, where the words alone mislead.
    known: only the first so many adjectives are used.
    """
    if rng.random() >= turned:
        clauses = plain(rng, good, known)
        return f"{clauses} and {plain(rng, good, known)}" if rng.random() < 0.25 else clauses
    draw = rng.random()
    if draw < 0.6:
        return negated(rng, good, known)
    last = negated(rng, good, known) if rng.random() < 0.3 else plain(rng, good, known)
    first = plain(rng, not good, known)
    return f"{first} , but {last}" if draw < 0.8 else f"although {first} , {last}"


def review(rng: Random) -> list[str]:
    """Three or four sentences of one sentiment, with a verdict."""
    good = rng.random() < 0.5
    lines = [sentence(rng, good, 0.35) for _ in range(rng.randint(2, 3))]
    subject = rng.choice(v.WORKS)
    verdict = rng.choice(v.GOOD_WORDS if good else v.BAD_WORDS)
    return [*lines, f"in short , this {subject} is {verdict}"]
