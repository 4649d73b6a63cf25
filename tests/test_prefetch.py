"""Reading ahead: the same content in the same order, errors included, on several threads."""

from __future__ import annotations

import threading

import pytest
import torch

from flava.prefetch import prefetched, reading_threads


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_reading_ahead_keeps_the_order(ahead: int) -> None:
    assert list(prefetched(str, range(3, 7), ahead)) == [(n, str(n)) for n in range(3, 7)]


def test_reading_ahead_passes_errors_on() -> None:
    def read(update: int) -> str:
        raise OSError(f"no update {update}")

    with pytest.raises(OSError, match="no update 3"):
        list(prefetched(read, range(3, 7), ahead=2))


def test_reading_ahead_reads_several_at_once() -> None:
    together = threading.Barrier(3)

    def read(update: int) -> int:
        together.wait(timeout=30)  # passes only where three threads are here at once
        return update

    assert [update for update, _ in prefetched(read, range(6), ahead=3)] == list(range(6))


@pytest.mark.parametrize(
    ("usable", "present", "ranks", "threads"),
    [
        (64, 64, 8, 7),  # all processors of the node are shared by its ranks
        (8, 64, 8, 7),  # SLURM has bound this rank to eight
        (64, 64, 32, 7),  # of four nodes with eight GPUs each
        (64, 64, 1, 16),
        (2, 2, 4, 1),
    ],
)
def test_reading_threads(
    monkeypatch: pytest.MonkeyPatch, usable: int, present: int, ranks: int, threads: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(usable)))
    monkeypatch.setattr("os.cpu_count", lambda: present)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    assert reading_threads(torch.device("cuda"), ranks) == threads
    assert reading_threads(torch.device("cpu"), ranks) == 0
