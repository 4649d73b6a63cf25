"""Initial encoders: what they change at step 0, what is recorded, what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from train_helpers import Tree

from flava.config import ClipConfig, FlavaConfig, WeightsConfig
from flava.data.tokenizer import load_tokenizer
from flava.errors import CheckpointError, ConfigError
from flava.io import sha256_file, write_json
from flava.jobs import ImportJob, RunConfig, load_job
from flava.models import Clip, Flava, load_model, save_model
from flava.models.encoder_files import save_encoder
from flava.records import load_record, make_record
from flava.train import loop
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
    recipe.initialise()
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


def test_a_run_records_its_inits_and_is_trained_anew_from_others(
    run_tree: Tree,
    write_run: Write,
    sources: dict[str, Tree],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
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
    pretrain(config)
    assert "are of other data: they are kept in aside-" in capsys.readouterr().err
    other = load_record(Path(tree["output"]) / "record.json")
    assert other.extra["model_sha256"] != record.extra["model_sha256"]


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


def vocabulary(study: Path, name: str) -> int:
    return load_tokenizer(study / "tokenizers" / f"{name}.json").vocab_size


def test_published_clip_is_imported_with_a_record(study: Path, tmp_path: Path) -> None:
    clip = ClipConfig(
        image_size=16, patch_size=4, vision_width=16, vision_layers=1, vision_heads=2,
        text_width=16, text_layers=1, text_heads=2, context_length=16, embed_dim=16,
        vocab_size=vocabulary(study, "bpe"), quick_gelu=True,
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


@pytest.fixture
def released(study: Path, run_tree: Tree, tmp_path: Path) -> ImportJob:
    """A whole FLAVA in the published layout, to be imported; its parameters are random."""
    sizes = run_tree["flava"] | {"vocab_size": vocabulary(study, "wordpiece")}
    config = FlavaConfig.model_validate(sizes)
    published_folder(tmp_path / "hub", config, seed=3)
    return ImportJob(
        study="tiny",
        column="flava_released",
        seed=0,
        flava=config,
        tokenizer="wordpiece",
        weights=WeightsConfig(source=str(tmp_path / "hub"), layout="flava"),
        tokenizer_path=str(study / "tokenizers" / "wordpiece.json"),
        output=str(tmp_path / "run"),
    )


def test_a_published_flava_is_imported_whole(released: ImportJob, tmp_path: Path) -> None:
    import_model(released)
    there, here = load_model(tmp_path / "hub"), load_model(tmp_path / "run" / "model")
    assert isinstance(here, Flava) and not differing(there.state_dict(), here.state_dict())


def test_heads_that_a_published_flava_lacks_are_the_same_in_every_import(
    released: ImportJob, tmp_path: Path
) -> None:
    """`FlavaModel` has none and evaluation reads none, but the hash is to be that of one model."""
    file = tmp_path / "hub" / "model.safetensors"
    kept = {name: value for name, value in load_file(file).items() if name.startswith("flava.")}
    save_file(kept, file)
    hashes = []
    for _ in range(2):
        import_model(released)
        record = load_record(tmp_path / "run" / "record.json")
        assert "FlavaModel has no prediction heads" in record.extra["converted"]["not_in_file"]
        hashes.append(record.extra["model_sha256"])
    assert hashes[0] == hashes[1]


def test_a_published_flava_of_other_sizes_or_vocabulary_is_refused(
    released: ImportJob, tmp_path: Path
) -> None:
    assert released.flava is not None
    known = released.flava.vocab_size
    cases = {
        "text_layers": (3, CheckpointError, r"parameters are missing: .*text_model"),
        "projection_dim": (40, CheckpointError, r"image_projection.weight has shape"),
        "num_attention_heads": (1, CheckpointError, r"attention heads, but this run's has 1"),
        "vocab_size": (known + 1, ConfigError, rf"'wordpiece' has {known} entries, but the pub"),
    }
    for key, (value, error, message) in cases.items():
        other = released.flava.model_copy(update={key: value})
        with pytest.raises(error, match=message):
            import_model(released.model_copy(update={"flava": other}))
        assert not (tmp_path / "run" / "record.json").exists()


def published_folder(folder: Path, config: FlavaConfig, seed: int) -> None:
    """A whole FLAVA in the published layout, all its parameters random."""
    torch.manual_seed(seed)
    model = Flava(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_model(model, folder)


@pytest.fixture
def published_tree(run_tree: Tree, tmp_path: Path) -> Tree:
    """A run whose image encoder begins with published weights."""
    published_folder(tmp_path / "hub", FlavaConfig.model_validate(run_tree["flava"]), seed=5)
    weights = {"source": str(tmp_path / "hub"), "layout": "flava"}
    return run_tree | {"init": {"image": {"kind": "published", "weights": weights}}}


def pretrain_until(config: str, update: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains, and is stopped in this update by an error."""
    seed = loop.seed_update

    def stop(recipe_seed: int, now: int, ranks: Ranks) -> None:
        assert now < update, "stopped"
        seed(recipe_seed, now, ranks)

    with monkeypatch.context() as patch, pytest.raises(AssertionError, match="stopped"):
        patch.setattr(loop, "seed_update", stop)
        pretrain(config)


def in_folder(tree: Tree, name: str, tmp_path: Path) -> Tree:
    return tree | {"output": str(tmp_path / name), "checkpoints": str(tmp_path / f"{name}-saved")}


def test_a_run_continues_without_its_published_weights_and_ends_as_one_left_alone(
    published_tree: Tree, write_run: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = (in_folder(published_tree, name, tmp_path) for name in ("whole", "broken"))
    pretrain(write_run(whole))
    pretrain_until(write_run(broken), 6, monkeypatch)
    shutil.rmtree(tmp_path / "hub")
    pretrain(write_run(broken))
    outputs = [Path(tree["output"]) for tree in (whole, broken)]
    inits = [load_record(output / "record.json").extra["init"] for output in outputs]
    assert inits[0] == inits[1] and len(inits[0]["image"]["converted"]["sha256"]) == 64
    weights = [(output / "model" / "model.safetensors").read_bytes() for output in outputs]
    assert weights[0] == weights[1]


def test_a_run_whose_published_weights_changed_is_refused_until_they_are_back(
    published_tree: Tree, write_run: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_run(published_tree)
    pretrain_until(config, 6, monkeypatch)
    shutil.move(tmp_path / "hub", tmp_path / "kept")
    flava = FlavaConfig.model_validate(published_tree["flava"])
    published_folder(tmp_path / "hub", flava, seed=6)
    with pytest.raises(CheckpointError, match=r"other data: it began with init.image from .*hub"):
        pretrain(config)
    shutil.rmtree(tmp_path / "hub")
    shutil.move(tmp_path / "kept", tmp_path / "hub")
    pretrain(config)
    record = load_record(Path(published_tree["output"]) / "record.json")
    began = sha256_file(tmp_path / "hub" / "model.safetensors")
    assert record.extra["init"]["image"]["converted"]["sha256"] == began


def test_a_run_stopped_before_its_first_checkpoint_begins_with_the_weights_of_now(
    published_tree: Tree, write_run: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_run(published_tree)
    pretrain_until(config, 2, monkeypatch)
    flava = FlavaConfig.model_validate(published_tree["flava"])
    published_folder(tmp_path / "hub", flava, seed=6)
    pretrain(config)
    record = load_record(Path(published_tree["output"]) / "record.json")
    now = sha256_file(tmp_path / "hub" / "model.safetensors")
    assert record.extra["init"]["image"]["converted"]["sha256"] == now


def test_a_checkpoint_without_the_report_gets_it_and_keeps_its_weights(
    run_tree: Tree, write_run: Write, sources: dict[str, Tree]
) -> None:
    tree = run_tree | {"init": {"text": sources["mlm"]}}
    recipe = PretrainRecipe(load_job(RunConfig, write_run(tree)), ALONE)
    before = {name: value.clone() for name, value in recipe.model.state_dict().items()}
    recipe.load_state({})
    assert recipe.facts()["init"]["text"]["kind"] == "mlm"
    assert not differing(before, recipe.model.state_dict())
