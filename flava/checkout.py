"""The git checkout that this package lies in: its commit, and whether files differ from it.

The code that a process runs is what it read as it started. `AT_START` is the state of that moment;
a commit or an edit made while it runs names other code.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

# dvc.lock says what came out, not what went in; DVC writes it between the steps.
TRACKED = (":/", ":(top,exclude)dvc.lock")
# Where a file that nobody added changes what runs: a module, a study, a rule, a page.
UNTRACKED = tuple(
    f":(top){name}" for name in ("flava", "workflow", "params", "notebooks", "Snakefile")
)


TRACKS_THIS = ("ls-files", "--error-unmatch", Path(__file__).name)
HEAD = ("rev-parse", "HEAD")


class Code(NamedTuple):
    """Which code a process ran.

    Attributes:
        commit: of the checkout; "unknown" outside of one.
        dirty: files differed from the commit, or changed meanwhile; None: unknown.
    """

    commit: str
    dirty: bool | None


def why_unknown() -> str:
    """Why records name no commit, in git's words; empty: they name one.

    "Dubious ownership" of another user's checkout, say, or a machine without git.
    """
    for question in (TRACKS_THIS, HEAD):
        answer, words = _asked(*question)
        if not answer:
            return " ".join(words.split()) or "git says nothing"
    return ""


def warn() -> None:
    """Says once that records will name no commit, and why; nothing where they will."""
    if why := why_unknown():
        print(
            f"warning: records will name no commit, so that no release can be made of them: {why}",
            file=sys.stderr,
            flush=True,
        )


def git_state() -> Code:
    """The checkout as it is now.

    Files differ from its commit where a tracked one does, or where one that is not tracked (nor
    ignored) lies among code, studies, rules or notebooks.
    """
    tracked, commit = _git(*TRACKS_THIS), _git(*HEAD)
    if not tracked or not commit:  # e.g. installed in a virtual environment inside another checkout
        return Code("unknown", None)
    changed = _git("status", "--porcelain", "--untracked-files=no", *TRACKED)
    added = _git("ls-files", "--others", "--exclude-standard", *UNTRACKED)
    return Code(commit, (changed, added) != ("", ""))  # no answer is not "clean"


def code_run() -> Code:
    """The code that this process started with; dirty where the checkout is another one by now.

    Says why where it is unknown: a node may lack the git that the machine has which launched it.
    """
    if AT_START.commit == "unknown":
        warn()
    return AT_START if git_state() == AT_START else AT_START._replace(dirty=True)


def has_commit(commit: str) -> bool:
    """Whether the checkout that this package lies in has a commit of that name."""
    return _git("cat-file", "-e", f"{commit}^{{commit}}") is not None


def _git(*arguments: str) -> str | None:
    return _asked(*arguments)[0]


def _asked(*arguments: str) -> tuple[str | None, str]:
    """(What git answers; None: it fails, what it says of that)."""
    command = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        return None, str(error)
    return (None if done.returncode else done.stdout.strip()), done.stderr


AT_START = git_state()
