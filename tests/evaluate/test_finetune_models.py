"""The real models through the multimodal protocol: VQAv2's 480 pixels, CLIP's two vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flava.config import ClipConfig, FlavaConfig
from flava.evaluate import finetuned_tasks
from flava.evaluate.examples import ExampleBatch, Examples
from flava.evaluate.finetune import Classifier, finetune
from flava.evaluate.images import ArrayImages
from flava.evaluate.taskdata import LabelledTask, SoftLabels, Split
from flava.models import Clip, Flava
from tests.evaluate.fakes import VOCAB, FakeTokenizer, context, finetune_config

FLAVA = FlavaConfig(
    hidden_size=16, num_attention_heads=2, intermediate_size=32, image_layers=1, text_layers=1,
    multimodal_layers=1, image_size=224, patch_size=16, vocab_size=VOCAB, max_text_length=16,
    codebook_size=8, projection_dim=8,
)  # fmt: skip
CLIP = ClipConfig(
    image_size=224, patch_size=16, vision_width=16, vision_layers=1, vision_heads=2,
    text_width=12, text_layers=1, text_heads=2, vocab_size=VOCAB, context_length=16, embed_dim=8,
)  # fmt: skip


def questions(n: int = 24) -> LabelledTask:
    red = np.arange(n) % 2
    pixels = np.full((n, 20, 20, 3), 40, np.uint8)
    pixels[red == 1, ..., 0] = 220
    soft = SoftLabels(red[:, None], np.ones((n, 1), np.float32), 3)
    split = Split(soft, ArrayImages(pixels), np.arange(n), [("what colour", None)] * n)
    parts = [split.take(rows) for rows in np.split(np.arange(n), [n // 2, 3 * n // 4])]
    return LabelledTask(parts[0], {"val2014": parts[2]}, ["no", "red", "2"], parts[1])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("kind", "config"), [(Flava, FLAVA), (Clip, CLIP)])
def test_a_224_pixel_model_is_fine_tuned_at_480(kind, config, precision):
    torch.manual_seed(0)
    model = kind(config)
    seen = []
    model.image_encoder.embedding.projection.register_forward_hook(
        lambda _module, _inputs, output: seen.append(output.shape[1])
    )
    before = model.image_encoder.embedding.position_embeddings.clone()
    settings = finetune_config(
        image_size=480, updates=3, warmup_updates=1, batch_size=6, head_hidden=1536, dropout=0.5,
        schedule="cosine", evaluations=1, learning_rate=1e-3, accumulate=3, precision=precision,
    )  # fmt: skip
    (score,) = finetuned_tasks.evaluate(
        context("multimodal", "vqa_score", model), questions(), settings
    )
    assert 0 <= score.value <= 100 and score.details["best update"] == 3
    assert torch.equal(before, model.image_encoder.embedding.position_embeddings)
    assert set(seen) == {900}  # a copy keeps its hooks
    seen.clear()
    classifier = Classifier(model, True, 3, settings)
    text, attention = torch.full((2, 4), 5), torch.ones(2, 4, dtype=torch.bool)
    pixels = torch.randn(2, 3, 480, 480)
    classifier(ExampleBatch(text, attention, None, pixels)).sum().backward()
    assert seen == [900]
    gradient = model.image_encoder.embedding.position_embeddings.grad
    assert gradient is not None and bool((gradient.abs().sum(dim=1) > 0).all())


def test_clip_s_head_reads_both_vectors_side_by_side():
    torch.manual_seed(0)
    model = Clip(CLIP).eval()
    classifier = Classifier(model, True, 3, finetune_config(head_hidden=1536)).eval()
    assert classifier.head[0].in_features == 16 + 12
    text, attention = torch.tensor([[1, 9, 2]]), torch.ones(1, 3, dtype=torch.bool)
    pixels = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        got = classifier(ExampleBatch(text, attention, None, pixels))
        parts = [model.image_features(pixels), model.text_features(text, attention)]
        assert torch.equal(got, classifier.head(torch.cat(parts, dim=1)))


@pytest.mark.parametrize(("kind", "config"), [(Flava, FLAVA), (Clip, CLIP)])
@pytest.mark.parametrize("encoder_dropout", [0.0, 0.5])
def test_encoder_dropout_is_of_the_training_alone(kind, config, encoder_dropout):
    torch.manual_seed(0)
    model = kind(config).eval()
    texts = [("the words of a text", None)] * 20
    split = Split(np.arange(20) % 2, texts=texts)
    examples = Examples(split, FakeTokenizer(), 16, 16)
    settings = finetune_config(
        dropout=0.0, encoder_dropout=encoder_dropout, updates=2, warmup_updates=1, evaluations=1
    )
    found = finetune(context("glue", "accuracy", model), examples, examples, 2, settings).model
    batch = examples.batch(np.arange(4))
    with torch.no_grad():
        assert torch.equal(found.eval()(batch), found(batch))
        found.train()
        assert torch.equal(found(batch), found(batch)) == (encoder_dropout == 0)
        model.train()
        text, attention = batch[:2]
        assert torch.equal(*(model.text_features(text, attention) for _ in range(2)))
