"""What a job asks of the machine: from the study and the cluster's file, never part of identity."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator

from flava.config import Sharding, Strict
from flava.errors import ConfigError, unknown_name
from flava.jobs import parse
from flava.params import Tree
from workflow.modules import BEGIN_ANEW, LAUNCHED, ONE_PROCESS

# Snakemake sets all of them, to the cores of the rule: of all ranks here, 1 on a cluster.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
DURATION = re.compile(r"(?:(\d+)-)?(\d+):([0-5]?\d)(?::([0-5]?\d))?")


class Resources(Strict):
    """Of one job; a key that is left out comes from the next more general place."""

    ranks: PositiveInt | None = Field(None, description="processes; nodes × GPUs a node")
    threads: PositiveInt | None = Field(None, description="cores of each rank; 1")
    sharding: Sharding | None = Field(None, description="of the weights; none")
    nodes: PositiveInt | None = Field(None, description="machines; 1")
    gpus_per_node: NonNegativeInt | None = Field(None, description="0: a job without GPUs")
    time: str | None = Field(None, description="limit, [days-]hours:minutes; 24:00")
    mem: str | None = Field(None, description="a node's, as SLURM writes it: 64G")
    partition: str | None = Field(None, description="the cluster's default")
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None

    @field_validator("time", mode="before")
    @classmethod
    def _is_duration(cls, value: object) -> object:
        if isinstance(value, int):  # YAML reads 24:00 as a number to the base of 60
            raise ValueError("a time limit needs quotes in YAML: '24:00'")
        if isinstance(value, str) and not minutes(value):
            raise ValueError(f"'{value}' is not a time limit such as '24:00' or '2-12:00'")
        return value

    def given(self) -> dict[str, Any]:
        """The keys that are set."""
        return self.model_dump(exclude_none=True, include=set(Resources.model_fields))


class RuleResources(Resources):
    """Of a rule's jobs."""

    columns: dict[str, Resources] = Field(default_factory=dict, description="column -> its own")


class Budgets(Strict):
    """How much a run may cost before the launcher gives it up; the same command begins anew."""

    requeues: NonNegativeInt = Field(50, description="restarts: preemption, lost nodes, requeues")
    timeouts: NonNegativeInt = Field(50, description="time limits that a run may need")
    failures: NonNegativeInt = Field(2, description="ranks that died without saying why")
    gpu_hours: NonNegativeFloat | None = Field(None, description="of one run, all its jobs")
    pending_hours: NonNegativeFloat = Field(168.0, description="in the queue, at one time")
    silent_hours: NonNegativeFloat = Field(12.0, description="without an answer of SLURM")

    def of(self, step: str) -> Budgets:
        """Those of a step: one that begins anew at each start is not started a third time."""
        limit = min(self.timeouts, 1) if step in BEGIN_ANEW else self.timeouts
        return self.model_copy(update={"timeouts": limit})


class ClusterConfig(Strict):
    """A cluster's file: workflow/profiles/<name>/cluster.yaml."""

    kind: Literal["local", "slurm"] = "local"
    defaults: Resources = Field(default_factory=lambda: Resources())
    rules: dict[str, RuleResources] = Field(
        default_factory=dict, description="rule -> its own; wins over the study's `resources`"
    )
    setup: list[str] = Field(default_factory=list, description="shell lines before a job's ranks")
    budgets: Budgets = Field(default_factory=lambda: Budgets())
    poll_seconds: NonNegativeFloat = Field(30.0, description="longest time between two questions")
    signal_seconds: PositiveInt = Field(120, description="to save in, before the time limit")


class Request(Strict):
    """What one job asks for, resolved.

    Attributes:
        ranks: processes of all nodes together.
        minutes: time limit.
    """

    ranks: PositiveInt = 1
    threads: PositiveInt = 1
    sharding: Sharding = "none"
    nodes: PositiveInt = 1
    gpus_per_node: NonNegativeInt = 0
    minutes: PositiveInt = 24 * 60
    mem: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None

    @property
    def gpus(self) -> int:
        """Of all nodes."""
        return self.nodes * self.gpus_per_node

    @property
    def thread_variables(self) -> dict[str, str]:
        """What holds a rank's libraries to its cores; their sums depend on it in the last bits."""
        return dict.fromkeys(THREAD_VARIABLES, str(self.threads))


def minutes(time: str) -> int:
    """Minutes of `[days-]hours:minutes[:seconds]`; 0: it is none."""
    match = DURATION.fullmatch(time)
    if match is None:
        return 0
    days, hours, whole, seconds = (int(part or 0) for part in match.groups())
    return days * 1440 + hours * 60 + whole + (1 if seconds else 0)


class LaunchSettings(Strict):
    """What the launcher reads: a profile's cluster.yaml, or that and the study's resources."""

    cluster: ClusterConfig = Field(
        default_factory=lambda: ClusterConfig(budgets=Budgets(failures=0))
    )
    resources: dict[str, RuleResources] = Field(
        default_factory=dict, description="the study's: rule -> ranks, threads, nodes, time, …"
    )


def launch_settings(tree: Tree, where: str, columns: Sequence[str] | None = None) -> LaunchSettings:
    """Checks settings.

    Args:
        tree: plain data.
        where: for messages.
        columns: that the study knows; None: not checked.

    Raises:
        ConfigError: names the place, the key, the nearest valid name and the allowed values; or as
            `resolve`.
    """
    settings = parse(LaunchSettings, tree, where)
    for key, rules in (
        ("cluster.rules", settings.cluster.rules),
        ("resources", settings.resources),
    ):
        for name, rule in rules.items():
            if name not in LAUNCHED:
                raise ConfigError(unknown_name("rule", name, LAUNCHED, f"{where}: {key}"))
            for column in rule.columns:
                if columns is not None and column not in columns:
                    place = f"{where}: {key}.{name}.columns"
                    raise ConfigError(unknown_name("column", column, list(columns), place))
            for asked in (None, *rule.columns):
                resolve(name, asked, settings)
    return settings


# What a step that is one process has, whatever a cluster's defaults say.
ALONE = {"ranks": 1, "nodes": 1, "sharding": "none"}


def resolve(
    rule: str,
    column: str | None,
    settings: LaunchSettings,
    direct: Resources | None = None,
) -> Request:
    """The request of one job: the cluster's defaults, then the study, then the cluster's rules.

    The `ranks`, `nodes` and `sharding` of the defaults are for the steps whose ranks meet: others
    are one process.

    Args:
        rule: a name of `workflow.modules.MODULES`.
        column: of the run, where the rule has one.
        direct: from the command line; wins over all.

    Raises:
        ConfigError: the ranks cannot be dealt out evenly to the nodes, or more than one, or
            sharding, is asked for a step that is one process.
    """
    cluster = settings.cluster
    found = cluster.defaults.given() | (ALONE if rule in ONE_PROCESS else {})
    for place in (settings.resources, cluster.rules):
        if each := place.get(rule):
            found |= each.given()
            found |= each.columns[column].given() if column in each.columns else {}
    found |= direct.given() if direct else {}
    if cluster.kind == "local":
        found["nodes"] = 1
    nodes, gpus = found.get("nodes", 1), found.get("gpus_per_node", 0)
    if (time := found.pop("time", None)) is not None:
        found["minutes"] = minutes(time)
    found.setdefault("ranks", nodes * max(1, gpus))
    _check_ranks(rule, column, found["ranks"], nodes)
    if rule in ONE_PROCESS and found["sharding"] != "none":
        raise ConfigError(
            f"'{rule}' is one process, which has no ranks to deal weights to. Leave `sharding` out."
        )
    return Request(**found)


def _check_ranks(rule: str, column: str | None, ranks: int, nodes: int) -> None:
    what = f"'{rule}'" + (f" of column '{column}'" if column else "")
    if rule in ONE_PROCESS and ranks * nodes > 1:
        raise ConfigError(
            f"{what} is one process, not {ranks} ranks on {nodes} nodes: each would do all of its "
            "work, at the same place. Leave `ranks` and `nodes` out there, or write `ranks: 1` and "
            "`nodes: 1`; it may have more `threads`."
        )
    if ranks % nodes:
        raise ConfigError(
            f"{what}: {ranks} ranks cannot be dealt out evenly to {nodes} nodes. "
            f"Ask for a multiple of {nodes} ranks, or leave `ranks` out."
        )
