"""A study of published weights alone, on the toy world: a small FLAVA as Hugging Face saves it."""

from __future__ import annotations

import string
from pathlib import Path

import torch
import transformers
from transformers.models.flava.image_processing_pil_flava import FlavaImageProcessorPil

from tests.workflow.smoke import Project

RUN = "results/mine/runs/flava_released-s0"
SIZE = 32  # pixels of the toy world
ENCODER = {"hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 96}
LAYERS = {"image": 3, "text": 2, "multimodal": 1}
CODEBOOK = {"hidden_size": 8, "num_blocks_per_group": 1, "vocab_size": 40}
STUDY = """\
base: smoke
name: mine
title: Released weights
scale: a random model on the toy world
columns: [flava_released]
data:
  tokenizers:
    wordpiece: {vocab_size: null, vocab_file: hub/vocab.txt}
released_flava:
  weights: {source: hub, layout: flava}
  flava: {hidden_size: 48, num_attention_heads: 4, intermediate_size: 96, image_layers: 3,
    text_layers: 2, multimodal_layers: 1, image_size: 32, patch_size: 8, vocab_size: VOCABULARY,
    max_text_length: 64, codebook_size: 40, projection_dim: 24}
"""


def write_study(project: Project) -> None:
    """params/mine.yaml and, in hub/, what a download of the hub's repository would leave."""
    entries = publish(project.path / "hub")
    (project.path / "params/mine.yaml").write_text(STUDY.replace("VOCABULARY", str(entries)))


def publish(folder: Path) -> int:
    """Writes vocabulary, pixel settings and weights; every parameter is random. Returns the number
    of entries of the vocabulary."""
    folder.mkdir()
    signs = string.ascii_lowercase + string.digits
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, *(f"##{s}" for s in signs)]
    words += ["a", "the", "red", "blue", "circle", "square", ".", ",", "?"]
    words = list(dict.fromkeys(words))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    square = {"height": SIZE, "width": SIZE}
    FlavaImageProcessorPil(size=square, crop_size=square).save_pretrained(folder)
    image = ENCODER | {"image_size": SIZE, "patch_size": 8, "vocab_size": 40}
    text = ENCODER | {"vocab_size": len(words), "max_position_embeddings": 64}
    parts = {"image": image, "text": text, "multimodal": ENCODER}
    config = transformers.FlavaConfig(
        **{f"{name}_config": each | {"num_hidden_layers": LAYERS[name]}
           for name, each in parts.items()},
        image_codebook_config=CODEBOOK,
        hidden_size=48,
        projection_dim=24,
    )  # fmt: skip
    torch.manual_seed(1)
    model = transformers.FlavaForPreTraining(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("logit_scale"):
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return len(words)
