"""Trees of settings that build on another one: `base:` of a column and of a study."""

from __future__ import annotations

from collections.abc import Callable, Collection

from flava.errors import ConfigError
from flava.params import Tree, merge

Load = Callable[[str], Tree]


def chain(name: str, load: Load, where: str) -> dict[str, Tree]:
    """`name` and all that it builds on, the nearest first: name -> the keys that it declares.

    Args:
        load: name -> its tree, which may say `base`; refuses a name that there is not.
        where: heads the message of a cycle.

    Raises:
        ConfigError: a base is unknown or no name, or they are each other's.
    """
    found: dict[str, Tree] = {}
    following: object = name
    while following is not None:
        if not isinstance(following, str):
            raise ConfigError(f"{where}: base {following!r} of '{name}' is no name.")
        if following in found:
            cycle = " -> ".join((*found, following))
            raise ConfigError(f"{where}: {cycle} are each other's base.")
        tree = dict(load(following))
        name, following = following, tree.pop("base", None)
        found[name] = tree
    return found


def with_bases(
    name: str,
    load: Load,
    where: str,
    replaced: frozenset[str] = frozenset(),
    own: Collection[str] = (),
) -> Tree:
    """The tree of `name` laid over those that it builds on, mapping by mapping.

    Args:
        load: as `chain`.
        where: as `chain`.
        replaced: keys whose mapping is replaced as a whole.
        own: keys that are never taken from a base.

    Raises:
        ConfigError: as `chain`.
    """
    tree: Tree = {}
    for declared in reversed(chain(name, load, where).values()):
        kept = {key: value for key, value in tree.items() if key not in own}
        tree = merge(kept, declared, replaced)
    return tree
