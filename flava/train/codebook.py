"""Trains the image tokenizer and caches the tokens of all training images.

    python -m flava.train.codebook --config results/<study>/configs/codebook.json

The tokens depend on an image's fixed crop alone, so they are computed once here and not in every
training step, where they would cost 12 % (base size) to 85 % (small) of all work.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from flava.data.corpus import ImageCorpus
from flava.data.transforms import to_unit
from flava.errors import TrainingError, run_cli
from flava.io import atomic_path, sha256_file, write_json
from flava.jobs import CodebookJob, load_job
from flava.models import DiscreteVAE
from flava.records import make_record
from flava.train.interrupt import exit_on_signals

ENCODE_BATCH = 256  # images encoded at once; does not change their tokens
CACHE_BYTES = 1 << 30  # decoded crops are kept in memory up to this size, per corpus

Counts = NDArray[np.int64]


class Crops:
    """The fixed training crops of several corpora as one sequence, at the dVAE's resolution.

    The crop box is the pretraining loader's; only the size differs: grid x downsample pixels a
    side (112 for 14 x 14 tokens of 8 pixels), as FLAVA and BEiT feed DALL-E's encoder.
    """

    def __init__(self, job: CodebookJob) -> None:
        self.size = job.grid * job.codebook.downsample
        self.scale_min = job.crop_scale_min
        self.corpora = {
            name: ImageCorpus(folder, bad_image_fraction=job.bad_image_fraction)
            for name, folder in sorted(job.corpora.items())
        }
        for corpus in self.corpora.values():
            corpus.cache_crops(self.size, self.scale_min, CACHE_BYTES)
        self.ends = np.cumsum([len(corpus) for corpus in self.corpora.values()])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def pixels(self, name: str, indices: NDArray[np.integer[Any]]) -> Tensor:
        """float BCHW in [0, 1] of images of one corpus; a corrupt one gives the next intact one."""
        corpus = self.corpora[name]
        crops = [corpus.good_crop(int(i), self.size, self.scale_min)[1] for i in indices]
        return to_unit(np.stack(crops))

    def sample(self, rng: np.random.Generator, count: int) -> Tensor:
        """float BCHW in [0, 1] of images drawn uniformly from all corpora."""
        drawn = rng.integers(len(self), size=count)
        corpus = np.searchsorted(self.ends, drawn, side="right")
        starts = np.concatenate([[0], self.ends[:-1]])
        parts = [
            self.pixels(name, drawn[corpus == n] - starts[n])
            for n, name in enumerate(self.corpora)
            if (corpus == n).any()
        ]
        return torch.cat(parts)


def train_codebook(job: CodebookJob) -> None:
    """Trains the dVAE and writes weights, configuration, tokens and, last, the record.

    Files of `job.output`: model.safetensors, config.json, <corpus>.npy (uint16 or int32
    [images, grid x grid], row-major) for each corpus, record.json. It takes minutes, so it has no
    checkpoints: killed, it starts anew, and on CPU gives the same bits again.

    Raises:
        DataError: a corpus is missing or damaged.
        TrainingError: the loss is not finite, or too few codes are in use.
    """
    started = time.time()
    output = Path(job.output)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.use_deterministic_algorithms(device.type == "cpu")
    torch.manual_seed(job.seed)
    (output / "record.json").unlink(missing_ok=True)
    crops = Crops(job)
    model = DiscreteVAE(job.codebook).to(device)
    last = optimise(model, crops, job, device)
    usage = np.zeros(job.codebook.codebook_size, np.int64)
    tokens_sha256 = {}
    for name in crops.corpora:
        tokens = encode_corpus(model, crops, name, device)
        usage += np.bincount(tokens.ravel(), minlength=len(usage))
        tokens_sha256[name] = _save_tokens(output / f"{name}.npy", tokens)
    used = usage_facts(usage)
    check_usage(used["used_fraction"], job)
    facts: dict[str, Any] = {
        "tokens_sha256": tokens_sha256,
        "images": {name: corpus.report() for name, corpus in crops.corpora.items()},
        "reconstruction_mse": reconstruction_mse(model, crops, job, device),
        "last_update": last,
        **used,
    }
    with atomic_path(output / "model.safetensors") as temporary:
        save_file({k: v.cpu().contiguous() for k, v in model.state_dict().items()}, temporary)
    write_json(output / "config.json", job.codebook.model_dump(mode="json"))
    facts["model_sha256"] = sha256_file(output / "model.safetensors")
    sources = [Path(folder) / "manifest.json" for folder in job.corpora.values()]
    write_json(
        output / "record.json",
        make_record("codebook", job, started, manifests=sources, extra=facts),
    )


def optimise(
    model: DiscreteVAE, crops: Crops, job: CodebookJob, device: torch.device
) -> dict[str, float]:
    """Adam on reconstruction + KL while the temperature falls; returns the last update's terms."""
    config = job.codebook
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    generator = torch.Generator(device).manual_seed(job.seed)
    rng = np.random.default_rng([job.seed, 0])
    wait = 0.5 if sys.stderr.isatty() else 30.0
    terms: Mapping[str, Tensor] = {}
    for update in tqdm(range(config.updates), desc="codebook", unit="update", mininterval=wait):
        pixels_BCHW = crops.sample(rng, config.batch_size).to(device)
        heat = temperature(update, config.updates, config.temperature_start, config.temperature_end)
        terms = model.loss_terms(pixels_BCHW, heat, generator)
        loss = terms["reconstruction"] + config.kl_weight * terms["kl"]
        if not loss.isfinite():
            raise TrainingError(
                f"The codebook's loss is {loss.item()} at update {update} of {config.updates}. "
                "Lower codebook.learning_rate."
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {name: float(value.detach()) for name, value in terms.items()}


def temperature(update: int, updates: int, start: float, end: float) -> float:
    """Gumbel-softmax temperature: half a cosine from `start` to `end` (DALL-E, appendix A.2)."""
    progress = update / max(1, updates - 1)
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))


def encode_corpus(
    model: DiscreteVAE, crops: Crops, name: str, device: torch.device
) -> NDArray[np.unsignedinteger[Any] | np.signedinteger[Any]]:
    """Tokens [images, P] of a corpus, in the order of its images."""
    count, side = len(crops.corpora[name]), crops.size // model.config.downsample
    dtype = np.uint16 if model.config.codebook_size <= 1 << 16 else np.int32
    tokens_NP = np.zeros((count, side * side), dtype)
    model.eval()
    for start in tqdm(range(0, count, ENCODE_BATCH), desc=f"tokens of {name}", mininterval=5.0):
        indices = np.arange(start, min(start + ENCODE_BATCH, count))
        pixels_BCHW = crops.pixels(name, indices).to(device)
        tokens_NP[indices] = model.encode_tokens(pixels_BCHW).cpu().numpy()
    return tokens_NP


def reconstruction_mse(
    model: DiscreteVAE, crops: Crops, job: CodebookJob, device: torch.device
) -> float:
    """Mean squared error, over pixels in [0, 1], of images decoded from their tokens."""
    pixels_BCHW = crops.sample(np.random.default_rng([job.seed, 1]), ENCODE_BATCH).to(device)
    tokens_BHW = model.encode_tokens(pixels_BCHW).view(-1, job.grid, job.grid)
    return float((model.decode_tokens(tokens_BHW) - pixels_BCHW).square().mean())


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
    if used_fraction < needed:
        raise TrainingError(
            f"Only {used_fraction:.1%} of the {job.codebook.codebook_size} image tokens are in "
            f"use, fewer than codebook.min_used_fraction ({needed:.1%}). Raise codebook.updates "
            "or kl_weight, lower codebook_size, or give more varied images."
        )


def _save_tokens(path: Path, tokens: NDArray[Any]) -> str:
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, tokens, allow_pickle=False)
    return sha256_file(path)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m flava.train.codebook", description=__doc__)
    parser.add_argument("--config", required=True, help="resolved codebook job (JSON)")
    job = load_job(CodebookJob, parser.parse_args().config)
    exit_on_signals("codebook training stopped")
    train_codebook(job)
    print(f"codebook: {job.output}")


if __name__ == "__main__":
    run_cli(main)
