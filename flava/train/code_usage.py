"""The tokens of all corpora by one tokenizer, and whether they use enough of its codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from flava.errors import TrainingError
from flava.jobs import CodebookJob
from flava.models.dalle import ImageTokenizer
from flava.train.image_tokens import (
    Counts,
    Crops,
    TokenFile,
    count_codes,
    encode_corpus,
    sampled_codes,
)


def encode_corpora(
    model: ImageTokenizer, crops: Crops, job: CodebookJob, device: torch.device
) -> tuple[dict[str, TokenFile], dict[str, float]]:
    """All tokens, and how many of the codes they use; a sample of them is judged first.

    Raises:
        DataError: too many images are corrupt.
        TrainingError: too few codes are in use.
        OSError: the disk is full.
    """
    sampled_K = sampled_codes(model, crops, job.seed)
    if sampled_K is not None:
        check_usage(usage_facts(sampled_K)["used_fraction"], job)
    folder, codes = Path(job.checkpoints), job.codebook.codebook_size
    files = {name: encode_corpus(model, crops, name, device, folder) for name in crops.corpora}
    used = usage_facts(np.sum([count_codes(f, codes) for f in files.values()], axis=0))
    check_usage(used["used_fraction"], job)
    return files, used


def usage_facts(usage_K: Counts) -> dict[str, float]:
    """Share of the codes in use, and perplexity (exp of the entropy of the codes)."""
    share_K = usage_K[usage_K > 0] / usage_K.sum()
    return {
        "used_fraction": float((usage_K > 0).mean()),
        "perplexity": float(np.exp(-(share_K * np.log(share_K)).sum())),
    }


def check_usage(used_fraction: float, job: CodebookJob) -> None:
    """Refuses a collapsed codebook, whose tokens would make MIM and MMM empty tasks.

    Raises:
        TrainingError: fewer codes are in use than `min_used_fraction`.
    """
    needed = job.codebook.min_used_fraction
    if used_fraction >= needed:
        return
    advice = "Raise codebook.updates or kl_weight, lower codebook_size, or give more varied images."
    if job.codebook.published:
        advice = (
            "Are the weights those of facebook/flava-image-codebook? If they are, give more (and "
            "more varied) images, or lower min_used_fraction."
        )
    raise TrainingError(
        f"Only {used_fraction:.1%} of the {job.codebook.codebook_size} image tokens are in "
        f"use, fewer than codebook.min_used_fraction ({needed:.1%}). {advice}"
    )
