"""Base of all configuration, and the named value types."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]

Arch = Literal["flava", "clip", "clip_released", "flava_released"]
Objective = Literal["mim", "mlm", "global_contrastive", "mmm_image", "mmm_text", "itm"]
Kind = Literal["pairs", "images", "texts", "pair_images", "pair_texts"]
Gather = Literal["global", "global_full", "local", "none", "openclip_2021"]
ImageInit = Literal["none", "beit", "dino"]
TextInit = Literal["none", "mlm"]
Schedule = Literal["cosine", "polynomial", "constant"]
Precision = Literal["fp32", "bf16", "fp16"]
ContrastiveBatch = Literal["whole", "micro"]
Sharding = Literal["none", "fsdp"]
Domain = Literal["vision", "nlp", "multimodal"]
Metric = Literal[
    "accuracy",
    "mean_per_class",
    "matthews",
    "pearson",
    "accuracy_f1",
    "auroc",
    "vqa_score",
    "recall",
]

OBJECTIVES_OF_KIND: dict[str, frozenset[str]] = {
    "pairs": frozenset({"global_contrastive", "mmm_image", "mmm_text", "itm"}),
    "images": frozenset({"mim"}),
    "pair_images": frozenset({"mim"}),
    "texts": frozenset({"mlm"}),
    "pair_texts": frozenset({"mlm"}),
}


class Strict(BaseModel):
    """Base of all configuration: unknown keys, lossy conversions and infinity are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def require_one(self, *keys: str) -> Self:
        """Itself; raises ValueError unless just one of these optional keys is given."""
        if sum(getattr(self, key) is not None for key in keys) != 1:
            raise ValueError(f"give one of {', '.join(keys)}")
        return self
