"""The real SLURM cluster of these tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.slurm.cluster import PACKAGES, Cluster, missing_programs
from tests.slurm.driven import Driven, launchers


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster of 4 nodes with 4 fake GPUs each.

    Skips where the Debian packages are absent; fails there where CI is set.
    """
    if missing := missing_programs():
        text = f"no {', '.join(missing)}: apt-get install --no-install-recommends {PACKAGES}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(text)
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def cluster(slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster, which the test's commands talk to; its jobs are cancelled afterwards."""
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm
    slurm.clear()


@pytest.fixture
def drive() -> Iterator[Callable[..., Driven]]:
    """`Driven.make`; no launcher outlives the test. It must come after the test's cluster."""
    with launchers() as make:
        yield make
