"""FLAVA apart from parity: what is run, what is refused, precision, features."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from model_cases import (
    ONE_RANK,
    PAIR_OBJECTIVES,
    SMALL,
    SMALL_CLIP,
    image_batch,
    pair_batch,
    randomise,
    text_batch,
)

from flava.errors import ConfigError, DataError
from flava.models import Backbone, Clip, Flava, build, set_dropout
from flava.models.transformer import Block, Transformer


@pytest.fixture
def model() -> Flava:
    torch.manual_seed(0)
    flava = Flava(SMALL)
    randomise(flava)
    return flava.train()


def count_passes(model: Flava, batch, objectives: list[str]) -> dict[str, int]:
    passes = {"image_encoder": 0, "text_encoder": 0, "multimodal_encoder": 0}

    def count(name: str):
        def hook(*_: object) -> None:
            passes[name] += 1

        return hook

    hooks = [getattr(model, name).register_forward_hook(count(name)) for name in passes]
    model.losses(batch, objectives, ONE_RANK)
    for hook in hooks:
        hook.remove()
    return passes


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        (["mim"], (1, 0, 0)),
        (["mlm"], (0, 1, 0)),
        (["global_contrastive"], (1, 1, 0)),
        (["mmm_image", "mmm_text", "itm"], (1, 1, 1)),
        (PAIR_OBJECTIVES, (1, 1, 1)),
    ],
)
def test_only_needed_passes_are_run(model: Flava, objectives: list[str], expected: tuple):
    batch = pair_batch(SMALL, 4, 10, [1, 1, 0, 1])
    assert tuple(count_passes(model, batch, objectives).values()) == expected


def test_each_loss_is_the_same_alone_and_together(model: Flava):
    batch = pair_batch(SMALL, 4, 10, [1, 1, 0, 1])
    together = model.losses(batch, PAIR_OBJECTIVES, ONE_RANK)
    for name in PAIR_OBJECTIVES:
        alone = model.losses(batch, [name], ONE_RANK)[name]
        assert alone.item() == pytest.approx(together[name].item(), abs=1e-6)


def test_only_a_trained_part_gets_a_gradient(model: Flava):
    model.losses(image_batch(pair_batch(SMALL, 4, 10)), ["mim"], ONE_RANK)["mim"].backward()
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {"image_encoder", "mim_head"}


def test_padding_changes_no_loss(model: Flava):
    batch = pair_batch(SMALL, 4, 10, [1, 1, 0, 1])
    expected = model.losses(batch, PAIR_OBJECTIVES, ONE_RANK)
    padding = {"text_BL": 0, "text_masked_BL": 0, "text_labels_BL": -100, "text_attention_BL": 0}
    padded = replace(
        batch,
        **{
            name: torch.nn.functional.pad(getattr(batch, name), (0, 7), value=value)
            for name, value in padding.items()
        },
    )
    for name, loss in model.losses(padded, PAIR_OBJECTIVES, ONE_RANK).items():
        assert loss.item() == pytest.approx(expected[name].item(), abs=1e-5)


def test_bf16_autocast_keeps_losses_in_float32(model: Flava):
    batch = pair_batch(SMALL, 4, 10, [1, 1, 0, 1])
    expected = model.losses(batch, PAIR_OBJECTIVES, ONE_RANK)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = model.losses(batch, PAIR_OBJECTIVES, ONE_RANK)
        mim = model.losses(image_batch(batch), ["mim"], ONE_RANK)
        mlm = model.losses(text_batch(batch), ["mlm"], ONE_RANK)
    sum(got.values()).backward()
    for name, loss in (got | mim | mlm).items():
        assert loss.dtype == torch.float32
        assert torch.isfinite(loss)
        if name in expected:
            assert loss.item() == pytest.approx(expected[name].item(), abs=0.05)


@pytest.mark.parametrize("causal", [False, True])
def test_reading_some_positions_equals_reading_all(causal: bool):
    torch.manual_seed(1)
    transformer = Transformer(layers=2, width=16, heads=2, mlp_width=32, eps=1e-12)
    x, read = torch.randn(3, 9, 16), torch.zeros(3, 9, dtype=torch.bool)
    read[0, 0] = read[0, 4] = read[1, 8] = True
    read[2, [1, 2, 7]] = True
    expected = transformer(x, causal=causal)[read]
    torch.testing.assert_close(transformer(x, causal=causal, read_BL=read), expected)
    nothing = transformer(x, causal=causal, read_BL=torch.zeros_like(read))
    assert nothing.shape == (0, 16)


@pytest.mark.parametrize("causal", [False, True])
def test_rows_of_other_lengths_change_nothing(causal: bool):
    torch.manual_seed(1)
    transformer = Transformer(layers=2, width=16, heads=2, mlp_width=32, eps=1e-12)
    x, lengths = torch.randn(3, 9, 16), [9, 2, 5]
    attend = torch.arange(9) < torch.tensor(lengths)[:, None]
    together = transformer(x, attend, causal)
    last = torch.arange(9) == torch.tensor(lengths)[:, None] - 1
    read = transformer(x, attend, causal, last)
    for row, length in enumerate(lengths):
        alone = transformer(x[row : row + 1, :length], causal=causal)[0]
        torch.testing.assert_close(together[row, :length], alone)
        torch.testing.assert_close(read[row], alone[-1])
        assert not together[row, length:].any()


def test_initialisation_follows_hugging_face():
    torch.manual_seed(0)
    flava = Flava(SMALL)
    encoder = flava.image_encoder
    for zero in (
        encoder.embedding.cls_token,
        encoder.embedding.position_embeddings,
        encoder.mask_token,
        flava.multimodal_encoder.cls_token,
        flava.mim_head.decoder.bias,
    ):
        assert not zero.any()
    weight = flava.mlm_head.decoder.weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert flava.logit_scale.item() == pytest.approx(2.6592)


def test_dropout_can_be_set_for_fine_tuning(model: Flava):
    pixels = torch.randn(2, 3, 32, 32)
    set_dropout(model, 0.5)
    assert not torch.equal(model.image_features(pixels), model.image_features(pixels))
    model.eval()
    assert torch.equal(model.image_features(pixels), model.image_features(pixels))
    assert all(block.dropout == 0.5 for block in model.modules() if isinstance(block, Block))


@pytest.mark.parametrize(("arch", "config"), [("flava", SMALL), ("clip", SMALL_CLIP)])
def test_backbone_shapes(arch: str, config):
    model = build(arch, config).eval()
    assert isinstance(model, Backbone)
    size = model.image_size
    pixels, text = torch.randn(2, 3, size, size), torch.randint(1, 100, (2, 6))
    attention = torch.ones(2, 6, dtype=torch.bool)
    assert model.image_features(pixels).shape == (2, model.image_dim)
    assert model.text_features(text, attention).shape == (2, model.text_dim)
    assert model.multimodal_features(pixels, text, attention).shape == (2, model.multimodal_dim)
    for embeddings in (model.image_embeddings(pixels), model.text_embeddings(text, attention)):
        torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(2))
    large = torch.randn(2, 3, 2 * size, 2 * size)
    assert model.multimodal_features(large, text, attention).shape == (2, model.multimodal_dim)


def test_unknown_objective_is_refused(model: Flava):
    with pytest.raises(ConfigError, match=r"unknown objective 'mml'.*Did you mean 'mlm'"):
        model.losses(pair_batch(SMALL, 2, 8), ["mml"], ONE_RANK)


def test_clip_has_only_the_contrastive_loss():
    with pytest.raises(ConfigError, match="clip: unknown objective 'itm'"):
        Clip(SMALL_CLIP).losses(pair_batch(SMALL, 2, 8), ["itm"], ONE_RANK)


@pytest.mark.parametrize("objectives", [["itm"], ["mmm_text", "itm"], ["mmm_text"]])
def test_image_tokens_are_needed_for_mmm_image_alone(model: Flava, objectives: list[str]):
    whole = pair_batch(SMALL, 4, 10, [1, 1, 0, 1])
    without = replace(whole, image_tokens_BP=None)
    expected, found = (model.losses(b, objectives, ONE_RANK) for b in (whole, without))
    assert {k: v.item() for k, v in found.items()} == {k: v.item() for k, v in expected.items()}
    with pytest.raises(DataError, match="no image_tokens_BP"):
        model.losses(without, [*objectives, "mmm_image"], ONE_RANK)


def test_batch_without_what_a_loss_needs_is_refused(model: Flava):
    pairs = pair_batch(SMALL, 2, 8)
    with pytest.raises(DataError, match="kind 'texts' has no patch_mask_BP"):
        model.losses(text_batch(pairs), ["mim"], ONE_RANK)
    with pytest.raises(DataError, match="kind 'images' has no text_BL"):
        model.losses(image_batch(pairs), ["global_contrastive"], ONE_RANK)
    with pytest.raises(DataError, match="no itm_labels_B"):
        model.losses(pairs, ["itm"], ONE_RANK)


@pytest.mark.parametrize("objective", ["mim", "mmm_image", "mlm", "mmm_text"])
def test_a_share_of_a_batch_without_masks_has_loss_0(model: Flava, objective: str):
    """It happens to one rank of several; a loss without any term is refused in training."""
    batch = pair_batch(SMALL, 2, 8)
    batch = replace(
        batch,
        patch_mask_BP=torch.zeros_like(batch.patch_mask_BP),
        text_labels_BL=torch.full_like(batch.text_labels_BL, -100),
    )
    loss = model.losses(batch, [objective], ONE_RANK)[objective]
    loss.backward()
    assert loss.item() == 0
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)


def test_images_that_cannot_be_cut_are_refused(model: Flava):
    with pytest.raises(DataError, match="3 x 30 x 30 cannot be cut into patches of 8 x 8"):
        model.image_features(torch.zeros(1, 3, 30, 30))


@pytest.mark.parametrize("model_class", [Flava, Clip])
def test_texts_beyond_the_position_table_are_refused(model_class: type):
    model = model_class(SMALL if model_class is Flava else SMALL_CLIP)
    text = torch.ones(1, 25, dtype=torch.int64)
    with pytest.raises(DataError, match="A text of 25 tokens does not fit"):
        model.text_features(text, text.bool())
