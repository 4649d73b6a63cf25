"""Columns of a study beside its baselines, as the table that the docs show.

python -m flava.report.baseline_table --study toy --columns flava_mm flava_no_init --seeds 0 1 2

Reads what `python -m flava.evaluate.baselines` and the columns' evaluations wrote.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flava.errors import DataError, run_cli
from flava.evaluate.scores import Score
from flava.io import read_json
from flava.report.compare import std_error_of_mean
from flava.report.printed_tables import load_table_c1

BASELINES = {"random": "untrained", "pixels": "pixels", "words": "words"}
Scores = Mapping[str, Score]  # by row


def baseline_scores(paths: Iterable[Path]) -> dict[str, dict[str, Score]]:
    """Baseline -> row -> score, of all files of one seed.

    Raises:
        DataError: a file is missing or holds no baselines, or two hold the same one.
    """
    found: dict[str, dict[str, Score]] = {name: {} for name in BASELINES}
    origin: dict[str, Path] = {}
    for path in paths:
        for task, value in _part(path, "tasks").items():
            if task in origin:
                raise DataError(
                    f"{origin[task]} and {path} both have baselines of task '{task}'. Name one of "
                    "them, or delete the task from the other one."
                )
            origin[task] = path
            for row, scores in value["rows"].items():
                for name, score in scores.items():
                    found[name][row] = _score(score, path)
    return found


def column_scores(folder: Path) -> dict[str, Score]:
    """Row -> score of a run, from its folder.

    Raises:
        DataError: it has no evaluation, or a damaged one.
    """
    paths = sorted(
        path for path in (folder / "evaluate").glob("*.json") if ".config" not in path.suffixes
    )
    if not paths:
        raise DataError(f"{folder} has no evaluations. Run the study, or name another column.")
    found = (_score(score, path) for path in paths for score in _part(path, "scores"))
    return {score.row: score for score in found}


def files_by_seed(paths: Iterable[Path]) -> dict[int, list[Path]]:
    """Files of baselines by the seed that their record names.

    Raises:
        DataError: a file is missing, or no record tells its seed.
    """
    found: dict[int, list[Path]] = {}
    for path in paths:
        record = _part(path, "record")
        if not isinstance(record, dict) or not isinstance(record.get("seed"), int):
            raise DataError(f"{path} does not say of which seed it is. Make it again.")
        found.setdefault(record["seed"], []).append(path)
    return found


def over_seeds(scores: Sequence[Scores]) -> dict[str, Score]:
    """Row -> mean over seeds ± its standard error, of the rows that every seed has.

    Of one seed they are its scores, and the error is the test set's; so it is where all seeds have
    the same value, as regressions on published splits have: an error of 0 would say too much.
    """
    if len(scores) == 1:
        return dict(scores[0])
    found = {}
    for row in set.intersection(*(set(each) for each in scores)):
        values = [each[row].value for each in scores]
        if len(set(values)) == 1:
            found[row] = scores[0][row]
            continue
        changed = {"value": sum(values) / len(values), "std_error": std_error_of_mean(values)}
        found[row] = scores[0][row].model_copy(update=changed)
    return found


def markdown(
    rows: Sequence[str], baselines: Mapping[str, Scores], columns: Mapping[str, Scores]
) -> str:
    """The table: one line a row that some column has.

    The last field is the first column's gain on the untrained model, in standard errors of the
    difference (of one seed by bootstrap over the test examples, else over seeds).
    """
    first = next(iter(columns.values()))
    head = ["row", "chance", *BASELINES.values(), *(f"`{name}`" for name in columns), "gain"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        present = [scores[row] for scores in columns.values() if row in scores]
        if not present:
            continue
        lines.append(
            [
                row,
                f"{present[0].chance:.1f}",
                *(_shown(baselines[name].get(row)) for name in BASELINES),
                *(_shown(scores.get(row)) for scores in columns.values()),
                _gain(first.get(row), baselines["random"].get(row)),
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(score: Score | None) -> str:
    return "" if score is None else f"{score.value:.1f} ± {score.std_error:.1f}"


def _gain(score: Score | None, untrained: Score | None) -> str:
    if score is None or untrained is None:
        return ""
    error = math.hypot(score.std_error, untrained.std_error)
    return f"{(score.value - untrained.value) / error:+.1f}" if error else ""


def _part(path: Path, key: str) -> Any:
    tree = read_json(path)
    if not isinstance(tree, dict) or key not in tree:
        raise DataError(f"{path} has no '{key}'. Make it again.")
    return tree[key]


def _score(tree: object, path: Path) -> Score:
    try:
        return Score.model_validate(tree)
    except ValidationError as error:
        raise DataError(f"{path}: {str(error).splitlines()[0]}. Make it again.") from None


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Columns of a study beside its baselines.")
    parser.add_argument("--study", default="toy", help="folder of results/, with the budget's name")
    parser.add_argument("--columns", nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="several: their means")
    parser.add_argument(
        "--baselines", nargs="+", type=Path, help="results/<study>/baselines-s<seed>.json of each"
    )
    given = parser.parse_args()
    seeds = sorted(set(given.seeds))  # one that is named twice would make the errors smaller
    results = Path("results") / given.study
    files = files_by_seed(
        given.baselines or [results / f"baselines-s{seed}.json" for seed in seeds]
    )
    if sorted(files) != seeds:
        raise DataError(
            f"The baselines are of seeds {sorted(files)}, the columns of seeds {seeds}. Name "
            "--seeds and --baselines of the same ones."
        )
    by_seed = [baseline_scores(files[seed]) for seed in seeds]
    baselines = {name: over_seeds([each[name] for each in by_seed]) for name in BASELINES}
    columns = {
        name: over_seeds([column_scores(results / "runs" / f"{name}-s{seed}") for seed in seeds])
        for name in given.columns
    }
    printed = load_table_c1("params/paper").row_names()
    others = {row for scores in columns.values() for row in scores} - set(printed)
    print(markdown([*printed, *sorted(others)], baselines, columns))


if __name__ == "__main__":
    run_cli(main)
