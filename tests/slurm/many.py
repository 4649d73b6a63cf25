"""Many small jobs through the launcher: none lost, none doubled, and what the driver side takes.

    python -m tests.slurm.many --jobs 200

starts a test cluster and one Snakemake, whose every job is a launcher with one job on the cluster.
It exits with 1 when a job was lost or doubled.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.slurm.cluster import Cluster
from tests.slurm.processes import command_of, session_of

ROOT = Path(__file__).resolve().parents[2]
SNAKEFILE = """\
import sys

rule all:
    input:
        expand("{n}/out.json", n=range({jobs})),

rule line:
    output:
        "{n}/out.json",
    log:
        "{n}/log",
    shell:
        "exec {sys.executable} -m tests.slurm.driver line {wildcards.n}/config.json cluster.yaml"
        " > {log} 2>&1"
"""


@dataclass
class Peak:
    """The most that the driver side had at one time.

    Attributes:
        launchers: at work.
        rss: MB, pages that processes share counted in each.
        pss: MB, shared pages dealt out.
    """

    launchers: int = 0
    rss: float = 0.0
    pss: float = 0.0

    def look(self, session: int) -> None:
        """Takes in what a session has now."""
        pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
        ours = [pid for pid in pids if session_of(pid) == session]
        count = sum(b"tests.slurm.driver" in command_of(pid) for pid in ours)
        sizes = [memory(pid) for pid in ours]
        self.launchers = max(self.launchers, count)
        self.rss = max(self.rss, sum(size[0] for size in sizes))
        self.pss = max(self.pss, sum(size[1] for size in sizes))


def memory(pid: int) -> tuple[float, float]:
    """(RSS, PSS) of a process in MB; none where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0.0, 0.0
    found = {line.split()[0]: float(line.split()[1]) / 1024 for line in lines}
    return found.get("Rss:", 0.0), found.get("Pss:", 0.0)


def write(folder: Path, jobs: int) -> None:
    """Writes the workflow and one configuration a job."""
    (folder / "Snakefile").write_text(SNAKEFILE.replace("{jobs}", str(jobs)))
    settings = {"kind": "slurm", "defaults": {"time": "1:00", "mem": "1G"}}
    (folder / "cluster.yaml").write_text(yaml.safe_dump({"cluster": settings}))
    for n in range(jobs):
        own = folder / str(n)
        own.mkdir()
        (own / "config.json").write_text(json.dumps({"n": n, "output": f"{n}/out.json"}))


def run(folder: Path, cluster: Cluster, cores: int) -> tuple[int, float, Peak]:
    """Snakemake's exit status, the seconds that it took, and its peak."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--latency-wait", "60"]
    begun, peak = time.monotonic(), Peak()
    with open(folder / "driver.log", "wb") as out:
        process = subprocess.Popen(
            [*command, "--quiet", "all"],
            cwd=folder,
            env={**cluster.environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        while process.poll() is None:
            peak.look(process.pid)
            time.sleep(1.0)
    return process.returncode, time.monotonic() - begun, peak


def wrong(folder: Path, jobs: int, cluster: Cluster) -> list[str]:
    """One line for each job that was lost or doubled."""
    found = []
    for n in range(jobs):
        path = folder / str(n) / "out.json.lines"
        count = len(path.read_text().splitlines()) if path.is_file() else 0
        if count != 1 or not (folder / str(n) / "out.json").is_file():
            found.append(f"job {n} ran {count} times")
    lines = cluster.run("sacct", "-X", "-n", "-P", "-o", "JobName").splitlines()
    submitted = sum(line.startswith("flava-line-") for line in lines)
    return found if submitted == jobs else [*found, f"{submitted} submissions"]


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(description="Many small jobs through the launcher.")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--cores", type=int, default=100, help="launchers at one time")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="many-"))
    write(folder, arguments.jobs)
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="slurm-")))
    try:
        cluster.start()
        status, seconds, peak = run(folder, cluster, arguments.cores)
        found = wrong(folder, arguments.jobs, cluster)
    finally:
        cluster.stop()
    print(f"{arguments.jobs} jobs in {seconds:.0f} s on {os.cpu_count()} cores, files in {folder}")
    print(f"at most {peak.launchers} launchers: RSS {peak.rss:.0f} MB, PSS {peak.pss:.0f} MB")
    print(f"exit status {status}, {len(found)} lost or doubled", *found, sep="\n")
    return 1 if found or status else 0


if __name__ == "__main__":
    sys.exit(main())
