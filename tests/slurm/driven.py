"""A launcher as a process of its own, and what it asks for, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.slurm import ranks
from tests.slurm.cluster import wait_until

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Driven:
    """One step and its launcher.

    Attributes:
        folder: of the configuration, the settings, the output and the logs.
        step: a function of tests/slurm/ranks.py.
        environment: of the launcher.
    """

    folder: Path
    step: str
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    process: subprocess.Popen[str] | None = None
    text: str = ""

    @classmethod
    def make(
        cls,
        folder: Path,
        step: str,
        defaults: dict[str, Any] | None = None,
        budgets: dict[str, Any] | None = None,
        signal_seconds: int = 20,
        **job: Any,
    ) -> Driven:
        folder.mkdir(parents=True, exist_ok=True)
        output, checkpoint = folder / "out.json", folder / "checkpoint"
        value = {"output": str(output), "checkpoint": str(checkpoint), **job}
        (folder / "config.json").write_text(json.dumps(value))
        cluster = {
            "kind": "slurm",
            "defaults": {"time": "1:00", "nodes": 2, "ranks": 2, **(defaults or {})},
            "budgets": budgets or {},
            "poll_seconds": 1.0,
            "signal_seconds": signal_seconds,
        }
        (folder / "cluster.yaml").write_text(yaml.safe_dump({"cluster": cluster}))
        return cls(folder, step)

    @property
    def output(self) -> Path:
        return self.folder / "out.json"

    def start(self) -> Driven:
        """Starts the launcher."""
        files = [str(self.folder / name) for name in ("config.json", "cluster.yaml")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.slurm.driver", self.step, *files],
            cwd=ROOT,
            env={**self.environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def end(self, seconds: float = 120) -> int:
        """Waits for the launcher's end; its exit status."""
        assert self.process
        try:
            self.text, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.text, _ = self.process.communicate()
            raise AssertionError(f"the launcher did not end:\n{self.text}") from None
        return self.process.returncode

    def ticket(self) -> dict[str, Any]:
        path = self.folder / "config.job.json"
        return json.loads(path.read_text()) if path.is_file() else {"attempts": []}

    def jobs(self) -> list[str]:
        """Ids of all submissions."""
        return [each["job"] for each in self.ticket()["attempts"] if each["job"]]

    def started(self, count: int = 2, seconds: float = 60) -> str:
        """Waits until so many ranks have started; the newest job's id."""

        def ready() -> bool:
            assert self.process and self.process.poll() is None, self.process.communicate()[0]
            return len(self.starts()) >= count

        wait_until(ready, seconds, f"{count} ranks of {self.step}")
        return self.jobs()[-1]

    def starts(self) -> list[dict[str, Any]]:
        return ranks.starts({"output": str(self.output)})
