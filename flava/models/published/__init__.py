"""Off-the-shelf weights: one loader for all published layouts (docs/weights.md)."""

from flava.models.published.load import LAYOUTS, Published, load_published

__all__ = ["LAYOUTS", "Published", "load_published"]
