"""One evaluate job end to end with real (tiny) FLAVA and CLIP models, then collect."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import BaseModel

from flava.config import ClipConfig, FlavaConfig, TokenizerConfig
from flava.data.tokenizer import build_tokenizer
from flava.errors import CheckpointError, ConfigError, DataError, TrainingError
from flava.evaluate.collect import COLUMNS, collect
from flava.evaluate.run import run
from flava.evaluate.score_file import KEY, scores_sha256
from flava.io import read_json, write_json
from flava.jobs import CollectJob, EvaluateJob
from flava.models import Flava, build, save_model
from flava.records import make_record
from tests.evaluate.fakes import colour_folder, colour_png, task_config, write, write_zip

FLAVA = FlavaConfig(
    hidden_size=32, num_attention_heads=2, intermediate_size=64, image_layers=1, text_layers=1,
    multimodal_layers=1, image_size=16, patch_size=4, vocab_size=300, max_text_length=32,
    codebook_size=32, projection_dim=16,
)  # fmt: skip
CLIP = ClipConfig(
    image_size=16, patch_size=4, vision_width=32, vision_layers=1, vision_heads=2, text_width=24,
    text_layers=1, text_heads=2, vocab_size=600, context_length=24, embed_dim=16,
)  # fmt: skip
GLUE = {
    "learning_rate": 1e-2, "batch_size": 16, "updates": 30, "warmup_updates": 3, "evaluations": 2,
}  # fmt: skip
PROBE = {"steps": 12, "max_iterations": 100}


def sst2(folder: Path) -> Path:
    random = np.random.default_rng(0)
    for name, n in (("train", 120), ("dev", 60)):
        rows = [(f"{'good' if y else 'bad'} film number {i}", y)
                for i, y in enumerate(random.integers(0, 2, n))]  # fmt: skip
        write(folder / f"{name}.tsv", "sentence\tlabel\n" + "".join(f"{t}\t{y}\n" for t, y in rows))
    return folder


def retrieval(folder: Path) -> Path:
    images = {f"{i}.png": colour_png(bool(i % 2), i) for i in range(8)}
    write_zip(folder / "images.zip", images)
    captions = lambda i: [{"raw": f"a {'red' if i % 2 else 'blue'} one {k}"} for k in range(5)]  # noqa: E731
    entries = [
        {"filename": f"{i}.png", "split": "test", "sentences": captions(i)} for i in range(8)
    ]
    write(folder / "dataset.json", json.dumps({"images": entries}))
    return folder


def memes(folder: Path) -> Path:
    write_zip(folder / "images.zip", {f"{i}.png": colour_png(bool(i % 2), i) for i in range(40)})
    for name, ids in (
        ("train", range(24)),
        ("dev_unseen", range(24, 32)),
        ("test_unseen", range(32, 40)),
    ):
        rows = [{"img": f"{i}.png", "label": i % 2, "text": "some words"} for i in ids]
        write(folder / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of one task a family, a tokenizer of each kind and a model of each architecture."""
    root = tmp_path_factory.mktemp("world")
    sst2(root / "sst2")
    retrieval(root / "flickr")
    memes(root / "memes")
    colour_folder(root / "colours.zip")
    write(root / "prompts" / "classnames.json", '["blue", "red"]')
    write(root / "prompts" / "templates.json", '["a {} one", "some {}"]')
    texts = ["a red one", "some blue film number", "good bad words"] * 5
    for kind, size in (("wordpiece", 300), ("bpe", 600)):
        tokenizer = build_tokenizer(TokenizerConfig(kind=kind, vocab_size=size), iter(texts))
        tokenizer.library.save(str(root / f"{kind}.json"))
    for name, config in (("flava", FLAVA), ("clip", CLIP)):
        torch.manual_seed(0)
        save_model(build(name, config), root / name)
    write_json(root / "record.json", make_record("pretrain", {"seed": 0}, time.time()))
    return root


def plain(value: object) -> object:
    return value.model_dump() if isinstance(value, BaseModel) else value


def tasks(root: Path) -> dict:
    def one(family, adapter, path, metric="accuracy", row="Fake", **changes):
        config = task_config(family, metric, **({} if family == "retrieval" else {"rows": [row]}))
        data = {"adapter": adapter, "path": str(root / path), "stand_in": "made up"}
        settings = {k: changes.pop(k) for k in ("finetune", "probe") if k in changes}
        return {"task": plain(config), "data": data | changes, **settings}

    return {
        "colours": one("linear_probe", "image_folder", "colours.zip", row="DTD", probe=PROBE),
        "sst2": one("glue", "glue_tsv", "sst2", row="SST-2", finetune=GLUE),
        "hateful_memes": one(
            "multimodal", "hateful_memes", "memes", "auroc", "Hateful Memes",
            finetune=GLUE | {"head_hidden": 16},
        ),
        "flickr30k": one("retrieval", "karpathy", "flickr", "recall"),
        "zero": one("zero_shot", "image_folder", "colours.zip", prompts=str(root / "prompts")),
    }  # fmt: skip


def job(root: Path, output: Path, model="flava", only=None, **changes) -> EvaluateJob:
    chosen = {k: v for k, v in tasks(root).items() if only is None or k in only}
    values = {
        "study": "tiny", "column": model, "seed": 0, "job": "all", "model": str(root / model),
        "parent_record": str(root / "record.json"),
        "tokenizer_path": str(root / ("bpe.json" if model == "clip" else "wordpiece.json")),
        "tasks": chosen, "bootstrap_resamples": 20, "output": str(output),
        "checkpoints": str(output.with_suffix(".checkpoints")),
    }  # fmt: skip
    return EvaluateJob.model_validate(values | changes)


@pytest.fixture(scope="module")
def outputs(world: Path) -> dict[str, Path]:
    """FLAVA through the command line, CLIP in this process."""
    paths = {name: world / "results" / f"{name}.json" for name in ("flava", "clip")}
    config = world / "job.config.json"
    write_json(config, job(world, paths["flava"]).model_dump(mode="json"))
    command = [sys.executable, "-m", "flava.evaluate.run", "--config", str(config)]
    subprocess.run(command, check=True, timeout=400)
    run(job(world, paths["clip"], "clip"))
    return paths


@pytest.mark.parametrize("name", ["flava", "clip"])
def test_every_family_scores(outputs, name):
    value = read_json(outputs[name])
    assert (value["study"], value["column"], value["seed"], value["job"]) == (
        "tiny",
        name,
        0,
        "all",
    )
    scores = {score["row"]: score for score in value["scores"]}
    by_task = ["DTD", "Fake TR R@1", "Fake IR R@5", "Hateful Memes", "SST-2", "Fake"]
    assert list(scores) == by_task, "in the order of the tasks' names"
    assert scores["DTD"]["value"] > 90
    assert scores["SST-2"]["value"] > 85
    for score in scores.values():
        assert 0 <= score["chance"] <= 100
        assert score["std_error"] >= 0
        assert score["stand_in"] == "made up"
    record = value["record"]
    assert record["step"] == "evaluate"
    assert list(record["parents"]) == [str(outputs[name].parents[1] / "record.json")]
    assert set(record["extra"]["task_seconds"]) == {*tasks(Path())}


def test_evaluation_repeats_exactly(world, outputs, tmp_path):
    run(job(world, tmp_path / "again.json"))
    again, first = read_json(tmp_path / "again.json"), read_json(outputs["flava"])
    assert again["scores"] == first["scores"]


def test_cached_features_give_the_same_scores(world, outputs, tmp_path):
    only = ["colours", "flickr30k", "zero"]
    for name in ("first", "second"):
        again = job(world, tmp_path / f"{name}.json", only=only)
        run(again.model_copy(update={"features": str(tmp_path / "features")}))
        if name == "first":
            written = {p: p.stat().st_mtime_ns for p in (tmp_path / "features").iterdir()}
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "features").iterdir()} == written
    # The probe's two splits, images and captions, images and prompts, each with its record.
    assert len(written) == 2 * 6
    rows = {score["row"]: score for score in read_json(outputs["flava"])["scores"]}
    for score in read_json(tmp_path / "second.json")["scores"]:
        assert score == rows[score["row"]]


def test_collect(outputs, tmp_path):
    table = tmp_path / "results.parquet"
    files = [str(path) for path in outputs.values()]
    collect(CollectJob(study="tiny", scores=files, output=str(table)))
    frame = pd.read_parquet(table)
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == 12
    assert frame["column"].tolist() == ["clip"] * 6 + ["flava"] * 6
    assert set(frame["record"]) == set(files)
    from flava.report.scores import load_scores

    assert len(load_scores(table, "tiny")) == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("record"), r"scores without a record of .*\. Evaluate that job again\."),
        (lambda v: v["record"].pop("seed"), "is not a valid record: seed"),
        (
            lambda v: v["scores"].append(copy.deepcopy(v["scores"][0])),
            "'DTD' of flava-s0 occurs mo",
        ),
        (lambda v: v.update(study="other"), r"belongs to study 'other', not 'tiny'\. Delete it"),
        (lambda v: v.update(scores=[]), "has an empty list of scores"),
        (lambda v: v.update(scores={}), "has no list of scores"),
        (lambda v: v["scores"][0].update(value="high"), "a score is malformed: value"),
        (lambda v: v["scores"][0].update(extra=1), "a score is malformed: extra"),
        (lambda v: v.update(seed=None), "does not name its column and seed"),
    ],
)
def test_collect_refuses(outputs, tmp_path, change, message):
    value = read_json(outputs["flava"])
    change(value)
    if "record" in value:
        value["record"]["extra"][KEY] = scores_sha256(value)
    path = tmp_path / "all.json"
    path.write_text(json.dumps(value))
    output = tmp_path / "results.parquet"
    with pytest.raises(DataError, match=message):
        collect(CollectJob(study="tiny", scores=[str(path)], output=str(output)))
    assert not output.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v["scores"][0].update(value=99.0),
        lambda v: v["scores"][0]["details"].update(C=1.0),
        lambda v: v["scores"].pop(),
        lambda v: v.update(column="other"),
        lambda v: v["record"]["extra"].pop(KEY),
    ],
)
def test_collect_refuses_scores_that_were_changed(outputs, tmp_path, change):
    value = read_json(outputs["flava"])
    change(value)
    path, output = tmp_path / "all.json", tmp_path / "results.parquet"
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match=r"all.json was changed after it was written: .*Delete it"):
        collect(CollectJob(study="tiny", scores=[str(path)], output=str(output)))
    assert not output.exists()


def test_collect_names_a_file_with_a_number_that_is_none(outputs, tmp_path):
    value = read_json(outputs["flava"])
    value["scores"][0]["details"]["C"] = float("nan")
    path = tmp_path / "all.json"
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match=r"all\.json is not valid JSON \(NaN is no number\)"):
        collect(CollectJob(study="tiny", scores=[str(path)], output=str(tmp_path / "b")))


def test_collect_refuses_missing_files_and_no_scores(tmp_path):
    with pytest.raises(DataError, match="is missing"):
        collect(CollectJob(study="tiny", scores=[str(tmp_path / "a")], output=str(tmp_path / "b")))
    with pytest.raises(DataError, match="has no scores to collect"):
        collect(CollectJob(study="tiny", scores=[], output=str(tmp_path / "b")))


def test_a_failing_task_is_named_and_leaves_no_file(world, tmp_path):
    broken = job(world, tmp_path / "out.json", only=["colours", "sst2"]).model_dump()
    broken["tasks"]["sst2"]["data"]["path"] = str(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"^flava-s0, task 'sst2': .*nowhere is missing"):
        run(EvaluateJob.model_validate(broken))
    assert not (tmp_path / "out.json").exists()


def test_settings_that_the_family_needs(world, tmp_path):
    broken = job(world, tmp_path / "out.json", only=["colours"]).model_dump()
    broken["tasks"]["colours"]["probe"] = None
    with pytest.raises(ConfigError, match="family 'linear_probe' needs settings under 'probe'"):
        run(EvaluateJob.model_validate(broken))


def test_broken_weights_stop_the_job(world, tmp_path):
    model = build("flava", FLAVA)
    model.image_encoder.load_state_dict(
        {k: torch.full_like(v, float("nan")) for k, v in model.image_encoder.state_dict().items()}
    )
    save_model(model, tmp_path / "model")
    broken = job(world, tmp_path / "out.json", only=["colours"], model="flava")
    broken = broken.model_copy(update={"model": str(tmp_path / "model")})
    with pytest.raises(TrainingError, match=r"^flava-s0, task 'colours': features of .* ar"):
        run(broken)


@pytest.mark.parametrize(
    ("task", "advice"),
    [
        ("colours", r"Use one with more memory"),
        ("sst2", r"Raise tasks.sst2.finetune.accumulate \(now 1\): more micro-batches"),
    ],
)
def test_a_full_gpu_says_what_to_change(world, tmp_path, monkeypatch, task, advice):
    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nMore.")

    monkeypatch.setattr(Flava, "image_features", full)
    monkeypatch.setattr(Flava, "text_features", full)
    with pytest.raises(TrainingError, match=rf"task '{task}': the GPU is full. {advice}.* 9 GiB"):
        run(job(world, tmp_path / "out.json", only=[task], model="flava"))
    assert not (tmp_path / "out.json").exists()


def test_missing_model_and_foreign_tokenizer(world, tmp_path):
    missing = job(world, tmp_path / "out.json").model_copy(update={"model": str(tmp_path / "no")})
    with pytest.raises(CheckpointError):
        run(missing)
    foreign = job(world, tmp_path / "out.json").model_copy(
        update={"tokenizer_path": str(world / "large.json")}
    )
    texts = iter([f"word{i} other{i}" for i in range(3000)])
    large = build_tokenizer(TokenizerConfig(kind="wordpiece", vocab_size=2000), texts)
    large.library.save(str(world / "large.json"))
    with pytest.raises(ConfigError, match=r"tokenizer .* has 2000 entries, the model only 300"):
        run(foreign)


def test_the_command_line_prints_one_paragraph(tmp_path):
    command = [
        sys.executable,
        "-m",
        "flava.evaluate.collect",
        "--config",
        str(tmp_path / "no.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 3
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
