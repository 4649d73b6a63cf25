"""CLIP's embeddings, loss and gradient norm equal transformers' CLIPModel."""

from __future__ import annotations

import pytest
import torch
from model_cases import ONE_RANK, SMALL_CLIP, gradient_norm, randomise

from flava.config import ClipConfig
from flava.data.batch import Batch
from flava.models import Clip
from flava.models.hf import from_hf_state_dict
from flava.models.hf_config import from_hf_config, to_hf_config

transformers = pytest.importorskip("transformers")

START, END = 118, 119


def texts(config: ClipConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """<start> words <end> of different lengths, padded with 0."""
    generator = torch.Generator().manual_seed(4)
    lengths = torch.tensor([3, 7, 12, config.context_length])
    text = torch.randint(1, START, (4, config.context_length), generator=generator)
    attention = torch.arange(config.context_length) < lengths[:, None]
    text = text.masked_fill(~attention, 0)
    text[:, 0] = START
    text[torch.arange(4), lengths - 1] = END
    return text, attention


def pair(config: ClipConfig):
    torch.manual_seed(0)
    theirs = transformers.CLIPModel(transformers.CLIPConfig(**to_hf_config(config))).train()
    randomise(theirs)
    ours = Clip(config).train()
    ours.load_state_dict(from_hf_state_dict(theirs.state_dict(), config).state)
    return theirs, ours


@pytest.mark.parametrize("quick_gelu", [False, True])
def test_equals_hugging_face(quick_gelu: bool):
    config = SMALL_CLIP.model_copy(update={"quick_gelu": quick_gelu})
    theirs, ours = pair(config)
    text, attention = texts(config)
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    expected = theirs(
        input_ids=text, pixel_values=pixels, attention_mask=attention.long(), return_loss=True
    )
    batch = Batch(kind="pairs", pixels_BCHW=pixels, text_BL=text, text_attention_BL=attention)
    got = ours.losses(batch, ["global_contrastive"], ONE_RANK)["global_contrastive"]
    torch.testing.assert_close(ours.image_embeddings(pixels), expected.image_embeds)
    torch.testing.assert_close(ours.text_embeddings(text, attention), expected.text_embeds)
    torch.testing.assert_close(
        ours.image_features(pixels), theirs.vision_model(pixels).pooler_output
    )
    assert got.item() == pytest.approx(expected.loss.item(), abs=1e-5)
    got.backward()
    expected.loss.backward()
    assert gradient_norm(ours) == pytest.approx(gradient_norm(theirs), rel=1e-5)


def test_trimming_and_padding_change_nothing():
    _, ours = pair(SMALL_CLIP)
    text, attention = texts(SMALL_CLIP)
    short = ours.text_features(text[:3, :12], attention[:3, :12])
    torch.testing.assert_close(short, ours.text_features(text[:3], attention[:3]))


def test_larger_images_resize_the_positions():
    theirs, ours = pair(SMALL_CLIP)
    pixels = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(3))
    expected = theirs.vision_model(pixels, interpolate_pos_encoding=True).pooler_output
    torch.testing.assert_close(ours.image_features(pixels), expected, rtol=1e-5, atol=1e-5)


def test_openai_configuration_is_read():
    """The published config.json names only what differs from Hugging Face's defaults."""
    config = from_hf_config({"model_type": "clip", "vision_config": {"patch_size": 16}}, "hub")
    assert config == ClipConfig(quick_gelu=True)
