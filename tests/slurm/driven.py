"""A launcher as a process of its own, and what it asks for, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.slurm import ranks
from tests.slurm.cluster import wait_until

ROOT = Path(__file__).resolve().parents[2]
END_SECONDS = 300.0  # only a hang lasts longer


@dataclass
class Driven:
    """One step and its launcher.

    Attributes:
        folder: of the configuration, the settings, the output and the logs.
        step: a function of tests/slurm/ranks.py.
        environment: of the launcher.
        text: what the newest launcher printed, once it has ended.
    """

    folder: Path
    step: str
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    process: subprocess.Popen[bytes] | None = None
    text: str = ""

    @classmethod
    def make(
        cls,
        folder: Path,
        step: str,
        defaults: dict[str, Any] | None = None,
        budgets: dict[str, Any] | None = None,
        signal_seconds: int = 20,
        held: bool = False,
        **job: Any,
    ) -> Driven:
        """A step that has not begun.

        Args:
            held: `count` and `train` do not end before `release`; with hold="first start" in
                their configuration, not in their first start.
        """
        folder.mkdir(parents=True, exist_ok=True)
        output, checkpoint = folder / "out.json", folder / "checkpoint"
        value = {"output": str(output), "checkpoint": str(checkpoint), **job}
        value |= {"hold": str(folder / "go")} if held else {}
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

    @property
    def log(self) -> Path:
        """What the newest launcher prints."""
        return self.folder / "launcher.log"

    def start(self) -> Driven:
        """Starts the launcher."""
        files = [str(self.folder / name) for name in ("config.json", "cluster.yaml")]
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.slurm.driver", self.step, *files],
                cwd=ROOT,
                env={**self.environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        return self

    def release(self) -> None:
        """Lets a held step end."""
        (self.folder / "go").touch()

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        """Ends the launcher, if it runs."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end(self) -> int:
        """Waits for the launcher's end; its exit status."""
        assert self.process
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the launcher did not end:\n{self.log.read_text()}") from None
        self.text = self.log.read_text()
        return self.process.returncode

    def says(self, text: str) -> None:
        """Waits until the launcher has printed a text."""
        wait_until(lambda: text in self.log.read_text(), END_SECONDS, f"{text!r} in {self.log}")

    def ticket(self) -> dict[str, Any]:
        path = self.folder / "config.job.json"
        return json.loads(path.read_text()) if path.is_file() else {"attempts": []}

    def jobs(self) -> list[str]:
        """Ids of all submissions."""
        return [each["job"] for each in self.ticket()["attempts"] if each["job"]]

    def started(self, count: int = 2) -> str:
        """Waits until so many ranks have started; the newest job's id."""

        def ready() -> bool:
            assert self.process and self.process.poll() is None, self.log.read_text()
            return len(self.starts()) >= count

        wait_until(ready, END_SECONDS, f"{count} ranks of {self.step}")
        return self.jobs()[-1]

    def starts(self) -> list[dict[str, Any]]:
        return ranks.starts({"output": str(self.output)})


@contextmanager
def launchers() -> Iterator[Callable[..., Driven]]:
    """`Driven.make`; the launchers that are left are killed at the end."""
    made: list[Driven] = []

    def make(*arguments: Any, **options: Any) -> Driven:
        made.append(Driven.make(*arguments, **options))
        return made[-1]

    try:
        yield make
    finally:
        for each in made:
            each.kill()
