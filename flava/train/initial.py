"""Initial encoders of a joint run: trained by a recipe of the workflow, or published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from flava.config import FlavaConfig
from flava.errors import CheckpointError, ConfigError
from flava.jobs import EncoderSource, RunInit
from flava.models import Clip, Flava
from flava.models.encoder_files import Part, load_encoder_state
from flava.models.published import load_published, local_sha256


def initialise(model: Flava | Clip, init: RunInit) -> dict[str, Any]:
    """Puts the initial weights into the encoders; all else keeps its random weights.

    The random weights were drawn before, so two columns that differ in an init alone differ in
    that encoder's tensors alone (Section 3.3: the multimodal encoder always starts at random).

    Returns:
        For each part: its kind, source and what was converted.

    Raises:
        ConfigError: the architecture has no such encoder.
        CheckpointError: the weights are missing, damaged or of another shape.
    """
    report: dict[str, Any] = {}
    sources: dict[Part, EncoderSource | None] = {"image": init.image, "text": init.text}
    for part, source in sources.items():
        if source is None:
            continue
        if not isinstance(model, Flava):
            raise ConfigError(
                f"init.{part} '{source.kind}' needs arch 'flava'; CLIP trains from scratch."
            )
        encoder = model.image_encoder if part == "image" else model.text_encoder
        report[part] = _load(encoder, part, source, model.config)
    return report


def check_unchanged(init: RunInit, report: Mapping[str, Any]) -> None:
    """Refuses to continue a run whose published weights are another file than it began with.

    Weights that are no longer there, and those of the hub, are not asked for: the checkpoint has
    all that came of them.

    Args:
        init: of the run.
        report: what `initialise` returned when the run began.

    Raises:
        CheckpointError: names the file and both hashes.
    """
    sources: dict[Part, EncoderSource | None] = {"image": init.image, "text": init.text}
    for part, source in sources.items():
        if source is None or source.weights is None:
            continue
        began, now = report[part]["converted"]["sha256"], local_sha256(source.weights)
        if now not in (None, began):
            raise CheckpointError(
                f"This run's checkpoints are of other data: it began with init.{part} from "
                f"{source.weights.source} with SHA-256 {began}, which now has {now}. Put the "
                "earlier file back to continue, or delete the checkpoints to train anew."
            )


def init_records(init: RunInit) -> list[Path]:
    """Records of the recipes whose weights are read."""
    sources = [source for source in (init.image, init.text) if source is not None]
    return [Path(s.directory).with_name("record.json") for s in sources if s.directory]


def _load(
    encoder: nn.Module, part: Part, source: EncoderSource, config: FlavaConfig
) -> dict[str, Any]:
    report: dict[str, Any] = {"kind": source.kind}
    if source.directory is not None:
        state = load_encoder_state(Path(source.directory), part, config)
        report["source"] = source.directory
    else:
        assert source.weights is not None
        published = load_published(source.weights, part, config)
        state = published.state
        report |= {"source": source.weights.source, "converted": published.report}
    own = encoder.state_dict()
    report["not_in_file"] = sorted(own.keys() - state.keys())
    encoder.load_state_dict({**own, **state})
    return report
