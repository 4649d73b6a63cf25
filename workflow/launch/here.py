"""Runs a step of seconds where Snakemake runs, if its code is the plan's.

    python -m workflow.launch.here collect --code results/toy/configs/code/collect.json --config …

What follows `--code FILE` is for the step's own module.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import sys

from flava.errors import run_cli
from flava.io import read_json, sha256_json
from workflow.launch.planned import check_code
from workflow.modules import MODULES, NOT_LAUNCHED


def main() -> None:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=False, allow_abbrev=False)
    parser.add_argument("step", choices=sorted(NOT_LAUNCHED))
    parser.add_argument("--code", required=True, help="fingerprint of the code of the plan")
    arguments, others = parser.parse_known_args()
    check_code(arguments.step, arguments.code, sha256_json(read_json(arguments.code)))
    module = MODULES[arguments.step]
    # The record's command is to be run again, on the code of its commit.
    os.environ["FLAVA_COMMAND"] = shlex.join(["python", "-m", module, *others])
    sys.argv = [module, *others]
    importlib.import_module(module).main()


if __name__ == "__main__":
    run_cli(main)
