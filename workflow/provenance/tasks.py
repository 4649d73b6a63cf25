"""The examples of tasks, read again and compared with what an evaluation recorded of them."""

from __future__ import annotations

from typing import Any

from flava.errors import FlavaError
from flava.io import sha256_json
from flava.jobs import EvaluateTask, parse
from flava.records import Record


class TaskExamples:
    """Hashes of tasks' examples, each task read once, however many models were scored on it."""

    def __init__(self) -> None:
        self._known: dict[str, str | FlavaError] = {}

    def problem(self, name: str, spec: dict[str, Any], record: Record, by: str) -> str | None:
        """Why the examples are not those of the record, a sentence; None where they are.

        Args:
            spec: the task's part of the evaluation's configuration.
            by: file with the record.
        """
        use = record.tasks.get(name)
        if use is None or not spec:
            return None
        found = self._sha256(name, spec)
        if isinstance(found, FlavaError):
            return f"the examples of task '{name}' cannot be read again: {found}"
        if found != use.sha256:
            return (
                f"the examples of task '{name}' are not those that {by} names: sha256 "
                f"{found[:12]}, not {use.sha256[:12]}."
            )
        return None

    def _sha256(self, name: str, spec: dict[str, Any]) -> str | FlavaError:
        # Imports every adapter: only who asks for the data waits for them.
        from flava.evaluate.datasets import load_task
        from flava.evaluate.digest import task_use

        key = sha256_json([name, spec])
        if key not in self._known:
            try:
                task = parse(EvaluateTask, spec, f"task '{name}'")
                self._known[key] = task_use(load_task(name, task.task, task.data)).sha256
            except FlavaError as error:
                self._known[key] = error
        return self._known[key]
