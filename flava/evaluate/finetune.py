"""End-to-end fine-tuning of a backbone with a small head (supplement B.2).

AdamW, linear warm-up, then polynomial (power 1, fairseq) or cosine decay to zero. The checkpoint
with the best validation score is kept; test examples are predicted once, with it. A long run that
is killed goes on from where it saved last (flava/evaluate/finetune_state.py).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from flava.config import FinetuneConfig
from flava.errors import TrainingError
from flava.evaluate.context import Context
from flava.evaluate.examples import ExampleBatch, Examples
from flava.evaluate.features import device
from flava.evaluate.finetune_state import FinetuneState, save_requests
from flava.evaluate.metrics import METRICS, Predictions, decide
from flava.evaluate.taskdata import IntArray, SoftLabels, Targets
from flava.models import set_dropout
from flava.models.backbone import Backbone
from flava.prefetch import prefetched, reading_threads
from flava.train.precision import autocast

BETA1 = 0.9
BUCKET_BATCHES = 16  # batches that are sorted by length together
PREDICT_BATCH = 256


class Classifier(nn.Module):
    """A backbone's text or multimodal feature and a head on it."""

    def __init__(
        self, backbone: Backbone, multimodal: bool, n_outputs: int, config: FinetuneConfig
    ) -> None:
        super().__init__()
        assert isinstance(backbone, nn.Module)
        self.backbone = backbone
        width = backbone.multimodal_dim if multimodal else backbone.text_dim
        self.head = make_head(width, n_outputs, config)

    def forward(self, batch: ExampleBatch) -> Tensor:
        """Outputs (B, n_outputs)."""
        text_BL, attention_BL, types_BL, pixels_BCHW = batch
        if pixels_BCHW is not None:
            features_BD = self.backbone.multimodal_features(pixels_BCHW, text_BL, attention_BL)
        else:
            features_BD = self.backbone.text_features(text_BL, attention_BL, types_BL)
        outputs_BC: Tensor = self.head(features_BD)
        return outputs_BC


def make_head(width: int, n_outputs: int, config: FinetuneConfig) -> nn.Sequential:
    """Dropout and one layer, or the two layers with ReLU and dropout of torchmultimodal."""
    if config.head_hidden is None:
        return nn.Sequential(nn.Dropout(config.dropout), nn.Linear(width, n_outputs))
    return nn.Sequential(
        nn.Linear(width, config.head_hidden),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.head_hidden, n_outputs),
    )


@dataclass(frozen=True)
class Finetuned:
    """The best checkpoint and how it came about."""

    model: Classifier
    metric: str
    validation: float
    update: int
    config: FinetuneConfig

    def predict(self, examples: Examples) -> Predictions:
        """Predicted class, value or margin of every example."""
        return predict(self.model, examples, self.metric, self.config)


def finetune(
    context: Context,
    train: Examples,
    validation: Examples,
    n_outputs: int,
    config: FinetuneConfig,
) -> Finetuned:
    """Trains a copy of the context's model; the run's seed fixes head, order and dropout.

    Raises:
        CheckpointError: a checkpoint cannot be used.
        TrainingError: a loss is not finite; names task and update.
    """
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(context.seed)
        backbone = copy.deepcopy(context.model)
        assert isinstance(backbone, nn.Module)
        set_dropout(backbone, config.encoder_dropout)
        model = Classifier(backbone, train.has_images, n_outputs, config).to(device())
        return _train(context, model, train, validation, config)


def _train(
    context: Context,
    model: Classifier,
    train: Examples,
    validation: Examples,
    config: FinetuneConfig,
) -> Finetuned:
    metric = context.task.metric
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=config.learning_rate,
        betas=(BETA1, config.beta2),
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )
    every, total = config.checkpoint_updates, config.updates
    state = FinetuneState(context.saving, model, optimizer, every, total)
    done = state.restore()
    order = bucketed_batches(train.lengths_N, config.batch_size, context.seed)
    read = partial(micro_batches, train, config.accumulate)
    ready = prefetched(read, islice(order, done, config.updates), reading_threads(device()))
    checks = evaluation_updates(config)
    updates = range(done + 1, config.updates + 1)
    model.train()
    with save_requests() as requests:
        for update in tqdm(updates, desc=context.name, disable=None, leave=False):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * rate(update - 1, config)
            optimizer.zero_grad(set_to_none=True)
            _, parts = next(ready)
            loss = backward(model, train.targets, parts, config.precision)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"{context.what}: the fine-tuning loss is not finite at update {update}. "
                    "Lower its learning rate in the study's tasks, or check the pretrained model."
                )
            optimizer.step()
            if update in checks:
                predictions = predict(model, validation, metric, config)
                state.consider(update, METRICS[metric](predictions, validation.targets))
                model.train()
            state.after(update, requests, last=update == config.updates)
    best = state.best
    if best.weights:
        model.load_state_dict(best.weights)
    return Finetuned(model, metric, best.score, best.update, config)


def micro_batches(
    examples: Examples, accumulate: int, rows: IntArray
) -> list[tuple[IntArray, ExampleBatch]]:
    """The examples at `rows` in `accumulate` parts, or as many as there are, with their rows."""
    parts = np.array_split(rows, min(accumulate, len(rows)))
    return [(part, examples.batch(part)) for part in parts]


def backward(
    model: Classifier,
    targets: Targets,
    parts: Sequence[tuple[IntArray, ExampleBatch]],
    precision: str,
) -> float:
    """Adds the gradient of the mean loss of an update's examples, and returns that loss.

    Each micro-batch counts by its share of the examples, so that loss and gradient are the whole
    batch's.

    Args:
        targets: of all examples.
        parts: positions of a micro-batch's examples, and these.
        precision: of the forward pass.
    """
    total, size = 0.0, sum(len(rows) for rows, _ in parts)
    for rows, batch in parts:
        with autocast(device(), precision):
            outputs_BC = model(batch.to(device()))
        loss = loss_of(outputs_BC.float(), targets[rows]) * (len(rows) / size)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total


def predict(
    model: Classifier, examples: Examples, metric: str, config: FinetuneConfig
) -> Predictions:
    """What `metric` takes, for every example; batches of similar length.

    `config.accumulate` divides these batches too.

    Raises:
        TrainingError: an output is not finite.
    """
    model.eval()
    by_length = np.argsort(examples.lengths_N, kind="stable")
    size = max(1, PREDICT_BATCH // config.accumulate)
    chunks = [by_length[start : start + size] for start in range(0, len(by_length), size)]
    parts = []
    with torch.inference_mode():
        for _, batch in prefetched(examples.batch, chunks, reading_threads(device())):
            with autocast(device(), config.precision):
                found_BC = model(batch.to(device()))
            outputs_BC = found_BC.float().cpu().numpy()
            if not np.isfinite(outputs_BC).all():
                raise TrainingError("A fine-tuned model's outputs are not finite. Lower its rate.")
            parts.append(decide(metric, outputs_BC))
    joined: Predictions = np.concatenate(parts)  # type: ignore[assignment]
    return joined[np.argsort(by_length)]


def loss_of(outputs_BC: Tensor, targets: Targets) -> Tensor:
    """Cross-entropy for classes, squared error for values, and for soft answers the binary
    cross-entropy summed over the answers (MMF), each a mean over the batch."""
    if isinstance(targets, SoftLabels):
        soft_BC = torch.from_numpy(targets.dense()).to(outputs_BC)
        total = functional.binary_cross_entropy_with_logits(outputs_BC, soft_BC, reduction="sum")
        return total / len(outputs_BC)
    target_B = torch.from_numpy(targets).to(outputs_BC.device)
    if target_B.is_floating_point():
        return functional.mse_loss(outputs_BC[:, 0], target_B.to(outputs_BC))
    return functional.cross_entropy(outputs_BC, target_B)


def rate(update: int, config: FinetuneConfig) -> float:
    """Share of the peak learning rate before `update` (from 0)."""
    if update < config.warmup_updates:
        return (update + 1) / config.warmup_updates
    span = max(1, config.updates - config.warmup_updates)
    progress = min(1.0, (update - config.warmup_updates) / span)
    if config.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1 - progress


def evaluation_updates(config: FinetuneConfig) -> frozenset[int]:
    """Updates after which the validation set is scored; the last one is among them."""
    n = min(config.evaluations, config.updates)
    return frozenset(round(config.updates * (i + 1) / n) for i in range(n))


def bucketed_batches(lengths_N: IntArray, batch_size: int, seed: int) -> Iterator[IntArray]:
    """Endless batches of positions; every epoch is a new seeded order.

    Within windows of 16 batches examples are sorted by length, so that little is padding; the
    order of a window's batches is shuffled again.
    """
    random = np.random.default_rng(seed)
    window = batch_size * BUCKET_BATCHES
    while True:
        order = random.permutation(len(lengths_N))
        for start in range(0, len(order), window):
            part = order[start : start + window]
            part = part[np.argsort(lengths_N[part], kind="stable")]
            batches = [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
            for index in random.permutation(len(batches)):
                yield batches[index]
