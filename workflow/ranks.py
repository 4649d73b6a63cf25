"""Whether the ranks that jobs ask for can share what they must: refused before any job starts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flava.errors import ConfigError
from flava.splits import check_run, check_split
from workflow.plan import Plan
from workflow.resources import LaunchSettings, resolve


def check_ranks(plan: Plan, settings: LaunchSettings, where: str) -> None:
    """Refuses ranks that cannot share the batch of a training, as the training itself would.

    Args:
        plan: of the study.
        settings: what jobs ask for.
        where: for messages.

    Raises:
        ConfigError: names the rule, the column, the ranks and what they do not divide.
    """
    for run in plan.runs.values():
        _check("pretrain", run.column, settings, where, partial(check_run, run))
    for init in plan.inits.values():
        options = init.job.recipe
        split = partial(check_split, options.batch_size, options.accumulate)
        _check(f"init_{init.kind}", None, settings, where, split)
    codebook = plan.study.config.codebook
    if plan.uses_codebook and codebook.published is None:
        split = partial(check_split, codebook.batch_size, codebook.accumulate)
        _check("codebook", None, settings, where, split)


def _check(
    rule: str,
    column: str | None,
    settings: LaunchSettings,
    where: str,
    check: Callable[[int], None],
) -> None:
    ranks = resolve(rule, column, settings).ranks
    try:
        check(ranks)
    except ConfigError as error:
        what = f"'{rule}'" + (f" of column '{column}'" if column else "")
        raise ConfigError(f"{where}: {what} on {ranks} ranks: {error}") from None
