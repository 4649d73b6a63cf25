"""The launcher on a test's step: `python -m tests.slurm.driver <step> <config> <settings>`."""

from __future__ import annotations

import sys
from pathlib import Path

from flava.errors import run_cli
from flava.io import read_json
from flava.params import read_yaml
from tests.slurm.ranks import Light, Ranked
from workflow.launch.clock import Clock
from workflow.launch.slurm import Slurm
from workflow.launch.supervise import Supervisor
from workflow.resources import launch_settings, resolve


def main() -> None:
    name, config, settings_path = sys.argv[1:4]
    settings = launch_settings(read_yaml(Path(settings_path)), settings_path)
    request = resolve(name, None, settings)
    folder = Path(config).parent / "jobs"
    folder.mkdir(exist_ok=True)
    scheduler = Slurm(settings.cluster, folder)
    outputs = [read_json(config)["output"]]
    step = (Light if name == "grow" else Ranked)(name, config)
    Supervisor(step, request, settings.cluster, scheduler, outputs, folder, Clock()).run()


if __name__ == "__main__":
    run_cli(main)
