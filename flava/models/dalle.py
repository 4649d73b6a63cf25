"""DALL-E's image encoder, which made FLAVA's image tokens (Section 3.2), as Hugging Face has it.

The network is transformers' `FlavaImageCodebook`; this package needs transformers for it alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from flava.config import CodebookConfig, PublishedCodebook
from flava.errors import CheckpointError, ConfigError
from flava.io import write_json
from flava.models.dvae import DiscreteVAE
from flava.models.published.files import read_file, state_dict_of
from flava.models.published.source import Located, locate_folder

MODEL_TYPE, ARCHITECTURE = "flava_image_codebook", "FlavaImageCodebook"
FIXED = {"num_groups": 4, "input_channels": 3}
SIZES = ("vocab_size", "hidden_size", "num_blocks_per_group")
MARGIN = 0.1  # DALL-E's map_pixels; transformers' LOGIT_LAPLACE_EPS
ROWS = 32  # images at once: 256 channels of 112 x 112 pixels take 13 MB an image


class DalleEncoder(nn.Module):
    """The frozen encoder, in evaluation mode, with the interface of `DiscreteVAE`'s tokens."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.sizes = {name: sizes[name] for name in SIZES}
        self.config = CodebookConfig(codebook_size=self.sizes["vocab_size"])
        self.encoder = _build(self.sizes)
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def encode_tokens(self, pixels_BCHW: Tensor) -> Tensor:
        """Most probable code of each 8 x 8 pixels: tokens_BP int64, row-major; pixels in [0, 1]."""
        mapped_BCHW = (1 - 2 * MARGIN) * pixels_BCHW + MARGIN
        batches = torch.split(mapped_BCHW, ROWS)
        parts = [self.encoder.get_codebook_indices(pixels_BCHW) for pixels_BCHW in batches]
        return torch.cat(parts).flatten(1)

    def save(self, folder: Path) -> None:
        """Writes model.safetensors and config.json, which transformers' `from_pretrained` reads."""
        state = {name: tensor.contiguous() for name, tensor in self.encoder.state_dict().items()}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        values = {"model_type": MODEL_TYPE, "architectures": [ARCHITECTURE]}
        write_json(folder / "config.json", values | FIXED | self.sizes)


ImageTokenizer = DiscreteVAE | DalleEncoder


def load_published(
    published: PublishedCodebook, codebook_size: int
) -> tuple[DalleEncoder, Located]:
    """The encoder that a study names, and where its weights were found.

    Args:
        published: its folder, sizes and hash.
        codebook_size: image tokens of the study.

    Raises:
        CheckpointError: the folder is missing, damaged or of another network, or the hash differs.
        ConfigError: it has another size than the study says, or transformers is not installed.
        DataError: an environment variable of the path is not set.
    """
    located = locate_folder(published.path, published.sha256)
    found = _sizes(located)
    wanted = {
        "vocab_size": (codebook_size, "codebook.codebook_size and flava.codebook_size"),
        "hidden_size": (published.hidden_size, "codebook.published.hidden_size"),
        "num_blocks_per_group": (
            published.num_blocks_per_group,
            "codebook.published.num_blocks_per_group",
        ),
    }
    for name, (size, key) in wanted.items():
        if found[name] != size:
            raise ConfigError(
                f"The image encoder in {located.file.parent} has {name} {found[name]}, the study "
                f"{size}. Set {key} to {found[name]}, or give another folder."
            )
    return _load(located), located


def load_encoder(folder: Path) -> DalleEncoder:
    """What `DalleEncoder.save` or transformers wrote.

    Raises:
        CheckpointError: a file is missing, damaged or of another network.
        ConfigError: transformers is not installed.
    """
    return _load(locate_folder(str(folder), None))


def _load(located: Located) -> DalleEncoder:
    model = DalleEncoder(_sizes(located))
    state = state_dict_of(read_file(located.file), (), str(located.file))
    try:
        model.encoder.load_state_dict({name: value.float() for name, value in state.items()})
    except RuntimeError as error:
        raise CheckpointError(
            f"{located.file} does not hold the parameters of a FlavaImageCodebook of the sizes in "
            f"config.json beside it ({' '.join(str(error).split())[:300]}). Fetch the folder again."
        ) from None
    return model


def _sizes(located: Located) -> dict[str, int]:
    """Of config.json beside the weights; transformers leaves out what has its default."""
    values: dict[str, Any] = located.config or {"model_type": None}
    where = located.file.with_name("config.json")
    # Releases of transformers differ in whether they write the type.
    if values.get("model_type", MODEL_TYPE) != MODEL_TYPE and (
        values.get("architectures") != [ARCHITECTURE]
    ):
        raise CheckpointError(
            f"{where} is missing or is no configuration of a FlavaImageCodebook (model_type "
            f"'{MODEL_TYPE}'). Give the folder facebook/flava-image-codebook."
        )
    found = {name: values.get(name, default) for name, default in _defaults().items()}
    if any(found[name] != size for name, size in FIXED.items()) or not all(
        type(found[name]) is int and found[name] > 0 for name in SIZES
    ):
        raise CheckpointError(
            f"{where} has sizes that are not DALL-E's encoder's: {found}. {FIXED} are fixed, the "
            "others positive whole numbers. Give the folder facebook/flava-image-codebook."
        )
    return {name: found[name] for name in SIZES}


def _defaults() -> dict[str, int]:
    _, config = _library()
    return {name: getattr(config(), name) for name in (*SIZES, *FIXED)}


def _build(sizes: Mapping[str, int]) -> Any:
    model, config = _library()
    return model(config(**sizes, **FIXED))


def _library() -> tuple[Any, Any]:
    """transformers' model and configuration; imported here, for it takes seconds."""
    try:
        from transformers import FlavaImageCodebook, FlavaImageCodebookConfig
    except ImportError as error:
        raise ConfigError(
            "The published image encoder (codebook.published) is a model of transformers, which "
            f"cannot be imported ({error}). Run `pip install -c constraints.txt transformers`."
        ) from None
    return FlavaImageCodebook, FlavaImageCodebookConfig
