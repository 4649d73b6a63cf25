"""Bytes that training and evaluation leave on disk, from the models' own sizes.

Models are built without memory (torch's device "meta"), so the numbers of parameters are exact.
Torch is imported where it is needed: who plans without asking for bytes does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from flava.config import LoopConfig
from flava.cost.models import published_parameters
from flava.jobs import (
    BeitJob,
    CodebookJob,
    DinoJob,
    EvaluateJob,
    ImportJob,
    MlmJob,
    RunConfig,
)

if TYPE_CHECKING:
    from torch import nn

FLOAT = 4  # weights, both moments of AdamW and features are float32
MOMENTS = 2
PROBED = ("linear_probe", "retrieval", "zero_shot")  # families whose features are kept
FINETUNED = ("glue", "multimodal")


class Inputs(NamedTuple):
    """What a task's frozen features are made of; texts are captions, or prompts."""

    images: int
    texts: int


@dataclass(frozen=True)
class Weights:
    """Parameters of a training job.

    Attributes:
        trained: that the optimiser holds moments of.
        held: in the state as a whole, a teacher included.
        exported: in the model that it leaves.
    """

    trained: int
    held: int
    exported: int

    @property
    def checkpoint(self) -> int:
        """Bytes of one checkpoint, at most: a parameter that no loss reads has no moments."""
        return FLOAT * (self.held + MOMENTS * self.trained)

    @property
    def model(self) -> int:
        """Bytes of the exported model."""
        return FLOAT * self.exported

    def checkpoints(self, settings: LoopConfig, selects: bool) -> int:
        """Bytes of all checkpoints, at most: one more than is kept, while it is written.

        Args:
            selects: whether the best weights so far are kept beside each.
        """
        best = FLOAT * self.held if selects else 0
        return (settings.keep_checkpoints + 1) * (self.checkpoint + best)


def run_weights(run: RunConfig) -> Weights:
    """Of a column's pretraining."""
    from flava.models.registry import build

    config = run.flava if run.arch == "flava" else run.clip
    assert config is not None
    count = _count((run.arch, config), lambda: build(run.arch, config))
    return Weights(count, count, count)


def import_bytes(job: ImportJob) -> int:
    """Of a published model's copy: its weights alone."""
    from flava.models.registry import build

    config = job.architecture
    return FLOAT * _count((job.part, config), lambda: build(job.part, config))


def encoder_weights(job: MlmJob | BeitJob | DinoJob) -> Weights:
    """Of an encoder's pretraining: the encoder alone is exported."""
    from flava.models.dino import DinoNetwork
    from flava.models.encoders import ImageEncoder, TextEncoder
    from flava.models.unimodal import MaskedImageModel, MaskedTextModel

    flava = job.flava
    if isinstance(job, MlmJob):
        trained = _count(("mlm", flava), lambda: MaskedTextModel(flava))
        return Weights(trained, trained, _count(("text", flava), lambda: TextEncoder(flava)))
    encoder = _count(("image", flava), lambda: ImageEncoder(flava))
    if isinstance(job, DinoJob):
        recipe = job.recipe
        trained = _count(("dino", flava, recipe), lambda: DinoNetwork(flava, recipe))
        return Weights(trained, 2 * trained, encoder)
    trained = _count(("mim", flava), lambda: MaskedImageModel(flava))
    return Weights(trained, trained, encoder)


def codebook_weights(job: CodebookJob) -> Weights:
    """Of the image tokenizer; a published one is not trained."""
    from flava.models.dvae import DiscreteVAE

    config = job.codebook
    if config.published is not None:
        return Weights(0, 0, published_parameters(config.published, config.codebook_size))
    count = _count(("dvae", config), lambda: DiscreteVAE(config))
    return Weights(count, count, count)


def token_bytes(job: CodebookJob, images: int) -> int:
    """Of the image tokens of so many images: two bytes each, four with a large codebook."""
    each = 2 if job.codebook.codebook_size <= 1 << 16 else 4
    return images * job.grid**2 * each


def feature_bytes(
    job: EvaluateJob, width: int, joint: int, stand_ins: Mapping[str, Inputs] | None
) -> tuple[int, set[str]]:
    """(bytes, names of tasks left out) of the frozen features that an evaluation job keeps.

    Args:
        width: of the image encoder, whose features are probed.
        joint: width of the contrastive embeddings.
        stand_ins: by family, of a stand-in task; None: not known, such tasks are left out.
    """
    total = 0
    unknown: set[str] = set()
    for name, spec in job.tasks.items():
        family = spec.task.family
        if family not in PROBED:
            continue
        if spec.data.stand_in:
            inputs = None if stand_ins is None else stand_ins[family]
        else:
            inputs = official_inputs(spec.task.counts)
        if inputs is None:
            unknown.add(name)
            continue
        images, texts = inputs
        limits = (spec.data.train_limit, spec.data.test_limit)
        if None not in limits:
            images = min(images, sum(limit or 0 for limit in limits))
        each = width if family == "linear_probe" else joint
        total += (images + texts) * each * FLOAT
    return total, unknown


def finetuning_bytes(job: EvaluateJob, parameters: int) -> int:
    """Of the checkpoint of an evaluation job's fine-tuned task, at most, until it has scores.

    One task is fine-tuned at a time. It has one, and one more while it is written; the best weights
    are in it.

    Args:
        parameters: of the model.
    """
    tuned = any(spec.task.family in FINETUNED for spec in job.tasks.values())
    return 2 * FLOAT * parameters * (MOMENTS + 2) if tuned else 0


def official_inputs(counts: dict[str, int]) -> Inputs | None:
    """Images and texts of a set with official counts; None without images."""
    others = ("captions", "classes", "templates", "folds")
    images = {key: n for key, n in counts.items() if key not in others}
    texts = counts.get("captions", counts.get("classes", 0) * counts.get("templates", 0))
    return Inputs(sum(images.values()), texts) if images else None


_known: dict[object, int] = {}


def _count(key: object, make: Callable[[], nn.Module]) -> int:
    """Parameters of a model, built once for each configuration."""
    import torch

    name = repr(key)
    if name not in _known:
        with torch.device("meta"):
            _known[name] = sum(parameter.numel() for parameter in make().parameters())
    return _known[name]
