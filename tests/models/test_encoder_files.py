"""Files of a lone encoder: transformers loads them, and wrong ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from model_cases import SMALL, pair_batch, randomise
from safetensors.torch import load_file, save_file

from flava.errors import CheckpointError, ConfigError
from flava.models import Flava
from flava.models.encoder_files import load_encoder_state, save_encoder

PARTS = ["image", "text"]


@pytest.fixture(scope="module")
def flava() -> Flava:
    torch.manual_seed(3)
    return randomise(Flava(SMALL)).eval()


@pytest.fixture
def saved(flava: Flava, tmp_path: Path) -> dict[str, Path]:
    for part in PARTS:
        save_encoder(getattr(flava, f"{part}_encoder"), SMALL, tmp_path / part)
    return {part: tmp_path / part for part in PARTS}


@pytest.mark.parametrize("part", PARTS)
def test_round_trip_is_bit_equal(part: str, flava: Flava, saved: dict[str, Path]):
    expected = getattr(flava, f"{part}_encoder").state_dict()
    state = load_encoder_state(saved[part], part, SMALL)
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_transformers_gives_the_same_hidden_states(flava: Flava, saved: dict[str, Path]):
    transformers = pytest.importorskip("transformers")
    batch = pair_batch(SMALL, 3, 12)
    for part in PARTS:
        kind = getattr(transformers, f"Flava{part.title()}Model")
        theirs, info = kind.from_pretrained(saved[part], output_loading_info=True)
        assert not any(info.values()), info
        encoder = getattr(flava, f"{part}_encoder")
        with torch.no_grad():
            if part == "image":
                patches = encoder.embedding.patches(batch.pixels_BCHW)
                ours = encoder(patches, batch.patch_mask_BP)
                out = theirs(batch.pixels_BCHW, bool_masked_pos=batch.patch_mask_BP)
                read = torch.ones(ours.shape[:2], dtype=torch.bool)
            else:
                ours = encoder(batch.text_BL, batch.text_attention_BL)
                out = theirs(batch.text_BL, attention_mask=batch.text_attention_BL.long())
                read = batch.text_attention_BL  # no state of padding is worked out
        expected = out.last_hidden_state[read]
        torch.testing.assert_close(encoder.norm(ours)[read], expected, atol=1e-5, rtol=1e-5)


def test_the_other_encoder_is_refused(saved: dict[str, Path]):
    with pytest.raises(CheckpointError, match="model_type is 'flava_text_model', not 'flava_image"):
        load_encoder_state(saved["text"], "image", SMALL)


@pytest.mark.parametrize("key", ["image_layers", "intermediate_size", "layer_norm_eps"])
def test_another_configuration_is_refused(key: str, saved: dict[str, Path]):
    other = SMALL.model_copy(update={key: 2 * getattr(SMALL, key)})
    with pytest.raises(CheckpointError, match="but this run's image encoder has"):
        load_encoder_state(saved["image"], "image", other)


def test_heads_vocabulary_does_not_matter_to_the_image_encoder(saved: dict[str, Path]):
    other = SMALL.model_copy(update={"codebook_size": 1, "initializer_range": 1.0})
    assert load_encoder_state(saved["image"], "image", other)


def test_damaged_files(saved: dict[str, Path]):
    weights = saved["image"] / "model.safetensors"
    tensors = load_file(weights)
    save_file({n: v for n, v in tensors.items() if n != "embeddings.cls_token"}, weights)
    with pytest.raises(CheckpointError, match=r"1 parameters are missing: embeddings\.cls_token"):
        load_encoder_state(saved["image"], "image", SMALL)
    save_file(tensors | {"layernorm.weight": torch.ones(3)}, weights)
    with pytest.raises(CheckpointError, match=r"layernorm\.weight has shape \(3,\)"):
        load_encoder_state(saved["image"], "image", SMALL)
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="is damaged"):
        load_encoder_state(saved["image"], "image", SMALL)
    (saved["image"] / "config.json").write_text(json.dumps([]))
    with pytest.raises(CheckpointError, match="holds no object"):
        load_encoder_state(saved["image"], "image", SMALL)
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load_encoder_state(saved["image"] / "nothing", "image", SMALL)


def test_only_flavas_encoders_of_that_configuration(flava: Flava, tmp_path: Path):
    with pytest.raises(ConfigError, match="not a MultimodalEncoder"):
        save_encoder(flava.multimodal_encoder, SMALL, tmp_path / "model")
    with pytest.raises(CheckpointError, match="is not one of the configuration"):
        save_encoder(
            flava.image_encoder, SMALL.model_copy(update={"image_layers": 1}), tmp_path / "model"
        )
    assert not (tmp_path / "model").exists()
