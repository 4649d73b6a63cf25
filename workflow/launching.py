"""How the rules of a study are launched: the profile's cluster, and the study's resources."""

from __future__ import annotations

from dataclasses import dataclass

from flava.io import sha256_json, write_json
from flava.params import Tree
from workflow.plan import Plan
from workflow.ranks import check_ranks
from workflow.resources import LaunchSettings, launch_settings, resolve


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
        settings = self.settings
        if settings.cluster.kind != "local":
            return 1
        places = [each.get(rule) for each in (settings.resources, settings.cluster.rules)]
        columns = [column for place in places if place for column in place.columns]
        requests = [resolve(rule, column, settings) for column in (None, *columns)]
        return max(request.ranks * request.threads for request in requests)
