"""How the rules of a study are launched: the profile's cluster, and the study's resources."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from flava.io import sha256_json, write_json
from flava.params import Tree
from workflow.modules import LAUNCHED
from workflow.plan import Plan
from workflow.ranks import check_ranks
from workflow.resources import LaunchSettings, Request, launch_settings, resolve

# submitit takes a warning after min(0.8 limits, limit - 10 minutes) for that of the time limit.
ALWAYS_TIMED_OUT = 10


@dataclass(frozen=True)
class Launching:
    """The settings that every launcher of this Snakemake call reads.

    Attributes:
        path: their file. Its name has their hash, so that another call, a dry run with another
            profile for one, does not change them under a running one.
    """

    settings: LaunchSettings
    path: str

    @classmethod
    def load(cls, plan: Plan, cluster: Tree | None) -> Launching:
        """Checks and writes the settings.

        Args:
            plan: of the study.
            cluster: what the profile's cluster.yaml has under `cluster`; None: this machine.

        Raises:
            ConfigError: names the key, the nearest valid name and the allowed values; or the ranks
                that cannot share a batch.
        """
        config = plan.study.config
        tree: Tree = {"resources": config.resources}
        tree |= {} if cluster is None else {"cluster": cluster}
        where = f"study '{plan.name}'" + (
            "" if cluster is None else " or the profile's cluster.yaml"
        )
        settings = launch_settings(tree, where, list(plan.study.columns))
        check_ranks(plan, settings, where)
        plain = settings.model_dump(mode="json", exclude_defaults=True)
        path = f"{plan.results}/configs/launch-{sha256_json(plain)[:12]}.json"
        write_json(path, plain)
        return cls(settings, path)

    def threads(self, rule: str) -> int:
        """Cores of this machine that a job of `rule` keeps busy; a job of a cluster only waits."""
        if self.settings.cluster.kind != "local":
            return 1
        return max(request.ranks * request.threads for request in self._requests(rule))

    def warn(self) -> None:
        """Says which steps have so short a time limit that preemptions count as time limits."""
        short = [rule for rule in LAUNCHED if self._is_short(rule)]
        if self.settings.cluster.kind != "slurm" or not short:
            return
        print(
            f"warning: {', '.join(short)}: a `time` of at most {ALWAYS_TIMED_OUT} minutes. Each "
            "preemption that SLURM warns of will count as a time limit (`timeouts`), and a step "
            "that begins anew has one of these. Give more: a step that is done ends its job.",
            file=sys.stderr,
            flush=True,
        )

    def _is_short(self, rule: str) -> bool:
        return any(request.minutes <= ALWAYS_TIMED_OUT for request in self._requests(rule))

    def _requests(self, rule: str) -> list[Request]:
        """Of a job of `rule`, and of one of each column that has resources of its own."""
        settings = self.settings
        places = [each.get(rule) for each in (settings.resources, settings.cluster.rules)]
        columns = [column for place in places if place for column in place.columns]
        return [resolve(rule, column, settings) for column in (None, *columns)]
