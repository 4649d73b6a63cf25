"""Image tokens by a published encoder: a small random one, as transformers saves it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from pydantic import ValidationError
from safetensors.torch import load_file
from train_helpers import Tree, codebook_job, killed_after_images, run_ranks

from flava.config import CodebookConfig
from flava.data.corpus import ImageCorpus
from flava.data.transforms import codebook_crop, crop_box, decode_image, to_unit
from flava.errors import CheckpointError, ConfigError, DataError, TrainingError
from flava.io import read_json, sha256_file, write_json
from flava.jobs import BeitJob, CodebookJob, load_job
from flava.models.dalle import load_encoder
from flava.records import load_record
from flava.train import code_usage, image_tokens
from flava.train.codebook import codebook
from flava.train.distributed import Ranks
from flava.train.init_beit import BeitRecipe
from flava.train.pretrain import pretrain

transformers = pytest.importorskip("transformers")
from transformers.models.flava.image_processing_pil_flava import (  # noqa: E402
    FlavaImageProcessorPil,
)

SMALL = {"hidden_size": 8, "num_blocks_per_group": 1, "vocab_size": 32}
SIZES = {"hidden_size": 8, "num_blocks_per_group": 1}


def publish(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A folder as a download of facebook/flava-image-codebook, of a small random encoder."""
    torch.manual_seed(seed)
    config = transformers.FlavaImageCodebookConfig(**SMALL | changes)
    model = transformers.FlavaImageCodebook(config)
    for parameter in model.parameters():  # its own initialisation gives nearly equal logits
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 10
        torch.nn.init.normal_(parameter, std=(2 / fan_in) ** 0.5)
    with torch.no_grad():  # no code is the best one of all images
        colours_BCHW = torch.rand(64, config.input_channels, 4, 4).repeat_interleave(16, 2)
        logits_BKHW = model(colours_BCHW.repeat_interleave(16, 3))
        model.blocks.output.conv.bias -= logits_BKHW.mean(dim=(0, 2, 3))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published folder."""
    return publish(tmp_path_factory.mktemp("published"))


def job_of(study: Path, folder: Path, at: Path, **changes: Any) -> CodebookJob:
    """The tiny study's codebook job with this folder, its output in `at`."""
    given = {"path": str(folder), **SIZES} | changes.pop("published", {})
    job = codebook_job(study, downsample=8, published=given, **changes)
    paths = {"output": str(at / "codebook"), "checkpoints": str(at / "tokens")}
    return job.model_copy(update=paths)


def run(job: CodebookJob, at: Path) -> Path:
    """Runs the step as a launcher does; returns its output."""
    write_json(at / "codebook.json", job.model_dump(mode="json"))
    codebook(str(at / "codebook.json"))
    return Path(job.output)


def their_tokens(folder: Path, images: list[PILImage.Image], size: int) -> np.ndarray:
    """Tokens by transformers' own image processor and model."""
    square = {"height": size, "width": size}
    processor = FlavaImageProcessorPil(codebook_size=square, codebook_crop_size=square)
    pixels = processor(images, return_codebook_pixels=True, return_tensors="pt")
    model = transformers.FlavaImageCodebook.from_pretrained(folder).eval()
    with torch.no_grad():
        tokens = model.get_codebook_indices(pixels["codebook_pixel_values"].float())
    return tokens.flatten(1).numpy()


def test_tokens_are_those_of_transformers_on_the_same_crop(
    study: Path, tmp_path: Path, published: Path
) -> None:
    output = run(job_of(study, published, tmp_path), tmp_path)
    for name, count in (("pairs", 64), ("images", 40)):
        tokens = np.load(output / f"{name}.npy", allow_pickle=False)
        assert tokens.shape == (count, 16) and tokens.dtype == np.uint16
        corpus = ImageCorpus(study / name)
        crops = []
        for index in range(count):
            image = decode_image(corpus.image_bytes(index))
            crops.append(image.crop(crop_box(corpus.key(index), *image.size, 0.9)))
        assert (their_tokens(published, crops, 32) == tokens).all()


def test_tokens_of_photos_at_112_pixels_are_those_of_transformers(
    real_data: Path, published: Path
) -> None:
    with zipfile.ZipFile(real_data / "flickr8k/Images.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][:12]
        photos = [decode_image(archive.read(name)) for name in names]
    crops = [codebook_crop(photo, key, 0.9, 112) for photo, key in zip(photos, names, strict=True)]
    ours = load_encoder(published).encode_tokens(to_unit(np.stack(crops))).numpy()
    cut = [
        photo.crop(crop_box(key, *photo.size, 0.9))
        for photo, key in zip(photos, names, strict=True)
    ]
    assert ours.shape == (12, 196) and len(np.unique(ours)) > 8
    assert (their_tokens(published, cut, 112) == ours).all()


def test_it_leaves_tokens_a_copy_and_a_record_but_no_log(
    study: Path, tmp_path: Path, published: Path
) -> None:
    pinned = {"sha256": sha256_file(published / "model.safetensors")}
    output = run(job_of(study, published, tmp_path, published=pinned), tmp_path)
    files = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
    model = ["model/config.json", "model/model.safetensors"]
    assert files == ["images.npy", *model, "pairs.npy", "record.json"]
    record = load_record(output / "record.json")
    facts = record.extra
    assert record.step == "codebook" and facts["kind"] == "published"
    assert facts["published"]["sha256"] == pinned["sha256"]
    assert facts["tokens_sha256"]["pairs"] == sha256_file(output / "pairs.npy")
    assert facts["model_sha256"] == sha256_file(output / "model/model.safetensors")
    assert facts["images"]["images"]["images"] == 40
    assert 0.05 <= facts["used_fraction"] <= 1 < facts["perplexity"] <= 32
    assert record.manifests[str(study / "pairs" / "manifest.json")].counts["pairs"] == 64
    copy = transformers.FlavaImageCodebook.from_pretrained(output / "model").state_dict()
    for name, value in transformers.FlavaImageCodebook.from_pretrained(
        published
    ).named_parameters():
        assert torch.equal(copy[name], value)


def trained_on(output: Path, tree: Tree, write_run: Callable[[Tree], str]) -> str:
    """A run on the tokens in `output`, without its last checkpoint: a finished one would be trained
    anew on other tokens; its configuration's path."""
    tree["image_tokens"] = {n: str(output / f"{n}.npy") for n in ("pairs", "images")}
    config = write_run(tree)
    pretrain(config)
    max(Path(tree["checkpoints"]).glob("update-*.json")).unlink()
    return config


def test_a_run_reads_the_tokens_and_refuses_those_of_other_weights(
    study: Path, tmp_path: Path, published: Path, run_tree: Tree, write_run: Callable[[Tree], str]
) -> None:
    output = run(job_of(study, published, tmp_path), tmp_path)
    config = trained_on(output, run_tree, write_run)
    record = load_record(Path(run_tree["output"]) / "record.json")
    assert str(output / "record.json") in record.parents
    assert record.extra["updates_of_kind"]["images"] > 0
    run(job_of(study, publish(tmp_path / "other", seed=1), tmp_path), tmp_path)
    with pytest.raises(CheckpointError, match="is a checkpoint of other data"):
        pretrain(config)


def test_the_weights_are_part_of_a_runs_data_though_the_tokens_are_equal(
    study: Path, tmp_path: Path, published: Path, run_tree: Tree, write_run: Callable[[Tree], str]
) -> None:
    output = run(job_of(study, published, tmp_path), tmp_path)
    config = trained_on(output, run_tree, write_run)
    record = read_json(output / "record.json")
    record["extra"]["published"]["sha256"] = "0" * 64
    write_json(output / "record.json", record)
    with pytest.raises(CheckpointError, match="is a checkpoint of other data"):
        pretrain(config)


def test_beits_random_views_get_their_tokens_from_the_copy(
    study: Path, tmp_path: Path, published: Path, encoder_trees: dict[str, Tree]
) -> None:
    output = run(job_of(study, published, tmp_path), tmp_path)
    tree = encoder_trees["init_beit"] | {"image_tokens": str(output / "images.npy")}
    write_json(tmp_path / "beit.json", tree)
    recipe = BeitRecipe(load_job(BeitJob, tmp_path / "beit.json"), Ranks(0, 1, torch.device("cpu")))
    views = recipe.batches
    assert views.token_size == 32  # type: ignore[union-attr]
    tokens = recipe.batch(0, 0).image_tokens_BP
    assert tokens is not None and tokens.shape == (8, 16) and len(tokens.unique()) > 2
    (output / "model/model.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="is damaged"):
        BeitRecipe(recipe.job, Ranks(0, 1, torch.device("cpu")))


def test_the_command_on_two_ranks_gives_the_files_of_one(
    study: Path, tmp_path: Path, published: Path
) -> None:
    alone = run(job_of(study, published, tmp_path / "alone"), tmp_path)
    job = job_of(study, published, tmp_path)
    write_json(tmp_path / "two.json", job.model_dump(mode="json"))
    command = ["-m", "flava.train.codebook", "--config", str(tmp_path / "two.json")]
    said = run_ranks(command, 2, tmp_path)
    assert [bool(text) for text in said] == [True, False]
    for name in ("pairs.npy", "images.npy", "model/model.safetensors"):
        assert (Path(job.output) / name).read_bytes() == (alone / name).read_bytes()


def test_a_killed_export_goes_on(
    study: Path, tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(job_of(study, published, tmp_path / "whole"), tmp_path)
    job = job_of(study, published, tmp_path)
    with killed_after_images(monkeypatch):
        run(job, tmp_path)
    assert read_json(tmp_path / "tokens/images.tokens.json")["done"] == 40
    assert not (tmp_path / "codebook/record.json").exists()
    output = run(job, tmp_path)
    for name in ("pairs.npy", "images.npy", "model/model.safetensors"):
        assert (output / name).read_bytes() == (whole / name).read_bytes()


def test_codes_that_are_not_in_use_are_refused(
    study: Path, tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(study, published, tmp_path, min_used_fraction=1.0)
    with pytest.raises(TrainingError, match=r"Only .*% of the 32 image tokens.*flava-image-codeb"):
        run(job, tmp_path)
    assert not (tmp_path / "codebook/record.json").exists()
    monkeypatch.setattr(image_tokens, "SAMPLE", 4)
    monkeypatch.setattr(code_usage, "encode_corpus", None)
    with pytest.raises(TrainingError, match=r"Only .*% of the 32 image tokens are in use"):
        run(job, tmp_path)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"published": {"path": "nowhere"}}, CheckpointError, "nowhere is no folder. Set `path`"),
        ({"published": {"path": "$NOT_SET/x"}}, DataError, "NOT_SET, which is not set"),
        ({"published": {"sha256": "0" * 64}}, CheckpointError, "but the study asks for 00000"),
        ({"published": {"hidden_size": 16}}, ConfigError,
         r"hidden_size 8, the study 16. Set codebook.published.hidden_size to 8"),
        ({"published": {"num_blocks_per_group": 2}}, ConfigError, "num_blocks_per_group to 1"),
        ({"codebook_size": 64}, ConfigError,
         "vocab_size 32, the study 64. Set codebook.codebook_size and flava.codebook_size to 32"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_study_is_refused_before_any_work(
    study: Path,
    tmp_path: Path,
    published: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: Tree,
    error: type[Exception],
    said: str,
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(error, match=said):
        run(job_of(study, published, tmp_path, **changes), tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_path_may_begin_with_a_variable(
    study: Path, tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTS", str(published.parent))
    path = {"path": f"$WEIGHTS/{published.name}"}
    output = run(job_of(study, published, tmp_path, published=path), tmp_path)
    assert load_record(output / "record.json").extra["published"]["path"] == path["path"]


def test_a_folder_of_older_files_gives_the_same_tokens(
    study: Path, tmp_path: Path, published: Path
) -> None:
    """pytorch_model.bin, and a configuration without its type and without defaults."""
    folder = tmp_path / "old"
    folder.mkdir()
    values = read_json(published / "config.json")
    kept = {key: values[key] for key in ("architectures", *SMALL)}
    write_json(folder / "config.json", kept)
    torch.save(load_file(published / "model.safetensors"), folder / "pytorch_model.bin")
    old, new = (
        run(job_of(study, each, tmp_path / each.name), tmp_path) for each in (folder, published)
    )
    for name in ("pairs.npy", "images.npy", "model/model.safetensors", "model/config.json"):
        assert (old / name).read_bytes() == (new / name).read_bytes()


@pytest.mark.parametrize("damage", ["config", "type", "channels", "weights", "torn", "parameter"])
def test_a_damaged_folder_is_refused(study: Path, tmp_path: Path, damage: str) -> None:
    folder = publish(tmp_path / "published")
    config, weights = folder / "config.json", folder / "model.safetensors"
    values = read_json(config)
    said = {
        "config": "is missing or is no configuration of a FlavaImageCodebook",
        "type": "is missing or is no configuration of a FlavaImageCodebook",
        "channels": "has sizes that are not DALL-E's encoder's",
        "weights": "has no weights file",
        "torn": "is damaged or is no weights file",
        "parameter": "does not hold the parameters of a FlavaImageCodebook",
    }
    if damage == "config":
        config.unlink()
    elif damage == "type":
        write_json(config, {"model_type": "flava", "architectures": ["FlavaForPreTraining"]})
    elif damage == "channels":
        write_json(config, values | {"input_channels": 1})
    elif damage == "weights":
        weights.unlink()
    elif damage == "torn":
        os.truncate(weights, weights.stat().st_size // 2)
    else:
        other = publish(tmp_path / "other", hidden_size=16)
        weights.write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=said[damage]):
        run(job_of(study, folder, tmp_path), tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_settings_file_cannot_ask_for_what_the_encoder_is_not() -> None:
    for tree, said in (
        ({"downsample": 4}, "one token of 8 x 8 pixels, not of 4 x 4: set downsample to 8"),
        ({"published": {"path": "hub:facebook/flava-image-codebook"}}, "hf download facebook/"),
    ):
        with pytest.raises(ValidationError, match=said):
            CodebookConfig.model_validate({"published": {"path": "weights"}} | tree)
    assert "published" not in CodebookConfig().model_dump()
