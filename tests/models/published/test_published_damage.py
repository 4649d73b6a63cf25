"""Any one parameter gone, added, misshapen, quantised or not finite: a CheckpointError."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published_cases import SMALL, VIT, load, official_beit, official_vit, save, spread
from torch import Tensor

from flava.errors import CheckpointError

transformers = pytest.importorskip("transformers")


def dino() -> dict[str, Tensor]:
    return official_vit(transformers.ViTModel(transformers.ViTConfig(**VIT)).state_dict())


def beit() -> dict[str, Tensor]:
    more = {"use_mask_token": True, "use_absolute_position_embeddings": True, "vocab_size": 11}
    config = transformers.BeitConfig(**VIT, **more)
    return official_beit(transformers.BeitForMaskedImageModeling(config).state_dict())


def roberta() -> dict[str, Tensor]:
    config = transformers.RobertaPreLayerNormConfig(
        hidden_size=48,
        num_attention_heads=4,
        intermediate_size=96,
        num_hidden_layers=2,
        vocab_size=SMALL.vocab_size,
        max_position_embeddings=20,
    )
    model = transformers.RobertaPreLayerNormModel(config, add_pooling_layer=False)
    return spread(model).state_dict()


CASES: list[tuple[str, str, Callable[[], dict[str, Tensor]]]] = [
    ("dino", "image", dino),
    ("beit", "image", beit),
    ("roberta_prelayernorm", "text", roberta),
]
# Its absence is legitimate: the head, the mask token, and layer scale are optional.
OPTIONAL = ("lm_head.", "mask_token", "gamma_")


@pytest.mark.parametrize(("layout", "part", "make"), CASES)
@pytest.mark.parametrize("damage", ["gone", "vector", "scalar", "int8", "nan"])
def test_damage_to_each_parameter(layout: str, part: str, make, damage: str, tmp_path: Path):
    state = make()
    path = tmp_path / "weights.safetensors"
    load(save(state, path), layout, part)
    for name, value in state.items():
        if ".1." in name or name.startswith("lm_head."):
            continue  # as layer 0; dropped
        broken = dict(state)
        if damage == "gone":
            del broken[name]
            if any(word in name for word in OPTIONAL):
                continue
        else:
            broken[name] = {
                "vector": torch.zeros(5),
                "scalar": torch.tensor(1.0),
                "int8": value.to(torch.int8),
                "nan": value * float("nan"),
            }[damage]
        with pytest.raises(CheckpointError):
            load(save(broken, path), layout, part)


@pytest.mark.parametrize(("layout", "part", "make"), CASES)
def test_a_parameter_that_is_not_known(layout: str, part: str, make, tmp_path: Path):
    path = save(make() | {"adapter.weight": torch.zeros(2)}, tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"1 are not known in this layout: adapter\.weight"):
        load(path, layout, part)
