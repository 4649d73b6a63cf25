"""Small published-like models of transformers, the official names of their parameters, and runs."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from flava.config import FlavaConfig, WeightsConfig
from flava.data.transforms import MEAN, STD
from flava.models.encoders import ImageEncoder, TextEncoder
from flava.models.published import Published, load_published

EPS = 1e-6
SMALL = FlavaConfig(
    hidden_size=48,
    num_attention_heads=4,
    intermediate_size=96,
    image_layers=2,
    text_layers=2,
    multimodal_layers=1,
    image_size=32,
    patch_size=8,
    vocab_size=90,
    max_text_length=12,
    codebook_size=64,
    projection_dim=20,
    layer_norm_eps=EPS,
)
VIT = {
    "hidden_size": 48,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "image_size": 32,
    "patch_size": 8,
    "layer_norm_eps": EPS,
}
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
HALF = ([0.5] * 3, [0.5] * 3)


def spread(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter random: zeros and ones would hide a wrong use of them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scales = re.search(r"norm.*weight|lambda", name.lower())
            parameter.copy_(1 + 0.2 * noise if scales else 0.1 * noise)
    return model.eval()


def images(size: int = 32) -> Tensor:
    return torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(5))


def normalised(pixels_BCHW: Tensor, mean=MEAN, std=STD) -> Tensor:
    mean, std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
    return (pixels_BCHW - mean) / std


def load(path: Path | str, layout: str, part: str = "image", config=SMALL, **more) -> Published:
    return load_published(WeightsConfig(source=str(path), layout=layout, **more), part, config)


def image_states(published: Published, config: FlavaConfig = SMALL, mask=None) -> Tensor:
    """Normed hidden states of our image encoder with the weights, for `images()`."""
    encoder = ImageEncoder(config).eval()
    published.load_into(encoder)
    with torch.no_grad():
        patches = encoder.embedding.patches(normalised(images(config.image_size)))
        return encoder.norm(encoder(patches, mask))


def text_states(published: Published, text: Tensor, attention: Tensor, config=SMALL) -> Tensor:
    encoder = TextEncoder(config).eval()
    published.load_into(encoder)
    with torch.no_grad():
        return encoder.norm(encoder(text, attention))


def equal(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def save(tensors: dict[str, Tensor], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    copies = {name: value.clone().contiguous() for name, value in tensors.items()}
    if path.suffix == ".safetensors":
        save_file(copies, path)
    else:
        torch.save(copies, path)
    return path


def official_vit(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of DINO's code for a `ViTModel`'s parameters."""
    renamed = {_official(name): value for name, value in state.items() if "pooler" not in name}
    for name in [n for n in renamed if ".q_proj." in n]:
        parts = [renamed.pop(name.replace("q_proj", f"{k}_proj")) for k in "qkv"]
        renamed[name.replace("q_proj", "qkv")] = torch.cat(parts)
    return renamed


def official_beit(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of BEiT's code for a `BeitForMaskedImageModeling`'s parameters."""
    renamed = {_official(name.removeprefix("beit.")): value for name, value in state.items()}
    for name in [n for n in renamed if n.endswith("q_proj.weight")]:
        base = name.removesuffix("q_proj.weight")
        parts = [renamed.pop(f"{base}{k}_proj.weight") for k in "qkv"]
        renamed[f"{base}qkv.weight"] = torch.cat(parts)
        for k in "qv":
            renamed[f"{base}{k}_bias"] = renamed.pop(f"{base}{k}_proj.bias")
    return renamed


def _official(name: str) -> str:
    for theirs, official in (
        ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
        ("embeddings.position_embeddings", "pos_embed"),
        ("embeddings.", ""),
        ("layers.", "blocks."),
        ("attention.o_proj", "attn.proj"),
        ("attention.", "attn."),
        ("layernorm_before", "norm1"),
        ("layernorm_after", "norm2"),
        ("layernorm", "norm"),
        ("lambda_", "gamma_"),
    ):
        name = name.replace(theirs, official)
    return name


def official_clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of OpenAI's code for a `CLIPModel`'s parameters."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        for theirs, official in (
            ("vision_model.embeddings.patch_embedding", "visual.conv1"),
            ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
            ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
            ("vision_model.pre_layrnorm", "visual.ln_pre"),
            ("vision_model.post_layernorm", "visual.ln_post"),
            ("vision_model.encoder.layers", "visual.transformer.resblocks"),
            ("text_model.embeddings.token_embedding", "token_embedding"),
            ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
            ("text_model.final_layer_norm", "ln_final"),
            ("text_model.encoder.layers", "transformer.resblocks"),
            ("visual_projection.weight", "visual.proj"),
            ("text_projection.weight", "text_projection"),
            ("layer_norm1", "ln_1"),
            ("layer_norm2", "ln_2"),
            ("self_attn", "attn"),
            ("mlp.fc1", "mlp.c_fc"),
            ("mlp.fc2", "mlp.c_proj"),
        ):
            name = name.replace(theirs, official)
        renamed[name] = value.T if name in ("visual.proj", "text_projection") else value
    for name in [n for n in renamed if ".q_proj." in n]:
        base, kind = name.split("q_proj.")
        renamed[f"{base}in_proj_{kind}"] = torch.cat(
            [renamed.pop(f"{base}{k}_proj.{kind}") for k in "qkv"]
        )
    return renamed
