"""The report of a study, resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flava.bases import chain
from flava.checkout import git_state
from flava.config import ColumnConfig
from flava.errors import ConfigError
from flava.jobs import ReportJob, ReportSettings
from flava.params import read_yaml
from flava.report.claim_file import load_claims
from flava.report.printed_tables import load_table_c1
from flava.studies import Study, unavailable

if TYPE_CHECKING:
    from workflow.plan import Plan


def report_job(
    study: Study,
    runs: Mapping[str, str],
    imported: Sequence[str],
    earlier: Mapping[str, str],
    leaks: str | None,
    release: bool = False,
) -> ReportJob:
    """What the pages show.

    Args:
        runs: `<column>-s<seed>` -> run folder.
        imported: those of `runs` that have published weights.
        earlier: training that runs start from -> its record.
        leaks: result of the leak check, where the study has one.
        release: whether pages refuse results that no single commit can make again.
    """
    config, ran, shown = study.config, set(study.config.columns), shown_columns(study)
    return ReportJob(
        study=config.name,
        title=config.title,
        scale=config.scale,
        columns={name: column.number for name, column in shown.items() if name in ran},
        titles={name: column.title for name, column in shown.items()},
        tasks={name: study.tasks[name].title for name in config.tasks},
        seeds=config.seeds,
        not_run={
            name: unavailable(name, column, config)
            or f"not among the columns of study '{config.name}'"
            for name, column in shown.items()
            if name not in ran
        },
        results=f"results/{config.name}/results.parquet",
        runs=dict(runs),
        imported=list(imported),
        stand_ins=stand_in_models(study),
        other_splits=other_splits(study),
        earlier=dict(earlier),
        leaks=leaks,
        release=release,
        published="params/paper",
        settings=settings_path(study),
        dag=f"results/{config.name}/configs/dag.json",
        output=f"results/{config.name}/report",
    )


def shown_columns(study: Study) -> dict[str, ColumnConfig]:
    """The paper's columns and the study's: an entry that is neither changes no page."""
    printed = {column.name for column in load_table_c1(study.params / "paper").columns}
    shown = printed | set(study.config.columns)
    return {name: column for name, column in study.columns.items() if name in shown}


def check_claims(study: Study) -> None:
    """Refuses a claim on a column that no study can have, before anything is trained.

    Raises:
        ConfigError: names the file, the claim and the nearest column.
    """
    load_claims(study.params / "paper", study.columns)


def release_mode(value: object) -> bool:
    """The value of `--config release=...`.

    Raises:
        ConfigError: it is neither true nor false, or true in a working tree that is dirty or no
            git checkout.
    """
    if value is None or isinstance(value, bool):
        release = bool(value)
    elif isinstance(value, str) and value.lower() in ("true", "false"):
        release = value.lower() == "true"
    else:
        raise ConfigError(f"release={value} is neither true nor false.")
    commit, dirty = git_state() if release else ("", False)
    if release and (dirty or commit == "unknown"):
        state = "has uncommitted changes" if dirty else "is no git checkout"
        raise ConfigError(
            f"release=true: the working tree {state}, so nobody could make these tables again. "
            "Commit everything first, or leave out release=true."
        )
    return release


def settings_path(study: Study) -> str:
    """Where the report finds the study's settings."""
    return f"results/{study.config.name}/configs/settings.json"


def report_settings(study: Study) -> ReportSettings:
    """The resolved study, the recipes of its tasks in the place of what the study changes there."""
    # Processes of a rule change no result, and no page shows seeds from here: neither re-plans it.
    tree = study.config.model_dump(mode="json", exclude={"resources", "seeds"})
    for name in study.config.tasks:
        task = study.evaluate_task(name)
        for part in ("finetune", "probe"):
            recipe = getattr(task, part)
            tree["tasks"][name][part] = recipe.model_dump(mode="json") if recipe else None
    entries = read_yaml(study.params / "columns.yaml")
    # With what they build on, which their pages compare them with.
    where = str(study.params / "columns.yaml")
    kept = {
        each for name in shown_columns(study) for each in chain(name, entries.__getitem__, where)
    }
    columns = {name: column for name, column in study.columns.items() if name in kept}
    bases = {name: entry["base"] for name, entry in entries.items() if "base" in entry}
    bases = {name: base for name, base in bases.items() if name in kept}
    return ReportSettings(study=tree, columns=columns, bases=bases)


def stand_in_models(study: Study) -> dict[str, str]:
    """Column -> label of the model that takes the place of the released CLIP there."""
    released = study.config.released_clip
    if released is None or released.stand_in is None:
        return {}
    names = [name for name in study.config.columns if study.columns[name].arch == "clip_released"]
    return dict.fromkeys(names, released.stand_in)


def other_splits(study: Study) -> dict[str, str]:
    """Row -> how the scored split differs from the paper's, of the study's real test sets."""
    real = [name for name, data in study.config.tasks.items() if data.stand_in is None]
    cards = [study.tasks[name] for name in real]
    return {row: card.other_split for card in cards if card.other_split for row in card.rows}


def metric_files(study: Study) -> list[str]:
    """What `flava.report.metrics` leaves: averages, one file a column, and where they are from."""
    names = [*(f"{column}.json" for column in study.config.columns), "averages.csv", "record.json"]
    return [f"results/{study.config.name}/metrics/{name}" for name in names]


def figure_files(study: Study) -> list[str]:
    """What `flava.report.figure_files` leaves."""
    return [f"results/{study.config.name}/report/figure_4.{kind}" for kind in ("png", "pdf")]


def report_inputs(plan: Plan) -> list[str]:
    """What the pages of the report read."""
    files = [f"{plan.results}/results.parquet", *plan.published, *plan.scores]
    for config in plan.runs.values():
        files += [f"{config.output}/{name}" for name in ("config.json", "record.json", "log.csv")]
        for folder in config.corpora.values():
            files += [f"{folder}/{name}" for name in ("manifest.json", "record.json")]
    for job in plan.imports.values():
        files += [f"{job.output}/{name}" for name in ("config.json", "record.json")]
    kept = set(plan.targets())  # a published image tokenizer has no log
    for record in plan.earlier.values():
        files += [path for path in (record, f"{Path(record).parent}/log.csv") if path in kept]
    files += [plan.leaks.output] if plan.leaks else []
    files += [settings_path(plan.study), str(plan.study.params / "tasks.yaml")]
    return list(dict.fromkeys(files))
