"""All six losses and the gradient norm equal transformers' FlavaForPreTraining."""

from __future__ import annotations

import pytest
import torch
from model_cases import (
    BASE,
    ONE_RANK,
    PAIR_OBJECTIVES,
    SMALL,
    gradient_norm,
    image_batch,
    pair_batch,
    text_batch,
)

from flava.config import FlavaConfig
from flava.data.batch import Batch
from flava.models import Flava
from flava.models.hf import from_hf_state_dict, to_hf_state_dict
from flava.models.hf_config import to_hf_config

transformers = pytest.importorskip("transformers")

# Hugging Face's names of the fields; its codebook is replaced by `mim_labels`.
FIELDS = {
    "pixel_values": "pixels_BCHW",
    "bool_masked_pos": "patch_mask_BP",
    "mim_labels": "image_tokens_BP",
    "input_ids": "text_BL",
    "input_ids_masked": "text_masked_BL",
    "mlm_labels": "text_labels_BL",
    "attention_mask": "text_attention_BL",
    "itm_labels": "itm_labels_B",
}


def hf_model(config: FlavaConfig):
    """Every parameter random; built without Hugging Face's slow initialisation."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = transformers.FlavaForPreTraining(transformers.FlavaConfig(**to_hf_config(config)))
    model.to_empty(device="cpu").tie_weights()
    words = model.flava.text_model.embeddings
    words.position_ids.copy_(torch.arange(config.max_text_length)[None])
    words.token_type_ids.zero_()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_norm = "norm" in name.lower() and name.endswith("weight")
            parameter.normal_(mean=1.0 if is_norm else 0.0, std=0.05 if is_norm else 0.03)
        model.flava.logit_scale.fill_(2.6592)
    return model.train()


def hf_losses(model, batch: Batch) -> dict[str, torch.Tensor]:
    values = {theirs: getattr(batch, ours) for theirs, ours in FIELDS.items()}
    # Hugging Face writes into mim_labels.
    inputs = {name: value.clone() for name, value in values.items() if value is not None}
    if "attention_mask" in inputs:
        inputs["attention_mask"] = inputs["attention_mask"].long()
    info = model(**inputs).loss_info
    return {name: value for name, value in info.items() if value is not None}


def compare(config: FlavaConfig, cases: dict[str, tuple[Batch, list[str]]]) -> None:
    theirs = hf_model(config)
    with torch.device("meta"):
        ours = Flava(config).train()
    ours.load_state_dict(from_hf_state_dict(theirs.state_dict(), config).state, assign=True)
    for name, (batch, objectives) in cases.items():
        expected = hf_losses(theirs, batch)
        got = ours.losses(batch, objectives, ONE_RANK)
        assert set(got) == set(objectives) == set(expected), name
        for key in objectives:
            assert abs(got[key].item() - expected[key].item()) <= 1e-5, (name, key)
        theirs.zero_grad()
        ours.zero_grad()
        sum(expected.values()).backward()
        sum(got.values()).backward()
        assert gradient_norm(ours) == pytest.approx(gradient_norm(theirs), rel=1e-5), name
        if config is SMALL:
            compare_gradients(ours, theirs, config)


def compare_gradients(ours: Flava, theirs, config: FlavaConfig) -> None:
    """Parameter by parameter, through the name map."""
    unread = {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in ours.named_parameters()
    }
    mapped = to_hf_state_dict(unread, config)
    for name, parameter in theirs.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(
                mapped[name], parameter.grad, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n} {m}"
            )


def test_small_model_equals_hugging_face():
    padded = pair_batch(SMALL, 6, 15, [1] * 6)
    compare(
        SMALL,
        {
            "padded pairs": (padded, PAIR_OBJECTIVES),
            "both labels": (pair_batch(SMALL, 6, 15, [1, 0, 1, 1, 0, 1], seed=2), PAIR_OBJECTIVES),
            "no positive pair": (pair_batch(SMALL, 5, 11, [0] * 5, seed=3), PAIR_OBJECTIVES),
            "images": (image_batch(padded), ["mim"]),
            "texts": (text_batch(padded), ["mlm"]),
        },
    )


def test_base_size_equals_hugging_face():
    pairs = pair_batch(BASE, 2, 12, [1, 0])
    compare(
        BASE,
        {
            "pairs": (pairs, PAIR_OBJECTIVES),
            "images": (image_batch(pairs), ["mim"]),
            "texts": (text_batch(pairs), ["mlm"]),
        },
    )


def test_missing_itm_labels_count_all_rows():
    batch = pair_batch(SMALL, 4, 10)
    theirs, objectives = hf_model(SMALL), ["global_contrastive", "mmm_image", "mmm_text"]
    ours = Flava(SMALL).train()
    ours.load_state_dict(from_hf_state_dict(theirs.state_dict(), SMALL).state)
    expected, got = hf_losses(theirs, batch), ours.losses(batch, objectives, ONE_RANK)
    for name in objectives:
        assert got[name].item() == pytest.approx(expected[name].item(), abs=1e-5)


def test_logit_scale_is_clamped_in_training_as_in_hugging_face():
    batch = pair_batch(SMALL, 4, 10, [1, 1, 0, 1])
    theirs = hf_model(SMALL)
    with torch.no_grad():
        theirs.flava.logit_scale.fill_(9.0)
    ours = Flava(SMALL).train()
    ours.load_state_dict(from_hf_state_dict(theirs.state_dict(), SMALL).state)
    got = ours.losses(batch, ["global_contrastive"], ONE_RANK)["global_contrastive"]
    expected = hf_losses(theirs, batch)["global_contrastive"]
    assert ours.logit_scale.item() == theirs.flava.logit_scale.item() == pytest.approx(4.6052)
    assert got.item() == pytest.approx(expected.item(), abs=1e-5)


def test_features_equal_hugging_face():
    batch = pair_batch(SMALL, 4, 10)
    theirs = hf_model(SMALL).eval()
    ours = Flava(SMALL).eval()
    ours.load_state_dict(from_hf_state_dict(theirs.state_dict(), SMALL).state)
    pixels, text, attention = batch.pixels_BCHW, batch.text_BL, batch.text_attention_BL
    with torch.no_grad():
        expected = theirs.flava(
            input_ids=text, pixel_values=pixels, attention_mask=attention.long()
        )
        pairs = [
            (ours.image_features(pixels), expected.image_embeddings[:, 0]),
            (ours.text_features(text, attention), expected.text_embeddings[:, 0]),
            (
                ours.multimodal_features(pixels, text, attention),
                expected.multimodal_embeddings[:, 0],
            ),
        ]
        for got, value in pairs:
            torch.testing.assert_close(got, value, rtol=1e-5, atol=1e-5)
        # A larger image: positions are resized bicubically.
        large = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(3))
        resized = theirs.flava.image_model(pixel_values=large, interpolate_pos_encoding=True)
        torch.testing.assert_close(
            ours.image_features(large), resized.last_hidden_state[:, 0], rtol=1e-5, atol=1e-5
        )
        types = (torch.arange(text.shape[1]) > 3).long().expand(text.shape)
        typed = theirs.flava.text_model(
            input_ids=text, attention_mask=attention.long(), token_type_ids=types
        )
        torch.testing.assert_close(
            ours.text_features(text, attention, types), typed.last_hidden_state[:, 0],
            rtol=1e-5, atol=1e-5,
        )  # fmt: skip
        embedding = theirs.flava.image_projection(expected.image_embeddings[:, 0])
        torch.testing.assert_close(
            ours.image_embeddings(pixels), torch.nn.functional.normalize(embedding, dim=-1)
        )


def test_positions_of_480_pixels_are_theirs():
    """VQAv2's 30 x 30 patches from the pretrained 14 x 14 (supplement B.2)."""
    small = {**SMALL.model_dump(), "image_size": 224, "patch_size": 16}
    config = FlavaConfig.model_validate(small)
    theirs = hf_model(config).eval()
    ours = Flava(config).eval()
    ours.load_state_dict(from_hf_state_dict(theirs.state_dict(), config).state)
    large = torch.randn(1, 3, 480, 480, generator=torch.Generator().manual_seed(3))
    embeddings = theirs.flava.image_model.embeddings
    with torch.no_grad():
        expected = embeddings.interpolate_pos_encoding(torch.zeros(1, 901, 48), 480, 480)[0]
        got = ours.image_encoder.embedding._positions(900)
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
        states = theirs.flava.image_model(pixel_values=large, interpolate_pos_encoding=True)
        torch.testing.assert_close(
            ours.image_features(large), states.last_hidden_state[:, 0], rtol=1e-5, atol=1e-5
        )
