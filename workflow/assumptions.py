"""What turns a plan into FLOPs, and FLOPs into hours."""

from __future__ import annotations

from dataclasses import dataclass

from flava.cost.corpora import caption_words, image_count
from flava.cost.evaluation import EvaluationCost
from flava.cost.runs import JobCost, run_cost
from flava.errors import ConfigError
from workflow.plan import Plan
from workflow.resources import LaunchSettings, launch_settings, resolve


@dataclass(frozen=True)
class Assumptions:
    """What turns FLOPs into hours, and words into tokens.

    Attributes:
        gpu: whose peak it is.
        peak: FLOP/s of dense bf16 matrix products.
        utilisation: share of the peak that training reaches.
        pieces_per_word: tokens of a word of a caption. With BERT's vocabulary and CLIP's: 1.04 and
            1.03 on Flickr8k's clean captions, 1.33 on news; PMD's lie between.
        peak_fp32: FLOP/s without tensor cores, of what evaluation runs in fp32.
        image_bytes: of an image file of pairs that are not prepared yet: 1.5 TB for PMD's 68M
            images at 256 pixels (docs/pmd.md).
    """

    gpu: str = "H100 SXM, dense bf16"
    peak: float = 989e12
    utilisation: float = 0.40
    pieces_per_word: float = 1.25
    image_bytes: float = 22e3
    peak_fp32: float = 67e12

    def hours(self, flops: float) -> float:
        """GPU-hours of so many FLOPs."""
        return flops / (self.peak * self.utilisation) / 3600

    def evaluation_hours(self, cost: EvaluationCost) -> float:
        """GPU-hours of an evaluation."""
        return self.hours(cost.bf16) + self.hours(cost.fp32 * self.peak / self.peak_fp32)


def check(assumed: Assumptions) -> None:
    """Refuses what is impossible.

    Raises:
        ConfigError: a peak, the pieces a word or the bytes an image are not positive, or
            utilisation not in (0, 1].
    """
    if not 0 < assumed.utilisation <= 1:
        raise ConfigError(
            f"utilisation {assumed.utilisation} is not a share of the peak. Give a number above 0 "
            "and at most 1, e.g. 0.4."
        )
    positive = {
        "peak": assumed.peak,
        "peak in fp32": assumed.peak_fp32,
        "pieces per word": assumed.pieces_per_word,
        "bytes per image": assumed.image_bytes,
    }
    for name, value in positive.items():
        if not 0 < value < float("inf"):
            raise ConfigError(f"{name} {value} must be a positive number.")


def corpus_images(plan: Plan, corpus: str) -> int | None:
    """Images of a corpus: from its manifest, else as the study expects them, else None."""
    data = plan.study.config.data
    found = image_count(f"{plan.data}/{corpus}")
    if found is None and data.toy_world:
        world = data.toy_world
        known = {"pairs": world.pairs, "images": world.images, "large_pairs": world.large_pairs}
        found = known.get(corpus)
    if found is None and corpus == "pairs":
        found = sum(source.expected_pairs or 0 for source in data.pairs) or None
    return found


def pretraining_cost(
    plan: Plan, run: str, assumed: Assumptions, settings: LaunchSettings | None = None
) -> JobCost:
    """Pretraining of one run, on the ranks that `settings` give, or else the study."""
    config = plan.runs[run]
    words, _ = caption_words(config.corpora.get("pairs", ""), plan.study.params / "paper")
    ranks = resolve("pretrain", config.column, settings or study_settings(plan)).ranks
    return run_cost(config, words, assumed.pieces_per_word, ranks)


def study_settings(plan: Plan) -> LaunchSettings:
    """What the study's resources alone say."""
    tree = {"cluster": {"kind": "slurm"}, "resources": plan.study.config.resources}
    return launch_settings(tree, f"study '{plan.name}'")


def shown_hours(hours: float) -> str:
    """Whole hours, two digits below ten."""
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"
