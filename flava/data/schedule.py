"""Which kind of data each update uses, and which samples: functions of the seed alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from flava.errors import ConfigError
from flava.jobs import RunConfig
from flava.splits import check_split

Ids = NDArray[np.int64]
KIND_NUMBER = {"pairs": 0, "images": 1, "texts": 2, "pair_images": 3, "pair_texts": 4}


class Stream(IntEnum):
    """Independent random streams of a run."""

    SCHEDULE = 0
    ORDER = 1
    IMAGE_MASK = 2
    TEXT_MASK = 3
    ITM = 4
    AUGMENT = 5


def generator(seed: int, stream: Stream, *position: int) -> np.random.Generator:
    """The random numbers of one place of a run: equal arguments, equal numbers."""
    return np.random.default_rng((seed, int(stream), *position))


@dataclass(frozen=True)
class Rows:
    """Some rows of the global batch of an update.

    Attributes:
        update: number of the update.
        numbers: rows of the global batch; masks are drawn for (seed, update, number).
        samples: int64, index of the sample of each row.
    """

    update: int
    numbers: range
    samples: Ids


@dataclass(frozen=True)
class Share:
    """This process's share of each global batch.

    Any number of ranks sees the same global batch. Its rows are numbered rank by rank, and in each
    micro-batch by micro-batch, so that a rank's rows do not depend on `accumulate`. With
    `by_micro_batch` it is the other way round: a micro-batch's rows do not depend on the ranks.

    Raises:
        ConfigError: ranks and micro-batches do not divide the batch.
    """

    batch_size: int
    accumulate: int
    rank: int
    world_size: int
    by_micro_batch: bool = False

    def __post_init__(self) -> None:
        check_split(self.batch_size, self.accumulate, self.world_size)

    def rows(self, order: Order, update: int, ordinal: int, micro: int) -> Rows:
        """Own rows of micro-batch `micro` of an update, the `ordinal`-th of its kind."""
        size = self.batch_size // self.accumulate // self.world_size
        place = self.rank * self.accumulate + micro
        if self.by_micro_batch:
            place = micro * self.world_size + self.rank
        start = place * size
        samples = order.indices(ordinal * self.batch_size + start, size)
        return Rows(update, range(start, start + size), samples)


class Schedule:
    """Kind of each update and its number among the updates of its kind.

    Each update draws one kind with the normalised sampling probabilities (Section 3.3: the whole
    batch comes from one data set) until `pair_updates` updates on pairs are reached, which is what
    the paper counts (supplement B.1); updates of other kinds come on top. A run without pairs has
    exactly `pair_updates` updates.

    Attributes:
        kinds: names, [updates].
        ordinals: int64 [updates], earlier updates of the same kind.

    Raises:
        ConfigError: no kind, or a kind's probability is missing or makes the schedule endless.
    """

    def __init__(self, run: RunConfig) -> None:
        names = sorted(run.objectives, key=lambda kind: KIND_NUMBER[kind])
        weights = [float(run.sampling.get(kind, 1.0 if len(names) == 1 else 0.0)) for kind in names]
        if not names or sum(weights) <= 0 or ("pairs" in names and weights[0] <= 0):
            raise ConfigError(
                f"run {run.column}: sampling {dict(run.sampling)} gives no probability to "
                f"{'pairs' if 'pairs' in names else names or 'any kind of data'}."
            )
        numbers = self._draw(run, weights, "pairs" in names)
        self.kinds: NDArray[np.str_] = np.array(names)[numbers]
        self.ordinals = np.zeros(len(numbers), np.int64)
        for number in range(len(names)):
            of_kind = np.flatnonzero(numbers == number)
            self.ordinals[of_kind] = np.arange(len(of_kind))

    @staticmethod
    def _draw(run: RunConfig, weights: list[float], counts_pairs: bool) -> Ids:
        wanted = run.pretrain.pair_updates
        if len(weights) == 1:
            return np.zeros(wanted, np.int64)
        edges = np.cumsum(weights) / sum(weights)
        random = generator(run.seed, Stream.SCHEDULE)
        drawn = np.zeros(0, np.int64)
        while True:
            more = np.searchsorted(edges, random.random(wanted), side="right")
            drawn = np.concatenate([drawn, np.minimum(more, len(weights) - 1)])
            counted = np.flatnonzero(drawn == 0) if counts_pairs else np.arange(len(drawn))
            if len(counted) >= wanted:
                return drawn[: counted[wanted - 1] + 1]


class Order:
    """Endless stream of sample indices of one kind: a new permutation every epoch.

    Threads may share it.

    Args:
        seed: of the run.
        kind: of the data.
        count: samples of an epoch.
    """

    def __init__(self, seed: int, kind: str, count: int) -> None:
        self.seed, self.number, self.count = seed, KIND_NUMBER[kind], count
        self._epochs: dict[int, Ids] = {}
        self._lock = Lock()

    def indices(self, start: int, length: int) -> Ids:
        """Samples at positions start, ..., start + length - 1 of the stream, int64."""
        positions = np.arange(start, start + length)
        epochs, within = np.divmod(positions, self.count)
        found = np.zeros(length, np.int64)
        for epoch in np.unique(epochs).tolist():
            chosen = epochs == epoch
            found[chosen] = self._permutation(epoch)[within[chosen]]
        return found

    def _permutation(self, epoch: int) -> Ids:
        with self._lock:  # threads that miss an epoch together draw it once, not once each
            if epoch not in self._epochs:
                random = generator(self.seed, Stream.ORDER, self.number, epoch)
                # A resumed run's threads come to an epoch and to the one before it in any order.
                near = {e: o for e, o in self._epochs.items() if abs(e - epoch) == 1}
                self._epochs = {**near, epoch: random.permutation(self.count)}
            return self._epochs[epoch]
