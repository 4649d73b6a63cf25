"""Which numbers of processes can share a batch: asked before any job, and by each that starts."""

from __future__ import annotations

from flava.config import ContrastiveConfig
from flava.errors import ConfigError
from flava.jobs import RunConfig


def check_split(batch_size: int, accumulate: int, processes: int) -> None:
    """Refuses a batch that processes and micro-batches cannot share evenly.

    Raises:
        ConfigError: says all three numbers.
    """
    parts = accumulate * processes
    if batch_size % parts:
        raise ConfigError(
            f"batch_size {batch_size} cannot be split over {processes} ranks times "
            f"accumulate {accumulate} micro-batches. Make it a multiple of {parts}, or "
            "change accumulate or the number of ranks."
        )


def check_run(run: RunConfig, processes: int) -> None:
    """Refuses processes that cannot share a run's batches, or its contrastive ranks.

    Raises:
        ConfigError: says which numbers do not fit.
    """
    options = run.pretrain
    if any("global_contrastive" in names for names in run.objectives.values()):
        micro = options.contrastive_batch == "micro"
        rows = options.batch_size // processes // (options.accumulate if micro else 1)
        ranks_held(rows, run.contrastive, processes)
    check_split(options.batch_size, options.accumulate, processes)


def ranks_held(rows: int, config: ContrastiveConfig, processes: int) -> int:
    """How many of `config.ranks` ranks each process stands for; `rows`: of one process.

    Raises:
        ConfigError: the ranks cannot be dealt out evenly to processes and rows.
    """
    if config.ranks % processes:
        raise ConfigError(
            f"contrastive_ranks is {config.ranks}, not a multiple of the {processes} processes "
            "that train. Change contrastive_ranks or the number of processes."
        )
    held = config.ranks // processes
    if rows % held:
        raise ConfigError(
            f"A process holds {rows} rows, which {held} contrastive ranks cannot share evenly. "
            "Make the batch size a multiple of contrastive_ranks, with contrastive_batch 'micro' "
            "each micro-batch."
        )
    return held
