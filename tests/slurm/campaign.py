"""Faults on a running study, until it is done: nothing may be lost, doubled or different.

    python -m tests.slurm.campaign --faults 50 --seed 0

runs the smoke study once undisturbed on this machine, and then on a test cluster with a random
fault every few seconds; it compares what both leave, bit for bit. The seed decides on the faults
and on their order; what runs when they come depends on the machine. It exits with 1 on any loss.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from flava.params import read_yaml
from tests.slurm import compare
from tests.slurm.cluster import Cluster
from tests.slurm.faults import Faults
from tests.slurm.study_driver import StudyDriver
from tests.workflow.smoke import Project

ROOT = Path(__file__).resolve().parents[2]
UNDISTURBED = "undisturbed"
# Twice as many of what a cluster does most.
KINDS = ["session", "snakemake", "launcher", "slurmd", "node", "warning"]
KINDS += 2 * ["rank", "requeue", "preempt"]
# The same on the cluster and on this machine, or the sums of gradients would differ.
RANKS = {"pretrain": {"ranks": 2}}
NODES = {"pretrain": {"nodes": 2, "ranks": 2, "partition": "low"}}
# Far more than a study should ever need: here every step is hit many times.
BUDGETS = {"requeues": 1000, "timeouts": 1000, "failures": 1000}


class LossError(Exception):
    """The study did not survive."""


@dataclass
class Campaign:
    """One study under faults.

    Attributes:
        kinds: faults to come, in this order, each until it has hit something.
        every: mean seconds between two faults.
        targets: files to make; none: all.
        told: gets a line for each fault that hit.
        hits: kind and victim of each fault that hit.
        doubled: steps of which two jobs were seen at one time.
    """

    project: Project
    cluster: Cluster
    kinds: list[str]
    choice: random.Random
    every: float = 5.0
    targets: tuple[str, ...] = ()
    told: Path | None = None
    hits: list[tuple[str, str]] = field(default_factory=list)
    doubled: set[str] = field(default_factory=set)
    missed: int = 0

    def run(self, seconds: float) -> None:
        """Returns when the study is done.

        Raises:
            LossError: a step failed for good, or the time is over.
        """
        driver = StudyDriver(self.project, self.cluster, self.targets)
        faults = Faults(self.cluster, driver, self.choice)
        end = time.monotonic() + seconds
        try:
            driver.start()
            fault_at = self._next()
            while not self._done(driver):
                if time.monotonic() > end:
                    raise LossError(f"not done within {seconds:.0f} s; see {driver.log}")
                faults.bring_back()
                self._look(faults)
                if self.kinds and time.monotonic() > fault_at:
                    self._fault(faults)
                    fault_at = self._next()
                time.sleep(0.3)
        finally:
            driver.stop()
            for node in list(faults.returning):
                faults.returning[node] = 0.0
            faults.bring_back()

    def _done(self, driver: StudyDriver) -> bool:
        status = driver.ended()
        if status is None:
            return False
        if status == 0:
            return True
        if not driver.killed:
            tail = driver.log.read_text(errors="replace").splitlines()[-60:]
            raise LossError("Snakemake gave up, though it was not killed:\n" + "\n".join(tail))
        time.sleep(self.choice.uniform(0.0, 2.0))
        driver.start()
        return False

    def _fault(self, faults: Faults) -> None:
        kind = self.kinds[0]
        hit = getattr(faults, kind)() if faults.driver.ended() is None else ""
        if hit:
            self.kinds.pop(0)
            self.hits.append((kind, hit))
            if self.told:
                self.told.write_text("".join(f"{kind}: {hit}\n" for kind, hit in self.hits))
            print(f"{time.strftime('%H:%M:%S')} {len(self.hits):3d} {kind}: {hit}", flush=True)
        else:
            # Another kind first: this one waits for a victim.
            self.kinds.append(self.kinds.pop(0))
            self.missed += 1

    def _look(self, faults: Faults) -> None:
        steps = Counter(job.step for job in faults.jobs())
        self.doubled |= {step for step, count in steps.items() if count > 1}

    def _next(self) -> float:
        return time.monotonic() + self.choice.uniform(0.4, 1.6) * self.every


def deck(count: int, choice: random.Random) -> list[str]:
    """`count` kinds in random order, all about equally often."""
    kinds = (KINDS * (count // len(KINDS) + 1))[:count]
    choice.shuffle(kinds)
    return kinds


def prepare(folder: Path, updates: int, columns: Sequence[str] | None) -> Project:
    """The smoke study with longer training, and what the cluster and this machine give it.

    Args:
        updates: of every column; a checkpoint every ten.
        columns: to train; None: all.
    """
    project = Project.copy(ROOT, folder)
    path = folder / "params/smoke.yaml"
    study = read_yaml(path)
    study["columns"] = list(columns or study["columns"])
    study["pretrain"] |= {"pair_updates": updates, "checkpoint_updates": 10, "select_updates": 20}
    path.write_text(yaml.safe_dump(study))
    # A job has a node to itself: what this machine can bear.
    defaults = {"time": "4:00", "partition": "harsh", "mem": "60G"}
    settings = {"defaults": defaults, "rules": NODES, "budgets": BUDGETS, "poll_seconds": 2.0}
    change(folder / "slurm/cluster.yaml", settings)
    change(folder / "local/cluster.yaml", {"rules": RANKS})
    return project


def change(path: Path, settings: dict[str, object]) -> None:
    """Changes a profile's cluster.yaml."""
    cluster = read_yaml(path)["cluster"] | settings
    path.write_text(yaml.safe_dump({"cluster": cluster}))


def undisturbed(project: Project) -> None:
    """Runs the study on this machine in one go."""
    done = project.snakemake("--profile", "local")
    if done.returncode:
        raise LossError(f"the undisturbed study failed:\n{done.stderr[-4000:]}")


def disturbed(
    arguments: argparse.Namespace, folder: Path
) -> tuple[list[tuple[str, str]], list[str]]:
    """(kind and victim of every fault, losses) of as many studies as the faults need."""
    choice = random.Random(arguments.seed)
    hits: list[tuple[str, str]] = []
    lost: list[str] = []
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="slurm-")))
    try:
        cluster.start()
        while len(hits) < arguments.faults and not lost:
            number = len(list(folder.glob("disturbed-*")))
            own = folder / f"disturbed-{number}"
            project = prepare(own, arguments.updates, arguments.columns)
            kinds = deck(arguments.faults - len(hits), choice)
            campaign = Campaign(project, cluster, kinds, choice, arguments.every)
            try:
                campaign.run(60 * arguments.minutes)
            except LossError as error:
                lost.append(str(error))
            hits += campaign.hits
            wanted = compare.results(folder / UNDISTURBED)
            lost += compare.losses(compare.results(own), wanted)
            lost += [f"{step} had two jobs at one time" for step in sorted(campaign.doubled)]
    finally:
        cluster.stop()
    return hits, lost


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(description="Disturb the smoke study on a test cluster.")
    parser.add_argument("--faults", type=int, default=50, help="that must hit something")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=5.0, help="mean seconds between two")
    parser.add_argument("--updates", type=int, default=64, help="of every column")
    parser.add_argument("--columns", nargs="*", help="of the study; all of them")
    parser.add_argument("--minutes", type=float, default=60.0, help="limit of one study")
    parser.add_argument("--folder", type=Path, help="for all files; a temporary one")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="campaign-"))
    if not (folder / UNDISTURBED).is_dir():
        undisturbed(prepare(folder / UNDISTURBED, arguments.updates, arguments.columns))
    begun = time.monotonic()
    hits, lost = disturbed(arguments, folder)
    print(f"{time.monotonic() - begun:.0f} s, files in {folder}")
    for kind, count in sorted(Counter(kind for kind, _ in hits).items()):
        print(f"{kind:12} {count:4}")
    wanted = compare.results(folder / UNDISTURBED)
    for kind, count in sorted(Counter(compare.kind(name) for name in wanted).items()):
        print(f"compared: {count} files of {kind}")
    print(f"{len(hits)} faults hit, {len(lost)} losses", *lost, sep="\n")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
