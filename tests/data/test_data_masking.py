"""Block masks as BEiT's, text masks as BERT's, never empty."""

from __future__ import annotations

import numpy as np
import pytest

from flava.config import MaskingConfig
from flava.data.masking import IGNORE, BlockMasker, TextMasker
from flava.errors import ConfigError

SPECIAL = np.zeros(1000, bool)
SPECIAL[:5] = True
MASK = 4


def counts(masker: BlockMasker, number: int) -> np.ndarray:
    bits = [masker.bits(np.random.default_rng((3, i))) for i in range(number)]
    return masker.unpack(bits).sum(1)


def test_beit_statistics_at_14_by_14() -> None:
    """2,000 masks of BEiT's own generator: mean 74.5, at least 66, exactly 75 in 68 %."""
    found = counts(BlockMasker(MaskingConfig(), 14), 2000)
    assert found.max() == 75
    assert found.min() >= 60
    assert found.mean() == pytest.approx(74.5, abs=0.15)
    assert (found == 75).mean() == pytest.approx(0.68, abs=0.05)


def boxes(masker: BlockMasker, number: int) -> list[tuple[int, int, int, bool]]:
    """(top, height, width, whether all of it is masked) of the masks' bounding boxes."""
    found = []
    for i in range(number):
        mask = masker.unpack([masker.bits(np.random.default_rng(i))])[0].reshape([masker.grid] * 2)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        found.append((int(rows[0]), *box.shape, bool(box.all())))
    return found


def test_one_block_is_one_rectangle() -> None:
    """Squares of all patches there are: the first block is the whole mask, anywhere."""
    config = MaskingConfig(image_patches=9, min_block_patches=9, min_aspect=1)
    found = boxes(BlockMasker(config, 8), 200)
    assert {(height, width, filled) for _, height, width, filled in found} == {(3, 3, True)}
    assert {top for top, *_ in found} == set(range(6))


def test_blocks_lie_and_stand() -> None:
    """Six patches in one block are 2 x 3 or 3 x 2; else 4 x 1, 2 x 2 or 1 x 4 and a second one."""
    config = MaskingConfig(image_patches=6, min_block_patches=6)
    filled = [box[1:3] for box in boxes(BlockMasker(config, 8), 200) if box[3]]
    assert len(filled) > 100
    assert filled.count((2, 3)) > 30 and filled.count((3, 2)) > 30


def test_every_patch_is_masked_alike() -> None:
    masker = BlockMasker(MaskingConfig(), 14)
    masks = masker.unpack([masker.bits(np.random.default_rng(i)) for i in range(1000)])
    share = masks.mean(0).reshape(14, 14)
    assert np.abs(share - share.T).max() < 0.1
    assert np.abs(share - share[::-1]).max() < 0.1


@pytest.mark.parametrize(
    ("grid", "patches", "block"), [(4, 6, 2), (4, 6, 16), (2, 1, 16), (1, 1, 1)]
)
def test_small_grids_are_never_empty(grid: int, patches: int, block: int) -> None:
    """BEiT's own generator leaves 44 % of 4 x 4 masks empty with blocks of at least 16."""
    config = MaskingConfig(image_patches=patches, min_block_patches=block)
    found = counts(BlockMasker(config, grid), 300)
    assert found.min() >= 1
    assert found.max() <= patches


def test_masks_follow_the_generator() -> None:
    masker = BlockMasker(MaskingConfig(), 14)
    one, same, other = (masker.bits(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same != other


def test_too_many_patches() -> None:
    with pytest.raises(ConfigError, match="image_patches 75 is more than the 4x4"):
        BlockMasker(MaskingConfig(), 4)


def text(length: int, seed: int) -> np.ndarray:
    middle = np.random.default_rng(seed).integers(5, 1000, length)
    return np.concatenate([[2], middle, [3]])


def test_text_mask_rates() -> None:
    masker = TextMasker(MaskingConfig(), MASK, SPECIAL)
    labelled = masked = random = kept = total = 0
    for seed in range(3000):
        ids = text(20, seed)
        out, labels = masker.mask(ids, np.random.default_rng(seed))
        chosen = labels != IGNORE
        assert np.array_equal(labels[chosen], ids[chosen])
        assert np.array_equal(out[~chosen], ids[~chosen])
        assert chosen.sum() == 3  # floor(0.15 * 20 + u)
        assert not chosen[0]
        assert not chosen[-1]
        total += 20
        labelled += chosen.sum()
        masked += (out[chosen] == MASK).sum()
        kept += (out[chosen] == ids[chosen]).sum()
        replaced = chosen & (out != MASK) & (out != ids)
        random += replaced.sum()
        assert not SPECIAL[out[replaced]].any()
    assert labelled / total == pytest.approx(0.15, abs=1e-9)
    assert masked / labelled == pytest.approx(0.8, abs=0.02)
    assert random / labelled == pytest.approx(0.1, abs=0.02)
    assert kept / labelled == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(("length", "mean"), [(10, 1.5), (13, 1.95)])
def test_text_mask_count_is_right_on_average(length: int, mean: float) -> None:
    masker = TextMasker(MaskingConfig(), MASK, SPECIAL)
    number = [
        (masker.mask(text(length, 0), np.random.default_rng(seed))[1] != IGNORE).sum()
        for seed in range(2000)
    ]
    assert np.mean(number) == pytest.approx(mean, abs=0.05)


def test_short_text_has_one_mask() -> None:
    masker = TextMasker(MaskingConfig(), MASK, SPECIAL)
    for seed in range(50):
        _, labels = masker.mask(text(1, seed), np.random.default_rng(seed))
        assert (labels != IGNORE).sum() == 1
    only_special = np.array([2, 3])
    assert np.array_equal(masker.mask(only_special, np.random.default_rng(0))[0], only_special)


def test_whole_words() -> None:
    """Ids below 500 begin a word, others continue it."""
    starts = np.arange(1000) < 500
    masker = TextMasker(MaskingConfig(whole_word=True, text_probability=0.4), MASK, SPECIAL, starts)
    ids = np.array([2, 10, 600, 601, 11, 12, 602, 3, 13, 603, 3])
    words = [{1, 2, 3}, {4}, {5, 6}, {8, 9}]
    for seed in range(200):
        _, labels = masker.mask(ids, np.random.default_rng(seed))
        chosen = set(np.flatnonzero(labels != IGNORE).tolist())
        assert chosen
        for word in words:
            assert word <= chosen or not word & chosen
        assert len(chosen) <= 4
