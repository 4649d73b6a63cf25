"""The number of seeds asked for on the command line."""

from __future__ import annotations

from flava.errors import ConfigError


def seed_list(count: object) -> list[int]:
    """Seeds 0, 1, ..., count - 1.

    Args:
        count: a whole number of at least 1, as an int or as its digits.

    Raises:
        ConfigError: it is anything else.
    """
    if isinstance(count, str) and count.isascii() and count.isdigit():
        count = int(count)
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ConfigError(
            f"seeds={count} is not a number of seeds. Give a whole number of at least 1: seeds=3 "
            "runs the seeds 0, 1 and 2. Single seeds are listed under 'seeds' in the study's file."
        )
    return list(range(count))
