"""Image encoder by self-distillation with no labels (DINO, arXiv 2104.14294; supplement B.1).

python -m flava.train.init_dino --config results/<study>/inits/dino-s<seed>/config.json
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flava.config import DinoInitConfig, Sharding
from flava.data.augment import Views, multi_crop_views, view_draws
from flava.data.corpus import ImageCorpus
from flava.data.schedule import Order, Share
from flava.errors import ConfigError, run_cli
from flava.jobs import DinoJob, load_job
from flava.models import set_drop_path
from flava.models.dino import DinoNetwork
from flava.models.encoder_files import load_encoder_state, save_encoder
from flava.objectives.dino import (
    Center,
    dino_loss,
    pair_cross_entropies,
    sinkhorn_probabilities,
    teacher_probabilities,
)
from flava.train import identity, loop
from flava.train.command import train_command
from flava.train.dino_watch import DinoWatch, check_collapse
from flava.train.distributed import Ranks, norms
from flava.train.finish import check_equal, check_finite
from flava.train.recipe import Recipe
from flava.train.selection import SelectionSet, image_knn
from flava.train.sharding import local

CACHE_BYTES = 512_000_000  # decoded images are kept in memory up to this size


def pretrain_image(config_path: str, sharding: Sharding = "none") -> None:
    """Trains to the end on this process's rank: what a launcher starts.

    Raises:
        ConfigError, DataError, TrainingError, CheckpointError: as their messages say.
    """
    job = load_job(DinoJob, config_path)
    loop.run(lambda ranks: DinoRecipe(job, ranks), sharding)


@dataclass(frozen=True)
class CropBatch:
    """Crops of some images: the global ones and, where there are any, the local ones."""

    kind: str
    keys: list[str]
    views: list[Views]

    def to(self, device: torch.device) -> CropBatch:
        """The same batch on `device`."""
        return CropBatch(self.kind, self.keys, [views.to(device) for views in self.views])


class DinoRecipe(Recipe):
    """A student learns to say of each crop what its own moving average says of another one.

    Modules of the state: "model" is the student, "teacher" its moving average, "center" the mean
    of the teacher's outputs. The teacher's encoder is exported, as DINO's released backbones are.
    """

    step = "init_dino"
    job: DinoJob
    model: DinoNetwork

    def __init__(self, job: DinoJob, ranks: Ranks) -> None:
        self.job, self.ranks, self.seed = job, ranks, job.seed
        self.config = self.settings = job.recipe
        self.objectives = {"images": ["dino"]}
        self.output, self.checkpoints = Path(job.output), Path(job.checkpoints)
        check_sizes(job)
        self.model, self.teacher = student_and_teacher(job)
        self.center = Center(self.config.out_dim, self.config.center_momentum)
        options = self.config
        self.share = Share(options.batch_size, options.accumulate, ranks.rank, ranks.world_size)
        self.corpus = ImageCorpus(job.images, bad_image_fraction=options.bad_image_fraction)
        self.corpus.cache_images(CACHE_BYTES)
        self.order = Order(job.seed, "images", len(self.corpus))
        self.watch = DinoWatch(options, job.flava.hidden_size)
        self._done = 0  # updates, for the measures of the log

    def schedule(self) -> NDArray[np.str_]:
        """All updates read images."""
        return np.full(self.config.updates, "images")

    def batch(self, update: int, micro: int) -> CropBatch:
        """This rank's images of a micro-batch, cut into crops."""
        rows = self.share.rows(self.order, update, update, micro)
        side = self.job.flava.patch_size
        found = [self.corpus.good_image(int(sample), side) for sample in rows.samples]
        draws_BCU = view_draws(self.seed, update, rows.numbers, 2 + self.config.local_crops)
        images = [image for _, image in found]
        views = multi_crop_views(images, draws_BCU, self.config, self.job.flava.image_size)
        return CropBatch("images", [self.corpus.key(index) for index, _ in found], views)

    def losses(self, batch: CropBatch, update: int) -> Mapping[str, Tensor]:
        """Cross-entropy between the teacher's and the student's outputs for different crops."""
        pixels = [views.normalised() for views in batch.views]
        with torch.no_grad():
            teacher_ND, teacher_NK = self.teacher(pixels[0])
        target_NK = self.targets(teacher_NK, update)
        outputs = [self.model(crops_NCHW) for crops_NCHW in pixels]  # one pass a size
        student_NK = torch.cat([output_NK for _, output_NK in outputs])
        rows = len(batch.keys)
        cross_entropy_QV = pair_cross_entropies(
            student_NK.view(-1, rows, self.config.out_dim),
            target_NK.view(2, rows, self.config.out_dim),
            self.config.student_temperature,
        )
        if self._logged(update + 1):
            self.watch.add(cross_entropy_QV, target_NK, outputs[0][0], teacher_ND)
        return {"dino": dino_loss(cross_entropy_QV)}

    def targets(self, teacher_NK: Tensor, update: int) -> Tensor:
        """The teacher's probabilities; adds its outputs to the running mean."""
        heat = teacher_temperature(update, self.config)
        if self.config.centering == "sinkhorn":
            return sinkhorn_probabilities(teacher_NK, heat)
        target_NK = teacher_probabilities(teacher_NK, self.center.center_K, heat)
        self.center.add(teacher_NK)
        return target_NK

    def after_backward(self, update: int) -> None:
        """Clips each parameter's gradient alone; drops that of the prototypes at first."""
        if self.config.clip_parameter_norm is not None:
            clip_each(self.model, self.config.clip_parameter_norm)
        if update < self.config.freeze_last_layer_updates:
            for parameter in self.model.head.last_layer():
                parameter.grad = None

    @torch.no_grad()
    def after_update(self, update: int, total: int) -> None:
        """Moves the teacher towards the student, and the centre by the batch."""
        keep = teacher_momentum(update, total, self.config.teacher_momentum)
        teacher, student = (
            [local(parameter) for parameter in module.parameters()]
            for module in (self.teacher, self.model)
        )
        torch._foreach_lerp_(teacher, student, 1 - keep)
        if self.config.centering == "mean":
            self.center.update()
        self._done = update + 1

    def after_skipped(self, update: int) -> None:
        """Keeps the outputs of an update that changed nothing out of the centre."""
        self.center.clear()
        self._done = update + 1

    @property
    def diagnostics(self) -> Sequence[str]:
        """Measures of the last update, the two schedules of the teacher, and k-NN accuracy."""
        return [*DinoWatch.names, "teacher_momentum", "teacher_temperature", "knn_accuracy"]

    def diagnose(self) -> dict[str, float | None]:
        """Their values after the last update.

        Raises:
            TrainingError: the teacher's outputs have collapsed.
        """
        measures = self.watch.close()
        check_collapse(measures, self._done, self.config)
        every, last = self.config.knn_updates, self._done - 1
        due = every is not None and self._done % every == 0
        due &= self.ranks.first or self.ranks.sharded  # whose forward passes are of all ranks
        return measures | {
            "teacher_momentum": teacher_momentum(
                last, self.config.updates, self.config.teacher_momentum
            ),
            "teacher_temperature": teacher_temperature(last, self.config),
            "knn_accuracy": self.knn(self.teacher) if due else None,
        }

    def _logged(self, done: int) -> bool:
        return done % self.config.log_updates == 0 or done == self.config.updates

    def modules(self) -> dict[str, nn.Module]:
        """Student, teacher and centre."""
        return {"model": self.model, "teacher": self.teacher, "center": self.center}

    def knn(self, network: DinoNetwork) -> float | None:
        """k-NN accuracy of [CLS] after the final norm; None without labelled images."""
        if self.job.selection is None:
            return None
        data = SelectionSet(Path(self.job.selection))
        return image_knn(lambda pixels_BCHW: network(pixels_BCHW)[0], data, self.ranks.device)

    def export(self, directory: Path) -> None:
        """The teacher's encoder in the layout of Hugging Face's FlavaImageModel."""
        check_finite(self.teacher)
        save_encoder(self.teacher.encoder, self.job.flava, directory)
        read = load_encoder_state(directory, "image", self.job.flava)
        check_equal(self.teacher.encoder.state_dict(), read, directory)

    def inputs(self) -> dict[str, Any]:
        """Hash of the images' manifest."""
        return dict(identity.file_hashes(self.manifests()))

    def parents(self) -> list[Path]:
        """Record of the selection set."""
        return identity.selection_records(self.job.selection)

    def manifests(self) -> list[Path]:
        """Manifest of the images."""
        return identity.manifests({"images": self.job.images})

    def facts(self) -> dict[str, Any]:
        """Which network was exported, and its k-NN accuracy before and after training."""
        facts: dict[str, Any] = {"exported": "teacher"}
        if self.job.selection is not None:
            _, untrained = student_and_teacher(self.job)
            device = self.ranks.device  # the export has left all on the CPU
            facts["knn_accuracy"] = self.knn(self.teacher.to(device))
            facts["knn_accuracy_random_weights"] = self.knn(untrained.to(device))
        return facts

    def report(self) -> dict[str, Any]:
        """Images met so far and those that could not be used."""
        return {"images": {"images": self.corpus.report()}}

    def title(self) -> str:
        """Heading of the curves."""
        return f"{self.job.study}: {self.step}, seed {self.seed}"


def student_and_teacher(job: DinoJob) -> tuple[DinoNetwork, DinoNetwork]:
    """With equal weights, a function of the seed alone; only the student skips branches."""
    torch.manual_seed(job.seed)
    student = DinoNetwork(job.flava, job.recipe)
    teacher = copy.deepcopy(student).requires_grad_(False).eval()
    set_drop_path(student, job.recipe.drop_path)
    return student, teacher


def check_sizes(job: DinoJob) -> None:
    """Refuses local crops that cannot be cut into patches.

    Raises:
        ConfigError: names both sizes.
    """
    size, side, whole = job.recipe.local_size, job.flava.patch_size, job.flava.image_size
    if job.recipe.local_crops and (size % side or size > whole):
        raise ConfigError(
            f"inits.dino.recipe.local_size {size} must be a multiple of flava.patch_size ({side}) "
            f"and at most flava.image_size ({whole}), so that local crops can be cut into patches."
        )


def teacher_temperature(update: int, config: DinoInitConfig) -> float:
    """Rises along a line from its start to its end during the warm-up, then stays."""
    start, end = config.teacher_temperature_start, config.teacher_temperature
    if update >= config.teacher_temperature_updates:
        return end
    return start + (end - start) * update / config.teacher_temperature_updates


def teacher_momentum(update: int, total: int, start: float) -> float:
    """Share of the old teacher in the new one: rises from `start` to 1 along half a cosine.

    Source: DINO, `utils.py:cosine_scheduler`.
    """
    return 1 - (1 - start) * 0.5 * (1 + math.cos(math.pi * update / total))


def clip_each(model: nn.Module, limit: float) -> None:
    """Scales each parameter's gradient down to the L2 norm `limit`, if it is longer.

    Source: DINO, `utils.py:clip_gradients`.
    """
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    factors = (limit / (norms(grads) + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_([local(grad) for grad in grads], list(factors))


def main() -> None:
    """Command line."""
    train_command("flava.train.init_dino", __doc__, DinoJob, pretrain_image)


if __name__ == "__main__":
    run_cli(main)
