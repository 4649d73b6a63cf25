"""FLAVA and CLIP as published: whole, without heads, lone encoders, OpenAI's names and archive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from published_cases import (
    SMALL,
    VIT,
    equal,
    image_states,
    images,
    load,
    normalised,
    official_clip,
    save,
    spread,
    text_states,
)
from safetensors.torch import load_file
from torch import nn

from flava.config import ClipConfig
from flava.errors import CheckpointError, ConfigError
from flava.models import Clip, Flava, save_model
from flava.models.encoder_files import save_encoder
from flava.models.hf_config import to_hf_config

transformers = pytest.importorskip("transformers")

CLIP = ClipConfig(
    image_size=32,
    patch_size=8,
    vision_width=48,
    vision_layers=2,
    vision_heads=4,
    text_width=32,
    text_layers=2,
    text_heads=2,
    vocab_size=90,
    context_length=12,
    embed_dim=20,
    quick_gelu=True,
)
TEXT = torch.randint(2, 89, (3, 9), generator=torch.Generator().manual_seed(4))
TEXT[:, -1] = 89  # the end of text has the highest id, where released CLIP reads
ATTENTION = torch.ones(3, 9, dtype=torch.bool)
NO_HEADS = "FlavaModel has no prediction heads"


def published_flava():
    return spread(transformers.FlavaForPreTraining(transformers.FlavaConfig(**to_hf_config(SMALL))))


@pytest.fixture(scope="module")
def flava(tmp_path_factory) -> tuple[nn.Module, Path]:
    folder = tmp_path_factory.mktemp("flava")
    model = published_flava()
    model.save_pretrained(folder / "whole")
    model.flava.save_pretrained(folder / "model")
    return model, folder


def flava_states(model) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        out = model.flava(
            input_ids=TEXT, pixel_values=normalised(images()), attention_mask=ATTENTION.long()
        )
    return {
        part: getattr(out, f"{part}_output").last_hidden_state
        for part in ("image", "text", "multimodal")
    }


def our_features(model: Flava | Clip) -> dict[str, torch.Tensor]:
    pixels = normalised(images())
    with torch.no_grad():
        return {
            "image": model.image_features(pixels),
            "text": model.text_features(TEXT, ATTENTION),
            "multimodal": model.multimodal_features(pixels, TEXT, ATTENTION),
        }


@pytest.mark.parametrize("form", ["whole", "model"])
def test_whole_flava(flava, form: str):
    theirs, folder = flava
    published = load(folder / form, "flava", "flava")
    model = Flava(SMALL).eval()
    published.load_into(model)
    expected = flava_states(theirs)
    for part, features in our_features(model).items():
        equal(features, expected[part][:, 0])
    absent = published.report["not_in_file"]
    assert set(absent) == (set() if form == "whole" else {NO_HEADS})
    if form == "model":
        assert {name.split(".")[0] for name in absent[NO_HEADS]} == {
            "mim_head",
            "mlm_head",
            "mmm_image_head",
            "mmm_text_head",
            "itm_head",
        }
    assert published.report["dropped"]["encoder pooler: no loss reads it"]


@pytest.mark.parametrize("form", ["whole", "model", "lone"])
def test_encoders_of_flava(flava, form: str, tmp_path: Path):
    theirs, folder = flava
    expected = flava_states(theirs)
    for part in ("image", "text"):
        path = folder / form
        if form == "lone":
            path = tmp_path / part
            getattr(theirs.flava, f"{part}_model").save_pretrained(path)
        published = load(path, "flava", part)
        states = (
            image_states(published) if part == "image" else text_states(published, TEXT, ATTENTION)
        )
        equal(states, expected[part])
        others = f"not of the {part} encoder"
        assert (others in published.report["dropped"]) == (form != "lone")
        assert published.report["differences"] == []


def test_our_own_files(tmp_path: Path):
    torch.manual_seed(1)
    model = spread(Flava(SMALL))
    save_model(model, tmp_path / "whole")
    save_encoder(model.text_encoder, SMALL, tmp_path / "text")
    whole = load(tmp_path / "whole", "flava", "flava")
    assert all(torch.equal(whole.state[k], v) for k, v in model.state_dict().items())
    for path in ("whole", "text"):
        state = load(tmp_path / path, "flava", "text").state
        expected = model.text_encoder.state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_tables_of_flava_are_adapted(flava):
    theirs, folder = flava
    config = SMALL.model_copy(update={"image_size": 48, "max_text_length": 9})
    published = load(folder / "whole", "flava", "flava", config)
    model = Flava(config).eval()
    published.load_into(model)
    with torch.no_grad():
        out = theirs.flava.image_model(
            normalised(images(48)), interpolate_pos_encoding=True
        ).last_hidden_state
        equal(model.image_features(normalised(images(48))), out[:, 0])
        equal(model.text_features(TEXT, ATTENTION), flava_states(theirs)["text"][:, 0])
    assert "positions from 12 tokens cut to 9" in published.report["converted"]


def test_damaged_flava(flava, tmp_path: Path):
    _, folder = flava
    tensors = load_file(folder / "whole" / "model.safetensors")
    config = (folder / "whole" / "config.json").read_text()

    def attempt(change: dict, **kwargs):
        path = save({**tensors, **change}, tmp_path / "m" / "model.safetensors")
        path.with_name("config.json").write_text(config)
        return load(path.parent, "flava", "flava", **kwargs)

    with pytest.raises(CheckpointError, match=r"1 are not known in this layout: flava\.extra"):
        attempt({"flava.extra": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"cls_token has shape \(3,\)"):
        attempt({"flava.image_model.embeddings.cls_token": torch.zeros(3)})
    with pytest.raises(CheckpointError, match="are one parameter in Hugging Face but differ"):
        attempt({"mim_head.bias": torch.ones(64)})
    with pytest.raises(CheckpointError, match=r"image_projection\.weight has shape"):
        attempt({}, config=SMALL.model_copy(update={"projection_dim": 21}))
    with pytest.raises(CheckpointError, match="has 4 attention heads, but this run's has 8"):
        attempt({}, config=SMALL.model_copy(update={"num_attention_heads": 8}))


def test_the_other_lone_encoder(flava, tmp_path: Path):
    flava[0].flava.text_model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="it is no FLAVA or image encoder"):
        load(tmp_path, "flava", "image")


def test_wrong_architecture_names_the_right_layout(flava, tmp_path: Path):
    with pytest.raises(CheckpointError, match="look like layout 'flava', not 'dino'"):
        load(flava[1] / "whole", "dino")
    transformers.ViTModel(transformers.ViTConfig(**VIT)).save_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"30 parameters are missing: .* and 22 more; 40 are not known"
    ):
        load(tmp_path / "model.safetensors", "dino")
    with pytest.raises(CheckpointError, match="look like layout 'hf_vit', not 'openai_clip'"):
        load(tmp_path, "openai_clip", "clip", CLIP)


def test_a_layout_has_its_parts_and_configuration():
    with pytest.raises(ConfigError, match="layout 'dino' has no part 'text', only image"):
        load("x", "dino", "text")
    with pytest.raises(ConfigError, match="layout 'clip' has no part 'image'"):
        load("x", "clip", "image")
    with pytest.raises(ConfigError, match="needs a ClipConfig, not a FlavaConfig"):
        load("x", "clip", "clip", SMALL)


def test_weights_fit_only_their_module(flava):
    published = load(flava[1] / "whole", "flava", "image")
    with pytest.raises(CheckpointError, match="do not fit a TextEncoder"):
        published.load_into(Flava(SMALL).text_encoder)


def published_clip(**vision):
    values = to_hf_config(CLIP)
    for part in ("vision_config", "text_config"):
        values[part] = values[part] | vision
    return spread(transformers.CLIPModel(transformers.CLIPConfig(**values)))


@pytest.fixture(scope="module")
def clip():
    return published_clip()


def check_clip(published, theirs) -> None:
    model = Clip(CLIP).eval()
    published.load_into(model)
    pixels = normalised(images())
    with torch.no_grad():
        out = theirs(input_ids=TEXT, pixel_values=pixels, attention_mask=ATTENTION.long())
        equal(model.image_embeddings(pixels), out.image_embeds)
        equal(model.text_embeddings(TEXT, ATTENTION), out.text_embeds)
    equal(model.logit_scale, theirs.logit_scale.detach())


def test_hugging_face_clip(clip, tmp_path: Path):
    clip.save_pretrained(tmp_path)
    published = load(tmp_path, "clip", "clip", CLIP)
    check_clip(published, clip)
    assert published.report["differences"] == []
    with pytest.raises(CheckpointError, match="activation is x sigmoid"):
        load(tmp_path, "clip", "clip", CLIP.model_copy(update={"quick_gelu": False}))
    with pytest.raises(CheckpointError, match="has 2 attention heads, but this run's has 4"):
        load(tmp_path, "clip", "clip", CLIP.model_copy(update={"text_heads": 4}))
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"model_type": "siglip"}))
    with pytest.raises(CheckpointError, match="model_type is 'siglip'"):
        load(tmp_path, "clip", "clip", CLIP)


def test_open_clip_state_dict(clip, tmp_path: Path):
    state = {f"module.{name}": v for name, v in official_clip(clip.state_dict()).items()}
    torch.save({"epoch": 32, "state_dict": state}, tmp_path / "open_clip.pt")
    published = load(tmp_path / "open_clip.pt", "openai_clip", "clip", CLIP)
    check_clip(published, clip)
    assert published.report["converted"] == {
        "transposed into a Linear's weight": ["text_projection", "visual.proj"]
    }
    assert any("has quick_gelu true" in sentence for sentence in published.report["differences"])


def test_clip_pixels_go_into_positions_where_there_is_no_bias(clip, tmp_path: Path):
    clip.save_pretrained(tmp_path)
    published = load(tmp_path, "clip", "clip", CLIP, pixel_mean=[0.5] * 3, pixel_std=[0.5] * 3)
    model = Clip(CLIP).eval()
    published.load_into(model)
    with torch.no_grad():
        theirs = clip.vision_model(normalised(images(), [0.5] * 3, [0.5] * 3)).pooler_output
        equal(model.image_features(normalised(images())), theirs)


class Archived(nn.Module):
    """A module tree of given parameters, to be scripted as OpenAI's archives are."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for name in {key.split(".")[0] for key in state}:
            if name in state:
                kind = self.register_parameter
                if not state[name].is_floating_point():
                    kind = self.register_buffer
                value = state[name]
                kind(name, nn.Parameter(value) if kind == self.register_parameter else value)
            else:
                inner = {
                    key.split(".", 1)[1]: value
                    for key, value in state.items()
                    if key.startswith(f"{name}.")
                }
                self.add_module(name, Archived(inner))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def archive(state: dict[str, torch.Tensor], path: Path) -> Path:
    torch.jit.save(torch.jit.script(Archived(state)), path)
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_openai_archive(clip, tmp_path: Path):
    state = official_clip({n: v.detach() for n, v in clip.state_dict().items()})
    for name in ("input_resolution", "context_length", "vocab_size"):
        state[name] = torch.tensor(32)
    state["visual.conv1.weight"] = state["visual.conv1.weight"].half()
    path = archive(state, tmp_path / "ViT-B-16.pt")
    clip = published_clip()
    with torch.no_grad():
        weight = clip.vision_model.embeddings.patch_embedding.weight
        weight.copy_(weight.half())
    published = load(path, "openai_clip", "clip", CLIP)
    check_clip(published, clip)
    assert len(published.report["dropped"]["constant of OpenAI's archive"]) == 3
    assert "stored as float16, kept as float32 here" in published.report["differences"]
    with pytest.raises(CheckpointError, match="Set the run's `quick_gelu` to true"):
        load(path, "openai_clip", "clip", CLIP.model_copy(update={"quick_gelu": False}))


def test_resnet_clip_is_refused(tmp_path: Path):
    path = save({"visual.layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "RN50.pt")
    with pytest.raises(CheckpointError, match="its image encoder is a ResNet"):
        load(path, "openai_clip", "clip", CLIP)
