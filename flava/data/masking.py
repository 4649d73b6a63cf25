"""BEiT block masks for images and BERT masks for text, from seeded generators."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flava.config import MaskingConfig
from flava.errors import ConfigError

IGNORE = -100
_TRIES = 10  # places tried for one block before the mask is left as it is (BEiT)
_REDRAWS = 20

Ids = NDArray[np.int64]


class BlockMasker:
    """Blockwise masks of `image_patches` patches of a grid x grid image (BEiT, Section 3.2).

    As in BEiT the count is *at most* `image_patches`: a mask ends when ten places in a row did
    not fit (14 x 14, 75 patches: mean 74.5, exactly 75 in 68 % of masks). BEiT's blocks are at
    least `min_block_patches` and can therefore leave a small grid's mask empty, which would make
    the loss NaN: an empty mask is drawn again, and after 20 times one square block is placed.

    Raises:
        ConfigError: `image_patches` is more than the image has.
    """

    def __init__(self, config: MaskingConfig, grid: int) -> None:
        if config.image_patches > grid * grid:
            raise ConfigError(
                f"masking.image_patches {config.image_patches} is more than the {grid}x{grid} "
                "patches of an image."
            )
        self.config = config
        self.grid = grid
        self._log_aspect = sorted((math.log(config.min_aspect), -math.log(config.min_aspect)))
        # Bit y * grid + x is a patch: a block is one product, its new patches one popcount.
        self._column = [sum(1 << (grid * y) for y in range(height)) for height in range(grid + 1)]

    def bits(self, generator: np.random.Generator) -> int:
        """One mask as an integer; bit p is patch p, row-major."""
        for _ in range(_REDRAWS):
            if mask := self._draw(generator):
                return mask
        return self._forced(generator)

    def _draw(self, generator: np.random.Generator) -> int:
        mask, left = 0, self.config.image_patches
        draws: Iterator[list[float]] = iter(
            ()
        )  # uniforms in blocks: one at a time costs more than the rest
        while left > 0:
            for _ in range(_TRIES):
                u = next(draws, None)
                if u is None:
                    draws = iter(generator.random((32, 4)).tolist())
                    u = next(draws)
                block = self._block(u, left)
                new = (block & ~mask).bit_count()
                if 0 < new <= left:
                    mask, left = mask | block, left - new
                    break
            else:
                break
        return mask

    def _block(self, u: list[float], left: int) -> int:
        low, (log_min, log_max) = self.config.min_block_patches, self._log_aspect
        area = low + (left - low) * u[0]
        aspect = math.exp(log_min + (log_max - log_min) * u[1])
        height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if height >= self.grid or width >= self.grid:
            return 0
        top = int(u[2] * (self.grid - height + 1))
        start = top * self.grid + int(u[3] * (self.grid - width + 1))
        return (self._column[height] * ((1 << width) - 1)) << start

    def _forced(self, generator: np.random.Generator) -> int:
        side = max(1, math.isqrt(min(self.config.image_patches, self.config.min_block_patches)))
        side = min(side, self.grid)
        top, start = generator.integers(0, self.grid - side + 1, 2).tolist()
        block = self._column[side] * ((1 << side) - 1)
        return block << int(top * self.grid + start)

    def unpack(self, masks: list[int]) -> NDArray[np.bool_]:
        """Masks as bool [B, grid * grid]."""
        patches = self.grid * self.grid
        size = (patches + 7) // 8
        packed = np.frombuffer(b"".join(mask.to_bytes(size, "little") for mask in masks), np.uint8)
        bits = np.unpackbits(packed.reshape(-1, size), axis=1, bitorder="little")
        return bits[:, :patches].astype(bool)


@dataclass(frozen=True)
class TextMasker:
    """BERT's masks (Section 3.2): 15 % of the tokens, of them 80 % [MASK], 10 % random, 10 % kept.

    n maskable tokens (special tokens are never masked) get floor(0.15 n + u) masks, u uniform in
    [0, 1), so 15 % on average (fairseq), but at least one: none would make the loss NaN. With
    `whole_word`, words in random order are taken while they fit into that number, at least one.

    Attributes:
        mask_id: id of [MASK].
        special_V: bool [V], ids that are neither masked nor used as random tokens.
        word_start_V: bool [V], ids that begin a word; read with `whole_word` only.
    """

    config: MaskingConfig
    mask_id: int
    special_V: NDArray[np.bool_]
    word_start_V: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "_random_ids", np.flatnonzero(~self.special_V))

    def mask(self, text_L: Ids, generator: np.random.Generator) -> tuple[Ids, Ids]:
        """Masked ids and labels (original ids at masked positions, -100 elsewhere), int64 [L].

        A text of special tokens only stays as it is.
        """
        masked_L, labels_L = text_L.copy(), np.full(len(text_L), IGNORE, np.int64)
        candidates = np.flatnonzero(~self.special_V[text_L])
        if len(candidates) == 0:
            return masked_L, labels_L
        count = max(1, int(self.config.text_probability * len(candidates) + generator.random()))
        chosen = self._choose(text_L, candidates, count, generator)
        labels_L[chosen] = text_L[chosen]
        fate = generator.random(len(chosen))
        masks = self.config.mask_fraction
        masked_L[chosen[fate < masks]] = self.mask_id
        random = chosen[(fate >= masks) & (fate < masks + self.config.random_fraction)]
        random_ids: Ids = getattr(self, "_random_ids")  # noqa: B009
        masked_L[random] = random_ids[generator.integers(0, len(random_ids), len(random))]
        return masked_L, labels_L

    def _choose(
        self, text_L: Ids, candidates: Ids, count: int, generator: np.random.Generator
    ) -> Ids:
        if not self.config.whole_word or self.word_start_V is None:
            return generator.permutation(candidates)[:count]
        starts = self.word_start_V[text_L[candidates]]
        gaps = np.diff(candidates, prepend=candidates[0]) > 1  # a special token ends a word
        words = np.split(candidates, np.flatnonzero((starts | gaps)[1:]) + 1)
        chosen: list[Ids] = []
        for index in generator.permutation(len(words)).tolist():
            if not chosen or sum(map(len, chosen)) + len(words[index]) <= count:
                chosen.append(words[index])
        return np.concatenate(chosen)
