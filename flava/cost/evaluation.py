"""FLOPs of evaluating a model: frozen features, fine-tuning and the scoring of its checkpoints.

Heads, and the fits of linear probes on features, are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from flava.config import ClipConfig, FinetuneConfig, FlavaConfig
from flava.cost.disk import official_inputs
from flava.cost.flops import Flops, add
from flava.cost.models import Sample, clip_sample, flava_sample
from flava.jobs import EvaluateJob, EvaluateTask

# Mean of what GLUE's tasks train on, with BERT's vocabulary: docs/cost.md.
GLUE_TOKENS = 36.0


@dataclass(frozen=True)
class EvaluationCost:
    """FLOPs by the precision that they are made in.

    Attributes:
        unknown: tasks that are left out: stand-ins, whose size is not known.
    """

    fp32: float = 0.0
    bf16: float = 0.0
    unknown: frozenset[str] = frozenset()

    def __add__(self, other: EvaluationCost) -> EvaluationCost:
        return EvaluationCost(
            self.fp32 + other.fp32, self.bf16 + other.bf16, self.unknown | other.unknown
        )


@dataclass(frozen=True)
class Passes:
    """FLOPs of the features of one input (`flava.models.backbone.Backbone`)."""

    image: Flops
    text: Flops
    pair: Flops


def passes(config: FlavaConfig | ClipConfig, tokens: float, size: int | None = None) -> Passes:
    """Of a model's features.

    Args:
        tokens: of a text, special ones included.
        size: pixels a side, if not the model's.
    """
    sized = config.model_copy(update={"image_size": size or config.image_size})
    if isinstance(sized, ClipConfig):
        parts = clip_sample(sized, Sample(min(tokens, sized.context_length)))
        image, text = parts["patch embedding"] + parts["image encoder"], parts["text encoder"]
        return Passes(image, text, image + text)
    alone = flava_sample(sized, ["global_contrastive"], Sample(tokens))
    fused = flava_sample(sized, ["itm"], Sample(tokens))
    return Passes(
        alone["patch embedding"] + alone["image encoder, unmasked"],
        alone["text encoder, unmasked"],
        add(flops for name, flops in fused.items() if name != "ITM head"),
    )


def evaluation_cost(
    job: EvaluateJob, config: FlavaConfig | ClipConfig, caption_tokens: float
) -> EvaluationCost:
    """Of the tasks of a job.

    Args:
        config: of the model.
        caption_tokens: of a caption, a question or a prompt, in the mean.
    """
    costs = (
        EvaluationCost(unknown=frozenset({name}))
        if spec.data.stand_in
        else _task(spec, config, caption_tokens)
        for name, spec in job.tasks.items()
    )
    return sum(costs, EvaluationCost())


def _task(
    spec: EvaluateTask, config: FlavaConfig | ClipConfig, caption_tokens: float
) -> EvaluationCost:
    if spec.finetune is None:
        inputs = official_inputs(spec.task.counts)
        assert inputs is not None  # params/tasks.yaml counts every set
        each = passes(config, caption_tokens)
        flops = inputs.images * each.image.forward + inputs.texts * each.text.forward
        return EvaluationCost(fp32=flops)
    settings, glue = spec.finetune, spec.task.family == "glue"
    both = passes(config, GLUE_TOKENS if glue else caption_tokens, settings.image_size)
    one = both.text if glue else both.pair
    flops = settings.updates * settings.batch_size * one.total
    flops += _scored(spec.task.counts, settings) * one.forward
    if settings.precision == "bf16":
        return EvaluationCost(bf16=flops)
    return EvaluationCost(fp32=flops)


def _scored(counts: dict[str, int], settings: FinetuneConfig) -> float:
    """Examples that are predicted: the held-out ones at each check, the test sets once."""
    train = counts["train"]
    held = counts.get("validation", train * settings.validation_fraction)
    tests = sum(n for name, n in counts.items() if name not in ("train", "validation"))
    return min(settings.evaluations, settings.updates) * held + tests
