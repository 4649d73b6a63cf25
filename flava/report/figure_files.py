"""Figure 4 as files: `python -m flava.report.figure_files --config <report.json>`."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flava.data.commands import config_argument
from flava.errors import run_cli
from flava.io import atomic_path
from flava.jobs import ReportJob, load_job
from flava.report.compare import Comparison, load_comparison
from flava.report.curves import svg_settings
from flava.report.figure import (
    FILE_KINDS,
    NAME,
    ORDER,
    draw_bars,
    figure_columns,
    keys,
    note,
    panel,
    ratios,
)
from flava.report.html import quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE_INCHES, DPI = (12.0, 10.0), 150
LETTERS = 150  # of a line as wide as the sheet
# Of no use in a file that is made again: they differ from time to time, or name software.
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def main() -> None:
    """Writes the figure into the report's folder."""
    write_figure(load_job(ReportJob, config_argument(__doc__)))


def write_figure(job: ReportJob) -> None:
    """Writes `<output>/figure_4.png` and `.pdf`; equal results give equal bytes.

    Raises:
        DataError: a file is missing or damaged, or a score's record is refused.
    """
    import matplotlib

    comparison = load_comparison(job, "table_4")
    settings: Any = svg_settings() | {"pdf.fonttype": 42}  # whole letters, that can be searched
    with matplotlib.rc_context(settings):
        figure = draw(job, comparison)
        for kind in FILE_KINDS:
            with atomic_path(Path(job.output) / f"{NAME}.{kind}") as temporary:
                figure.savefig(temporary, format=kind, dpi=DPI, metadata=METADATA[kind])


def draw(job: ReportJob, comparison: Comparison) -> Figure:
    """The three panels on one sheet, with what is compared and of which study."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    columns = figure_columns(job.published)
    found = ratios(comparison, columns)
    rows = {domain: panel(found, domain) for domain in ORDER}
    first, *others = ORDER
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.subplot_mosaic(
        [[first, domain] for domain in others],
        height_ratios=[len(rows[domain][0]) for domain in others],
    )
    for domain, (items, caption) in rows.items():
        draw_bars(axes[domain], items)
        axes[domain].set_title(caption, loc="left", fontweight="bold")
    title = f"Figure 4: FLAVA against the released CLIP. Study {job.study}: {job.scale}"
    how = f"{quantity(len(comparison.seeds), 'seed')}. {note(found)}"
    lines = [textwrap.fill(line, LETTERS) for line in (title, how)]
    figure.suptitle("\n".join(lines), fontsize="medium")
    shown = keys(comparison, columns)
    patches = [Patch(color=colour, label=label) for colour, label in shown.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
    return figure


if __name__ == "__main__":
    run_cli(main)
