"""A real SLURM cluster on this machine: its daemons are children of the test process.

munged, MariaDB, slurmdbd, slurmctld and one slurmd a node run in the foreground on free ports, each
with its files in one temporary folder. Nothing of the system's own SLURM is read or written.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import free_ports, lane
from tests.slurm import configuration
from tests.slurm.processes import end, left_of_jobs, processes_of

PROGRAMS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "sbatch", "scontrol", "sacct")
PACKAGES = "slurmctld slurmd slurm-client munge slurmdbd mariadb-server-core"
SYSTEM_TABLES = Path("/usr/share/mysql/mysql_system_tables.sql")
SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
START_SECONDS = 180.0
CGROUPS = Path("/sys/fs/cgroup")
LIBC = ctypes.CDLL("libc.so.6")
PR_SET_PDEATHSIG = 1


def missing_programs() -> list[str]:
    """Programs of the Debian packages that this machine lacks."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]
    return missing if SYSTEM_TABLES.is_file() else [*missing, str(SYSTEM_TABLES)]


def limits_memory() -> bool:
    """Whether this process may make memory groups (version 1), as slurmd does for its jobs."""
    return os.geteuid() == 0 and os.access(CGROUPS / "memory/cgroup.procs", os.W_OK)


def removed(group: Path) -> bool:
    """Removes an empty control group; False: something runs in it."""
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Waits for a condition, at most so long."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


@dataclass
class Cluster:
    """Nodes `<network>.1`, `<network>.2`, … of fake GPUs.

    The names are loopback addresses, so that ranks find each other without a name service. Other
    processes of the tests have clusters too, with other addresses and ids of jobs.

    Attributes:
        nodes: in the partition `gpu` and its like.
        spare: further ones, in the partition `spare`, for tests that lose a node.
        gpus: of a node.
        memory: who kills what takes more memory than it asked for.
        network: first three numbers of the nodes' addresses.
    """

    folder: Path
    nodes: int = 4
    spare: int = 2
    gpus: int = 4
    memory: configuration.Memory = "free"
    network: str = field(default_factory=lambda: f"127.{1 + lane(250)}.0")
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("etc", "log", "run", "spool", "state", "munge", "db", "dev"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        self.ports = free_ports(3 + self.nodes + self.spare)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))},
            "SLURM_CONF": str(self.folder / "etc/slurm.conf"),
            "PATH": SEARCH,
        }

    def start(self) -> None:
        """Starts all daemons; returns when every node is idle."""
        devices = self._devices()
        configuration.write(self.folder, self.names, self.spare, self.ports, devices, self.memory)
        self._start_munge()
        self._start_accounting()
        self.start_controller()
        for name in self.names:
            self.start_node(name)
        wait_until(self.idle, START_SECONDS, f"nodes idle (logs in {self.folder / 'log'})")

    @property
    def names(self) -> list[str]:
        """Of the nodes."""
        return [f"{self.network}.{n + 1}" for n in range(self.nodes + self.spare)]

    def start_controller(self) -> None:
        """Starts slurmctld and waits until it answers."""
        self.spawn("slurmctld", "-D", "-f", self.environment["SLURM_CONF"])
        wait_until(lambda: self.ok("scontrol", "ping"), START_SECONDS, "slurmctld")

    def start_node(self, name: str) -> None:
        """Starts the slurmd of a node."""
        conf = self.environment["SLURM_CONF"]
        self.spawn(f"slurmd.{name}", "slurmd", "-D", "-N", name, "-f", conf)

    def kill(self, name: str, number: int) -> None:
        """Sends a signal to one recorded daemon, and waits for its end."""
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(30)

    def run(self, *command: str) -> str:
        """Output of a SLURM command."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=200
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def ok(self, *command: str) -> bool:
        """Whether a command succeeds."""
        done = subprocess.run(command, env=self.environment, capture_output=True, timeout=200)
        return done.returncode == 0

    def idle(self) -> bool:
        """Whether every node is up and free."""
        states = self.run("sinfo", "--noheader", "--Node", "--partition=gpu", "--format=%T")
        return states.split() == ["idle"] * self.nodes

    def jobs(self) -> list[tuple[str, str]]:
        """(id, state) of the jobs that the controller knows and that have not ended."""
        lines = self.run("squeue", "--noheader", "--format=%i %T").splitlines()
        return [tuple(line.split()) for line in lines]  # type: ignore[misc]

    def lose(self, node: str, job: str) -> None:
        """Kills a node's slurmd and all that runs there of a job, as if its power had failed."""
        self.kill(f"slurmd.{node}", signal.SIGKILL)
        for pid in processes_of(self.environment["SLURM_CONF"], node, job):
            end(pid)

    def clear(self) -> None:
        """Cancels what a test left."""
        for job, _ in self.jobs():
            self.ok("scancel", job)

    def stop(self) -> None:
        """Ends the daemons that were started here, nothing else."""
        for job, _ in self.jobs() if self.ok("scontrol", "ping") else []:
            self.ok("scancel", job)
        order = [name for name in self.processes if name.startswith("slurmd.")]
        for name in [*order, "slurmctld", "slurmdbd", "mariadbd", "munged"]:
            if process := self.processes.get(name):
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(20)
        for pid in left_of_jobs(self.environment["SLURM_CONF"]):
            end(pid)
        if self.memory == "kernel":
            self._remove_cgroups()

    def _remove_cgroups(self) -> None:
        """Ends what is left in the groups of the nodes' jobs, and removes them."""
        for group in [g for n in self.names for g in CGROUPS.glob(f"*/slurm_{n}")]:
            for path in [*sorted(group.rglob("*/"), reverse=True), group]:
                for pid in (path / "cgroup.procs").read_text().split():
                    end(int(pid))
                wait_until(lambda path=path: removed(path), 10, f"{path} empty")

    def spawn(self, name: str, *arguments: str) -> None:
        """Starts a program in the foreground and records its process."""
        command = list(arguments) if name not in PROGRAMS else [name, *arguments]
        program = shutil.which(command[0], path=SEARCH)
        assert program, command[0]
        with open(self.folder / f"log/{name}.out", "ab") as out:
            self.processes[name] = subprocess.Popen(
                [program, *command[1:]],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # a Ctrl-C of the tests is for pytest alone
                preexec_fn=_end_with_parent,
            )

    def _start_munge(self) -> None:
        munge = self.folder / "munge"
        key = munge / "munge.key"
        key.write_bytes(secrets.token_bytes(64))
        key.chmod(0o400)
        munge.chmod(0o711)
        names = {"socket": "sock", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        files = [f"--{name}={munge / f'munge.{end}'}" for name, end in names.items()]
        self.spawn("munged", "--foreground", "--force", f"--key-file={key}", *files)
        wait_until((munge / "munge.sock").is_socket, START_SECONDS, "munged")

    def _start_accounting(self) -> None:
        port, data = self.ports[0], self.folder / "db/data"
        data.mkdir()
        script = "create database mysql;\ncreate database slurm_acct_db;\nuse mysql;\n"
        script += SYSTEM_TABLES.read_text(encoding="utf-8")
        common = ["--no-defaults", f"--datadir={data}", "--skip-grant-tables"]
        user = ["--user=root"] if os.geteuid() == 0 else []
        mariadbd = shutil.which("mariadbd", path=SEARCH)
        assert mariadbd
        subprocess.run(
            [mariadbd, *common, *user, "--bootstrap"],
            input=script.encode(),
            check=True,
            capture_output=True,
            timeout=400,
        )
        self.spawn(
            "mariadbd",
            *common,
            *user,
            "--skip-networking=0",
            "--bind-address=127.0.0.1",
            f"--port={port}",
            f"--socket={self.folder / 'db/sock'}",
            f"--pid-file={self.folder / 'db/pid'}",
            "--innodb-buffer-pool-size=32M",
        )
        wait_until(lambda: listens(port), START_SECONDS, "MariaDB")
        self.start_slurmdbd()
        wait_until(lambda: listens(self.ports[1]), START_SECONDS, "slurmdbd")

    def start_slurmdbd(self) -> None:
        """Starts the accounting daemon."""
        self.spawn("slurmdbd", "-D")

    def _devices(self) -> str:
        """Character devices that stand for GPUs, as a pattern of gres.conf."""
        if os.geteuid():
            return f"/dev/tty[1-{self.gpus}]"
        for n in range(self.gpus):
            os.mknod(self.folder / f"dev/gpu{n}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        return f"{self.folder}/dev/gpu[0-{self.gpus - 1}]"


def occupy(cluster: Cluster) -> None:
    """Takes all GPUs for longer than any test lasts, once they are free."""
    wait_until(cluster.idle, 120, "no job of another test")
    wants = ["--output=/dev/null", f"--nodes={cluster.nodes}", f"--gpus-per-node={cluster.gpus}"]
    cluster.run("sbatch", *wants, "--wrap=sleep 3600")


def _end_with_parent() -> None:
    """In a new daemon: SIGTERM when the tests are killed (Linux)."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def listens(port: int) -> bool:
    """Whether something accepts connections on a port of this machine."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
