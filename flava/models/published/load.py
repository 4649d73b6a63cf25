"""The one entry to published weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from flava.config import ClipConfig, FlavaConfig, WeightsConfig
from flava.errors import CheckpointError, ConfigError
from flava.models.encoder_files import encoder_shapes
from flava.models.hf import model_shapes
from flava.models.hf_names import Entry
from flava.models.published.clip import prepare_clip, prepare_openai_clip
from flava.models.published.conversion import Conversion
from flava.models.published.files import read_file, state_dict_of
from flava.models.published.flava import prepare_flava
from flava.models.published.language import prepare_roberta
from flava.models.published.report import Report
from flava.models.published.source import locate
from flava.models.published.vision import (
    prepare_beit,
    prepare_dino,
    prepare_hf_beit,
    prepare_hf_vit,
)

Loadable = Literal["image", "text", "flava", "clip"]
Config = FlavaConfig | ClipConfig
Prepare = Callable[[Conversion, Any], list[Entry]]


class _Layout(NamedTuple):
    """How a layout is read.

    Attributes:
        prepare: by the part wanted, what brings the file's parameters to our shapes.
        inside: entries of a training checkpoint that hold the state dict, the best first.
    """

    prepare: dict[str, Prepare]
    inside: tuple[str, ...] = ()


def _flava(part: Literal["image", "text", "flava"]) -> Prepare:
    return lambda c, config: prepare_flava(c, config, part)


LAYOUTS: dict[str, _Layout] = {
    "flava": _Layout({"flava": _flava("flava"), "image": _flava("image"), "text": _flava("text")}),
    "clip": _Layout({"clip": prepare_clip}),
    "openai_clip": _Layout({"clip": prepare_openai_clip}, ("state_dict",)),
    "dino": _Layout({"image": prepare_dino}, ("teacher",)),
    "beit": _Layout({"image": prepare_beit}, ("model",)),
    "hf_vit": _Layout({"image": prepare_hf_vit}),
    "hf_beit": _Layout({"image": prepare_hf_beit}),
    "roberta_prelayernorm": _Layout({"text": prepare_roberta}),
}


class Published(NamedTuple):
    """Loaded weights.

    Attributes:
        state: by our names; of the encoder alone for the parts "image" and "text".
        report: plain JSON data (`flava.models.published.report.Report`).
    """

    state: dict[str, Tensor]
    report: dict[str, Any]

    def load_into(self, module: nn.Module) -> None:
        """Sets the module's parameters; those that the report says are not in the file stay.

        Raises:
            CheckpointError: the module has other parameters than the part that was loaded.
        """
        absent = {name for names in self.report["not_in_file"].values() for name in names}
        if set(module.state_dict()) != set(self.state) | absent:
            raise CheckpointError(
                f"Weights of the part '{self.report['part']}' do not fit a "
                f"{type(module).__name__}: the two have different parameters."
            )
        module.load_state_dict(self.state, strict=False)


def load_published(weights: WeightsConfig, part: Loadable, config: Config) -> Published:
    """Published weights as a state dict of ours, and a report on every parameter.

    Args:
        weights: where they lie and whose names they have.
        part: FLAVA's image or text encoder, a whole FLAVA, or a whole CLIP.
        config: of the model that they are for; sizes must be equal but for the grid of patches
            and the length of texts, which are adapted.

    Raises:
        ConfigError: the layout has no such part, or the configuration is of the other model.
        CheckpointError: the file is missing, damaged, has another hash, holds code, or is not a
            model that ours can represent; names the parameters.
    """
    layout = _check(weights, part, config)
    located = locate(weights)
    values = read_file(located.file)
    state = state_dict_of(values, layout.inside, str(located.file))
    report = Report(
        weights.source, located.file.name, located.sha256, located.revision, weights.layout, part
    )
    if not all(isinstance(value, Tensor) for value in values.values()):
        taken = next(name for name in layout.inside if isinstance(values.get(name), dict))
        others = [str(name) for name in values if name != taken]
        report.add(report.dropped, f"training checkpoint: '{taken}' is taken", others)
    conversion = Conversion(state, located, weights, report)
    conversion.as_float32()
    try:
        entries = layout.prepare[part](conversion, config)
    except (RuntimeError, IndexError) as error:
        conversion.refuse(
            f"some of its parameters have shapes that do not belong together ({error}). "
            "The file is damaged or has another layout."
        )
    ours = conversion.finish(entries, _shapes(part, config))
    return Published(ours, report.to_json())


def _check(weights: WeightsConfig, part: Loadable, config: Config) -> _Layout:
    layout = LAYOUTS[weights.layout]
    if part not in layout.prepare:
        raise ConfigError(
            f"'{weights.source}': layout '{weights.layout}' has no part '{part}', only "
            f"{' or '.join(layout.prepare)}. CLIP's encoders, whose blocks and norms differ, "
            "cannot initialise FLAVA's."
        )
    wanted = ClipConfig if part == "clip" else FlavaConfig
    if not isinstance(config, wanted):
        raise ConfigError(
            f"Part '{part}' needs a {wanted.__name__}, not a {type(config).__name__}."
        )
    return layout


def _shapes(part: Loadable, config: Config) -> dict[str, torch.Size]:
    if part in ("image", "text"):
        assert isinstance(config, FlavaConfig)
        return encoder_shapes(config, part)
    return model_shapes(config)
