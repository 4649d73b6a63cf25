"""Initial encoders: what they change at step 0, what is recorded, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from train_helpers import Tree

from flava.config import ClipConfig, FlavaConfig
from flava.errors import CheckpointError, ConfigError
from flava.io import sha256_file, write_json
from flava.jobs import ImportJob, RunConfig, load_job
from flava.models import Clip, Flava, load_model, save_model
from flava.models.encoder_files import save_encoder
from flava.records import load_record, make_record
from flava.train.distributed import Ranks
from flava.train.imported import import_model
from flava.train.pretrain import PretrainRecipe, pretrain

ALONE = Ranks(0, 1, torch.device("cpu"))
Write = Callable[[Tree], str]


def encoder_folder(root: Path, config: FlavaConfig, part: str, kind: str, seed: int) -> Tree:
    """An exported encoder with its record, as a recipe leaves it; returns the run's setting."""
    torch.manual_seed(seed)
    model = Flava(config)
    encoder = model.image_encoder if part == "image" else model.text_encoder
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_encoder(encoder, config, root / kind / "model")
    digest = sha256_file(root / kind / "model" / "model.safetensors")
    record = make_record(f"init_{kind}", {"seed": seed}, 0.0, extra={"model_sha256": digest})
    write_json(root / kind / "record.json", record)
    return {"kind": kind, "directory": str(root / kind / "model")}


@pytest.fixture
def sources(run_tree: Tree, tmp_path: Path) -> dict[str, Tree]:
    config = FlavaConfig.model_validate(run_tree["flava"])
    return {
        kind: encoder_folder(tmp_path / "inits", config, part, kind, seed)
        for kind, part, seed in (("beit", "image", 1), ("dino", "image", 2), ("mlm", "text", 3))
    }


def at_step_0(tree: Tree, write_run: Write) -> dict[str, torch.Tensor]:
    recipe = PretrainRecipe(load_job(RunConfig, write_run(tree)), ALONE)
    return recipe.model.state_dict()


def differing(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> set[str]:
    assert a.keys() == b.keys()
    return {name for name in a if not torch.equal(a[name], b[name])}


def test_beit_and_dino_differ_in_the_image_encoder_at_step_0_and_in_nothing_else(
    run_tree: Tree, write_run: Write, sources: dict[str, Tree]
) -> None:
    found = {
        image: at_step_0(
            run_tree | {"init": {"image": sources[image], "text": sources["mlm"]}}, write_run
        )
        for image in ("beit", "dino")
    }
    names = {name for name in found["beit"] if name.startswith("image_encoder.")}
    assert differing(found["beit"], found["dino"]) == names


def test_an_init_replaces_its_encoder_and_leaves_all_other_random_weights(
    run_tree: Tree, write_run: Write, sources: dict[str, Tree]
) -> None:
    plain = at_step_0(run_tree, write_run)
    with_text = at_step_0(run_tree | {"init": {"text": sources["mlm"]}}, write_run)
    assert {name.split(".")[0] for name in differing(plain, with_text)} == {"text_encoder"}


def test_a_run_records_its_inits_and_refuses_checkpoints_of_others(
    run_tree: Tree, write_run: Write, sources: dict[str, Tree], tmp_path: Path
) -> None:
    tree = run_tree | {"init": {"image": sources["dino"], "text": sources["mlm"]}}
    config = write_run(tree)
    pretrain(config)
    record = load_record(Path(tree["output"]) / "record.json")
    inits = {str(tmp_path / "inits" / kind / "record.json") for kind in ("dino", "mlm")}
    assert inits <= record.parents.keys()
    assert record.extra["init"]["image"]["kind"] == "dino"
    encoder_folder(
        tmp_path / "inits", FlavaConfig.model_validate(tree["flava"]), "image", "dino", 9
    )
    with pytest.raises(CheckpointError, match="of other data"):
        pretrain(config)


def test_an_init_of_another_size_is_refused(
    run_tree: Tree, write_run: Write, sources: dict[str, Tree]
) -> None:
    tree = run_tree | {"init": {"image": sources["dino"]}}
    tree["flava"] = run_tree["flava"] | {"image_layers": 2}
    with pytest.raises(CheckpointError, match=r"inits/dino/model"):
        pretrain(write_run(tree))


def test_clip_takes_no_initial_encoders(
    run_tree: Tree, write_run: Write, sources: dict[str, Tree], study: Path
) -> None:
    tree = run_tree | {
        "arch": "clip", "flava": None, "objectives": {"pairs": ["global_contrastive"]},
        "clip": {
            "image_size": 16, "patch_size": 4, "vision_width": 16, "vision_layers": 1,
            "vision_heads": 2, "text_width": 16, "text_layers": 1, "text_heads": 2,
            "vocab_size": 640, "context_length": 16, "embed_dim": 16,
        },
        "sampling": {"pairs": 1.0}, "corpora": {"pairs": str(study / "pairs")},
        "image_tokens": {}, "tokenizer": "bpe",
        "tokenizer_path": str(study / "tokenizers" / "bpe.json"),
        "init": {"text": sources["mlm"]},
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"init.text 'mlm' needs arch 'flava'"):
        pretrain(write_run(tree))


def test_published_clip_is_imported_with_a_record(study: Path, tmp_path: Path) -> None:
    clip = ClipConfig(
        image_size=16, patch_size=4, vision_width=16, vision_layers=1, vision_heads=2,
        text_width=16, text_layers=1, text_heads=2, vocab_size=640, context_length=16,
        embed_dim=16, quick_gelu=True,
    )  # fmt: skip
    model = Clip(clip)
    save_model(model, tmp_path / "hub")
    job = ImportJob.model_validate(
        {
            "study": "tiny",
            "column": "clip_400m",
            "seed": 0,
            "clip": clip,
            "tokenizer": "bpe",
            "weights": {"source": str(tmp_path / "hub"), "layout": "clip"},
            "tokenizer_path": str(study / "tokenizers" / "bpe.json"),
            "output": str(tmp_path / "run"),
        }
    )
    import_model(job)
    read = load_model(tmp_path / "run" / "model")
    assert not differing(dict(model.state_dict()), dict(read.state_dict()))
    record = load_record(tmp_path / "run" / "record.json")
    assert record.step == "import"
    assert record.extra["model_sha256"] == sha256_file(
        tmp_path / "run" / "model" / "model.safetensors"
    )
    wrong = job.model_copy(update={"clip": clip.model_copy(update={"vision_layers": 2})})
    with pytest.raises(CheckpointError):
        import_model(wrong)
    assert not (tmp_path / "run" / "record.json").exists()
