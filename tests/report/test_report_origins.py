"""Tables refuse numbers whose records are missing, changed or, for a release, not of one commit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet
import pytest

from flava.errors import DataError
from flava.jobs import ReportJob
from flava.report.column import origin_line
from flava.report.compare import load_comparison
from flava.report.runs import load_run
from flava.report.site import commits
from tests.report.fake_study import fake_scores, record, write_scores, write_study, write_table
from workflow.provenance.chain import Chain

COMMIT = "0123456789abcdef0123456789abcdef01234567"
COLUMNS = {"mim": 1, "flava_c": 4}


def change(path: Path, **fields: object) -> None:
    """Sets fields of a record, alone or inside a result."""
    value = json.loads(path.read_text())
    value.get("record", value).update(fields)
    path.write_text(json.dumps(value))


def collect_again(root: Path) -> None:
    """Scores of the evaluations as they are now."""
    write_scores(root / "results.parquet", fake_scores(columns=COLUMNS, root=root))


@pytest.fixture
def released(tmp_path: Path) -> ReportJob:
    """A study of one clean commit, in release mode."""
    job = write_study(tmp_path, columns=COLUMNS, release=True)
    for path in tmp_path.glob("runs/*/*/vision.json"):
        change(path, git_dirty=False)
    for path in [*tmp_path.glob("runs/*/record.json"), *tmp_path.glob("data/*/record.json")]:
        change(path, git_dirty=False)
    collect_again(tmp_path)
    return job


def evaluation(root: Path, column: str = "flava_c") -> Path:
    return root / f"runs/{column}-s0/evaluate/vision.json"


def test_score_without_its_file_or_record_is_refused(tmp_path: Path) -> None:
    job = write_study(tmp_path, columns=COLUMNS)
    path = evaluation(tmp_path)
    path.write_text('{"scores": []}')
    with pytest.raises(DataError, match=r"flava_c-s0/evaluate/vision.json is not a valid record"):
        load_comparison(job)
    path.unlink()
    with pytest.raises(DataError, match=r"flava_c-s0/evaluate/vision.json is missing"):
        load_comparison(job)


def test_score_of_another_record_is_refused(tmp_path: Path) -> None:
    job = write_study(tmp_path, columns=COLUMNS)
    change(evaluation(tmp_path), wall_seconds=1.5)
    with pytest.raises(DataError, match=r"vision.json was written again .* 'flava_c', seed 0"):
        load_comparison(job)


def test_line_without_the_hash_of_a_record_is_refused(tmp_path: Path) -> None:
    job = write_study(tmp_path, columns=COLUMNS)
    lines = pyarrow.parquet.read_table(job.results).to_pylist()
    lines[0]["record_sha256"] = ""
    write_table(tmp_path / "results.parquet", lines)
    with pytest.raises(DataError, match="has no record of where it came from"):
        load_comparison(job)


def test_one_clean_commit_is_released(released: ReportJob) -> None:
    assert load_comparison(released).ran()


def test_dirty_results_are_shown_but_not_released(tmp_path: Path) -> None:
    job = write_study(tmp_path, columns=COLUMNS)
    assert load_comparison(job).ran()
    with pytest.raises(DataError, match=r"uncommitted changes .*data/images/.* and 4 more"):
        load_comparison(job.model_copy(update={"release": True}))


def test_dirty_training_is_not_released(released: ReportJob, tmp_path: Path) -> None:
    change(tmp_path / "runs/mim-s0/record.json", git_dirty=True)
    with pytest.raises(DataError, match=r"uncommitted changes in .*mim-s0/record.json. Run them"):
        load_comparison(released)


def test_mixed_commits_are_named(released: ReportJob, tmp_path: Path) -> None:
    change(evaluation(tmp_path), git_commit="f" * 40)
    collect_again(tmp_path)
    says = rf"results of 2 commits \({COMMIT[:12]}: .*; {'f' * 12}: .*flava_c-s0/evaluate/vision"
    with pytest.raises(DataError, match=says):
        load_comparison(released)


def test_what_a_run_started_from_counts_too(released: ReportJob, tmp_path: Path) -> None:
    parent = tmp_path / "codebook" / "record.json"
    parent.parent.mkdir()
    parent.write_text(json.dumps(record("codebook", 0, 1.0) | {"git_commit": "unknown"}))
    change(tmp_path / "runs/flava_c-s0/record.json", parents={str(parent): "0" * 64})
    with pytest.raises(DataError, match=r"no commit known of .*codebook/record.json"):
        load_comparison(released)
    parent.unlink()
    with pytest.raises(DataError, match=r"codebook/record.json is missing"):
        load_comparison(released)


def test_training_that_a_run_started_from_unnamed_counts_too(
    released: ReportJob, tmp_path: Path
) -> None:
    earlier = tmp_path / "codebook" / "record.json"
    earlier.parent.mkdir()
    earlier.write_text(json.dumps(record("codebook", 0, 1.0)))
    job = released.model_copy(update={"earlier": {"image tokenizer": str(earlier)}})
    with pytest.raises(DataError, match=r"uncommitted changes in .*codebook/record.json"):
        load_comparison(job)


def test_a_run_that_continued_another_commit_is_not_released(
    released: ReportJob, tmp_path: Path
) -> None:
    change(tmp_path / "runs/mim-s0/record.json", earlier_commits=["f" * 40])
    with pytest.raises(DataError, match=rf"results of 2 commits .*{'f' * 12}: .*mim-s0/record"):
        load_comparison(released)
    change(tmp_path / "runs/mim-s0/record.json", earlier_commits=["unknown"])
    with pytest.raises(DataError, match=r"no commit known of .*mim-s0/record.json"):
        load_comparison(released)


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"git_dirty": True}, "uncommitted changes in"), ({"git_commit": "f" * 40}, "of 2 commits")],
)
def test_corpora_count_too(
    released: ReportJob, tmp_path: Path, fields: dict[str, object], says: str
) -> None:
    path = tmp_path / "data/pairs/record.json"
    change(path, **fields)
    with pytest.raises(DataError, match=rf"{says} .*data/pairs/record.json"):
        load_comparison(released)
    path.unlink()
    with pytest.raises(DataError, match=r"data/pairs/record.json is missing"):
        load_comparison(released)


def test_the_leak_check_and_the_corpora_that_it_read_count_too(
    released: ReportJob, tmp_path: Path
) -> None:
    leaks = tmp_path / "leaks.json"
    made = record("leaks", 0, 1.0) | {"git_dirty": False}
    other = tmp_path / "data/more"
    other.mkdir()
    shutil.copy(tmp_path / "data/pairs/manifest.json", other)
    (other / "record.json").write_text(json.dumps(record("prepare", 0, 1.0)))
    job = released.model_copy(update={"leaks": str(leaks)})
    leaks.write_text(json.dumps({"study": "fake", "record": made}))
    assert load_comparison(job).ran()
    leaks.write_text(json.dumps({"study": "fake", "record": made | {"git_dirty": True}}))
    with pytest.raises(DataError, match=r"uncommitted changes in .*leaks.json"):
        load_comparison(job)
    made["manifests"] = {str(other / "manifest.json"): {"sha256": "0" * 64, "counts": {}}}
    leaks.write_text(json.dumps({"study": "fake", "record": made}))
    with pytest.raises(DataError, match=r"uncommitted changes in .*data/more/record.json"):
        load_comparison(job)


def test_a_score_that_was_changed_in_its_file_is_refused(tmp_path: Path) -> None:
    job = write_study(tmp_path, columns=COLUMNS)
    path = evaluation(tmp_path)
    content = json.loads(path.read_text())
    assert load_comparison(job).ran()
    content["scores"][0]["value"] = 99.0
    path.write_text(json.dumps(content))
    says = r"vision.json was changed after it was written"
    with pytest.raises(DataError, match=says):
        load_comparison(job)
    with pytest.raises(DataError, match=says):
        load_run("flava_c-s0", tmp_path / "runs/flava_c-s0", [str(path)])
    assert [p for p in Chain().node(str(path)).problems if "was changed after" in p]


@pytest.mark.parametrize(
    ("key", "value"),
    [("value", 99.0), ("std_error", None), ("chance", 0.0), ("n_examples", 7), ("stand_in", None)],
)
def test_a_collected_score_that_its_file_has_not_is_refused(
    tmp_path: Path, key: str, value: float | None
) -> None:
    job = write_study(tmp_path, columns={"flava_c": 4})
    lines = pyarrow.parquet.read_table(job.results).to_pylist()
    lines[0][key] = value
    write_table(tmp_path / "results.parquet", lines)
    says = rf"flava_c-s0, ImageNet: {key} is {value}, but .* in .*vision.json. Delete .*parquet"
    with pytest.raises(DataError, match=says):
        load_comparison(job)


def test_pages_name_the_commits_that_a_run_continued(tmp_path: Path) -> None:
    write_study(tmp_path, columns=COLUMNS)
    folder = tmp_path / "runs/mim-s0"
    change(folder / "record.json", earlier_commits=["f" * 40])
    run = load_run("mim-s0", folder, [])
    assert f"{COMMIT[:12]} with changes, before it {'f' * 12}" in origin_line(run.record).values()
    assert commits([run], {}).endswith(f"uncommitted changes; commit <code>{'f' * 12}</code>")
