"""The image tokenizer and the image tokens, resolved."""

from __future__ import annotations

from collections.abc import Iterable

from flava.config import CodebookConfig
from flava.jobs import CodebookJob, with_own_checkpoints
from flava.studies import Study
from workflow.modules import IMPORT_FILES, RUN_FILES

# What is read where the encoder is published; the training's keys are no part of the identity.
READ = ("published", "codebook_size", "downsample", "min_used_fraction")


def codebook_job(study: Study, corpora: Iterable[str]) -> CodebookJob:
    """Training of the dVAE, or a published encoder, and caching of the tokens of `corpora`."""
    config, name = study.config, study.config.name
    job = CodebookJob(
        study=name,
        seed=0,
        codebook=_read(config.codebook),
        grid=config.flava.grid,
        crop_scale_min=config.pretrain.crop_scale_min,
        bad_image_fraction=config.pretrain.bad_image_fraction,
        corpora={corpus: f"data/{name}/{corpus}" for corpus in sorted(corpora)},
        output=f"data/{name}/codebook",
        checkpoints=f"checkpoints/{name}/codebook",
    )
    return with_own_checkpoints(job)


def codebook_files(study: Study) -> list[str]:
    """What the step leaves, its tokens apart; a published encoder has neither log nor curves."""
    names = IMPORT_FILES if study.config.codebook.published else RUN_FILES
    return [f"data/{study.config.name}/codebook/{name}" for name in names]


def _read(config: CodebookConfig) -> CodebookConfig:
    if config.published is None:
        return config
    return CodebookConfig(**{name: getattr(config, name) for name in READ})
