"""Many small jobs through the launcher: none lost, none doubled, and what the driver side takes.

    python -m tests.slurm.many --jobs 20

starts a test cluster and one Snakemake, whose every job is the command of the study's rules,
`python -m workflow.launch`, with one job on the cluster that prepares a corpus of two images.
It exits with 1 when a job was lost or doubled.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import yaml
from PIL import Image

from flava.config import SourceConfig
from flava.jobs import PrepareJob
from tests.slurm.cluster import Cluster, wait_until
from tests.slurm.processes import command_of, parent_of, session_of

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"flava-prepare-\d+-")  # of these jobs, whatever else the cluster ran
SNAKEFILE = """\
import sys

LAUNCH = f"{sys.executable} -m workflow.launch --settings cluster.yaml"


rule all:
    input:
        expand("{n}/data/record.json", n=range({jobs})),


rule prepare:
    input:
        config="{n}/config.json",
    output:
        "{n}/data/manifest.json",
        "{n}/data/record.json",
    log:
        "{n}/log",
    shell:
        "exec {LAUNCH} prepare --config {input.config:q} --outputs {output:q} > {log:q} 2>&1"
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
        launchers = {p for p in ours if b"workflow.launch" in command_of(p).split(b"\0")}
        # Not what a launcher has just forked to run a command of SLURM.
        count = sum(parent_of(pid) not in launchers for pid in launchers)
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
    """Writes the workflow, two images and one configuration a job."""
    (folder / "Snakefile").write_text(SNAKEFILE.replace("{jobs}", str(jobs)))
    settings = {"kind": "slurm", "defaults": {"time": "1:00", "mem": "1G"}}
    (folder / "cluster.yaml").write_text(yaml.safe_dump({"cluster": settings}))
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for shade in (60, 180):
            image = BytesIO()
            Image.new("RGB", (8, 8), (shade, shade, shade)).save(image, "PNG")
            archive.writestr(f"train/grey/{shade}.png", image.getvalue())
    about = {"name": "two images", "version": "1", "licence": "generated", "path": "images.zip"}
    source = SourceConfig.model_validate({**about, "adapter": "image_folder"})
    for n in range(jobs):
        own, output = folder / str(n), f"{n}/data"
        own.mkdir()
        job = PrepareJob(study="many", kind="images", sources=[source], tokenizers={},
                         shard_bytes=10_000, output=output)  # fmt: skip
        (own / "config.json").write_text(json.dumps(job.model_dump(mode="json")))


def run(
    folder: Path, cluster: Cluster, cores: int, look: Callable[[Peak], object] = lambda peak: None
) -> tuple[int, float, Peak]:
    """Snakemake's exit status, the seconds that it took, and its peak, which `look` sees grow."""
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
            look(peak)
            time.sleep(1.0)
    return process.returncode, time.monotonic() - begun, peak


def accounted(cluster: Cluster) -> list[tuple[str, str]]:
    """(id, state) of every run of these jobs by SLURM's accounting, which lags behind."""
    options = ["--allocations", "--duplicates", "--noheader", "--parsable2"]
    lines = cluster.run("sacct", *options, "--format=JobName,JobID,State").splitlines()
    rows = [line.split("|") for line in lines if NAME.match(line)]
    return [(job, state) for _, job, state in rows]


def completed(cluster: Cluster) -> int:
    """How many of these runs have ended well."""
    return sum(state == "COMPLETED" for _, state in accounted(cluster))


def wrong(folder: Path, jobs: int, cluster: Cluster) -> list[str]:
    """One line for each job that was lost or doubled, by its record and by SLURM's accounting."""
    with suppress(TimeoutError):  # what is missing for good is told below
        wait_until(lambda: completed(cluster) >= jobs, 120, "the accounting")
    ids = [job for job, _ in accounted(cluster)]
    ran, found = Counter(ids), []
    for n in range(jobs):
        path = folder / str(n) / "data/record.json"
        made = json.loads(path.read_text())["jobs"] if path.is_file() else []
        if len(made) != 1 or ran.pop(made[0], 0) != 1:
            found.append(f"job {n}: its record names {made or 'nothing'}, not one run")
    return [*found, *(f"SLURM job {job} ran {count} times in vain" for job, count in ran.items())]


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
