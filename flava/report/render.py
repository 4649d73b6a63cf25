"""Renders a notebook of the report to HTML: `python -m flava.report.render --help`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flava.errors import ConfigError, run_cli
from flava.jobs import ReportJob, load_job
from flava.report.notebook import Rendering, render_all

if TYPE_CHECKING:
    # What notebooks call: a page is made anew when it changes (flava/fingerprint.py reads this).
    # This process calls none of it, and does not spend the time to import it.
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


def main() -> None:
    """Reads the arguments, checks the configuration, renders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="resolved report configuration (JSON)")
    parser.add_argument("--notebook", required=True, help="notebook as py:percent file")
    parser.add_argument("--output", required=True, help="HTML page; the .ipynb goes beside it")
    parser.add_argument(
        "--each",
        metavar="NAME=VALUE,VALUE",
        help="a page for each value of a parameter; --output has {NAME} in its place",
    )
    arguments = parser.parse_args()
    load_job(ReportJob, arguments.config)
    parameters = {"config": arguments.config}
    pages = renderings(arguments.notebook, arguments.output, parameters, arguments.each)
    render_all(pages, home="index.html")


def renderings(
    notebook: str, output: str, parameters: Mapping[str, str], each: str | None
) -> list[Rendering]:
    """The pages that the command line asks for.

    Args:
        notebook: path.
        output: path; with `each`, `{name}` in it is where the value goes.
        parameters: of all pages.
        each: "name=value,value", or None for one page.

    Raises:
        ConfigError: `each` has another form, or the path no place for the value.
    """
    if each is None:
        return [Rendering(Path(notebook), Path(output), parameters)]
    name, equals, values = each.partition("=")
    place = f"{{{name}}}"
    if not equals or place not in output:
        raise ConfigError(f"--each {each}: expected NAME=VALUE,VALUE and {place} in --output.")
    return [
        Rendering(Path(notebook), Path(output.replace(place, value)), {**parameters, name: value})
        for value in values.split(",")
    ]


if __name__ == "__main__":
    run_cli(main)
