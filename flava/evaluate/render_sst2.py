"""Draws SST-2 in the layout of OpenAI's set: `python -m flava.evaluate.render_sst2`."""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path

import numpy as np

from flava.config import TaskData
from flava.data.draw_text import draw_text
from flava.errors import ConfigError, run_cli
from flava.evaluate.formats import rendered_sst2
from flava.evaluate.taskdata import Split
from flava.io import atomic_path

TRAIN = 6920  # OpenAI's number of training pictures
TOP = "rendered-sst2"


def write(glue: Path, output: Path, train: int = TRAIN) -> dict[str, int]:
    """Writes the zip `output`: rendered-sst2/{train,valid,test}/{negative,positive}/<number>.png.

    At most `train` phrases of train.tsv, a fixed random choice; a fifth of them is `valid`.
    GLUE's dev.tsv is `test`.

    Raises:
        DataError: a file of GLUE is missing or malformed.
    """
    data = TaskData(adapter="rendered_sst2", path=str(glue))
    task = rendered_sst2.load(glue, data).limited(train, None)
    held_N = np.arange(len(task.train)) % 5 == 0
    parts = {
        "train": task.train.take(np.flatnonzero(~held_N)),
        "valid": task.train.take(np.flatnonzero(held_N)),
        "test": task.tests["test"],
    }
    with atomic_path(output) as path, zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            _write_part(archive, name, part)
    return {name: len(part) for name, part in parts.items()}


def _write_part(archive: zipfile.ZipFile, name: str, part: Split) -> None:
    images, rows_N = part.images, part.image_N
    assert isinstance(images, rendered_sst2.DrawnTexts) and rows_N is not None
    for i, (row, label) in enumerate(zip(rows_N.tolist(), part.labels().tolist(), strict=True)):
        file = io.BytesIO()
        draw_text(images.texts[row]).save(file, "PNG")
        member = f"{TOP}/{name}/{rendered_sst2.CLASSES[label]}/{i:06d}.png"
        archive.writestr(zipfile.ZipInfo(member, (2000, 1, 1, 0, 0, 0)), file.getvalue())


def main() -> None:
    """Draws the phrases of GLUE's SST-2 into a zip in the layout of OpenAI's Rendered SST-2."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--glue", type=Path, required=True, help="folder of train.tsv, dev.tsv")
    parser.add_argument("--output", type=Path, required=True, help="zip to write")
    parser.add_argument("--train", type=int, default=TRAIN, help="phrases of train.tsv to draw")
    options = parser.parse_args()
    if options.output.suffix != ".zip" or options.train < 1:
        raise ConfigError("--output must end in .zip and --train be at least 1.")
    print(write(options.glue, options.output, options.train))


if __name__ == "__main__":
    run_cli(main)
