"""`python -m flava.data.toy --config results/<study>/configs/toy_world.json`."""

from __future__ import annotations

from flava.data.commands import config_argument
from flava.data.toy.generate import generate
from flava.errors import run_cli
from flava.jobs import ToyWorldJob, load_job


def main() -> None:
    """Generates the toy world of a study."""
    generate(load_job(ToyWorldJob, config_argument(main.__doc__)))


if __name__ == "__main__":
    run_cli(main)
