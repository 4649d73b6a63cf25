"""`python -m flava.data.toy --config results/<study>/configs/toy_world.json`."""

from __future__ import annotations

import argparse

from flava.data.toy.generate import generate
from flava.errors import run_cli
from flava.jobs import ToyWorldJob, load_job


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Generate the toy world of a study.")
    parser.add_argument("--config", required=True, help="resolved ToyWorldJob")
    parser.add_argument("--threads", type=int, default=1, help="processes that share the parts")
    arguments = parser.parse_args()
    generate(load_job(ToyWorldJob, arguments.config), arguments.threads)


if __name__ == "__main__":
    run_cli(main)
