"""A git and DVC repository around a copy of the project, with real `dvc` processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.workflow.smoke import Project

IDENTITY = {
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "DVC_NO_ANALYTICS": "1",
}


@dataclass(frozen=True)
class Repository(Project):
    """A project in its own repository."""

    def environment(self) -> dict[str, str]:
        # The stages' commands are `snakemake` and `python`: those of this environment.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**super().environment(), **IDENTITY, "PATH": path}

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.path,
            env={**self.environment(), **environment},
            capture_output=True,
            text=True,
        )

    def dvc(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "dvc", *arguments, **environment)

    def done(self, *command: str, **environment: str) -> str:
        """What a command says that must succeed."""
        result = self.run(*command, **environment)
        assert result.returncode == 0, f"{command}: {result.stdout[-3000:]}{result.stderr[-3000:]}"
        return result.stdout + result.stderr

    def commit(self, message: str) -> None:
        self.done("git", "add", "--all")
        self.done("git", "commit", "--quiet", "--message", message)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.path / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))


def stages_run(output: str) -> list[str]:
    """Stages whose command ran."""
    return re.findall(r"^Running stage '(.*)':$", output, re.MULTILINE)


def jobs_run(output: str) -> set[str]:
    """Messages of the Snakemake jobs that ran."""
    return set(re.findall(r"^Job \d+: (.*)$", output, re.MULTILINE))
