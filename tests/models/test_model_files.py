"""Exported models: round trips with transformers, and every way a folder can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from model_cases import SMALL, SMALL_CLIP, pair_batch, randomise
from safetensors.torch import load_file, save_file
from torch.nn import functional

from flava.errors import CheckpointError, ConfigError
from flava.models import Clip, Flava, build, load_model, save_model
from flava.models.hf import from_hf_state_dict, to_hf_state_dict
from flava.models.hf_config import from_hf_config, to_hf_config
from flava.models.hf_names import HEADS

MODELS = [
    ("flava", SMALL, "FlavaForPreTraining"),
    ("clip", SMALL_CLIP, "CLIPModel"),
]


def small(arch: str = "flava"):
    torch.manual_seed(3)
    return randomise(build(arch, SMALL if arch == "flava" else SMALL_CLIP))


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    save_model(small(), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(("arch", "config", "their_class"), MODELS)
def test_transformers_loads_what_we_save(arch, config, their_class, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    model = small(arch)
    save_model(model, tmp_path / "model")
    theirs, info = getattr(transformers, their_class).from_pretrained(
        tmp_path / "model", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    back = build(arch, config)
    back.load_state_dict(from_hf_state_dict(theirs.state_dict(), config).state)
    assert same(model, back)


def test_flava_model_gives_the_same_embeddings(tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    model, batch = small().eval(), pair_batch(SMALL, 3, 12)
    save_model(model, tmp_path / "model")
    theirs, info = transformers.FlavaModel.from_pretrained(
        tmp_path / "model", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert {name.split(".")[0] for name in info["unexpected_keys"]} == {*HEADS, "itm_head"}
    pixels, text, attention = batch.pixels_BCHW, batch.text_BL, batch.text_attention_BL
    with torch.no_grad():
        out = theirs(pixel_values=pixels, input_ids=text, attention_mask=attention.long())
        image = theirs.image_projection(out.image_embeddings[:, 0])
        words = theirs.text_projection(out.text_embeddings[:, 0])
        close(model.image_features(pixels), out.image_embeddings[:, 0])
        close(model.text_features(text, attention), out.text_embeddings[:, 0])
        close(model.multimodal_features(pixels, text, attention), out.multimodal_embeddings[:, 0])
        close(model.image_embeddings(pixels), functional.normalize(image, dim=-1))
        close(model.text_embeddings(text, attention), functional.normalize(words, dim=-1))


def test_clip_model_gives_the_same_embeddings(tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    model = small("clip").eval()
    save_model(model, tmp_path / "model")
    theirs = transformers.CLIPModel.from_pretrained(tmp_path / "model")
    pixels = torch.randn(3, 3, 32, 32)
    text = torch.randint(1, 119, (3, 9))
    text[:, -1] = 119  # end of text: CLIP reads at the highest id
    attention = torch.ones(3, 9, dtype=torch.bool)
    with torch.no_grad():
        out = theirs(pixel_values=pixels, input_ids=text, attention_mask=attention.long())
        close(model.image_embeddings(pixels), out.image_embeds)
        close(model.text_embeddings(text, attention), out.text_embeds)
        seen = theirs.vision_model(pixels).pooler_output
        read = theirs.text_model(text, attention_mask=attention.long()).pooler_output
        close(model.multimodal_features(pixels, text, attention), torch.cat([seen, read], dim=-1))


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("arch", "config", "their_class"), MODELS)
def test_we_load_what_transformers_saves(arch, config, their_class, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    config_class = {"flava": transformers.FlavaConfig, "clip": transformers.CLIPConfig}[arch]
    theirs = randomise(getattr(transformers, their_class)(config_class(**to_hf_config(config))))
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    assert ours.config == config
    converted = from_hf_state_dict(theirs.state_dict(), config)
    expected = build(arch, config)
    expected.load_state_dict(converted.state)
    assert same(ours, expected)
    assert not ours.training
    parts = {name.split(".")[1] for name in converted.unused}
    encoders = {"image_model", "text_model", "multimodal_model"}
    assert parts == (encoders if arch == "flava" else set())


@pytest.mark.parametrize("arch", ["flava", "clip"])
def test_round_trip_is_bit_equal(arch: str, tmp_path: Path):
    model = small(arch)
    save_model(model, tmp_path / "model")
    assert same(model, load_model(tmp_path / "model"))
    assert load_model(tmp_path / "model").config == model.config


def test_head_eps_survives(tmp_path: Path):
    model = Flava(SMALL.model_copy(update={"head_layer_norm_eps": 1e-5}))
    save_model(model, tmp_path / "model")
    assert load_model(tmp_path / "model").config.head_layer_norm_eps == 1e-5


def test_state_dict_round_trip_covers_every_parameter():
    for model in (Flava(SMALL), Clip(SMALL_CLIP)):
        theirs = to_hf_state_dict(model.state_dict(), model.config)
        back = from_hf_state_dict(theirs, model.config).state
        assert back.keys() == model.state_dict().keys()


def edit_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def test_missing_folder(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load_model(tmp_path / "nothing")


def test_missing_weights(exported: Path):
    (exported / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        load_model(exported)


def test_truncated_weights(exported: Path):
    path = exported / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="is damaged"):
        load_model(exported)


def test_broken_config(exported: Path):
    (exported / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        load_model(exported)


def test_config_that_is_no_object(exported: Path):
    (exported / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="holds no object"):
        load_model(exported)


def test_other_architecture(exported: Path):
    edit_config(exported, model_type="bert")
    with pytest.raises(CheckpointError, match="model_type is 'bert'"):
        load_model(exported)


def test_missing_parameter_is_named(exported: Path):
    edit_weights(exported, lambda tensors: tensors.pop("flava.image_projection.bias"))
    with pytest.raises(CheckpointError, match=r"1 parameters are missing: flava\.image_projection"):
        load_model(exported)


def test_unexpected_parameter_is_named(exported: Path):
    edit_weights(exported, lambda tensors: tensors.update(stray=torch.zeros(1)))
    with pytest.raises(CheckpointError, match="1 are unexpected: stray"):
        load_model(exported)


def test_wrong_shape_is_named(exported: Path):
    edit_config(exported, projection_dim=21)
    with pytest.raises(CheckpointError, match=r"image_projection\.weight has shape \(20, 48\)"):
        load_model(exported)


def test_tied_biases_that_differ(exported: Path):
    edit_weights(exported, lambda t: t.update({"mim_head.bias": torch.ones(SMALL.codebook_size)}))
    with pytest.raises(CheckpointError, match="are one parameter in Hugging Face but differ"):
        load_model(exported)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("text_config", {"hidden_size": 64}, "text_config.hidden_size differs"),
        ("image_config", {"qkv_bias": False}, "image_config.qkv_bias is False"),
        ("multimodal_config", {"use_cls_token": False}, "use_cls_token is False"),
        ("text_config", {"hidden_act": "relu"}, "hidden_act is 'relu'"),
    ],
)
def test_structures_we_do_not_have(part: str, changes: dict, message: str):
    values = to_hf_config(SMALL)
    values[part] = values[part] | changes
    with pytest.raises(CheckpointError, match=message):
        from_hf_config(values, "config.json")


@pytest.mark.parametrize("key", ["hidden_act", "layer_norm_eps"])
def test_clip_towers_must_agree(key: str):
    values = to_hf_config(SMALL_CLIP)
    values["text_config"] = values["text_config"] | {key: "other"}
    with pytest.raises(CheckpointError, match=f"text_config.{key} differs"):
        from_hf_config(values, "config.json")


def test_unusable_value():
    values = to_hf_config(SMALL) | {"projection_dim": -1}
    with pytest.raises(CheckpointError, match="not a usable model configuration"):
        from_hf_config(values, "config.json")


def test_save_model_takes_only_models(tmp_path: Path):
    with pytest.raises(ConfigError, match="takes a Flava or a Clip, not a Linear"):
        save_model(torch.nn.Linear(1, 1), tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("arch", "config", "message"),
    [
        ("flavour", SMALL, "Did you mean 'flava'"),
        ("clip", SMALL, "was given a FlavaConfig"),
        ("clip_released", SMALL_CLIP, "never trained here"),
        ("flava_released", SMALL, "'flava_released' is never trained here"),
    ],
)
def test_build_refuses(arch: str, config, message: str):
    with pytest.raises(ConfigError, match=message):
        build(arch, config)
