"""The docs' table of baselines, from files as the commands write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from flava.errors import DataError
from flava.io import write_json
from flava.report.baseline_table import (
    baseline_scores,
    column_scores,
    files_by_seed,
    main,
    markdown,
)


def score(row: str, value: float, error: float = 3.0) -> dict[str, object]:
    return {
        "row": row, "task": row.lower(), "domain": "vision", "metric": "accuracy", "value": value,
        "std_error": error, "chance": 10.0, "n_examples": 5, "n_train": 5, "stand_in": None,
        "details": {},
    }  # fmt: skip


def written(row: str, baseline: str, value: float) -> dict[str, object]:
    return {"tasks": {row.lower(): {"rows": {row: {baseline: score(row, value)}}}}}


def test_gain_in_standard_errors(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", written("MNIST", "random", 50.0))
    write_json(tmp_path / "b.json", written("DTD", "pixels", 20.0))
    run = tmp_path / "flava_mm-s0"
    write_json(run / "evaluate/vision.json", {"scores": [score("MNIST", 60.0, 4.0)]})
    write_json(run / "evaluate/vision.config.json", {"tasks": {}})
    baselines = baseline_scores([tmp_path / "a.json", tmp_path / "b.json"])
    found = markdown(["DTD", "MNIST"], baselines, {"flava_mm": column_scores(run)})
    assert found.splitlines()[0] == (
        "| row | chance | untrained | pixels | words | `flava_mm` | gain |"
    )
    assert found.splitlines()[2:] == [
        "| MNIST | 10.0 | 50.0 ± 3.0 |  |  | 60.0 ± 4.0 | +2.0 |"
    ]  # DTD: no column has it


def test_a_task_of_two_files_is_refused(tmp_path: Path) -> None:
    """The last one's numbers would stand in the table, as if there were no others."""
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, value in zip(files, (50.0, 60.0), strict=True):
        write_json(path, written("MNIST", "random", value))
    with pytest.raises(DataError, match=r"a\.json and .*b\.json both have .* task 'mnist'"):
        baseline_scores(files)


def test_means_over_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The printed names come from `params/`; a row that one seed lacks is left out."""
    (tmp_path / "params").symlink_to(Path("params").resolve())
    monkeypatch.chdir(tmp_path)
    results = Path("results/mini")
    for seed, untrained, trained in ((0, 10.0, 40.0), (1, 20.0, 44.0)):
        tree = written("MNIST", "random", untrained) | {"record": {"seed": seed}}
        write_json(results / f"baselines-s{seed}.json", tree)
        same = score("CIFAR10", 30.0, 1.5)  # no seed enters its regression
        scores = [score("MNIST", trained), same, *([score("DTD", 1.0)] if seed else [])]
        run = results / f"runs/flava_mm-s{seed}"
        write_json(run / "evaluate/vision.json", {"scores": scores})
    arguments = ["baseline_table", "--study", "mini", "--columns", "flava_mm", "--seeds", "0", "1"]
    monkeypatch.setattr("sys.argv", [*arguments, "1"])
    main()
    # Errors: half the difference of two; the gain: 27 / hypot(5, 2).
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| CIFAR10 | 10.0 |  |  |  | 30.0 ± 1.5 |  |",
        "| MNIST | 10.0 | 15.0 ± 5.0 |  |  | 42.0 ± 2.0 | +5.0 |",
    ]
    monkeypatch.setattr("sys.argv", [*arguments, "--baselines", str(results / "baselines-s1.json")])
    with pytest.raises(DataError, match=r"are of seeds \[1\], the columns of seeds \[0, 1\]"):
        main()


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no evaluations"):
        column_scores(tmp_path)
    write_json(tmp_path / "a.json", {"scores": []})
    with pytest.raises(DataError, match="has no 'tasks'"):
        baseline_scores([tmp_path / "a.json"])
    write_json(tmp_path / "a.json", {"tasks": {}, "record": {"seed": None}})
    with pytest.raises(DataError, match="does not say of which seed"):
        files_by_seed([tmp_path / "a.json"])
