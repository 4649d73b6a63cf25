"""Whether the code that is there is the code that a step was planned with."""

from __future__ import annotations

from pathlib import Path

from flava.fingerprint import fingerprint
from flava.io import read_json, sha256_json
from workflow.launch.errors import LaunchError
from workflow.modules import MODULES


def check_code(step: str, code: str | None, code_sha256: str) -> None:
    """Refuses code that was edited between the plan and this start, a requeue's too.

    Args:
        step: a name of `workflow.modules.MODULES`.
        code: file with the plan's fingerprint of its code, which a later plan may have changed.
        code_sha256: of the plan's fingerprint.

    Raises:
        LaunchError: names the modules, where the plan's fingerprint still tells them.
    """
    now = fingerprint(MODULES[step])
    if sha256_json(now) == code_sha256:
        return
    then = read_json(code) if code and Path(code).is_file() else {}
    modules = now.keys() | then.keys()
    differ = sorted(name for name in modules if now.get(name) != then.get(name))
    named = f" ({', '.join(differ[:3])})" if sha256_json(then) == code_sha256 else ""
    raise LaunchError(
        f"The code of {step}{named} was edited since Snakemake planned this step. Start "
        "Snakemake again: it plans with the code that is there, and an unfinished training "
        "goes on from its checkpoint. To work on the code meanwhile, use another clone."
    )
