"""The report of a study, resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flava.jobs import ReportJob
from flava.studies import Study, unavailable


def report_job(
    study: Study,
    runs: Mapping[str, str],
    imported: Sequence[str],
    earlier: Mapping[str, str],
    leaks: str | None,
) -> ReportJob:
    """What the pages show.

    Args:
        runs: `<column>-s<seed>` -> run folder.
        imported: those of `runs` that have published weights.
        earlier: training that runs start from -> its record.
        leaks: result of the leak check, where the study has one.
    """
    config, ran = study.config, set(study.config.columns)
    return ReportJob(
        study=config.name,
        title=config.title,
        scale=config.scale,
        columns={name: column.number for name, column in study.columns.items() if name in ran},
        titles={name: column.title for name, column in study.columns.items()},
        seeds=config.seeds,
        not_run={
            name: unavailable(name, column, config)
            or f"not among the columns of study '{config.name}'"
            for name, column in study.columns.items()
            if name not in ran
        },
        results=f"results/{config.name}/results.parquet",
        runs=dict(runs),
        imported=list(imported),
        stand_ins=stand_in_models(study),
        earlier=dict(earlier),
        leaks=leaks,
        published="params/paper",
        output=f"results/{config.name}/report",
    )


def stand_in_models(study: Study) -> dict[str, str]:
    """Column -> label of the model that takes the place of the released CLIP there."""
    released = study.config.released_clip
    if released is None or released.stand_in is None:
        return {}
    names = [name for name in study.config.columns if study.columns[name].arch == "clip_released"]
    return dict.fromkeys(names, released.stand_in)
