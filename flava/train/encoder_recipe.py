"""What the masked-prediction recipes of single encoders share (MLM, BEiT)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flava.jobs import EncoderJob
from flava.models.encoder_files import Part, load_encoder_state, save_encoder
from flava.models.encoders import ImageEncoder, TextEncoder
from flava.train import identity
from flava.train.distributed import Ranks
from flava.train.finish import check_equal
from flava.train.recipe import Recipe


class Predictions:
    """Accuracy and variety of the predictions since the last line of the log.

    A model that has collapsed to the most frequent classes keeps a plausible loss; the perplexity
    of what it predicts (exp of the entropy of the predicted classes) then falls towards 1.
    """

    names = ("accuracy", "prediction_perplexity")

    def __init__(self, classes: int) -> None:
        self.hits = 0.0
        self.counts = torch.zeros(classes, dtype=torch.float64)

    def add(self, logits_NV: Tensor, labels_N: Tensor) -> None:
        """Adds one batch."""
        predicted_N = logits_NV.detach().argmax(dim=1)
        self.hits += float((predicted_N == labels_N).sum())
        self.counts += torch.bincount(predicted_N, minlength=len(self.counts)).cpu()

    def close(self) -> dict[str, float | None]:
        """Both numbers, of this rank's samples (the log has rank 0's); starts anew."""
        total = max(1.0, float(self.counts.sum()))
        share = self.counts[self.counts > 0] / total
        perplexity = float((-(share * share.log()).sum()).exp())
        found: dict[str, float | None] = dict(
            zip(self.names, (self.hits / total, perplexity), strict=True)
        )
        self.hits = 0.0
        self.counts.zero_()
        return found

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"hits": self.hits, "counts": self.counts.clone()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes over what `state` returned."""
        self.hits, self.counts = state["hits"], state["counts"].clone()


class EncoderRecipe(Recipe):
    """A single encoder's pretraining by masked prediction; exports the encoder alone."""

    job: EncoderJob
    part: Part
    predictions: Predictions

    def __init__(self, job: EncoderJob, ranks: Ranks) -> None:
        self.job, self.ranks, self.seed = job, ranks, job.seed
        self.output, self.checkpoints = Path(job.output), Path(job.checkpoints)
        torch.manual_seed(job.seed)

    @abstractmethod
    def encoder(self) -> ImageEncoder | TextEncoder:
        """What is exported."""

    @abstractmethod
    def knn(self) -> float | None:
        """k-NN accuracy of the encoder's features; None without labelled data."""

    def parents(self) -> list[Path]:
        """Record of the selection set."""
        return identity.selection_records(self.job.selection)

    @property
    def diagnostics(self) -> Sequence[str]:
        """Accuracy at masked positions, and the perplexity of the predicted classes."""
        return self.predictions.names

    def diagnose(self) -> dict[str, float | None]:
        """Both, over the window."""
        return self.predictions.close()

    def state(self) -> dict[str, Any]:
        """The half-filled window of the diagnostics."""
        return {"predictions": self.predictions.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes over what `state` returned."""
        self.predictions.load_state(state["predictions"])

    def export(self, directory: Path) -> None:
        """The encoder in the layout of Hugging Face's FlavaImageModel or FlavaTextModel."""
        encoder = self.encoder()
        save_encoder(encoder, self.job.flava, directory)
        read = load_encoder_state(directory, self.part, self.job.flava)
        check_equal(encoder.state_dict(), read, directory)

    def facts(self) -> dict[str, Any]:
        """The k-NN accuracy of the exported encoder, and of one with random weights."""
        self.model.to(self.ranks.device).eval()  # the export has left it on the CPU
        trained = self.knn()
        if trained is None:
            return {}
        kept = {name: value.clone() for name, value in self.model.state_dict().items()}
        torch.manual_seed(self.seed)
        self.model.load_state_dict(type(self.model)(self.job.flava).state_dict())
        random = self.knn()
        self.model.load_state_dict(kept)
        return {"knn_accuracy": trained, "knn_accuracy_random_weights": random}

    def title(self) -> str:
        """Heading of the curves."""
        return f"{self.job.study}: {self.step}, seed {self.seed}"
