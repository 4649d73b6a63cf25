"""Every recipe, killed at many points and started again, ends bit-equal."""

from __future__ import annotations

from pathlib import Path

import pytest
from train_helpers import Tree, check_killed_and_continued, codebook_job, elsewhere

from flava.io import write_json

FUNCTIONS = {
    "init_mlm": "flava.train.init_mlm:pretrain_text",
    "init_beit": "flava.train.init_beit:pretrain_image",
}
ENCODER = ["model/model.safetensors", "model/config.json"]


def test_codebook(study: Path, tmp_path: Path) -> None:
    def write(name: str) -> tuple[str, Path]:
        job = elsewhere(codebook_job(study), tmp_path / name)
        path = tmp_path / f"{name}.json"
        write_json(path, job.model_dump(mode="json"))
        return str(path), tmp_path / name

    check_killed_and_continued(
        write, "flava.train.codebook:codebook", [*ENCODER, "pairs.npy", "images.npy"]
    )


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("step", FUNCTIONS)
def test_encoders(step: str, ranks: int, encoder_trees: dict[str, Tree], tmp_path: Path) -> None:
    def write(name: str) -> tuple[str, Path]:
        folder = tmp_path / name
        paths = {"output": str(folder), "checkpoints": str(folder / "checkpoints")}
        write_json(tmp_path / f"{name}.json", encoder_trees[step] | paths)
        return str(tmp_path / f"{name}.json"), folder

    check_killed_and_continued(write, FUNCTIONS[step], ENCODER, ranks)
