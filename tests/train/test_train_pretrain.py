"""The pretraining loop: what it writes, what it refuses, and that ranks do not change it."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch
from train_helpers import Tree, clean_log, job, moved, read_log, run_jobs

from flava import checkout
from flava.errors import CheckpointError, ConfigError, DataError, TrainingError
from flava.io import read_json, sha256_file, sha256_json
from flava.models import Flava, load_model
from flava.records import load_record
from flava.train import finish, loop
from flava.train.best import Best
from flava.train.checkpoint import Checkpoints
from flava.train.distributed import gradient_norm
from flava.train.pretrain import pretrain

Write = Callable[[Tree], str]
ALL_LOSSES = {
    "pairs.global_contrastive", "pairs.mmm_image", "pairs.mmm_text", "pairs.itm", "images.mim",
    "texts.mlm",
}  # fmt: skip


def weights(tree: Tree) -> dict[str, torch.Tensor]:
    return load_model(Path(tree["output"]) / "model").state_dict()


def test_a_run_leaves_model_log_curves_and_record(
    run_tree: Tree, write_run: Write, study: Path
) -> None:
    config = write_run(run_tree)
    pretrain(config)
    output = Path(run_tree["output"])
    rows = read_log(run_tree)
    assert rows[-1].keys() >= ALL_LOSSES | {"loss", "learning_rate", "grad_norm", "logit_scale"}
    record = load_record(output / "record.json")
    kinds = record.extra["updates_of_kind"]
    assert kinds["pairs"] == 12 and sum(kinds.values()) == record.extra["updates"]
    assert int(rows[-1]["update"]) == record.extra["updates"]
    assert all(math.isfinite(value) for value in record.extra["final_losses"].values())
    assert record.extra["final_losses"].keys() == ALL_LOSSES
    assert record.extra["model_sha256"] == sha256_file(output / "model" / "model.safetensors")
    assert list(record.parents) == [str(study / "codebook" / "record.json")]
    assert len(record.manifests) == 3 and record.ranks == 1 and record.seed == 1
    assert (output / "curves.png").stat().st_size > 10_000
    tokenizer = output / "model" / "tokenizer.json"
    assert tokenizer.read_bytes() == (study / "tokenizers" / "wordpiece.json").read_bytes()
    assert weights(run_tree)["logit_scale"].isfinite()


def test_the_same_run_twice_is_bit_equal_and_another_seed_is_not(
    run_tree: Tree, write_run: Write, tmp_path: Path
) -> None:
    trees = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        paths = {"output": str(tmp_path / name), "checkpoints": str(tmp_path / f"{name}-c")}
        trees.append(run_tree | paths | {"seed": seed})
        pretrain(write_run(trees[-1]))
    files = [(Path(tree["output"]) / "model" / "model.safetensors").read_bytes() for tree in trees]
    assert files[0] == files[1] != files[2]
    assert clean_log(trees[0]) == clean_log(trees[1])


def test_a_finished_run_is_written_again_from_its_last_checkpoint(
    run_tree: Tree, write_run: Write
) -> None:
    config = write_run(run_tree)
    pretrain(config)
    output = Path(run_tree["output"])
    before = {p.name: p.read_bytes() for p in (output / "model").iterdir()}
    log = (output / "log.csv").read_bytes()
    for name in ("log.csv", "record.json"):
        (output / name).unlink()
    shutil.rmtree(output / "model")
    pretrain(config)
    assert {p.name: p.read_bytes() for p in (output / "model").iterdir()} == before
    assert (output / "log.csv").read_bytes() == log


def test_a_finished_run_is_trained_anew_by_edited_code(
    run_tree: Tree,
    write_run: Write,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And written again once the edit is undone."""
    config, output = write_run(run_tree), Path(run_tree["output"])
    with monkeypatch.context() as earlier:
        earlier.setattr(checkout, "AT_START", checkout.Code("1" * 40, False))
        pretrain(config)
    first = (output / "model/model.safetensors").read_bytes()
    with monkeypatch.context() as edited:
        edited.setattr(loop, "training_sha256", lambda module: sha256_json([module, "edited"]))
        pretrain(config)
    assert "of other code: they are kept in aside-" in capsys.readouterr().err
    assert load_record(output / "record.json").earlier_commits == []
    assert (output / "model/model.safetensors").read_bytes() == first
    with monkeypatch.context() as untrained:
        untrained.setattr(loop, "compute_gradients", None)
        pretrain(config)
    assert load_record(output / "record.json").earlier_commits == ["1" * 40]


def test_code_that_an_earlier_process_ran_is_in_the_record(
    run_tree: Tree, write_run: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, record = write_run(run_tree), Path(run_tree["output"]) / "record.json"
    with monkeypatch.context() as earlier:
        earlier.setattr(checkout, "AT_START", checkout.Code("1" * 40, False))
        earlier.setenv("SLURM_JOB_ID", "7")
        earlier.setattr(finish, "plot_curves", lambda *_: sys.exit("stopped"))
        with pytest.raises(SystemExit):
            pretrain(config)
    pretrain(config)
    assert load_record(record).earlier_commits == ["1" * 40]
    assert load_record(record).jobs == ["7"]


def test_losses_fall(run_tree: Tree, write_run: Write) -> None:
    run_tree["pretrain"] |= {"pair_updates": 60, "log_updates": 20}
    run_tree["pretrain"]["optim"] |= {"learning_rate": 5e-3}
    pretrain(write_run(run_tree))
    rows = read_log(run_tree)
    for name in ("images.mim", "texts.mlm", "pairs.mmm_text"):
        assert float(rows[-1][name]) < float(rows[0][name])


def test_clipping_bounds_the_gradient_that_moves_the_weights(
    run_tree: Tree, write_run: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms, step = [], torch.optim.AdamW.step

    def seen(optimizer: torch.optim.AdamW) -> object:
        held = [p for group in optimizer.param_groups for p in group["params"]]
        norms.append(float(gradient_norm(held)))
        return step(optimizer)

    monkeypatch.setattr(torch.optim.AdamW, "step", seen)
    run_tree["pretrain"]["optim"]["clip_grad_norm"] = 0.1
    run_tree["pretrain"]["log_updates"] = 1
    pretrain(write_run(run_tree))
    logged = [float(row["grad_norm"]) for row in read_log(run_tree)]
    assert min(logged) > 0.1, "the log has the norm before clipping"
    assert norms == pytest.approx([0.1] * len(logged), rel=1e-3)


def test_bf16_is_close_to_fp32_but_not_the_same(
    run_tree: Tree, write_run: Write, tmp_path: Path
) -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        tree = moved(run_tree, tmp_path / precision, precision=precision)
        pretrain(write_run(tree))
        losses.append([float(row["loss"]) for row in read_log(tree)])
        assert {tensor.dtype for tensor in weights(tree).values()} == {torch.float32}
    assert losses[1] != losses[0]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_clip_is_trained_too(run_tree: Tree, write_run: Write, study: Path) -> None:
    run_tree |= {
        "arch": "clip",
        "flava": None,
        "clip": {
            "image_size": 16, "patch_size": 4, "vision_width": 16, "vision_layers": 1,
            "vision_heads": 2, "text_width": 16, "text_layers": 1, "text_heads": 2,
            "vocab_size": 640, "context_length": 16, "embed_dim": 16,
        },
        "objectives": {"pairs": ["global_contrastive"]},
        "sampling": {"pairs": 1.0},
        "tokenizer": "bpe",
        "tokenizer_path": str(study / "tokenizers" / "bpe.json"),
        "corpora": {"pairs": str(study / "pairs")},
        "image_tokens": {},
    }  # fmt: skip
    pretrain(write_run(run_tree))
    assert len(read_log(run_tree)) == 4
    assert load_record(Path(run_tree["output"]) / "record.json").parents == {}


def test_one_and_two_ranks_have_equal_losses(
    run_tree: Tree, write_run: Write, tmp_path: Path
) -> None:
    run_tree |= {
        "objectives": {"pairs": ["global_contrastive"]},
        "sampling": {"pairs": 1.0},
        "image_tokens": {},
    }
    run_tree["pretrain"]["log_updates"] = 1
    trees, jobs = {}, []
    for gather, ranks in product(("global", "local"), (1, 2)):
        name = f"{gather}-{ranks}"
        paths = {"output": str(tmp_path / name), "checkpoints": str(tmp_path / f"{name}-c")}
        trees[name] = run_tree | paths | {"contrastive": {"gather": gather, "ranks": 2}}
        jobs.append(job(write_run(trees[name]), ranks))
    assert run_jobs(jobs) == [[0], [0, 0]] * 2
    losses = {
        name: [float(row["pairs.global_contrastive"]) for row in read_log(tree)]
        for name, tree in trees.items()
    }
    for gather in ("global", "local"):
        one, two = losses[f"{gather}-1"], losses[f"{gather}-2"]
        assert one == pytest.approx(two, abs=1e-5) and len(one) == 12
        record = load_record(Path(trees[f"{gather}-2"]["output"]) / "record.json")
        assert record.ranks == 2 and len(record.extra["data_of_rank"]) == 2
    # the first update has learning rate 0; after the next, the gather modes must differ
    assert losses["global-1"][:2] == losses["local-1"][:2]
    assert losses["global-1"][-1] != pytest.approx(losses["local-1"][-1], abs=1e-5)


def test_parameters_that_no_loss_uses_stay_as_initialised(
    run_tree: Tree, write_run: Write, tmp_path: Path
) -> None:
    run_tree |= {"objectives": {"images": ["mim"]}, "sampling": {"images": 1.0}}
    seen = []
    for updates in (4, 8):
        run_tree["pretrain"]["pair_updates"] = updates
        tree = run_tree | {
            "output": f"{tmp_path}/{updates}",
            "checkpoints": f"{tmp_path}/c{updates}",
        }
        pretrain(write_run(tree))
        seen.append(weights(tree))
    for name in seen[0]:
        moved = not torch.equal(seen[0][name], seen[1][name])
        assert moved == name.startswith(("image_encoder", "mim_head")), name


def test_nan_stops_the_run_and_keeps_the_last_checkpoint(run_tree: Tree, write_run: Write) -> None:
    run_tree["pretrain"] |= {"checkpoint_updates": 1, "pair_updates": 40}
    run_tree["pretrain"]["optim"] |= {"learning_rate": 1e38, "warmup_updates": 10}
    config = write_run(run_tree)
    with pytest.raises(TrainingError) as caught:
        pretrain(config)
    message = str(caught.value)
    assert "At update " in message and "nan" in message
    assert any(f"({kind})" in message for kind in ("pairs", "images", "texts"))
    assert "first samples of that batch: " in message
    update = int(message.split("At update ")[1].split()[0])
    folder = Path(run_tree["checkpoints"])
    newest = max(folder.glob("update-*.json"))
    assert newest.name == f"update-{update - 1:09d}.json"
    assert sha256_file(newest.with_suffix(".pt")) == read_json(newest)["sha256"]
    assert not (Path(run_tree["output"]) / "record.json").exists()


def test_a_full_gpu_says_what_to_change(
    run_tree: Tree, write_run: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No GPU is filled: the forward pass raises what torch raises then."""

    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nMore.")

    monkeypatch.setattr(Flava, "forward", full)
    batch, config = run_tree["pretrain"]["batch_size"], write_run(run_tree)
    message = (
        rf"At update 1 \(\w+\): the GPU of rank 0 is full, with {batch} samples at one time. Use "
        r"more ranks.* raise `accumulate` \(now 1\).* CUDA out of memory. Tried to allocate 9 GiB.$"
    )
    with pytest.raises(TrainingError, match=message):
        pretrain(config)
    monkeypatch.undo()
    monkeypatch.setattr(Best, "consider", full)
    monkeypatch.setattr(Best, "due", lambda *_: True)
    between = r"The GPU of rank 0 is full, not within an update: .* CUDA out of memory."
    with pytest.raises(TrainingError, match=between):
        pretrain(config)


def test_a_damaged_newest_checkpoint_costs_only_its_updates(
    run_tree: Tree, write_run: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_run(run_tree)
    pretrain(config)
    model = Path(run_tree["output"]) / "model" / "model.safetensors"
    before, log = model.read_bytes(), clean_log(run_tree)
    newest = max(Path(run_tree["checkpoints"]).glob("update-*.pt"))
    newest.write_bytes(newest.read_bytes()[:1000])
    model.unlink()
    pretrain(config)
    assert f"damaged checkpoint: {newest}" in capsys.readouterr().err
    assert model.read_bytes() == before and clean_log(run_tree) == log


def test_a_checkpoint_of_another_configuration_is_refused(run_tree: Tree, write_run: Write) -> None:
    pretrain(write_run(run_tree))
    record = (Path(run_tree["output"]) / "record.json").read_bytes()
    run_tree["pretrain"]["optim"]["learning_rate"] = 2e-3
    with pytest.raises(CheckpointError, match=r"update-0000.*of another configuration.*Delete"):
        pretrain(write_run(run_tree))
    assert (Path(run_tree["output"]) / "record.json").read_bytes() == record


def test_other_data_refuse_an_unfinished_run_and_train_a_finished_one_anew(
    run_tree: Tree, write_run: Write, study: Path, tmp_path: Path
) -> None:
    shutil.copytree(study / "texts", tmp_path / "texts")
    run_tree["corpora"]["texts"] = str(tmp_path / "texts")
    config = write_run(run_tree)
    pretrain(config)
    path, record = tmp_path / "texts/manifest.json", Path(run_tree["output"]) / "record.json"
    manifest = read_json(path)
    for version in ("2", "3"):
        manifest["sources"][0]["version"] = version
        path.write_text(json.dumps(manifest))
        if version == "2":
            pretrain(config)
            assert load_record(record).manifests[str(path)].sha256 == sha256_file(path)
            max(Path(run_tree["checkpoints"]).glob("update-*.json")).unlink()
    with pytest.raises(CheckpointError, match=r"update-0000.*of other data"):
        pretrain(config)


def test_weights_that_are_not_finite_in_a_checkpoint_stop_the_run(
    run_tree: Tree, write_run: Write
) -> None:
    config = write_run(run_tree)
    pretrain(config)
    folder = Path(run_tree["checkpoints"])
    marks = sorted(folder.glob("update-*.json"))
    mark = read_json(marks[0])
    store = Checkpoints(folder, mark["config_sha256"], mark["data_sha256"], mark["code_sha256"], 2)
    marks[1].unlink()
    update, state, *_ = store.load_newest() or (0, {})
    for tensor in state["modules"]["model"].values():
        tensor.fill_(math.nan)
    store.save(update, state)
    with pytest.raises(TrainingError, match=rf"At update {update + 1} .*= nan"):
        pretrain(config)
    assert sha256_json(read_json(marks[0])) != sha256_json(mark)  # still the one made here


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"init": {"image": {"kind": "dino", "directory": "nowhere/model"}}},
            DataError,
            "nowhere/record.json is missing",
        ),
        ({"flava": None}, ConfigError, "flava"),
        ({"arch": "clip_released"}, ConfigError, "clip_released"),
        ({"tokenizer_path": "nowhere.json"}, DataError, "nowhere.json is missing"),
        (
            {"corpora": {"pairs": "nowhere", "images": "nowhere", "texts": "nowhere"}},
            DataError,
            "nowhere is not a prepared corpus: manifest.json is missing",
        ),
    ],
    ids=["init", "no model", "released", "tokenizer", "corpus"],
)
def test_runs_that_cannot_be_trained_are_refused(
    run_tree: Tree, write_run: Write, change: Tree, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pretrain(write_run(run_tree | change))
    assert not list(Path(run_tree["output"]).glob("record.json"))


def test_a_warmup_as_long_as_the_run_is_refused(run_tree: Tree, write_run: Write) -> None:
    run_tree["pretrain"]["optim"]["warmup_updates"] = 1000
    with pytest.raises(ConfigError, match=r"warmup_updates is 1000.*peak"):
        pretrain(write_run(run_tree))
