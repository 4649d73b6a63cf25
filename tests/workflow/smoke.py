"""A working copy of the project in which Snakemake runs the smoke study."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from workflow.plan import Plan

PARTS = ["Snakefile", "params", "workflow", "flava", "notebooks"]
LINKS = ["profiles", "slurm", "local"]


@dataclass(frozen=True)
class Project:
    """A copy of the project in its own folder."""

    path: Path

    @classmethod
    def copy(cls, root: Path, path: Path) -> Project:
        for part in PARTS:
            cls.copy_part(root, path, part)
        for link in LINKS:
            (path / link).symlink_to((root / link).readlink())
        return cls(path)

    @staticmethod
    def copy_part(root: Path, path: Path, part: str) -> None:
        """Copies a file or folder of the project `root` into `path`."""
        source = root / part
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "cache", "tmp", "config.local")
            shutil.copytree(source, path / part, ignore=ignore)
        else:
            path.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, path / part)

    def duplicate(self, path: Path) -> Project:
        """A copy of all files, the results and Snakemake's records too."""
        shutil.copytree(self.path, path, symlinks=True, dirs_exist_ok=True)
        return Project(path)

    def snakemake(
        self, *arguments: str, study: str = "smoke", seeds: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        config = [f"study={study}", *([] if seeds is None else [f"seeds={seeds}"])]
        command = [sys.executable, "-m", "snakemake", "--config", *config, *arguments]
        return subprocess.run(
            command, cwd=self.path, env=self.environment(), capture_output=True, text=True
        )

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.path,
            env=self.environment(),
            capture_output=True,
            text=True,
        )

    def environment(self) -> dict[str, str]:
        return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.path)}

    def planned(self, seeds: str | None = None) -> set[str]:
        """Messages of the jobs that a dry run would run."""
        result = self.snakemake("--dry-run", seeds=seeds)
        assert result.returncode == 0, result.stderr
        return set(re.findall(r"^Job \d+: (.*)$", result.stdout + result.stderr, re.MULTILINE))

    def report(self) -> set[str]:
        """Messages of the jobs that make the report."""
        plan = Plan.load("smoke", params=str(self.path / "params"))
        assert {"table_1", "figure_4", "audit"} < set(plan.page_names)
        return {
            *(f"render {page}" for page in plan.page_names),
            "render a page of each column",
            "directions: which of the paper's hold",
            "metrics: averages of each column",
            "draw Figure 4 as files",
            "render the index page",
        }
