"""The split of KITTI's pictures by video that VTAB and CLIP use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SEED, HELD_PER_CENT = 123, 10


def by_video(videos: Sequence[str]) -> dict[str, list[int]]:
    """Positions of the pictures of each split, as TensorFlow Datasets (kitti, 3.1.0 on) draws them.

    A tenth of the videos each for test and validation; no video is in two splits.

    Args:
        videos: the video that each picture is of.
    """
    names = sorted(set(videos))
    held = max(1, HELD_PER_CENT * len(names) // 100)
    rng = np.random.RandomState(SEED)  # the published split is drawn by this generator
    test = set(rng.choice(names, held, replace=False).tolist())
    rest = [name for name in names if name not in test]
    validation = set(rng.choice(rest, held, replace=False).tolist()) if len(rest) >= held else set()
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for i, name in enumerate(videos):
        part = "test" if name in test else "validation" if name in validation else "train"
        parts[part].append(i)
    return parts
