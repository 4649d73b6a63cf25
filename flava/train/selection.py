"""Scores during training: zero-shot accuracy (supplement B.1) and weighted k-NN (DINO)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from flava.data.shards import load_array
from flava.data.transforms import normalise
from flava.errors import DataError
from flava.models import Clip, Flava
from flava.objectives.gather import gather_values
from flava.train.distributed import Ranks
from flava.train.sharding import method

BATCH = 256
NEIGHBOURS, TEMPERATURE = 20, 0.07  # DINO, `eval_knn.py`: the best k, and its temperature

Rows = NDArray[np.int64]


class SelectionSet:
    """Arrays of `flava.evaluate.selection_set`, read as needed.

    Args:
        folder: data/<study>/selection.
        tokenizer: name of the tokenizer whose token ids are read.
    """

    def __init__(self, folder: Path, tokenizer: str = "wordpiece") -> None:
        self.folder, self.tokenizer = folder, tokenizer
        self.record = folder / "record.json"

    def has(self, kind: str) -> bool:
        """Whether there is labelled data of kind "images" or "texts", or "zero_shot"."""
        stem = kind if kind == "zero_shot" else f"{kind}_train"
        return (self.folder / f"{stem}_labels.npy").is_file()

    def labels(self, part: str) -> Tensor:
        """Class positions of a part, e.g. "zero_shot" or "images_train": int64 [N]."""
        return torch.from_numpy(np.array(self._load(f"{part}_labels")))

    def pixels(self, part: str, rows: Rows) -> Tensor:
        """Normalised pixels_BCHW of some rows of a part."""
        return normalise(np.asarray(self._load(f"{part}_pixels")[rows]))

    def texts(self, part: str, rows: Rows | None = None) -> tuple[Tensor, Tensor]:
        """Ids text_BL (0 on padding) and attention_BL; `part` "prompts" is flattened over C, T."""
        whole = self._load(f"{part}_{self.tokenizer}")
        flat = whole.reshape(-1, whole.shape[-1])
        ids = torch.from_numpy(np.array(flat if rows is None else flat[rows]))
        attention_BL = ids >= 0
        longest = int(attention_BL.sum(dim=1).max())
        return ids.clamp(min=0)[:, :longest], attention_BL[:, :longest]

    def prompts_shape(self) -> tuple[int, int]:
        """(classes, templates)."""
        classes, templates, _ = self._load(f"prompts_{self.tokenizer}").shape
        return classes, templates

    def _load(self, name: str) -> NDArray[np.int64]:
        path = self.folder / f"{name}.npy"
        if not path.is_file():
            raise DataError(f"{path} is missing. Run the step that makes the selection set first.")
        return load_array(path)


def zero_shot_accuracy(model: Flava | Clip, data: SelectionSet, ranks: Ranks) -> float:
    """Share of images nearest to their class; a class is the normalised mean of its prompts.

    The images and prompts are dealt out to the ranks; every rank makes equally many forward
    passes (sharded parameters are gathered in each) and returns the same number.

    Source: supplement B.1, after CLIP Section 3.1.
    """
    classes, templates = data.prompts_shape()

    def embed_texts(rows: Rows) -> Tensor:
        text_BL, attention_BL = data.texts("prompts", rows)
        embed = method(model, "text_embeddings")
        return embed(text_BL.to(ranks.device), attention_BL.to(ranks.device))

    def embed_images(rows: Rows) -> Tensor:
        embed = method(model, "image_embeddings")
        return embed(data.pixels("zero_shot", rows).to(ranks.device))

    prompt_PD = dealt(embed_texts, classes * templates, ranks)
    class_CD = functional.normalize(prompt_PD.view(classes, templates, -1).mean(dim=1), dim=-1)
    labels_N = data.labels("zero_shot").to(ranks.device)
    image_ND = dealt(embed_images, len(labels_N), ranks)
    nearest_N = (image_ND @ class_CD.T).argmax(dim=1)
    return float((nearest_N == labels_N).double().mean())


def dealt(function: Callable[[Rows], Tensor], count: int, ranks: Ranks) -> Tensor:
    """`function` of rows 0 … count - 1, computed a share a rank, on every rank: [count, D]."""
    share = -(-count // ranks.world_size)
    own = (np.arange(share) + ranks.rank * share) % count
    with torch.no_grad():
        parts = [function(own[start : start + BATCH]) for start in range(0, share, BATCH)]
    return gather_values(torch.cat(parts).float())[:count]


def knn_accuracy(train_ND: Tensor, train_N: Tensor, test_MD: Tensor, test_M: Tensor) -> float:
    """Weighted k-nearest-neighbour accuracy on L2-normalised features.

    Each of the k = 20 nearest votes with exp(cosine / 0.07), as in DINO's `eval_knn.py`.
    """
    train_ND, test_MD = (
        functional.normalize(train_ND, dim=-1),
        functional.normalize(test_MD, dim=-1),
    )
    classes = int(max(train_N.max(), test_M.max())) + 1
    right = 0
    for start in range(0, len(test_MD), BATCH):
        cosine_BN = test_MD[start : start + BATCH] @ train_ND.T
        near_BK, index_BK = cosine_BN.topk(min(NEIGHBOURS, len(train_ND)), dim=1)
        votes_BC = near_BK.new_zeros(len(near_BK), classes)
        votes_BC.scatter_add_(1, train_N[index_BK], (near_BK / TEMPERATURE).exp())
        right += int((votes_BC.argmax(dim=1) == test_M[start : start + BATCH]).sum())
    return right / len(test_MD)


def image_knn(
    features: Callable[[Tensor], Tensor], data: SelectionSet, device: torch.device
) -> float:
    """k-NN accuracy of an image encoder's features of `images_train` and `images_test`.

    Args:
        features: pixels_BCHW -> features BD, both on `device`.
        data: the labelled images.
        device: of the encoder.
    """
    return _knn(lambda part, rows: features(data.pixels(part, rows).to(device)), "images", data)


def text_knn(
    features: Callable[[Tensor, Tensor], Tensor], data: SelectionSet, device: torch.device
) -> float:
    """k-NN accuracy of a text encoder's features of `texts_train` and `texts_test`.

    Args:
        features: (text_BL, attention_BL) -> features BD, all on `device`.
        data: the labelled texts.
        device: of the encoder.
    """

    def embed(part: str, rows: Rows) -> Tensor:
        text_BL, attention_BL = data.texts(part, rows)
        return features(text_BL.to(device), attention_BL.to(device))

    return _knn(embed, "texts", data)


def _knn(features: Callable[[str, Rows], Tensor], kind: str, data: SelectionSet) -> float:
    found = []
    for half in ("train", "test"):
        part = f"{kind}_{half}"
        labels_N = data.labels(part)
        rows = np.array_split(np.arange(len(labels_N)), -(-len(labels_N) // BATCH))
        with torch.no_grad():
            found += [torch.cat([features(part, some).cpu() for some in rows]).float(), labels_N]
    return knn_accuracy(*found)
