"""FLOPs of the features that evaluation reads, against torch's own count on the real models."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from flava.config import ClipConfig, FlavaConfig
from flava.cost.evaluation import passes
from flava.cost.flops import Flops
from flava.models import Clip, Flava
from tests.models.model_cases import SMALL, SMALL_CLIP

ROWS, LENGTH = 4, 10


def counted(forward) -> Flops:
    """FLOPs of forward() and of the backward pass of its result's sum."""
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as first:
            features = forward()
        with FlopCounterMode(display=False) as second:
            features.sum().backward()
    return Flops(first.get_total_flops(), second.get_total_flops())


@pytest.mark.parametrize("config", [SMALL, SMALL_CLIP], ids=["flava", "clip"])
@pytest.mark.parametrize("larger", [1, 2])
def test_features_cost_what_torch_counts(config: FlavaConfig | ClipConfig, larger: int) -> None:
    model = (Flava(config) if isinstance(config, FlavaConfig) else Clip(config)).train()
    size = larger * config.image_size
    pixels = torch.randn(ROWS, 3, size, size)
    text = torch.randint(5, config.vocab_size, (ROWS, LENGTH))
    attention = torch.ones_like(text, dtype=torch.bool)
    expected = passes(config, LENGTH, size)
    assert counted(lambda: model.image_features(pixels)) == expected.image * ROWS
    assert counted(lambda: model.text_features(text, attention)) == expected.text * ROWS
    both = counted(lambda: model.multimodal_features(pixels, text, attention))
    assert both == expected.pair * ROWS
