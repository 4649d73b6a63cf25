"""DINO, BEiT and Hugging Face's ViT: our encoder gives the hidden states of the published model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
from published_cases import (
    EPS,
    HALF,
    IMAGENET,
    SMALL,
    VIT,
    equal,
    image_states,
    images,
    load,
    normalised,
    official_beit,
    official_vit,
    save,
    spread,
)

from flava.errors import CheckpointError
from flava.models.encoders import ImageEncoder

transformers = pytest.importorskip("transformers")

NO_MASK_TOKEN = "the published encoder has no mask token: the initial value stays"


@pytest.fixture(scope="module")
def vit():
    return spread(transformers.ViTModel(transformers.ViTConfig(**VIT)))


def beit(**more):
    sizes = VIT | {"vocab_size": 11, "use_mask_token": True, "layer_scale_init_value": 0.1}
    sizes |= {"use_absolute_position_embeddings": True} | more
    return spread(transformers.BeitForMaskedImageModeling(transformers.BeitConfig(**sizes)))


@pytest.fixture(scope="module")
def small_beit():
    return beit()


def vit_states(vit, pixels=IMAGENET, size: int = 32):
    with torch.no_grad():
        return vit(
            normalised(images(size), *pixels), interpolate_pos_encoding=True
        ).last_hidden_state


def beit_states(model, mask, pixels=HALF):
    with torch.no_grad():
        hidden = model.beit(normalised(images(), *pixels), bool_masked_pos=mask).last_hidden_state
        return model.layernorm(hidden)


@pytest.fixture
def mask():
    return torch.rand(3, 16, generator=torch.Generator().manual_seed(2)) < 0.4


def test_dino_released_backbone(vit, tmp_path: Path):
    published = load(save(official_vit(vit.state_dict()), tmp_path / "dino.pth"), "dino")
    equal(image_states(published), vit_states(vit))
    report = published.report
    assert report["not_in_file"] == {NO_MASK_TOKEN: ["mask_token"]}
    assert set(report["loaded"]) == set(ImageEncoder(SMALL).state_dict()) - {"mask_token"}
    (folded,) = report["converted"]
    assert "[0.485, 0.456, 0.406]" in folded
    assert report["converted"][folded] == ["patch_embed.proj.bias", "patch_embed.proj.weight"]
    assert json.loads(json.dumps(report)) == report
    assert any("4 are assumed" in sentence for sentence in report["differences"])


def test_mask_token_keeps_its_initial_value(vit, tmp_path: Path):
    published = load(save(official_vit(vit.state_dict()), tmp_path / "dino.pth"), "dino")
    encoder = ImageEncoder(SMALL)
    torch.nn.init.constant_(encoder.mask_token, 0.7)
    published.load_into(encoder)
    assert encoder.mask_token.eq(0.7).all()


def test_dino_training_checkpoint_gives_the_teacher(vit, tmp_path: Path):
    teacher = {f"module.backbone.{n}": v for n, v in official_vit(vit.state_dict()).items()}
    teacher["module.head.mlp.0.weight"] = torch.zeros(2, 2)
    student = {name: torch.zeros_like(value) for name, value in teacher.items()}
    checkpoint = {
        "student": student,
        "teacher": teacher,
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        "epoch": 400,
        "args": argparse.Namespace(arch="vit_base", patch_size=16),
    }
    torch.save(checkpoint, tmp_path / "full.pth")
    published = load(tmp_path / "full.pth", "dino")
    equal(image_states(published), vit_states(vit))
    assert published.report["dropped"] == {
        "DINO's projection head": ["head.mlp.0.weight"],
        "training checkpoint: 'teacher' is taken": ["args", "epoch", "optimizer", "student"],
    }


def test_hugging_face_vit_folder(vit, tmp_path: Path):
    vit.save_pretrained(tmp_path)
    pixels = {"image_mean": IMAGENET[0], "image_std": IMAGENET[1], "rescale_factor": 1 / 255}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(pixels))
    published = load(tmp_path, "hf_vit")
    equal(image_states(published), vit_states(vit))
    assert published.report["dropped"] == {
        "pooler: no loss reads it": ["pooler.dense.bias", "pooler.dense.weight"]
    }
    stacked = published.report["converted"]["query, key and value stacked into one Linear"]
    assert len(stacked) == 2 * 3 * 2
    assert published.report["differences"] == []


def test_vit_with_a_mask_token_and_a_classifier(tmp_path: Path):
    model = spread(transformers.ViTForMaskedImageModeling(transformers.ViTConfig(**VIT)))
    model.save_pretrained(tmp_path)
    published = load(tmp_path, "hf_vit", pixel_mean=HALF[0], pixel_std=HALF[1])
    equal(published.state["mask_token"], model.vit.embeddings.mask_token[0, 0])
    assert published.report["not_in_file"] == {}
    assert "the ViT's own head" in published.report["dropped"]
    equal(image_states(published), vit_states(model.vit, HALF))


def test_pixels_must_be_known(vit, tmp_path: Path):
    vit.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="nothing says how its pixels are normalised"):
        load(tmp_path, "hf_vit")
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": 0.5}')
    with pytest.raises(CheckpointError, match="does not give image_mean and image_std"):
        load(tmp_path, "hf_vit")
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": false}')
    equal(image_states(load(tmp_path, "hf_vit")), vit_states(vit, ([0.0] * 3, [1.0] * 3)))


def test_equal_pixels_leave_the_patch_embedding_as_it_is(vit, tmp_path: Path):
    from flava.data.transforms import MEAN, STD

    path = save(official_vit(vit.state_dict()), tmp_path / "dino.safetensors")
    published = load(path, "dino", pixel_mean=list(MEAN), pixel_std=list(STD))
    assert published.report["converted"] == {}
    equal(image_states(published), vit_states(vit, (MEAN, STD)))


def test_positions_for_another_grid(vit, tmp_path: Path):
    config = SMALL.model_copy(update={"image_size": 48})
    path = save(official_vit(vit.state_dict()), tmp_path / "dino.pth")
    published = load(path, "dino", config=config)
    equal(image_states(published, config), vit_states(vit, size=48))
    resized = "positions resized from 4 x 4 to 6 x 6 patches (bicubic)"
    assert published.report["converted"][resized] == ["pos_embed"]


def test_positions_that_are_no_square(vit, tmp_path: Path):
    state = official_vit(vit.state_dict())
    state["pos_embed"] = state["pos_embed"][:, :-1]
    with pytest.raises(CheckpointError, match="has 16 positions, which is not"):
        load(save(state, tmp_path / "dino.pth"), "dino")


def test_missing_and_wrong_tensors_are_named(vit, tmp_path: Path):
    state = official_vit(vit.state_dict())
    path = tmp_path / "dino.pth"
    save({n: v for n, v in state.items() if n != "blocks.1.attn.qkv.bias"}, path)
    with pytest.raises(CheckpointError, match=r"1 parameters are missing: blocks\.1\.attn\.qkv\."):
        load(path, "dino")
    save(state, path)
    wider = SMALL.model_copy(update={"intermediate_size": 192})
    with pytest.raises(CheckpointError, match=r"mlp\.fc1\.weight has shape \(96, 48\), but .*192"):
        load(path, "dino", config=wider)
    deeper = SMALL.model_copy(update={"image_layers": 3})
    with pytest.raises(CheckpointError, match=r"12 parameters are missing: blocks\.2\."):
        load(path, "dino", config=deeper)
    larger = SMALL.model_copy(update={"patch_size": 16})
    with pytest.raises(CheckpointError, match=r"patch_embed\.proj\.weight has shape"):
        load(path, "dino", config=larger)


def test_eps_is_reported_and_not_converted(vit, tmp_path: Path):
    path = save(official_vit(vit.state_dict()), tmp_path / "dino.pth")
    report = load(path, "dino", config=SMALL.model_copy(update={"layer_norm_eps": 1e-12})).report
    expected = "LayerNorm eps is 1e-06 in the published model and 1e-12 here"
    assert expected in report["differences"]
    assert EPS == 1e-6


def test_official_beit(small_beit, mask, tmp_path: Path):
    state = official_beit(small_beit.state_dict())
    assert "blocks.1.attn.q_bias" in state
    assert "blocks.1.gamma_2" in state
    torch.save({"model": state, "args": argparse.Namespace(epochs=800)}, tmp_path / "beit.pth")
    published = load(tmp_path / "beit.pth", "beit")
    equal(image_states(published, mask=mask), beit_states(small_beit, mask))
    report = published.report
    assert report["dropped"]["BEiT's prediction head"] == ["lm_head.bias", "lm_head.weight"]
    zeros = "one bias of query, key and value, with zeros for the key"
    assert report["converted"][zeros] == sorted(
        f"blocks.{i}.attn.{k}_bias" for i in range(2) for k in "qv"
    )
    assert len(report["converted"]["multiplied by the layer scale after it"]) == 2 * 4
    assert report["not_in_file"] == {}


def test_official_beit_without_layer_scale(mask, tmp_path: Path):
    model = beit(layer_scale_init_value=0.0)
    published = load(save(official_beit(model.state_dict()), tmp_path / "beit.pth"), "beit")
    equal(image_states(published, mask=mask), beit_states(model, mask))


def test_hugging_face_beit(small_beit, mask, tmp_path: Path):
    small_beit.save_pretrained(tmp_path)
    published = load(tmp_path, "hf_beit")
    equal(image_states(published, mask=mask), beit_states(small_beit, mask))
    assert len(published.report["converted"]["zeros: BEiT's keys have no bias"]) == 2


@pytest.mark.parametrize(
    "kind", ["use_shared_relative_position_bias", "use_relative_position_bias"]
)
def test_relative_positions_are_refused(kind: str, tmp_path: Path):
    model = beit(**{kind: True})
    model.save_pretrained(tmp_path / "hf")
    state = official_beit(model.state_dict())
    official = {
        name.replace("shared_position_bias", "rel_pos_bias").replace(
            "relative_position_bias.relative", "attn.relative"
        ): value
        for name, value in state.items()
    }
    for path, layout in (
        (tmp_path / "hf", "hf_beit"),
        (save(official, tmp_path / "beit.pth"), "beit"),
    ):
        with pytest.raises(CheckpointError, match="--disable_rel_pos_bias --abs_pos_emb"):
            load(path, layout)


def test_two_last_norms_are_refused(tmp_path: Path):
    beit(use_mean_pooling=False).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"has both layernorm\.\w+ and beit\.layernorm"):
        load(tmp_path, "hf_beit")


def test_fine_tuned_beit_is_refused(small_beit, tmp_path: Path):
    state = official_beit(small_beit.state_dict())
    state["fc_norm.weight"] = state.pop("norm.weight")
    with pytest.raises(CheckpointError, match="before fine-tuning"):
        load(save(state, tmp_path / "beit.pth"), "beit")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_attention_heads": 12}, "has 12 attention heads, but this run's has 4"),
        ({"hidden_act": "gelu_new"}, "its activation is 'gelu_new'"),
        ({"model_type": "deit"}, "model_type 'deit', but layout 'hf_vit' is 'vit'"),
    ],
)
def test_config_beside_it(vit, change: dict, message: str, tmp_path: Path):
    vit.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path, "hf_vit", pixel_mean=HALF[0], pixel_std=HALF[1])
