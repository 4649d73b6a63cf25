"""What a corpus should hold, what is there, why the rest is not: manifest, table, error."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from data_helpers import png, prepare_job, sentence, source
from pmd_files import Link, write_img2dataset

from flava.config import CaptionFilterConfig, DataConfig, SourceConfig
from flava.data.prepare import prepare
from flava.data.shortfall import count
from flava.errors import DataError
from flava.jobs import PrepareJob

DEAD, SHORT, ALL = 4, 2, 20


@pytest.fixture
def cc12m(tmp_path: Path) -> SourceConfig:
    """Twenty links: four are dead, two more have short captions."""
    folder = tmp_path / "cc12m"
    links = [
        Link(
            f"http://a/{i}",
            "too short" if i < SHORT else f"the {sentence(i)}",
            None if i >= ALL - DEAD else i,
        )
        for i in range(ALL)
    ]
    write_img2dataset(folder / "images", links, shard=8)
    (folder / "cc12m.tsv").write_text("".join(f"{link.url}\t{link.caption}\n" for link in links))
    return source(
        "cc12m_tsv", folder, name="CC12M", filter=CaptionFilterConfig(), expected_pairs=28
    )


def job(corpus: Path, output: Path, *sources: SourceConfig) -> PrepareJob:
    """Prepares `sources` with the tokenizers of the tiny corpus."""
    return prepare_job(corpus, "pairs", list(sources)).model_copy(update={"output": str(output)})


def test_manifest_has_what_table_2_needs(
    corpus: Path, cc12m: SourceConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(job(corpus, tmp_path / "out", cc12m))
    row = json.loads((tmp_path / "out" / "manifest.json").read_text())["sources"][0]
    kept = ALL - DEAD - SHORT
    assert row["counts"] == {"pairs": kept, "images": kept}
    captions = [f"the {sentence(i)}" for i in range(SHORT, ALL - DEAD)]
    assert row["mean_words"] == pytest.approx(sum(len(c.split()) for c in captions) / kept)
    assert (row["expected_pairs"], row["listed_pairs"], row["shortfall"]) == (28, ALL, 0.5)
    assert {reason: n for reason, n in row["skipped"].items() if n} == {
        "missing images": DEAD,
        "pairs of missing images": DEAD,
        "too few words": SHORT,
        "images without caption": SHORT,
    }
    out, err = capsys.readouterr()
    shown = " ".join(out.splitlines()[-1].split())
    assert shown == "CC12M 28 20 14 4 2 too few words, 4 pairs of missing images"
    assert "warning: Source 'CC12M' gives 14 of 28 pairs, 50.0% too few" in err


def test_nothing_missing_is_no_warning(
    corpus: Path, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(job(corpus, tmp_path / "out", source("karpathy", raw / "pairs")))
    row = json.loads((tmp_path / "out" / "manifest.json").read_text())["sources"][0]
    assert (row["listed_pairs"], row["expected_pairs"], row["shortfall"]) == (72, None, 0.0)
    assert "warning" not in capsys.readouterr().err


def test_a_large_shortfall_is_an_error_when_asked(
    corpus: Path, cc12m: SourceConfig, tmp_path: Path
) -> None:
    """Before anything is written; the message counts the reasons."""
    allowed = cc12m.model_copy(update={"max_shortfall": 0.5})
    prepare(job(corpus, tmp_path / "allowed", allowed))
    strict = cc12m.model_copy(update={"max_shortfall": 0.4})
    message = (
        r"'CC12M' gives 14 of 28 pairs, 50\.0% too few: .*4 missing images.* The study allows "
        r"40\.0% \(max_shortfall\)"
    )
    with pytest.raises(DataError, match=message):
        prepare(job(corpus, tmp_path / "strict", strict))
    assert not (tmp_path / "strict").exists()


def test_counting_without_reading_equals_preparing(
    corpus: Path, cc12m: SourceConfig, raw: Path, tmp_path: Path
) -> None:
    sources = (cc12m, source("karpathy", raw / "pairs"))
    prepare(job(corpus, tmp_path / "out", *sources))
    written = json.loads((tmp_path / "out" / "manifest.json").read_text())["sources"]
    for counted, row in zip(count(sources), written, strict=True):
        shared = ("name", "expected_pairs", "listed_pairs", "shortfall")
        assert {key: counted[key] for key in shared} == {key: row[key] for key in shared}
        assert counted["counts"]["pairs"] == row["counts"]["pairs"]


def test_command_prints_the_table(corpus: Path, cc12m: SourceConfig, tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    other = cc12m.model_copy(update={"name": "again"})
    path.write_text(job(corpus, tmp_path / "out", cc12m, other).model_dump_json())
    done = subprocess.run(
        [sys.executable, "-m", "flava.data.shortfall", "--config", str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["source", "CC12M", "again", "total"]
    assert lines[-1].split()[:5] == ["total", "56", "40", "28", "8"]
    assert not (tmp_path / "out").exists()


def test_other_than_the_expected_images_are_refused(raw: Path, tmp_path: Path) -> None:
    """Thirty are there; a limit takes fewer on purpose."""
    given = source("image_folder", raw / "images" / "images.zip", name="ImageNet-1k")
    for wrong in (29, 31):
        other = given.model_copy(update={"expected_images": wrong})
        message = rf"'ImageNet-1k' has 30 images in .*images\.zip,.* expects {wrong} \(expected_im"
        with pytest.raises(DataError, match=message):
            prepare(prepare_job(tmp_path, "images", [other]))
        assert not (tmp_path / "images").exists()
    for changes in ({"expected_images": 30}, {"expected_images": 50, "limit": 20}):
        prepare(prepare_job(tmp_path, "images", [given.model_copy(update=changes)]))


def test_files_that_are_no_image_are_none_of_the_expected(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("train/a/1.png", png(1))
        archive.writestr("train/a/2.png", b"no image")
    given = source("image_folder", tmp_path / "a.zip", expected_images=2)
    with pytest.raises(DataError, match=r"has 1 images and 1 files that are none in .* expects 2"):
        prepare(prepare_job(tmp_path, "images", [given]))
    assert not (tmp_path / "images").exists()


def test_expected_images_are_a_key_of_images() -> None:
    texts = [{"name": "T", "adapter": "text_lines", "path": "x", "licence": "", "version": ""}]
    texts[0] |= {"expected_images": 5}  # type: ignore[dict-item]
    wordpiece = {"kind": "wordpiece", "vocab_size": 100}
    tree = {"tokenizers": {"wordpiece": wordpiece}, "pairs": [], "images": [], "texts": texts}
    with pytest.raises(
        ValueError, match=r"source 'T' has the key 'expected_images', which only im"
    ):
        DataConfig.model_validate(tree)


@pytest.mark.parametrize("key", ["expected_pairs", "max_shortfall", "filter", "images", "exclude"])
def test_keys_of_pairs_are_refused_elsewhere(key: str) -> None:
    values: dict[str, Any] = {
        "expected_pairs": 5, "max_shortfall": 0.5, "filter": {}, "images": "x", "exclude": "x",
    }  # fmt: skip
    texts = [{"name": "T", "adapter": "text_lines", "path": "x", "licence": "", "version": ""}]
    wordpiece = {"kind": "wordpiece", "vocab_size": 100}
    tree = {"tokenizers": {"wordpiece": wordpiece}, "pairs": [], "images": [], "texts": texts}
    DataConfig.model_validate(tree)
    texts[0][key] = values[key]
    with pytest.raises(ValueError, match=rf"source 'T' has the key '{key}', which only pairs"):
        DataConfig.model_validate(tree)
