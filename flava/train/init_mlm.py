"""Text encoder by RoBERTa's recipe (supplement B.1): masked language modelling of full sentences.

python -m flava.train.init_mlm --config results/<study>/inits/mlm-s<seed>/config.json
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flava.config import Sharding
from flava.data.batch import Batch
from flava.data.corpus import TextCorpus
from flava.data.kinds import TextBatches
from flava.data.packing import pack
from flava.data.schedule import Order, Rows, Share
from flava.data.tokenizer import load_tokenizer
from flava.errors import ConfigError, DataError, run_cli
from flava.io import sha256_file
from flava.jobs import MlmJob, load_job
from flava.models import set_dropout
from flava.models.encoders import TextEncoder
from flava.models.unimodal import MaskedTextModel
from flava.objectives import mlm_loss
from flava.objectives.masked import IGNORE
from flava.train import identity, loop
from flava.train.command import train_command
from flava.train.distributed import Ranks, sum_over_ranks
from flava.train.encoder_recipe import EncoderRecipe, Predictions
from flava.train.selection import SelectionSet, text_knn

VALIDATION = 1 << 40  # the "update" that masks of held-out samples are drawn for
VALIDATION_BATCH = 64


def pretrain_text(config_path: str, sharding: Sharding = "none") -> None:
    """Trains to the end on this process's rank: what a launcher starts.

    Raises:
        ConfigError, DataError, TrainingError, CheckpointError: as their messages say.
    """
    job = load_job(MlmJob, config_path)
    loop.run(lambda ranks: MlmRecipe(job, ranks), sharding)


class MlmRecipe(EncoderRecipe):
    """RoBERTa's MLM on packed full sentences; the checkpoint with the best held-out loss counts."""

    step, part = "init_mlm", "text"
    job: MlmJob
    model: MaskedTextModel

    def __init__(self, job: MlmJob, ranks: Ranks) -> None:
        super().__init__(job, ranks)
        options = self.settings = job.recipe
        self.objectives = {"texts": ["mlm"]}
        self.model = MaskedTextModel(job.flava)
        set_dropout(self.model, options.dropout)
        self.share = Share(options.batch_size, options.accumulate, ranks.rank, ranks.world_size)
        self.train_batches, self.held_out = self._open()
        self.order = Order(job.seed, "texts", len(self.train_batches))
        self.predictions = Predictions(job.flava.vocab_size)

    def _open(self) -> tuple[TextBatches, TextBatches]:
        """Samples to train on, and held-out ones, chosen by the seed."""
        job, options = self.job, self.job.recipe
        if options.text_length > job.flava.max_text_length:
            raise ConfigError(
                f"inits.mlm.recipe.text_length {options.text_length} exceeds the model's "
                f"{job.flava.max_text_length} text positions (flava.max_text_length)."
            )
        tokenizer = load_tokenizer(job.tokenizer_path)
        corpus = TextCorpus(job.texts, tokenizer.kind)
        if corpus.lines.tokenizer_sha256 != sha256_file(job.tokenizer_path):
            raise DataError(
                f"{job.texts} was prepared with another tokenizer than {job.tokenizer_path}. "
                "Prepare it again."
            )
        ranges_S2 = pack(corpus.lines.offsets, options.text_length - 2)
        held = max(1, round(options.validation_fraction * len(ranges_S2)))
        held = min(held, options.validation_samples)
        if held >= len(ranges_S2):
            raise DataError(
                f"{job.texts} gives {len(ranges_S2)} samples of {options.text_length} tokens, and "
                f"{held} of them are held out, so none is left to train on. Give more text."
            )
        mixed = np.random.default_rng([job.seed, len(ranges_S2)]).permutation(len(ranges_S2))
        parts = (np.sort(mixed[held:]), np.sort(mixed[:held]))
        made = [
            TextBatches(job.seed, job.masking, tokenizer, corpus, ranges_S2[rows]) for rows in parts
        ]
        return made[0], made[1]

    def schedule(self) -> NDArray[np.str_]:
        """All updates read texts."""
        return np.full(self.job.recipe.updates, "texts")

    def batch(self, update: int, micro: int) -> Batch:
        """This rank's rows of a micro-batch."""
        return self.train_batches.batch(self.share.rows(self.order, update, update, micro))

    def losses(self, batch: Batch, update: int) -> Mapping[str, Tensor]:
        """MLM."""
        logits_NV, labels_N = self.model(batch)
        self.predictions.add(logits_NV, labels_N)
        return {"mlm": mlm_loss(logits_NV, labels_N)}

    @property
    def select_updates(self) -> int | None:
        """Updates between validation losses."""
        return self.job.recipe.select_updates

    def score(self) -> float:
        """Minus the MLM loss of the held-out samples, whose masks never change."""
        ranks, total = self.ranks, len(self.held_out)
        share = -(-total // ranks.world_size)
        sums = torch.zeros(2, dtype=torch.float64)
        for start in range(0, share, VALIDATION_BATCH):
            stop = min(start + VALIDATION_BATCH, share)
            rows = range(ranks.rank * share + start, ranks.rank * share + stop)
            samples = np.array(rows) % total  # every rank makes equally many forward passes
            batch = self.held_out.batch(Rows(VALIDATION, rows, samples))
            assert batch.text_labels_BL is not None
            batch.text_labels_BL[np.array(rows) >= total] = IGNORE  # another rank's samples
            logits_NV, labels_N = self.model(batch.to(ranks.device))
            sums += torch.tensor(
                [float(mlm_loss(logits_NV, labels_N)) * len(labels_N), len(labels_N)]
            )
        loss, count = sum_over_ranks(sums)
        return -loss / count

    def encoder(self) -> TextEncoder:
        """The text encoder, without its head."""
        return self.model.text_encoder

    def knn(self) -> float | None:
        """Of [CLS] after the final norm."""
        if self.job.selection is None:
            return None
        data = SelectionSet(Path(self.job.selection))
        return text_knn(self.model.text_encoder.cls, data, self.ranks.device)

    def inputs(self) -> dict[str, Any]:
        """Hashes of the manifest and the tokenizer."""
        return dict(identity.file_hashes([*self.manifests(), Path(self.job.tokenizer_path)]))

    def manifests(self) -> list[Path]:
        """Manifest of the texts."""
        return identity.manifests({"texts": self.job.texts})

    def facts(self) -> dict[str, Any]:
        """k-NN accuracies and the numbers of samples."""
        counts = {"train_samples": len(self.train_batches), "held_out_samples": len(self.held_out)}
        return super().facts() | counts


def main() -> None:
    """Command line."""
    train_command("flava.train.init_mlm", __doc__, MlmJob, pretrain_text)


if __name__ == "__main__":
    run_cli(main)
