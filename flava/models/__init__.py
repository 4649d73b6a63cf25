"""FLAVA, CLIP and the image tokenizer."""

from flava.models.backbone import Backbone
from flava.models.checkpoint import load_model, save_model
from flava.models.clip import Clip
from flava.models.dvae import DiscreteVAE
from flava.models.flava import Flava
from flava.models.registry import build
from flava.models.transformer import set_drop_path, set_dropout

__all__ = [
    "Backbone",
    "Clip",
    "DiscreteVAE",
    "Flava",
    "build",
    "load_model",
    "save_model",
    "set_drop_path",
    "set_dropout",
]
