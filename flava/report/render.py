"""Renders one notebook of the report to HTML: `python -m flava.report.render --help`."""

from __future__ import annotations

import argparse

from flava.errors import ConfigError, run_cli
from flava.jobs import ReportJob, load_job

# What notebooks call: a page is made anew when it changes (workflow/fingerprint.py).
from flava.report import (  # noqa: F401
    average_tables,
    column,
    compare,
    corpora,
    curves,
    directions,
    figure,
    methods,
    runs,
    sections,
    settings,
    signs,
    tables,
)
from flava.report.audit import page, run  # noqa: F401
from flava.report.notebook import render


def main() -> None:
    """Reads the arguments, checks the configuration, renders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="resolved report configuration (JSON)")
    parser.add_argument("--notebook", required=True, help="notebook as py:percent file")
    parser.add_argument("--output", required=True, help="HTML page; the .ipynb goes beside it")
    parser.add_argument("--timeout", type=int, default=300, help="seconds a cell may take")
    parser.add_argument(
        "--parameter", action="append", default=[], metavar="NAME=VALUE", help="another parameter"
    )
    arguments = parser.parse_args()
    load_job(ReportJob, arguments.config)
    parameters = {"config": arguments.config}
    for item in arguments.parameter:
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"--parameter {item}: expected NAME=VALUE.")
        parameters[name] = value
    render(arguments.notebook, arguments.output, parameters, arguments.timeout, "index.html")


if __name__ == "__main__":
    run_cli(main)
