"""What pages read of a run: the files that its record names, or nothing."""

from __future__ import annotations

import pytest

from flava.errors import ConfigError, DataError
from flava.io import read_json, sha256_file
from flava.records import load_record
from flava.report.compare import load_comparison
from flava.report.curves import thin
from flava.report.runs import load_losses, load_runs, load_sources
from flava.report.site import write_index
from tests.report.fake_study import write_import, write_json, write_study


@pytest.mark.parametrize("name", ["record.json", "config.json", "log.csv", "evaluate/vision.json"])
def test_damaged_runs_are_refused(tmp_path, name):
    job = write_study(tmp_path, columns={"mim": 1})
    records = load_comparison(job).records
    path = tmp_path / "runs" / "mim-s0" / name
    path.write_text("update,pairs.mim\n20,nonsense\n" if name == "log.csv" else "{}")
    with pytest.raises((DataError, ConfigError), match=path.stem):
        load_runs(job, records)
    if name == "log.csv":
        path.unlink()
        with pytest.raises(DataError, match="missing"):
            load_runs(job, records)


def test_a_log_is_the_one_that_its_record_names(tmp_path):
    job = write_study(tmp_path, columns={"mim": 1})
    folder = tmp_path / "runs" / "mim-s0"
    named = read_json(folder / "record.json")
    named["extra"]["log_sha256"] = sha256_file(folder / "log.csv")
    write_json(folder / "record.json", named)
    assert load_runs(job, load_comparison(job).records)[0].losses
    text = (folder / "log.csv").read_text(encoding="utf-8")
    (folder / "log.csv").write_text(text.replace("5.1", "4.1", 1), encoding="utf-8")
    with pytest.raises(DataError, match=r"log\.csv is not the log that the record"):
        load_runs(job, load_comparison(job).records)


def test_a_configuration_is_the_one_that_its_record_names(tmp_path):
    """The page of a column shows both beside each other."""
    columns = {"mim": 1, "clip_400m": 14}
    job = write_study(tmp_path, columns=columns, imported=["clip_400m-s0"])
    write_import(tmp_path, "clip_400m", 0)
    records = load_comparison(job).records
    for run, key in (("mim-s0", "tokenizer_path"), ("clip_400m-s0", "tokenizer_path")):
        path = tmp_path / "runs" / run / "config.json"
        before = read_json(path)
        assert [r.config for r in load_runs(job, records) if r.name == run] == [before]
        write_json(path, before | {key: "another"})
        with pytest.raises(DataError, match=rf"{run}/config\.json is not the configuration that"):
            load_runs(job, records)
        write_json(path, before)


def test_a_manifest_is_the_one_that_the_records_name(tmp_path):
    job = write_study(tmp_path, columns={"mim": 1})
    path = tmp_path / "data" / "pairs" / "manifest.json"
    before = path.read_text(encoding="utf-8")
    runs = load_runs(job, load_comparison(job).records)
    assert len(load_sources(runs)) == 3
    path.write_text(before.replace("20000", "30000"), encoding="utf-8")
    with pytest.raises(DataError, match=r"pairs/manifest\.json is not the manifest that .*mim-s0"):
        load_sources(runs)
    with pytest.raises(DataError, match="is not the manifest"):
        write_index(job)
    path.write_text(before, encoding="utf-8")
    named = read_json(tmp_path / "runs/mim-s0/record.json")
    del named["manifests"][str(path)]
    write_json(tmp_path / "runs/mim-s0/record.json", named)
    with pytest.raises(DataError, match=r"record of run mim-s0 does not name .*pairs/manifest"):
        load_sources(load_runs(job, load_comparison(job).records))


def test_log_gaps_are_left_out(tmp_path):
    write_study(tmp_path, columns={"mim": 1})
    folder = tmp_path / "runs" / "mim-s0"
    losses = load_losses(folder / "log.csv", load_record(folder / "record.json"))
    assert list(losses) == ["pair_images.mim"]
    assert len(losses["pair_images.mim"]) == 49
    assert len(thin(tuple((float(i), 1.0) for i in range(1000)), 300)) == 250
