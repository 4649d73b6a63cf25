"""The plan of a study whose image tokens come from a published encoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from flava.errors import ConfigError
from tests.workflow.smoke import Project
from workflow.disk import disk_by_column
from workflow.modules import RUN_FILES
from workflow.plan import Plan

KEY = "{published: {path: $FLAVA_DATA/weights/flava-image-codebook}}"


def write_study(params: Path, base: str = "paper", codebook: str = KEY) -> None:
    """params/mine.yaml: another study with this `codebook`."""
    text = f"base: {base}\nname: mine\ntitle: Published tokens\nscale: planned\n"
    (params / "mine.yaml").write_text(f"{text}codebook: {codebook}\n")


def test_no_log_is_expected_where_nothing_is_trained(in_copy: Path) -> None:
    write_study(in_copy / "params", "smoke")
    mine, smoke = Plan.load("mine"), Plan.load("smoke")
    trained = ["data/mine/codebook/log.csv", "data/mine/codebook/curves.png"]
    left = [f"data/mine/codebook/{name}" for name in RUN_FILES]
    assert [path for path in left if path not in mine.codebook_files] == trained
    assert not set(trained) & {*mine.targets(), *mine.report_inputs}
    assert set(mine.codebook_files) <= set(mine.targets())
    assert "data/mine/codebook/record.json" in mine.report_inputs
    assert "data/smoke/codebook/log.csv" in smoke.report_inputs
    assert "data/mine/codebook/model/model.safetensors" in mine.init_inputs("beit-s0")
    assert mine.codebook_job().checkpoints != smoke.codebook_job().checkpoints
    assert "published" not in smoke.codebook_job().model_dump()["codebook"]
    assert disk_by_column(mine)["codebook"].checkpoints == 0


def changed(params: Path, codebook: str, other: str) -> set[str]:
    """Configurations that differ between two studies of these `codebook`s."""
    write_study(params, "smoke", codebook)
    first = Plan.load("mine").configs()
    write_study(params, "smoke", other)
    return {path for path, value in Plan.load("mine").configs().items() if value != first[path]}


def test_keys_of_training_do_not_count_where_nothing_is_trained(in_copy: Path) -> None:
    other = KEY.replace("}}", "}, updates: 7, width: 8, optim: {learning_rate: 0.5}}")
    shown = {"results/mine/configs/settings.json"}  # the report shows the study as it is
    assert changed(in_copy / "params", KEY, other) == shown
    read = KEY.replace("}}", "}, min_used_fraction: 0.5}")
    assert "results/mine/configs/codebook.json" in changed(in_copy / "params", KEY, read)
    assert "results/mine/configs/codebook.json" in changed(
        in_copy / "params", "{updates: 5}", "{updates: 7}"
    )


def test_a_dry_run_of_the_paper_with_the_papers_tokenizer(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLAVA_DATA", raising=False)
    project = Project.copy(root, tmp_path)
    write_study(project.path / "params")
    done = project.snakemake("--dry-run", study="mine")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "codebook: image tokenizer and the tokens of all images" in said
    (line,) = [line for line in said.splitlines() if line.startswith("  image tokenizer ")]
    assert " none " in line and "published weights, encoding only" in line
    assert "data/mine/codebook/record.json" in said
    assert "data/mine/codebook/log.csv" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("codebook", "said"),
    [
        ("{published: {path: weights}, codebook_size: 4096}",
         "codebook.codebook_size 4096 and flava.codebook_size 8192 must be equal"),
        ("{published: {path: weights}, downsample: 4}", "set downsample to 8"),
        ("{published: {path: hub:facebook/flava-image-codebook}}", "is no folder: run `hf downl"),
        ("{published: {source: weights}}", "path"),
        ("{published: {path: weights, sha256: beef}}", "sha256"),
    ],
)  # fmt: skip
def test_what_cannot_fit_is_refused_as_it_is_planned(
    in_copy: Path, codebook: str, said: str
) -> None:
    write_study(in_copy / "params", codebook=codebook)
    with pytest.raises(ConfigError, match=said):
        Plan.load("mine")
