"""FLOPs of whole jobs: image tokenizer, encoder initialisation, pretraining of a column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from flava.config import CodebookConfig, Kind, MaskingConfig
from flava.cost.flops import Flops, add, linear
from flava.cost.models import (
    Parts,
    Sample,
    clip_sample,
    dino_sample,
    dvae_sample,
    flava_sample,
    published_convolutions,
)
from flava.data.schedule import Schedule
from flava.jobs import BeitJob, CodebookJob, DinoJob, MlmJob, RunConfig

SPECIAL_TOKENS = 2  # [CLS] and [SEP], or start and end of text


@dataclass(frozen=True)
class JobCost:
    """What a job trains on, and its FLOPs.

    Attributes:
        updates: kind of data -> updates.
        samples: samples of all updates, or images encoded.
        flops: with every text at its mean length: the work that cannot be saved.
        flops_padded: with every caption padded to the longest one allowed: the work at most.
        flops_alone: of these, what the first rank does by itself.
    """

    updates: Mapping[str, int]
    samples: int
    flops: float
    flops_padded: float
    flops_alone: float = 0.0

    def __add__(self, other: JobCost) -> JobCost:
        return JobCost(
            Counter(self.updates) + Counter(other.updates),
            self.samples + other.samples,
            self.flops + other.flops,
            self.flops_padded + other.flops_padded,
            self.flops_alone + other.flops_alone,
        )


NOTHING = JobCost({}, 0, 0.0, 0.0)


def run_cost(
    run: RunConfig, caption_words: float, pieces_per_word: float, processes: int = 1
) -> JobCost:
    """Pretraining of one column with one seed: its very schedule of updates.

    Args:
        run: resolved configuration.
        caption_words: mean words of a caption of the run's pairs.
        pieces_per_word: of the tokenizer, in the mean.
        processes: that train.
    """
    longest = caption_limit(run)
    mean = min(caption_words * pieces_per_word + SPECIAL_TOKENS, float(longest))
    updates = Counter(str(kind) for kind in Schedule(run).kinds)
    cost = NOTHING
    for kind in run.objectives:
        samples = updates[kind] * run.pretrain.batch_size
        if kind == "texts":
            tokens = padded = float(run.pretrain.text_batch_length)
        else:
            tokens, padded = mean, float(longest)
        each = add(sample_flops(run, kind, tokens, tokens, processes).values()).total
        at_most = add(sample_flops(run, kind, tokens, padded, processes).values()).total
        cost += JobCost({kind: updates[kind]}, samples, samples * each, samples * at_most)
    return cost


def caption_limit(run: RunConfig) -> int:
    """Tokens of a caption at most."""
    positions = run.clip.context_length if run.clip else 0
    if run.flava:
        positions = run.flava.max_text_length
    return min(run.pretrain.pair_text_length, positions)


def sample_flops(
    run: RunConfig, kind: Kind, tokens: float, padded: float, processes: int = 1
) -> Parts:
    """Pass -> FLOPs of a sample of `kind` in a run.

    Args:
        tokens: of its text; some of them are masked.
        padded: length that the encoders see.
        processes: that train.
    """
    options, contrastive = run.pretrain, run.contrastive
    micro = options.contrastive_batch == "micro"
    sample = Sample(
        text_tokens=padded,
        masked_patches=run.masking.image_patches,
        masked_tokens=masked_tokens(run.masking, tokens),
        matching=_matching(run, kind),
        columns=options.batch_size // (options.accumulate if micro else 1),
        gather="global" if contrastive.ranks == 1 else contrastive.gather,
        processes=processes,
        cached=options.accumulate > 1 and not micro,
    )
    if run.clip:
        return clip_sample(run.clip, sample)
    assert run.flava is not None
    return flava_sample(run.flava, run.objectives[kind], sample)


def _matching(run: RunConfig, kind: Kind) -> float:
    negatives = run.masking.itm_negative_probability if "itm" in run.objectives[kind] else 0.0
    return 1 - negatives


def masked_tokens(masking: MaskingConfig, tokens: float) -> float:
    """Mean number of masked tokens of a text; special tokens are never masked."""
    return masking.text_probability * max(0.0, tokens - SPECIAL_TOKENS)


def encoder_cost(job: MlmJob | BeitJob | DinoJob, codebook: CodebookConfig) -> JobCost:
    """Initialisation of one encoder with one seed.

    Args:
        job: resolved configuration.
        codebook: of the image tokenizer, which BEiT's random crops go through in the step.
    """
    kind = "texts" if isinstance(job, MlmJob) else "images"
    samples = job.recipe.updates * job.recipe.batch_size
    flops = samples * add(encoder_sample(job, codebook).values()).total
    return JobCost({kind: job.recipe.updates}, samples, flops, flops)


def encoder_sample(job: MlmJob | BeitJob | DinoJob, codebook: CodebookConfig) -> Parts:
    """Pass -> FLOPs of a sample of an encoder's recipe."""
    if isinstance(job, MlmJob):
        tokens = float(job.recipe.text_length)
        masked = masked_tokens(job.masking, tokens)
        return flava_sample(job.flava, ["mlm"], Sample(tokens, masked_tokens=masked))
    if isinstance(job, DinoJob):
        return dino_sample(job.flava, job.recipe)
    patches = job.masking.image_patches
    parts = flava_sample(job.flava, ["mim"], Sample(masked_patches=patches))
    parts["MIM head"] = linear(patches, job.flava.hidden_size, job.flava.codebook_size)  # BEiT's
    if job.recipe.augment == "random":
        parts["image tokenizer"] = token_flops(codebook, job.flava.grid)
    return parts


def token_flops(codebook: CodebookConfig, grid: int) -> Flops:
    """The tokens of one image."""
    if codebook.published is None:
        return dvae_sample(codebook, grid)["encoder"].inference
    each = published_convolutions(codebook.published, codebook.codebook_size, grid)
    return add(linear(*convolution) for convolution in each).inference


def codebook_cost(job: CodebookJob, images: int) -> JobCost:
    """Training of the image tokenizer, if it is trained, and the tokens of `images` images, on one
    rank."""
    config = job.codebook
    if config.published is not None:
        flops = images * token_flops(config, job.grid).total
        return JobCost({}, images, flops, flops, flops)
    samples = config.updates * config.batch_size
    flops = samples * add(dvae_sample(config, job.grid).values()).total
    export = images * token_flops(config, job.grid).total
    flops += export
    return JobCost({"images": config.updates}, samples + images, flops, flops, export)
