"""The formulas against torch's own count of what the real models do, forward and backward."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from flava.config import (
    BeitInitConfig,
    CodebookConfig,
    ContrastiveConfig,
    DinoInitConfig,
    MaskingConfig,
    PublishedCodebook,
)  # fmt: skip
from flava.cost.flops import Flops, add, attention
from flava.cost.models import (
    Sample,
    clip_sample,
    dino_sample,
    dvae_sample,
    flava_sample,
    published_parameters,
)  # fmt: skip
from flava.cost.runs import encoder_sample, token_flops
from flava.data.batch import Batch
from flava.jobs import BeitJob
from flava.models import Clip, DiscreteVAE, Flava
from flava.models.dino import DinoNetwork
from flava.models.unimodal import MaskedImageModel, MaskedTextModel
from flava.objectives import EmbeddingGradients, mim_loss, mlm_loss
from flava.objectives.dino import dino_loss, pair_cross_entropies
from flava.train.grad_cache import cache_contrastive
from tests.models.model_cases import SMALL, SMALL_CLIP, image_batch, pair_batch, text_batch

ROWS, LENGTH, PATCHES, WORDS = 4, 10, 5, 3
ONE = ContrastiveConfig(gather="global", ranks=1)


def counted(forward) -> Flops:
    """FLOPs of forward() and of the backward pass of its result.

    The math kernel of attention is made of matrix products, which the counter knows; the CPU's
    fused kernel is not in its registry.
    """
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as first:
            loss = forward()
        with FlopCounterMode(display=False) as second:
            loss.backward()
    return Flops(first.get_total_flops(), second.get_total_flops())


def batch_of(config, labels=None) -> Batch:
    """Pairs with equally many masked patches and words in each row, and no padding."""
    batch = pair_batch(config, ROWS, LENGTH, labels)
    patch_mask = torch.zeros_like(batch.patch_mask_BP)
    patch_mask[:, 2 : 2 + PATCHES] = True
    masked = torch.zeros_like(batch.text_BL, dtype=torch.bool)
    masked[:, 3 : 3 + WORDS] = True
    text = torch.where(batch.text_BL == 0, 7, batch.text_BL)
    return replace(
        batch,
        patch_mask_BP=patch_mask,
        text_BL=text,
        text_masked_BL=text.masked_fill(masked, 4),
        text_labels_BL=text.masked_fill(~masked, -100),
        text_attention_BL=torch.ones_like(masked),
    )


def losses(model, batch, objectives, contrastive=ONE):
    return lambda: torch.stack(list(model.losses(batch, objectives, contrastive).values())).sum()


PAIRS = ["global_contrastive", "mmm_image", "mmm_text", "itm"]


def idle_queries(config, objectives, idle_fusion: float = 0) -> Flops:
    """Attention of padded queries in last blocks, which the formulas leave out, of one pair.

    Unmasked images and texts are read at [CLS] alone, in one pass with masked ones.
    """
    width, images = config.hidden_size, 1 + config.grid**2
    fusion = attention(idle_fusion, 1 + images + LENGTH, width)
    if "global_contrastive" not in objectives or len(objectives) == 1:
        return fusion
    return add([attention(n - 1, n, width) for n in (images, LENGTH)]) + fusion


@pytest.mark.parametrize(
    "objectives",
    [
        PAIRS,
        ["global_contrastive"],
        ["mmm_image"],
        ["mmm_text"],
        ["itm"],
        ["mmm_image", "itm"],
        ["global_contrastive", "mmm_text"],
    ],
)
def test_flava_on_pairs(objectives):
    batch = batch_of(SMALL, [1] * ROWS)
    sample = Sample(LENGTH, PATCHES, WORDS, columns=ROWS)
    expected = add(flava_sample(SMALL, objectives, sample).values()) * ROWS
    expected += idle_queries(SMALL, objectives) * ROWS
    assert counted(losses(Flava(SMALL).train(), batch, objectives)) == expected


def test_rows_that_do_not_match_cost_no_heads():
    batch = batch_of(SMALL, [1, 1, 1, 0])
    sample = Sample(LENGTH, PATCHES, WORDS, matching=0.75, columns=ROWS)
    expected = add(flava_sample(SMALL, PAIRS, sample).values()) * ROWS
    expected += idle_queries(SMALL, PAIRS, idle_fusion=0.25 * (PATCHES + WORDS)) * ROWS
    assert counted(losses(Flava(SMALL).train(), batch, PAIRS)) == expected


@pytest.mark.parametrize("gather", ["none", "local"])
def test_gradient_of_the_columns(gather):
    batch = batch_of(SMALL, [1] * ROWS)
    sample = Sample(LENGTH, PATCHES, WORDS, columns=ROWS, gather=gather)
    expected = add(flava_sample(SMALL, ["global_contrastive"], sample).values()) * ROWS
    config = ContrastiveConfig(gather=gather, ranks=2)
    assert counted(losses(Flava(SMALL).train(), batch, ["global_contrastive"], config)) == expected


def test_flava_on_images_and_texts():
    batch, model = batch_of(SMALL), Flava(SMALL).train()
    mim = add(flava_sample(SMALL, ["mim"], Sample(masked_patches=PATCHES)).values())
    assert counted(losses(model, image_batch(batch), ["mim"])) == mim * ROWS
    model = Flava(SMALL).train()
    mlm = add(flava_sample(SMALL, ["mlm"], Sample(LENGTH, masked_tokens=WORDS)).values())
    assert counted(losses(model, text_batch(batch), ["mlm"])) == mlm * ROWS


def test_clip():
    batch = batch_of(SMALL)
    expected = add(clip_sample(SMALL_CLIP, Sample(LENGTH, columns=ROWS)).values()) * ROWS
    model = Clip(SMALL_CLIP).train()
    assert counted(losses(model, batch, ["global_contrastive"])) == expected


def update_flops(model, batches, objectives, contrastive) -> int:
    """Of an update whose micro-batches share one contrastive loss, as `flava.train` makes it."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        cached, _ = cache_contrastive(model, batches, contrastive, 1.0)
        for batch in cached:
            known = EmbeddingGradients(*batch.embedding_gradients_2BD)
            losses(model, batch, objectives, known)().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("gather", ["global", "local", "none"])
@pytest.mark.parametrize("objectives", [["global_contrastive"], PAIRS])
def test_micro_batches_that_share_one_contrastive_loss(objectives, gather):
    sample = Sample(LENGTH, PATCHES, WORDS, columns=2 * ROWS, gather=gather, cached=True)
    each = add(flava_sample(SMALL, objectives, sample).values())
    each += idle_queries(SMALL, objectives)
    batches = [batch_of(SMALL, [1] * ROWS) for _ in range(2)]
    contrastive = ContrastiveConfig(gather=gather, ranks=2)
    found = update_flops(Flava(SMALL).train(), batches, objectives, contrastive)
    assert found == each.total * 2 * ROWS


def test_clips_micro_batches_that_share_one_loss():
    sample = Sample(LENGTH, columns=2 * ROWS, cached=True)
    each = add(clip_sample(SMALL_CLIP, sample).values())
    model, batches = Clip(SMALL_CLIP).train(), [batch_of(SMALL) for _ in range(2)]
    assert update_flops(model, batches, ["global_contrastive"], ONE) == each.total * 2 * ROWS


@pytest.mark.parametrize("gather", ["global", "local", "none", "global_full", "openclip_2021"])
def test_rows_that_each_of_two_processes_scores(gather, monkeypatch):
    """The second process's embeddings stand in for its own: the shapes are those of two."""
    count = 2
    monkeypatch.setattr("flava.objectives.contrastive.world", lambda: (0, count))
    for name in ("gather_values", "gather_with_gradient"):
        gathered = partial(gathered_twice, gradient=name == "gather_with_gradient")
        monkeypatch.setattr(f"flava.objectives.contrastive.{name}", gathered)
    sample = Sample(LENGTH, columns=count * ROWS, gather=gather, processes=count)
    expected = add(flava_sample(SMALL, ["global_contrastive"], sample).values()) * ROWS
    contrastive = ContrastiveConfig(gather=gather, ranks=count)
    model = Flava(SMALL).train()
    assert counted(losses(model, batch_of(SMALL), ["global_contrastive"], contrastive)) == expected


def gathered_twice(rows, gradient):
    return torch.cat([rows if gradient else rows.detach(), rows.detach()])


@pytest.mark.parametrize("downsample", [4, 8])
def test_dvae(downsample):
    config = CodebookConfig(codebook_size=24, downsample=downsample, width=8, layers=2)
    model, parts = DiscreteVAE(config), dvae_sample(config, grid=4)
    pixels = torch.rand(ROWS, 3, 4 * downsample, 4 * downsample)
    found = counted(lambda: sum(model.loss_terms(pixels, temperature=1.0).values()))
    assert found == add(parts.values()) * ROWS
    with FlopCounterMode(display=False) as counter:
        model.encode_tokens(pixels)
    assert counter.get_total_flops() == parts["encoder"].forward * ROWS


@pytest.mark.parametrize("sizes", [(8, 1, 24), (16, 3, 40)])
def test_published_codebook(sizes):
    transformers = pytest.importorskip("transformers")
    width, blocks, codes = sizes
    names = {"hidden_size": width, "num_blocks_per_group": blocks}
    published = PublishedCodebook(path="folder", **names)
    config = CodebookConfig(codebook_size=codes, published=published)
    model = transformers.FlavaImageCodebook(
        transformers.FlavaImageCodebookConfig(vocab_size=codes, **names)
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.get_codebook_indices(torch.rand(ROWS, 3, 32, 32))
    expected = token_flops(config, grid=4)
    assert counter.get_total_flops() == expected.forward * ROWS and expected.backward == 0
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert published_parameters(published, codes) == parameters


def test_encoder_recipes():
    """What RoBERTa's recipe trains costs what MLM costs in FLAVA; BEiT's has a smaller head."""
    batch = batch_of(SMALL)
    beit = BeitJob.model_construct(
        flava=SMALL,
        masking=MaskingConfig(image_patches=PATCHES),
        recipe=BeitInitConfig(augment="fixed"),
    )
    mim = add(encoder_sample(beit, CodebookConfig()).values())
    image = MaskedImageModel(SMALL).train()
    assert counted(lambda: mim_loss(*image(image_batch(batch)))) == mim * ROWS
    mlm = add(flava_sample(SMALL, ["mlm"], Sample(LENGTH, masked_tokens=WORDS)).values())
    text = MaskedTextModel(SMALL).train()
    assert counted(lambda: mlm_loss(*text(text_batch(batch)))) == mlm * ROWS


@pytest.mark.parametrize("norm_last_layer", [True, False])
def test_dino(norm_last_layer):
    recipe = DinoInitConfig(
        local_crops=3, local_size=16, out_dim=40, head_hidden=24, head_bottleneck=12,
        norm_last_layer=norm_last_layer,
    )  # fmt: skip
    student, teacher = DinoNetwork(SMALL, recipe), DinoNetwork(SMALL, recipe)
    views = [torch.randn(2 * ROWS, 3, 32, 32), torch.randn(3 * ROWS, 3, 16, 16)]

    def forward():
        with torch.no_grad():
            target = teacher(views[0])[1].softmax(dim=-1)
        outputs = torch.cat([student(crops)[1] for crops in views])
        pairs = pair_cross_entropies(outputs.view(5, ROWS, -1), target.view(2, ROWS, -1), 0.1)
        return dino_loss(pairs)

    assert counted(forward) == add(dino_sample(SMALL, recipe).values()) * ROWS
