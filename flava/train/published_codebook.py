"""Image tokens by DALL-E's published encoder: nothing is trained (docs/weights.md)."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from flava.config import Sharding
from flava.fingerprint import training_sha256
from flava.io import atomic_directory, sha256_file, sha256_json, write_json
from flava.jobs import CodebookJob
from flava.models.dalle import DalleEncoder, load_encoder, load_published
from flava.records import make_record
from flava.train import identity
from flava.train.checkpoint import Checkpoints
from flava.train.code_usage import encode_corpora
from flava.train.distributed import joined_ranks
from flava.train.finish import WEIGHTS, check_equal
from flava.train.image_tokens import Crops


def encode_published(job: CodebookJob, sharding: Sharding = "none") -> None:
    """Tokens of all images on rank 0; killed, it goes on where its files of tokens end.

    Files of `job.output`: model/ (the encoder, as transformers reads it), <corpus>.npy as of a
    trained dVAE, record.json last. There is no log.csv and no curves.png.

    Raises:
        CheckpointError: the weights are missing, damaged or others than the study asks for; or
            another process makes the same tokens.
        ConfigError: they have other sizes than the study, or transformers is not installed.
        DataError: a corpus is missing or damaged.
        TrainingError: too few codes are in use.
    """
    inputs = identity.file_hashes(identity.manifests(job.corpora))
    checkpoints = Checkpoints(
        Path(job.checkpoints),
        sha256_json(job.model_dump(mode="json")),
        sha256_json(inputs),
        training_sha256("flava.train.published_codebook"),
        job.codebook.keep_checkpoints,
    )
    with joined_ranks(sharding) as ranks, checkpoints.locked(ranks.first):
        if ranks.first:
            _encode(job, ranks.device)


def _encode(job: CodebookJob, device: torch.device) -> None:
    started, output, published = time.time(), Path(job.output), job.codebook.published
    assert published is not None
    (output / "record.json").unlink(missing_ok=True)
    model, located = load_published(published, job.codebook.codebook_size)
    crops = Crops(job)
    files, used = encode_corpora(model.to(device), crops, job, device)
    _export(model.cpu(), output / "model")
    facts = {
        "kind": "published",
        "published": {
            "path": published.path,
            "file": located.file.name,
            "sha256": located.sha256,
        },
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "model_sha256": sha256_file(output / "model" / WEIGHTS),
        "tokens_sha256": {name: sha256_file(file.path) for name, file in files.items()},
        "images": {name: corpus.report() for name, corpus in crops.corpora.items()},
        **used,
    }
    for name, file in files.items():
        file.move_to(output / f"{name}.npy")
    manifests = identity.manifests(job.corpora)
    record = make_record("codebook", job, started, manifests=manifests, extra=facts)
    write_json(output / "record.json", record)


def _export(model: DalleEncoder, folder: Path) -> None:
    """A copy beside the tokens: BEiT's random crops get theirs from it."""
    with atomic_directory(folder) as temporary:
        model.save(temporary)
        check_equal(model.state_dict(), load_encoder(temporary).state_dict(), folder)
