"""config.json to and from Hugging Face's FLAVA and CLIP layout."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ValidationError

from flava.config import ClipConfig, FlavaConfig
from flava.errors import CheckpointError

Config = FlavaConfig | ClipConfig

ARCHITECTURES = {FlavaConfig: "FlavaForPreTraining", ClipConfig: "CLIPModel"}

# Hugging Face leaves keys at their default out of config.json.
FLAVA_ENCODER = {
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "qkv_bias": True,
}
FLAVA_DEFAULTS: dict[str, dict[str, Any]] = {
    "image_config": FLAVA_ENCODER
    | {
        "num_hidden_layers": 12,
        "image_size": 224,
        "patch_size": 16,
        "num_channels": 3,
        "mask_token": True,
        "vocab_size": 8192,
    },
    "text_config": FLAVA_ENCODER
    | {
        "num_hidden_layers": 12,
        "vocab_size": 30522,
        "type_vocab_size": 2,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
    },
    "multimodal_config": FLAVA_ENCODER | {"num_hidden_layers": 6, "use_cls_token": True},
}
CLIP_TOWER = {
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "attention_dropout": 0.0,
    "num_hidden_layers": 12,
}
CLIP_DEFAULTS: dict[str, dict[str, Any]] = {
    "vision_config": CLIP_TOWER
    | {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "num_channels": 3,
        "image_size": 224,
        "patch_size": 32,
    },
    "text_config": CLIP_TOWER
    | {
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_attention_heads": 8,
        "vocab_size": 49408,
        "max_position_embeddings": 77,
    },
}


def to_hf_config(config: Config) -> dict[str, Any]:
    """Contents of config.json for `from_pretrained`.

    `head_layer_norm_eps` is ours: Hugging Face's heads take the encoders' eps.
    """
    common = {"architectures": [ARCHITECTURES[type(config)]], "dtype": "float32"}
    body = _flava_to_hf(config) if isinstance(config, FlavaConfig) else _clip_to_hf(config)
    return common | body


def from_hf_config(values: dict[str, Any], where: str) -> Config:
    """Our configuration of Hugging Face's.

    Raises:
        CheckpointError: names `where` and what our models do not have.
    """
    kind = values.get("model_type")
    try:
        if kind == "flava":
            return _flava_from_hf(values, where)
        if kind == "clip":
            return _clip_from_hf(values, where)
    except (ValidationError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{where} is not a usable model configuration: {error}. Export the model anew."
        ) from None
    raise CheckpointError(
        f"{where}: model_type is {kind!r}; only 'flava' and 'clip' can be loaded. "
        "Point to the folder of an exported FLAVA or CLIP."
    )


def encoder_config(config: FlavaConfig, part: Literal["image", "text"]) -> dict[str, Any]:
    """Contents of config.json of a lone `FlavaImageModel` or `FlavaTextModel`."""
    architecture = {"image": "FlavaImageModel", "text": "FlavaTextModel"}[part]
    common = {"architectures": [architecture], "dtype": "float32"}
    encoder: dict[str, Any] = _flava_to_hf(config)[f"{part}_config"]
    return common | encoder


def _flava_to_hf(config: FlavaConfig) -> dict[str, Any]:
    encoder = FLAVA_ENCODER | {
        "hidden_size": config.hidden_size,
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
        "initializer_range": config.initializer_range,
        "layer_norm_eps": config.layer_norm_eps,
    }
    image = {
        "model_type": "flava_image_model",
        "num_hidden_layers": config.image_layers,
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "vocab_size": config.codebook_size,
    }
    text = {
        "model_type": "flava_text_model",
        "num_hidden_layers": config.text_layers,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_text_length,
    }
    fusion = {
        "model_type": "flava_multimodal_model",
        "num_hidden_layers": config.multimodal_layers,
    }
    return {
        "model_type": "flava",
        "hidden_size": config.hidden_size,
        "layer_norm_eps": config.layer_norm_eps,
        "head_layer_norm_eps": config.head_layer_norm_eps,
        "projection_dim": config.projection_dim,
        "initializer_range": config.initializer_range,
        "logit_scale_init_value": config.logit_scale_init,
        "init_codebook": False,
        "image_config": FLAVA_DEFAULTS["image_config"] | encoder | image,
        "text_config": FLAVA_DEFAULTS["text_config"] | encoder | text,
        "multimodal_config": FLAVA_DEFAULTS["multimodal_config"] | encoder | fusion,
    }


def _flava_from_hf(values: dict[str, Any], where: str) -> FlavaConfig:
    parts = {name: base | (values.get(name) or {}) for name, base in FLAVA_DEFAULTS.items()}
    image, text, fusion = parts["image_config"], parts["text_config"], parts["multimodal_config"]
    for name, part in parts.items():
        for key in ("hidden_size", "num_attention_heads", "intermediate_size", "layer_norm_eps"):
            _require(part[key] == image[key], where, f"{name}.{key} differs from image_config's")
        _check_encoder(part, FLAVA_DEFAULTS[name], where, name)
    top = values.get("hidden_size", 768)
    _require(top == image["hidden_size"], where, "hidden_size differs from image_config's")
    eps: float = image["layer_norm_eps"]
    return FlavaConfig(
        hidden_size=image["hidden_size"],
        num_attention_heads=image["num_attention_heads"],
        intermediate_size=image["intermediate_size"],
        image_layers=image["num_hidden_layers"],
        text_layers=text["num_hidden_layers"],
        multimodal_layers=fusion["num_hidden_layers"],
        image_size=image["image_size"],
        patch_size=image["patch_size"],
        vocab_size=text["vocab_size"],
        max_text_length=text["max_position_embeddings"],
        codebook_size=image["vocab_size"],
        projection_dim=values.get("projection_dim", 768),
        layer_norm_eps=eps,
        head_layer_norm_eps=values.get("head_layer_norm_eps", eps),
        initializer_range=values.get("initializer_range", 0.02),
        logit_scale_init=values.get("logit_scale_init_value", 2.6592),
    )


def _check_encoder(part: dict[str, Any], base: dict[str, Any], where: str, name: str) -> None:
    """What our encoders have no switch for must be at Hugging Face's default."""
    for key in (
        "hidden_act",
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "qkv_bias",
        "num_channels",
        "mask_token",
        "use_cls_token",
        "type_vocab_size",
    ):
        if key in base:
            _require(part[key] == base[key], where, f"{name}.{key} is {part[key]!r}")


def _clip_to_hf(config: ClipConfig) -> dict[str, Any]:
    tower = {
        "hidden_act": "quick_gelu" if config.quick_gelu else "gelu",
        "layer_norm_eps": config.layer_norm_eps,
        "projection_dim": config.embed_dim,
    }
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": config.vision_width,
        "intermediate_size": 4 * config.vision_width,
        "num_hidden_layers": config.vision_layers,
        "num_attention_heads": config.vision_heads,
        "image_size": config.image_size,
        "patch_size": config.patch_size,
    }
    text = {
        "model_type": "clip_text_model",
        "hidden_size": config.text_width,
        "intermediate_size": 4 * config.text_width,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.text_heads,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_length,
        # As in OpenAI's published files: 2 makes Hugging Face read at the highest id of the text.
        "eos_token_id": 2,
    }
    return {
        "model_type": "clip",
        "projection_dim": config.embed_dim,
        "logit_scale_init_value": config.logit_scale_init,
        "vision_config": CLIP_DEFAULTS["vision_config"] | tower | vision,
        "text_config": CLIP_DEFAULTS["text_config"] | tower | text,
    }


def _clip_from_hf(values: dict[str, Any], where: str) -> ClipConfig:
    parts = {name: base | (values.get(name) or {}) for name, base in CLIP_DEFAULTS.items()}
    vision, text = parts["vision_config"], parts["text_config"]
    for name, part in parts.items():
        ratio = part["intermediate_size"] == 4 * part["hidden_size"]
        _require(ratio, where, f"{name}.intermediate_size is not 4 x hidden_size")
        _require(part["attention_dropout"] == 0, where, f"{name}.attention_dropout is not 0")
        for key in ("hidden_act", "layer_norm_eps"):
            _require(part[key] == vision[key], where, f"{name}.{key} differs from vision_config's")
    activation = vision["hidden_act"]
    _require(activation in ("gelu", "quick_gelu"), where, f"hidden_act is {activation!r}")
    return ClipConfig(
        image_size=vision["image_size"],
        patch_size=vision["patch_size"],
        vision_width=vision["hidden_size"],
        vision_layers=vision["num_hidden_layers"],
        vision_heads=vision["num_attention_heads"],
        text_width=text["hidden_size"],
        text_layers=text["num_hidden_layers"],
        text_heads=text["num_attention_heads"],
        vocab_size=text["vocab_size"],
        context_length=text["max_position_embeddings"],
        embed_dim=values.get("projection_dim", 512),
        quick_gelu=activation == "quick_gelu",
        layer_norm_eps=vision["layer_norm_eps"],
        logit_scale_init=values.get("logit_scale_init_value", 2.6592),
    )


def _require(holds: bool, where: str, problem: str) -> None:
    if not holds:
        raise CheckpointError(
            f"{where}: {problem}, which this implementation does not have. "
            "Load a model whose encoders share FLAVA's or CLIP's published structure."
        )
