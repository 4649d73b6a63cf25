"""Off-the-shelf weights: one loader for all published layouts (docs/weights.md)."""

from flava.models.published.load import LAYOUTS, Published, load_published
from flava.models.published.source import local_sha256

__all__ = ["LAYOUTS", "Published", "load_published", "local_sha256"]
