"""Frozen features on disk by what they are made of, so that they are extracted once.

The key of a file is a hash of the model's files, the name of its function, what it reads (the
images' content and size, or the texts' token ids, in their order) and what computes it: the code of
CODE, the versions of torch and Pillow, the kind of device. A file that differs from its recorded
checksum is reported and made anew. What the disk does not take is not kept. The folder may be
deleted at any time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL
import torch

from flava.errors import DataError, ForbiddenError
from flava.evaluate.features import (
    FeatureArray,
    ImageFunction,
    TextFunction,
    at_positions,
    device,
    distinct_tokens,
    image_features,
    text_features,
    token_features,
)
from flava.evaluate.taskdata import Images, IntArray
from flava.io import atomic_path, read_json, sha256_file, sha256_json, sha256_parts, write_json

if TYPE_CHECKING:
    from flava.data.tokenizer import Tokenizer

PACKAGE = Path(__file__).parents[1]
# Modules that decide which features a model gives of an input; any edit of them counts.
CODE = (
    "models/*.py",
    "data/transforms.py",
    "data/draw_text.py",
    "evaluate/features.py",
    "evaluate/images.py",
    "evaluate/formats/pcam.py",
    "evaluate/formats/rendered_sst2.py",
)
MODEL_FILES = ("config.json", "model.safetensors")


@dataclass(frozen=True)
class FeatureCache:
    """Features of images and texts by one exported model.

    Attributes:
        folder: of all models and sets of a study; none: nothing is kept.
        model: hash of the model's files.
    """

    folder: Path | None
    model: str

    @classmethod
    def of(cls, folder: str | None, model: Path) -> FeatureCache:
        """The cache in `folder` for the exported model in the folder `model`."""
        if folder is None:
            return cls(None, "")
        return cls(Path(folder), sha256_json([sha256_file(model / name) for name in MODEL_FILES]))

    def image_features(
        self, function: ImageFunction, images: Images, rows: IntArray, size: int, what: str
    ) -> FeatureArray:
        """As `features.image_features`, read from disk where they are; (N, D).

        Raises:
            DataError: an image cannot be read or decoded.
            TrainingError: a feature is not finite; `what` names the task.
        """
        if self.folder is None:
            return image_features(function, images, rows, size, what)
        distinct, positions = np.unique(rows, return_inverse=True)
        found_ND = self._kept(
            {"function": function.__name__, "size": size, "images": images.digest(distinct)},
            len(distinct),
            lambda: image_features(function, images, distinct, size, what),
        )
        return at_positions(found_ND, positions)

    def text_features(
        self,
        function: TextFunction,
        texts: Sequence[str],
        tokenizer: Tokenizer,
        max_length: int,
        what: str,
    ) -> FeatureArray:
        """As `features.text_features`, read from disk where they are; (N, D).

        Raises:
            TrainingError: a feature is not finite; `what` names the task.
        """
        if self.folder is None:
            return text_features(function, texts, tokenizer, max_length, what)
        tokens, positions = distinct_tokens(texts, tokenizer, max_length)
        found_ND = self._kept(
            {"function": function.__name__, "tokens": sha256_json([tokens, tokenizer.pad_id])},
            len(tokens),
            lambda: token_features(function, tokens, tokenizer.pad_id, what),
        )
        return at_positions(found_ND, positions)

    def _kept(
        self, of: dict[str, str | int], n: int, extract: Callable[[], FeatureArray]
    ) -> FeatureArray:
        """The (n, D) features of a file, which `extract` makes where there is none.

        They serve even where they cannot be written: that is said, and they are made again later.
        """
        assert self.folder is not None
        parts = {**computed_by(), "model": self.model, "count": n, **of}
        path = self.folder / f"{sha256_json(parts)}.npy"
        found_ND = _load(path, n)
        if found_ND is None:
            found_ND = extract()
            try:
                _save(path, found_ND, parts)
            except (OSError, ForbiddenError) as error:
                print(f"Features are not kept: {error}", file=sys.stderr, flush=True)
        return found_ND


def code_of(package: Path) -> str:
    """SHA-256 of the modules of CODE; `package` is the folder of flava."""
    files = [path for pattern in CODE for path in sorted(package.glob(pattern))]
    return sha256_parts(path.read_bytes() for path in files)


# As the process started: it runs that code, whatever is edited since.
CODE_AT_START = code_of(PACKAGE)


def computed_by() -> dict[str, str | int]:
    """Code, libraries and kind of device that make features."""
    return {
        "code": CODE_AT_START,
        "torch": torch.__version__,
        "pillow": PIL.__version__,
        "device": device().type,
    }


NO_CACHE = FeatureCache(None, "")


def _save(path: Path, features_ND: FeatureArray, parts: dict[str, str | int]) -> None:
    """The record first: who finds the features finds it too."""
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as file:
            np.save(file, features_ND, allow_pickle=False)
        write_json(path.with_suffix(".json"), {"sha256": sha256_file(temporary), "of": parts})


def _load(path: Path, n: int) -> FeatureArray | None:
    """The features of a whole file (N, D), mapped into memory; None where there is none."""
    if not path.exists():
        return None
    try:
        recorded = read_json(path.with_suffix(".json"))
        if not isinstance(recorded, dict) or recorded.get("sha256") != sha256_file(path):
            raise DataError("its checksum is not the recorded one")
        features_ND: FeatureArray = np.load(path, mmap_mode="r", allow_pickle=False)
        if features_ND.ndim != 2 or len(features_ND) != n or features_ND.dtype != np.float32:
            raise DataError(f"it holds {features_ND.dtype} {features_ND.shape}")
    except (DataError, OSError, ValueError) as error:
        message = f"{path} is damaged ({error}); its features are extracted anew."
        print(message, file=sys.stderr, flush=True)
        return None
    return features_ND
