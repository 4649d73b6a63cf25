"""Parameters of a published file on their way to ours; each step says in the report what it did."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from flava.config import WeightsConfig
from flava.errors import CheckpointError
from flava.models.hf import to_ours
from flava.models.hf_names import Entry
from flava.models.published.report import Report
from flava.models.published.source import Located

# Names that only one layout has, the most telling first.
SIGNATURES = {
    "openai_clip": r"visual\.ln_pre\.",
    "clip": r"vision_model\.pre_layrnorm\.",
    "flava": r"(image|text|multimodal)_model\.",
    "beit": r"blocks\.0\.(attn\.q_bias|gamma_1)",
    "dino": r"blocks\.0\.attn\.qkv\.bias",
    "hf_beit": r"encoder\.layer\.0\.lambda_1",
    "hf_vit": r"encoder\.layer\.0\.layernorm_before\.",
    "roberta_prelayernorm": r"encoder\.layer\.0\.attention\.LayerNorm\.",
}
SHOWN = 8


class Conversion:
    """Tensors of a file by its names, changed step by step.

    Args:
        tensors: state dict of the file.
        located: the file, and what lies beside it.
        weights: what was asked for.
        report: is filled in.
    """

    def __init__(
        self, tensors: dict[str, Tensor], located: Located, weights: WeightsConfig, report: Report
    ) -> None:
        self.tensors = tensors
        self.located = located
        self.weights = weights
        self.report = report
        self.where = str(located.file)
        self._looks_like = next(
            (
                layout
                for layout, pattern in SIGNATURES.items()
                if any(re.search(pattern, name) for name in tensors)
            ),
            None,
        )

    def refuse(self, sentence: str) -> NoReturn:
        """Raises CheckpointError with the file's name before the sentence."""
        raise CheckpointError(f"{self.where}: {sentence}")

    def names(self, pattern: str) -> list[str]:
        """Names whose beginning matches."""
        return [name for name in self.tensors if re.match(pattern, name)]

    def unprefix(self, prefix: str) -> None:
        """Removes a prefix of names, e.g. that of a wrapper module.

        Raises:
            CheckpointError: two parameters would have one name.
        """
        both = [n for n in self.tensors if prefix + n in self.tensors]
        if both:
            self.refuse(
                f"it has both {both[0]} and {prefix}{both[0]}, of which FLAVA's encoder has one. "
                "Take the weights of the model without a head."
            )
        self.tensors = {n.removeprefix(prefix): value for n, value in self.tensors.items()}

    def drop(self, pattern: str, reason: str) -> None:
        """Leaves out the parameters whose name begins with the pattern."""
        names = self.names(pattern)
        for name in names:
            del self.tensors[name]
        self.report.add(self.report.dropped, reason, names)

    def replace(self, name: str, value: Tensor, how: str, used: Iterable[str] = ()) -> None:
        """Sets one parameter, made of those `used` (itself if none), which go."""
        used = list(used) or [name]
        self.check_values(used)
        for other in used:
            self.tensors.pop(other, None)
        self.tensors[name] = value
        self.report.add(self.report.converted, how, used)

    def check_values(self, names: Iterable[str]) -> None:
        """Refuses quantised and broken weights before they are used.

        Raises:
            CheckpointError: not floating point, or not finite.
        """
        for name in names:
            value = self.tensors[name]
            if not value.is_floating_point() or not value.isfinite().all():
                self.refuse(
                    f"{name} is of {value.dtype} or has values that are not finite. Quantised or "
                    "broken weights cannot be loaded; take the original ones."
                )

    def absent(self, ours: Iterable[str], reason: str) -> None:
        """Says that parameters of ours keep their initial value."""
        self.report.add(self.report.not_in_file, reason, ours)

    def differs(self, sentence: str) -> None:
        """Says what is not as in the published model."""
        self.report.differences.append(sentence)

    def check_eps(self, theirs: float, ours: float, where: str = "LayerNorm") -> None:
        """LayerNorm eps cannot be converted; the run's is used."""
        if theirs != ours:
            self.differs(f"{where} eps is {theirs:g} in the published model and {ours:g} here")

    def check_heads(self, theirs: Any, ours: int) -> None:
        """Heads do not show in shapes.

        Raises:
            CheckpointError: they differ.
        """
        if theirs is None:
            self.differs(f"attention heads are not in the file; {ours} are assumed, as in this run")
        elif theirs != ours:
            self.refuse(
                f"the published encoder has {theirs} attention heads, but this run's has {ours}. "
                "Set the run's model sizes to those of the weights."
            )

    def as_float32(self) -> None:
        """Weights are kept in float32."""
        kinds = {str(v.dtype).removeprefix("torch.") for v in self.tensors.values()}
        half = sorted(kinds & {"float16", "bfloat16", "float64"})
        if half:
            self.differs(f"stored as {', '.join(half)}, kept as float32 here")
        self.tensors = {
            name: value.float() if value.is_floating_point() else value
            for name, value in self.tensors.items()
        }

    def finish(self, entries: Sequence[Entry], shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
        """Our state dict.

        Raises:
            CheckpointError: a parameter is missing, not known or of the wrong shape.
        """
        expected = {name for entry in entries for name in entry.theirs}
        found = set(self.tensors)
        self._check_names(sorted(expected - found), sorted(found - expected))
        self.check_values(self.tensors)
        state = to_ours(self.tensors, entries, shapes, self.where)
        self.report.loaded = list(state)
        for entry in entries:
            if len(entry.theirs) > 1:
                how = "query, key and value stacked into one Linear"
                self.report.add(self.report.converted, how, entry.theirs)
        absent = {name for names in self.report.not_in_file.values() for name in names}
        assert set(state) | absent == set(shapes), "every parameter of ours is accounted for"
        return state

    def _check_names(self, missing: list[str], unexpected: list[str]) -> None:
        if not missing and not unexpected:
            return
        parts = []
        if missing:
            parts.append(f"{len(missing)} parameters are missing: {_shown(missing)}")
        if unexpected:
            parts.append(f"{len(unexpected)} are not known in this layout: {_shown(unexpected)}")
        self.refuse(f"{'; '.join(parts)}. {self._advice()}")

    def _advice(self) -> str:
        layout, other = self.weights.layout, self._looks_like
        if other not in (None, layout):
            return f"The names look like layout '{other}', not '{layout}': set `layout`."
        return (
            f"It is not a '{layout}' model of this run's size: set the run's layers and sizes to "
            "those of the weights, or fetch the right file."
        )


def _shown(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
