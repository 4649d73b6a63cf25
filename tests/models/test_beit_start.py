"""The model that BEiT's recipe trains: what it is made of and how it is drawn."""

from __future__ import annotations

import pytest
import torch
from model_cases import SMALL, image_batch, pair_batch
from torch import Tensor
from torch.nn import functional

from flava.models.unimodal import MaskedImageModel

WIDE = SMALL.model_copy(update={"hidden_size": 128, "intermediate_size": 256})
CUT_STD = 0.010791  # of N(0, 0.02) without what lies beyond one standard deviation


@pytest.fixture
def model() -> MaskedImageModel:
    torch.manual_seed(0)
    return MaskedImageModel(WIDE)


def assert_drawn(weight: Tensor, divided_by: float = 1.0, rel: float = 0.03) -> None:
    weight = weight.detach()
    assert float(weight.abs().max()) <= 0.02 / divided_by
    assert float(weight.std()) == pytest.approx(CUT_STD / divided_by, rel=rel)
    assert abs(float(weight.mean())) < 0.3 * CUT_STD / divided_by


def test_cls_mask_token_and_positions_are_drawn(model: MaskedImageModel) -> None:
    embedding = model.image_encoder.embedding
    assert_drawn(embedding.position_embeddings, rel=0.1)
    assert_drawn(embedding.cls_token, rel=0.2)
    assert_drawn(model.image_encoder.mask_token, rel=0.2)
    assert not torch.equal(embedding.cls_token, model.image_encoder.mask_token)


def test_branches_are_rescaled_layer_by_layer(model: MaskedImageModel) -> None:
    blocks = model.image_encoder.transformer.blocks
    for block, root in zip(blocks, (1.41421, 2.0, 2.44949), strict=True):
        assert_drawn(block.out.weight, root)
        assert_drawn(block.fc2.weight, root)
        assert_drawn(block.qkv.weight)
        assert_drawn(block.fc1.weight)
    assert_drawn(model.image_encoder.embedding.projection.weight)
    biases = [value for name, value in model.named_parameters() if name.endswith("bias")]
    assert biases and not any(value.any() for value in biases)


def test_the_head_is_one_linear_after_the_final_norm(model: MaskedImageModel) -> None:
    shapes = {
        name: tuple(value.shape)
        for name, value in model.named_parameters()
        if not name.startswith("image_encoder.")
    }
    assert shapes == {"lm_head.weight": (64, 128), "lm_head.bias": (64,)}
    assert_drawn(model.lm_head.weight)
    batch = image_batch(pair_batch(WIDE, 4, 10))
    mask_BP, encoder = batch.patch_mask_BP, model.image_encoder
    assert mask_BP is not None and batch.pixels_BCHW is not None
    with torch.no_grad():
        model.lm_head.bias.uniform_()
        states_BID = encoder(encoder.embedding.patches(batch.pixels_BCHW), mask_BP)
        normed_ND = functional.layer_norm(states_BID[:, 1:][mask_BP], (128,), eps=1e-12)
        logits_NV, _ = model(batch)
    torch.testing.assert_close(logits_NV, normed_ND @ model.lm_head.weight.T + model.lm_head.bias)
