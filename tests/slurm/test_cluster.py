"""The test cluster itself: ranks over nodes, their GPUs, accounting."""

from __future__ import annotations

from tests.slurm.cluster import Cluster, wait_until


def test_ranks_over_two_nodes_see_their_gpus(cluster: Cluster) -> None:
    shown = "echo $SLURM_PROCID $SLURM_LOCALID $SLURM_NODEID $CUDA_VISIBLE_DEVICES"
    asked = ["--nodes=2", "--ntasks-per-node=2", "--gpus-per-node=2"]
    lines = cluster.run("srun", *asked, "sh", "-c", shown).splitlines()
    assert sorted(lines) == ["0 0 0 0,1", "1 1 0 0,1", "2 0 1 0,1", "3 1 1 0,1"]


def test_accounting_knows_how_a_job_ended(cluster: Cluster) -> None:
    job = cluster.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=exit 3").strip()

    def ended() -> bool:
        line = cluster.run("sacct", "-X", "-n", "-P", "-o", "State,ExitCode", "-j", job)
        return line.strip() == "FAILED|3:0"

    wait_until(ended, 120, "sacct")
