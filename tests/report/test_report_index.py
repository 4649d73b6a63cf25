"""The index of studies with published weights, initial encoders, removed columns, no run."""

from __future__ import annotations

import re

import pytest

from flava.errors import DataError
from flava.io import read_json, sha256_json
from flava.records import parse_record
from flava.report.column import origin_line
from flava.report.compare import load_comparison
from flava.report.headline import headline
from flava.report.runs import load_runs
from flava.report.sections import cost_line, stand_ins
from flava.report.site import write_index
from flava.report.tables import results_table
from tests.report.fake_study import (
    fake_scores,
    record,
    write_import,
    write_json,
    write_scores,
    write_study,
)  # fmt: skip
from tests.report.offline import check_offline


def test_published_weights_have_neither_log_nor_corpora(tmp_path):
    columns = {"mim": 1, "clip_400m": 14}
    job = write_study(tmp_path, columns=columns, imported=["clip_400m-s0"])
    (tmp_path / "runs/clip_400m-s0/log.csv").unlink()
    write_import(tmp_path, "clip_400m", 0)
    write_index(job)
    assert "clip_400m-s0" in check_offline(tmp_path / "report" / "index.html")
    runs = load_runs(job, load_comparison(job).records)
    assert [(run.column, bool(run.losses), bool(run.corpora)) for run in runs] == [
        ("mim", True, True),
        ("clip_400m", False, False),
    ]


def test_cost_counts_what_runs_start_from(tmp_path):
    write_json(tmp_path / "dino/record.json", record("init_dino", 0, 3000.0))
    earlier = {"init dino-s0": str(tmp_path / "dino/record.json")}
    job = write_study(tmp_path, columns={"mim": 1}, earlier=earlier)
    write_index(job)
    content = check_offline(tmp_path / "report" / "index.html")
    assert "init dino-s0" in content
    assert "1 run: 51 min of training" in content
    (tmp_path / "dino/record.json").unlink()
    with pytest.raises(DataError, match=r"record\.json is missing"):
        write_index(job)


def test_code_and_hardware_are_of_what_runs_start_from_and_of_evaluations_too(tmp_path):
    """An encoder of another commit and machine: one clean commit would be half of the truth."""
    columns = {"mim": 1}
    lines = fake_scores(columns=columns, root=tmp_path)
    encoder = {"git_commit": "e" * 40, "hardware": {"cpu": "x", "cores": 2, "gpus": ["H100"]}}
    write_json(tmp_path / "dino/record.json", record("init_dino", 0, 3000.0) | encoder)
    earlier = {"init dino-s0": str(tmp_path / "dino/record.json")}
    job = write_study(tmp_path, columns=columns, lines=lines, earlier=earlier)
    scored = tmp_path / "runs/mim-s0/evaluate/vision.json"
    machine = {"hardware": {"cpu": "Another CPU", "cores": 4, "gpus": []}}
    content = read_json(scored)
    content["record"] |= machine
    write_json(scored, content)
    for line in lines:
        line["record_sha256"] = sha256_json(content["record"])
    write_scores(tmp_path / "results.parquet", lines)
    write_index(job)
    index = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    code, hardware = (
        re.findall(f"<dt>{name}</dt><dd>(.*?)</dd>", index)[0] for name in ("Code", "Hardware")
    )
    assert re.findall("<code>(.*?)</code>", code) == ["e" * 12, "0123456789ab"]
    assert hardware == "1 x H100; Fake CPU, 2 cores; Another CPU, 4 cores"


def test_code_is_that_of_the_preparation_of_data_too(tmp_path):
    """Of the runs' corpora, and of those that only what they start from has read."""
    texts = tmp_path / "data/words/manifest.json"
    write_json(texts, {"kind": "texts", "sources": []})
    prepared = {"git_commit": "a" * 40, "git_dirty": True}
    write_json(texts.with_name("record.json"), record("prepare", 0, 1.0) | prepared)
    manifests = {str(texts): {"sha256": "0" * 64, "counts": {}}}
    write_json(tmp_path / "mlm/record.json", record("init_mlm", 0, 9.0) | {"manifests": manifests})
    earlier = {"init mlm-s0": str(tmp_path / "mlm/record.json")}
    job = write_study(tmp_path, columns={"mim": 1}, earlier=earlier)
    images = tmp_path / "data/images/record.json"
    write_json(images, read_json(images) | {"git_commit": "b" * 40, "git_dirty": False})
    write_index(job)
    index = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    code = re.findall("<dt>Code</dt><dd>(.*?)</dd>", index)[0]
    assert f"<code>{'a' * 12}</code> with uncommitted changes" in code
    assert f"<code>{'b' * 12}</code>" in code
    images.unlink()
    with pytest.raises(DataError, match=r"data/images/record\.json is missing"):
        write_index(job)


def part(seconds: float, ranks: int, gpus: list[str], torch: str) -> dict[str, object]:
    """Work of earlier processes, as a record has it."""
    hardware = {"cpu": "Fake CPU", "cores": 2, "gpus": gpus}
    process = {"ranks": ranks, "hardware": hardware, "python": "3.11", "packages": {"torch": torch}}
    return {"seconds": seconds, "process": process}


def test_cost_names_all_that_a_run_was_trained_on(tmp_path):
    """It ended on a CPU: the GPU-hours before that are shown all the same."""
    work = [part(3600.0, 32, ["H100"] * 8, "2.5.1"), {"seconds": 9.0, "process": None}]
    plain = record("pretrain", 0, 4000.0) | {"gpu_hours": 32.0}
    shown = cost_line(parse_record(plain | {"earlier_work": work}, "here"))
    assert (shown["GPU hours"], shown["ranks"]) == ("32.00", "1, before it 32")
    assert shown["hardware"] == "Fake CPU, 2 cores, before it 8 x H100"
    shown = cost_line(parse_record(plain | {"earlier_work": [], "gpu_hours": 0.0}, "here"))
    assert (shown["GPU hours"], shown["ranks"]) == ("", "1")


def test_the_index_says_where_records_name_different_versions_of_torch(tmp_path):
    job = write_study(tmp_path, columns={"mim": 1, "flava_c": 4})
    paths = [tmp_path / f"runs/{column}-s0/record.json" for column in ("mim", "flava_c")]
    index = tmp_path / "report" / "index.html"
    for path in paths:
        write_json(path, read_json(path) | {"packages": {"torch": "2.6.0"}})
    write_index(job)
    assert "<dt>Software</dt><dd>torch 2.6.0</dd>" in index.read_text(encoding="utf-8")
    newer = {"earlier_work": [part(60.0, 1, [], "2.5.1")]}
    write_json(paths[1], read_json(paths[1]) | newer)
    write_index(job)
    content = index.read_text(encoding="utf-8")
    assert "torch 2.5.1 (flava_c-s0); torch 2.6.0 (flava_c-s0, mim-s0). 2 versions" in content
    shown = origin_line(parse_record(read_json(paths[1]), "here"))
    assert shown["software"] == "torch 2.6.0, before it 2.5.1"


def test_the_page_of_a_column_that_was_taken_out_is_not_linked(tmp_path):
    job = write_study(tmp_path, columns={"mim": 1})
    folder = tmp_path / "report"
    folder.mkdir(exist_ok=True)
    for name in ("mim", "gone"):
        (folder / f"column_{name}.html").write_text(f"<title>Column {name}</title>")
    write_index(job)
    content = (folder / "index.html").read_text(encoding="utf-8")
    assert "column_mim.html" in content and "column_gone.html" not in content


def test_study_without_any_run(tmp_path):
    job = write_study(tmp_path, columns={}, lines=[])
    write_index(job)
    content = check_offline(tmp_path / "report" / "index.html")
    assert "no claim can be checked" in content
    assert "None of the paper&#x27;s claims could be looked at" in content


def test_a_model_that_stands_in_for_the_papers_is_labelled_wherever_its_column_is(tmp_path):
    columns = {"flava_c": 4, "clip_400m": 14}
    label = "CLIP on <more> toy pairs"
    lines = fake_scores(columns=columns, stand_in=False, root=tmp_path)
    job = write_study(tmp_path, columns=columns, lines=lines, stand_ins={"clip_400m": label})
    comparison = load_comparison(job)
    shown = "CLIP on &lt;more&gt; toy pairs"
    assert [c.stand_in for c in comparison.ran()] == [None, label]
    table, averages = results_table(comparison), headline(comparison)
    heading = next(th for th in re.findall(r"<th scope=.col.*?</th>", table) if "<b>14</b>" in th)
    assert shown in heading and "\N{LOZENGE}" in heading
    assert table.count(shown) == 2 and averages.count(f"stand-in: {shown}") == 1  # text and hint
    assert f"Column 14, CLIP: the model is a stand-in, <b>{shown}</b>" in stand_ins(comparison)
    # its differences to the paper are grey, the other column's are not
    deltas = re.findall(r'delta (up|down|stand-in)"', averages)
    assert deltas.count("stand-in") == 4 and len(deltas) == 8
