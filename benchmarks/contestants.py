"""Ours and Hugging Face's FLAVA at equal weights, each with its optimiser and its step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer

from benchmarks.cases import OBJECTIVES, PAD, PADDED_LENGTH, Size
from flava.config import ContrastiveConfig, OptimConfig
from flava.data.batch import Batch
from flava.data.masking import IGNORE
from flava.errors import FlavaError
from flava.models import Flava
from flava.models.backbone import field
from flava.models.hf import from_hf_state_dict
from flava.models.hf_config import to_hf_config
from flava.train.optim import make_optimizer

LearningStep = Callable[[], None]
Losses = dict[str, Tensor]
TOLERANCE = 1e-5
RATE = 1e-5
ONE_RANK = ContrastiveConfig(gather="global", ranks=1)


class UnequalLossesError(FlavaError):
    """The two implementations do not compute the same, so their times cannot be compared."""


def hugging_face(size: Size, seed: int) -> nn.Module:
    """`FlavaForPreTraining` with its dVAE; every parameter random, so that none hides a wrong use.

    Built without Hugging Face's own initialisation, which takes minutes at base size.
    """
    from transformers import FlavaConfig, FlavaForPreTraining

    config = to_hf_config(size.config) | {"init_codebook": True}
    config["image_codebook_config"] = {"vocab_size": size.config.codebook_size}
    torch.manual_seed(seed)
    with torch.device("meta"):
        model = FlavaForPreTraining(FlavaConfig(**config))
    model.to_empty(device="cpu").tie_weights()
    words = model.flava.text_model.embeddings
    words.position_ids.copy_(torch.arange(size.config.max_text_length)[None])
    words.token_type_ids.zero_()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_norm = "norm" in name.lower() and name.endswith("weight")
            parameter.normal_(mean=1.0 if is_norm else 0.0, std=0.05 if is_norm else 0.03)
        model.flava.logit_scale.fill_(size.config.logit_scale_init)
    for module in model.image_codebook.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    return model.train()


def ours(size: Size, theirs: nn.Module | None = None) -> Flava:
    """Our model, with Hugging Face's weights where given."""
    if theirs is None:
        return Flava(size.config).train()
    with torch.device("meta"):
        model = Flava(size.config)
    state = from_hf_state_dict(theirs.state_dict(), size.config).state
    model.load_state_dict(state, assign=True)
    return model.train().requires_grad_()


def optimizer_of(model: nn.Module) -> Optimizer:
    """Each side's AdamW as it comes: fused for ours, torch's default for Hugging Face's users."""
    if isinstance(model, Flava):
        return make_optimizer(model, OptimConfig(learning_rate=RATE))
    return AdamW(model.parameters(), lr=RATE)


def update_step(optimizer: Optimizer, losses: Callable[[], Losses]) -> Callable[[], None]:
    """Forward, backward and update."""

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.stack([loss.float() for loss in losses().values()]).sum().backward()
        optimizer.step()

    return step


@dataclass(frozen=True)
class Codebook:
    """Input of the dVAE, and the tokens that it gives."""

    pixels_BCHW: Tensor
    tokens_BGG: Tensor


def losses_of(
    name: str, model: nn.Module, batch: Batch, kind: str, codebook: Codebook
) -> Callable[[], Losses]:
    """The losses of one kind of step, as a contestant of this name computes them.

    Args:
        name: `hf`, `hf_tokens` or `ours`, and what is appended: `_bf16`, `_compile`.
        model: Hugging Face's or ours.
        batch: the batch of both.
        kind: a key of `OBJECTIVES`.
        codebook: of the batch's images.
    """
    device = field(batch, "text_BL").device.type
    called: Callable[..., Any] = torch.compile(model) if "_compile" in name else model
    given = {"codebook_pixel_values": codebook.pixels_BCHW}
    if "_tokens" in name:
        given = {"mim_labels": codebook.tokens_BGG}
    inputs = hf_inputs(batch, kind, given, PADDED_LENGTH)

    def losses() -> Losses:
        with torch.autocast(device, torch.bfloat16, enabled="_bf16" in name):
            if name.startswith("ours"):
                found: Losses = called(batch, OBJECTIVES[kind], ONE_RANK)
                return found
            # It writes into `mim_labels`.
            fresh = {key: x.clone() if key == "mim_labels" else x for key, x in inputs.items()}
            info = called(**fresh).loss_info
        return {key: info[key] for key in OBJECTIVES[kind]}

    return losses


def hf_inputs(
    batch: Batch, kind: str, codebook: dict[str, Tensor], length: int
) -> dict[str, Tensor]:
    """The batch as Hugging Face's users give it, texts padded to `length` tokens.

    Args:
        batch: the batch that ours gets.
        kind: its key in `OBJECTIVES`.
        codebook: `codebook_pixel_values`, to run the dVAE in the step, or ready `mim_labels`.
        length: 77 as Hugging Face's processor pads, or the batch's longest text.
    """
    image = {"pixel_values": batch.pixels_BCHW, "bool_masked_pos": batch.patch_mask_BP, **codebook}
    text = {
        "input_ids": _padded(batch.text_BL, length, PAD),
        "input_ids_masked": _padded(batch.text_masked_BL, length, PAD),
        "mlm_labels": _padded(batch.text_labels_BL, length, IGNORE),
        "attention_mask": _padded(batch.text_attention_BL.long(), length, 0),
    }
    if kind == "multimodal":
        return image | text | {"itm_labels": batch.itm_labels_B}
    return image if kind == "mim" else text


def _padded(rows_BL: Tensor, length: int, value: int) -> Tensor:
    return functional.pad(rows_BL, (0, length - rows_BL.shape[1]), value=value)


def check_equal(kind: str, expected: Losses, found: Losses, tolerance: float = TOLERANCE) -> float:
    """The largest difference of a loss.

    Raises:
        UnequalLossesError: it is above `tolerance`, or a loss is not a number.
    """
    worst = 0.0
    for name, value in expected.items():
        difference = abs(float(value) - float(found[name]))
        if not difference <= tolerance:
            raise UnequalLossesError(
                f"The loss {name} of the {kind} step is {float(found[name]):.7f} in ours and "
                f"{float(value):.7f} in Hugging Face's model at equal weights and batch, "
                f"{difference:.1e} apart where {tolerance:.0e} is allowed. Times of steps that "
                "compute different things are not compared: run tests/models first."
            )
        worst = max(worst, difference)
    return worst
