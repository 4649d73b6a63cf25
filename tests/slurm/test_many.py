"""Several jobs at once by the command of the study's rules (tests/slurm/many.py)."""

from __future__ import annotations

import json
from pathlib import Path

from tests.slurm import many
from tests.slurm.campaign import change
from tests.slurm.cluster import Cluster

JOBS = 4


def test_no_job_is_lost_or_doubled(slurm: Cluster, tmp_path: Path) -> None:
    many.write(tmp_path, JOBS)
    go = tmp_path / "go"  # the jobs wait until all launchers have been seen side by side
    change(tmp_path / "cluster.yaml", {"setup": [f"until [ -e {go} ]; do sleep 0.2; done"]})

    def look(peak: many.Peak) -> None:
        if peak.launchers >= JOBS:
            go.touch()

    status, _, peak = many.run(tmp_path, slurm, JOBS, look)
    assert status == 0, (tmp_path / "driver.log").read_text()
    assert many.wrong(tmp_path, JOBS, slurm) == []
    assert peak.launchers == JOBS and 0 < peak.pss <= peak.rss
    # What would be told of a lost job, and of one that ran beside another.
    record, twin = (tmp_path / f"{n}/data/record.json" for n in (0, 1))
    (job,) = json.loads(record.read_text())["jobs"]
    record.write_text(twin.read_text())
    first, second = many.wrong(tmp_path, JOBS, slurm)
    assert first.startswith("job 1: its record names")
    assert second == f"SLURM job {job} ran 1 times in vain"
