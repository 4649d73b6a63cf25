"""Configuration files of the test cluster."""

from __future__ import annotations

import getpass
import socket
import time
from pathlib import Path
from typing import Literal

from tests.ports import lane

SLURM = """\
ClusterName=flava
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its old credential has expired; 5 s is the least that is accepted.
AuthInfo=socket={folder}/munge/munge.sock,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/{track}
TaskPlugin=task/{task}
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# The nodes claim more cores and memory than this machine has.
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
ReturnToService=2
JobRequeue=1
KillWait=2
SlurmdTimeout=10
MinJobAge=300
FirstJobId={first_job}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={folder}/munge/munge.sock
{gather}
{nodes}
PartitionName=gpu Nodes={common} Default=YES PriorityTier=1 DefMemPerCPU=64
PartitionName=low Nodes={common} PriorityTier=1 GraceTime=20 DefMemPerCPU=64
PartitionName=harsh Nodes={common} PriorityTier=1 DefMemPerCPU=64
PartitionName=high Nodes={common} PriorityTier=10 PreemptMode=OFF DefMemPerCPU=64
PartitionName=spare Nodes={spare} PriorityTier=1 DefMemPerCPU=64
"""

SLURMDBD = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/munge.sock
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={dbd}
SlurmUser={user}
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser={user}
StorageLoc=slurm_acct_db
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
"""

NODE = (
    "NodeName={name} NodeAddr={name} NodeHostname={name} Port={port} CPUs=64 RealMemory=64000 "
    "State=UNKNOWN Gres=gpu:{gpus} Feature=fake"
)


# Who kills a job that takes more memory than it asked for: nobody, the kernel, or slurmstepd, which
# looks each second.
Memory = Literal["free", "kernel", "sampled"]
GATHER = "JobAcctGatherType=jobacct_gather/"
SAMPLED = f"{GATHER}linux\nJobAcctGatherFrequency=task=1\nJobAcctGatherParams=OverMemoryKill"
CGROUP = "CgroupPlugin=cgroup/v1\nConstrainRAMSpace=yes\n"


def first_job() -> int:
    """Id of a new cluster's first job: ids do not repeat from one cluster to the next.

    Nor do the ports where ranks meet (`meeting_port`: ids modulo 12000) in clusters that run at one
    time, as long as each has fewer than 400 jobs.
    """
    return 12_000 * (1 + int(time.time()) % 3000) + 400 * lane(30)


def write(
    folder: Path,
    names: list[str],
    spare: int,
    ports: list[int],
    devices: str,
    memory: Memory = "free",
) -> None:
    """Writes slurm.conf, gres.conf and slurmdbd.conf into `folder`/etc.

    Args:
        names: of the nodes.
        spare: how many of them, the last ones, are in the partition `spare` alone.
        ports: of MariaDB, slurmdbd, slurmctld, and each node's slurmd.
        devices: character devices that stand for GPUs, as `/dev/x[0-3]`.
        memory: how jobs are held to the memory that they asked for.
    """
    database, dbd, control, *node_ports = ports
    first, last = devices[devices.index("[") + 1 : -1].split("-")
    gpus = int(last) - int(first) + 1
    lines = [
        NODE.format(name=name, port=port, gpus=gpus)
        for name, port in zip(names, node_ports, strict=True)
    ]
    values = {
        "host": socket.gethostname(),
        "user": getpass.getuser(),
        "folder": folder,
        "track": "cgroup" if memory == "kernel" else "linuxproc",
        "task": "cgroup" if memory == "kernel" else "none",
        "gather": SAMPLED if memory == "sampled" else f"{GATHER}none",
        "database": database,
        "dbd": dbd,
        "control": control,
        "first_job": first_job(),
        "nodes": "\n".join(lines),
        "common": ",".join(names[:-spare]),
        "spare": ",".join(names[-spare:]),
    }
    etc = folder / "etc"
    (etc / "slurm.conf").write_text(SLURM.format(**values))
    if memory == "kernel":
        (etc / "cgroup.conf").write_text(CGROUP)
    gres = "".join(f"NodeName={name} Name=gpu File={devices}\n" for name in names)
    (etc / "gres.conf").write_text(gres)
    secret = etc / "slurmdbd.conf"
    secret.touch(0o600)
    secret.write_text(SLURMDBD.format(**values))
