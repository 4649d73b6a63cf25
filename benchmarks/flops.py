"""FLOPs of our step on a batch of the benchmark, from the formulas of `flava.cost`."""

from __future__ import annotations

from benchmarks.cases import OBJECTIVES, Size
from flava.cost.flops import add
from flava.cost.models import Sample, flava_sample
from flava.data.batch import Batch
from flava.data.masking import IGNORE
from flava.models.backbone import counted_rows, field


def sample_flops(size: Size, kind: str, batch: Batch) -> float:
    """Forward and backward of one sample, in the mean of the batch."""
    rows = size.batch_size
    sample = Sample(
        text_tokens=float(field(batch, "text_attention_BL").sum()) / rows,
        masked_patches=float(field(batch, "patch_mask_BP").sum()) / rows,
        masked_tokens=float(field(batch, "text_labels_BL").ne(IGNORE).sum()) / rows,
        matching=float(counted_rows(batch).float().mean()),
        columns=rows,
    )
    return add(flava_sample(size.config, OBJECTIVES[kind], sample).values()).total
