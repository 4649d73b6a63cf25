"""Which encoder recipes a study runs, resolved: one a (init, seed) that some run starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flava.jobs import BeitJob, DinoJob, MlmJob, RunConfig, with_own_checkpoints
from flava.studies import Study


@dataclass(frozen=True)
class EncoderRun:
    """One encoder's pretraining.

    Attributes:
        kind: mlm, beit or dino.
        job: its resolved configuration.
        inputs: files that it reads, the selection set apart.
        image_tokens: corpus -> token array that it reads.
    """

    kind: str
    job: MlmJob | BeitJob | DinoJob
    inputs: list[str]
    image_tokens: dict[str, str]


def encoder_runs(study: Study, runs: Mapping[str, RunConfig]) -> dict[str, EncoderRun]:
    """`<init>-s<seed>` -> its run, for all encoders that `runs` start from."""
    found: dict[str, EncoderRun] = {}
    for run in runs.values():
        for source in (run.init.image, run.init.text):
            if source is not None and source.directory is not None:
                name = Path(source.directory).parent.name
                found.setdefault(name, _encoder_run(study, source.kind, run.seed))
    return dict(sorted(found.items()))


def _encoder_run(study: Study, kind: str, seed: int) -> EncoderRun:
    config, name = study.config, study.config.name
    data = f"data/{name}"
    scored = config.selection.texts if kind == "mlm" else config.selection.images
    common: dict[str, Any] = {
        "study": name,
        "seed": seed,
        "flava": config.flava,
        "selection": f"{data}/selection" if scored else None,
        "output": f"results/{name}/inits/{kind}-s{seed}",
        "checkpoints": f"checkpoints/{name}/inits/{kind}-s{seed}",
    }
    recipe = getattr(config.inits, kind).recipe
    images, tokens = f"{data}/images", f"{data}/codebook/images.npy"
    if kind == "mlm":
        tokenizer, texts = f"{data}/tokenizers/wordpiece.json", f"{data}/texts"
        mlm = MlmJob(
            **common, recipe=recipe, masking=config.masking, tokenizer_path=tokenizer, texts=texts
        )
        return EncoderRun(
            kind, with_own_checkpoints(mlm), [tokenizer, f"{texts}/manifest.json"], {}
        )
    if kind == "beit":
        beit = BeitJob(
            **common,
            recipe=recipe,
            masking=config.masking,
            images=images,
            image_tokens=tokens,
            crop_scale_min=config.pretrain.crop_scale_min,
        )
        dvae = [f"{data}/codebook/model/{file}" for file in ("config.json", "model.safetensors")]
        inputs = [f"{images}/manifest.json", tokens, *dvae]
        return EncoderRun(kind, with_own_checkpoints(beit), inputs, {"images": tokens})
    dino = DinoJob(**common, recipe=recipe, images=images)
    return EncoderRun(kind, with_own_checkpoints(dino), [f"{images}/manifest.json"], {})
