"""The schedule of kinds, the order of samples, and text packing."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from data_helpers import run_config
from hypothesis import given, settings
from hypothesis import strategies as st

from flava.data.packing import pack
from flava.data.schedule import Order, Schedule, generator
from flava.data.shards import load_array
from flava.errors import ConfigError
from tests.memory import peak_bytes


def test_pair_updates_are_counted_exactly() -> None:
    for seed in range(5):
        kinds = Schedule(run_config(Path(), seed=seed, pretrain={"pair_updates": 700})).kinds
        assert (kinds == "pairs").sum() == 700
        assert kinds[-1] == "pairs"
        assert len(kinds) == pytest.approx(1000, rel=0.06)
        assert (kinds == "images").sum() == pytest.approx(150, rel=0.3)
        assert (kinds == "texts").sum() == pytest.approx(150, rel=0.3)


def test_ordinals() -> None:
    schedule = Schedule(run_config(Path()))
    for kind in ("pairs", "images", "texts"):
        of_kind = schedule.ordinals[schedule.kinds == kind]
        assert np.array_equal(of_kind, np.arange(len(of_kind)))


def test_probabilities_are_normalised_over_the_kinds_in_use() -> None:
    objectives = {"pairs": ["global_contrastive"], "images": ["mim"]}
    run = run_config(Path(), objectives=objectives, pretrain={"pair_updates": 4000})
    kinds = Schedule(run).kinds
    assert set(kinds) == {"pairs", "images"}
    assert (kinds == "images").mean() == pytest.approx(0.15 / 0.85, abs=0.02)


@pytest.mark.parametrize("kind", ["pairs", "images", "pair_images", "pair_texts"])
def test_one_kind_has_exactly_pair_updates(kind: str) -> None:
    objective = {"pairs": "global_contrastive", "pair_texts": "mlm"}.get(kind, "mim")
    run = run_config(Path(), objectives={kind: [objective]}, sampling={})
    assert Schedule(run).kinds.tolist() == [kind] * 20


def test_without_pairs_all_updates_count() -> None:
    run = run_config(Path(), objectives={"images": ["mim"], "texts": ["mlm"]})
    assert len(Schedule(run).kinds) == 20


def test_seeds_differ_and_repeat() -> None:
    one, same, other = (Schedule(run_config(Path(), seed=seed)).kinds for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert one.tolist() != other.tolist()


def test_endless_schedule_is_refused() -> None:
    with pytest.raises(ConfigError, match="gives no probability to pairs"):
        Schedule(run_config(Path(), sampling={"pairs": 0.0, "images": 1.0, "texts": 0.0}))


def test_order_is_a_permutation_every_epoch() -> None:
    order = Order(1, "pairs", 10)
    epochs = order.indices(0, 40).reshape(4, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 4
    assert np.array_equal(order.indices(7, 6), epochs.reshape(-1)[7:13])
    assert np.array_equal(Order(1, "pairs", 10).indices(23, 9), epochs.reshape(-1)[23:32])
    assert not np.array_equal(Order(1, "images", 10).indices(0, 10), epochs[0])
    assert not np.array_equal(Order(2, "pairs", 10).indices(0, 10), epochs[0])


def test_threads_that_share_an_order_draw_each_permutation_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = []

    def slow(*place: int) -> np.random.Generator:
        drawn.append(place[-1])
        time.sleep(0.05)  # as a large permutation: the other threads come to want it too
        return generator(*place)

    expected = Order(0, "pairs", 400).indices(0, 800).reshape(80, 10)
    monkeypatch.setattr("flava.data.schedule.generator", slow)
    order = Order(0, "pairs", 400)
    with ThreadPoolExecutor(8) as threads:
        for epoch in (0, 1):
            starts = range(epoch * 400, (epoch + 1) * 400, 10)
            found = list(threads.map(lambda start: order.indices(start, 10), starts))
            assert np.array_equal(found, expected[epoch * 40 : (epoch + 1) * 40])
            assert drawn == list(range(epoch + 1))


def test_a_resume_at_the_border_of_epochs_draws_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that read ahead take the next epoch's first batch before this one's last."""
    whole = Order(0, "pairs", 40).indices(0, 160)
    drawn = []
    monkeypatch.setattr(
        "flava.data.schedule.generator", lambda *of: (drawn.append(of[-1]), generator(*of))[1]
    )
    order = Order(0, "pairs", 40)
    for start in (80, 70, 90, 79, 120, 119):
        assert np.array_equal(order.indices(start, 10), whole[start : start + 10])
        assert len(order._epochs) <= 2
    assert drawn == [2, 1, 3]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=60).filter(any), st.integers(1, 20))
def test_packing(lengths: list[int], capacity: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ranges = pack(offsets, capacity)
    assert ranges.tolist() == _packed(offsets, capacity)
    assert ranges[0, 0] == 0
    assert ranges[-1, 1] == offsets[-1]
    assert np.array_equal(ranges[1:, 0], ranges[:-1, 1])  # nothing lost, nothing twice
    sizes = ranges[:, 1] - ranges[:, 0]
    assert sizes.min() >= 1
    assert sizes.max() <= capacity
    ends = set(offsets.tolist())
    for start, end in ranges.tolist():
        line_fits = end in ends or any(a < end < b and b - a > capacity for a, b in _lines(offsets))
        assert line_fits, (start, end)  # only lines over the capacity are cut


def _lines(offsets: np.ndarray) -> list[tuple[int, int]]:
    return list(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))


def _packed(offsets: np.ndarray, capacity: int) -> list[list[int]]:
    """The same from a list of all places where a sample may end."""
    inside = [cut for a, b in _lines(offsets) for cut in range(a, b, capacity)]
    cuts, ranges = sorted({*inside, offsets[-1].item()}), [[0, 0]]
    for before, cut in pairwise(cuts):
        if cut - ranges[-1][0] > capacity:
            ranges.append([before, before])
        ranges[-1][1] = cut
    return ranges


def test_packing_takes_no_memory_for_lines(tmp_path: Path) -> None:
    lines, capacity = 200_000, 510
    np.save(tmp_path / "offsets.npy", np.arange(lines + 1) * 45)
    offsets = load_array(tmp_path / "offsets.npy")
    ranges = pack(offsets, capacity)
    peak = peak_bytes(lambda: pack(offsets, capacity))
    assert len(ranges) == -(-lines // (capacity // 45))
    assert peak < 20 * len(ranges) < 2 * lines  # bytes; an offset alone has 8 a line


def test_packing_fills_samples() -> None:
    ranges = pack(np.array([0, 3, 6, 9, 11, 30]), 8)
    assert ranges.tolist() == [[0, 6], [6, 11], [11, 19], [19, 27], [27, 30]]
    assert len(pack(np.array([0]), 8)) == 0
