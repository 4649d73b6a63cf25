"""The smoke study, end to end by Snakemake, and what an edit re-plans."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.smoke import Project
from workflow.disk import all_disk, disk_by_column, tokens
from workflow.plan import Plan

pytestmark = pytest.mark.timeout(1800)  # one test's time has the whole study's in it


@pytest.fixture(scope="module")
def project(finished_smoke: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose smoke study has run."""
    return finished_smoke.duplicate(tmp_path_factory.mktemp("smoke"))


@pytest.fixture
def edited(project: Project):
    """Edits a file of the project and puts it back afterwards."""
    kept: dict[Path, str] = {}

    def edit(name: str, old: str, new: str) -> None:
        path = project.path / name
        kept.setdefault(path, path.read_text())
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    yield edit
    for path, text in kept.items():
        path.write_text(text)
    project.snakemake("--dry-run")  # writes the configurations back


def test_every_column_and_row_has_a_score(project: Project) -> None:
    results = pd.read_parquet(project.path / "results/smoke/results.parquet")
    assert results["value"].notna().all()
    counts = results.groupby("column").size().to_dict()
    assert counts["mim"] == 2
    assert counts["mlm"] == 2
    # 2 vision, 2 NLP, SNLI-VE, four retrieval rows and zero-shot ImageNet
    assert counts["flava_no_init"] == counts["clip_pmd"] == counts["flava_c_local"] == 10
    assert results["stand_in"].str.startswith("toy").all()


def test_every_score_leads_to_its_record(project: Project) -> None:
    results = pd.read_parquet(project.path / "results/smoke/results.parquet")
    for path in results["record"].unique():
        assert json.loads((project.path / path).read_text())


def test_report_is_there(project: Project) -> None:
    folder = project.path / "results/smoke/report"
    assert "table_c1.html" in (folder / "index.html").read_text()
    table = (folder / "table_c1.html").read_text()
    assert "ImageNet" in table
    pages = Plan.load("smoke", params=str(project.path / "params")).pages
    assert {path.name for path in folder.glob("*.html")} == {
        "index.html",
        *(Path(page).name for page in pages),
    }
    assert "78.19" in table  # the paper's NLP average of column 12, beside ours


def test_snakemakes_own_report_has_every_page_with_a_caption(project: Project) -> None:
    result = project.snakemake("--report", "report.html")
    assert result.returncode == 0, result.stderr
    plan = Plan.load("smoke", params=str(project.path / "params"))
    for path in (*plan.pages, f"{plan.results}/report/index.html"):
        assert f"Adding {Path(path).name} " in result.stdout + result.stderr
    report = (project.path / "report.html").read_text()
    captions = (project.path / "workflow/report/page.rst").read_text()
    for page in plan.page_names:
        (caption,) = re.findall(rf'^  "{page}": "([^"]+)",$', captions, re.MULTILINE)
        assert caption in report
    assert not re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="https?:', report)


def test_leak_check_has_counts_a_record_and_a_section(project: Project) -> None:
    value = json.loads((project.path / "results/smoke/leaks.json").read_text())
    assert value["record"]["step"] == "leaks"
    searched = {(each["corpus"], each["task"]) for each in value["images"]}
    assert {corpus for corpus, _ in searched} == {"pairs", "images", "large_pairs"}
    assert {task for _, task in searched} >= {"imagenet", "mnist", "snli_ve", "flickr30k"}
    assert {each["corpus"] for each in value["texts"]} == {"pairs", "texts", "large_pairs"}
    assert set(value["record"]["extra"]["images"]) == {f"{t} in {c}" for c, t in searched}
    index = (project.path / "results/smoke/report/index.html").read_text()
    assert "Test examples in the pretraining data" in index


def test_second_call_has_nothing_to_do(project: Project) -> None:
    assert project.planned() == set()
    result = project.snakemake("--cores", "2")
    assert result.returncode == 0
    assert "Nothing to be done" in result.stdout + result.stderr


def test_every_cell_of_every_table_resolves(project: Project) -> None:
    done = project.python("-m", "workflow.trace", "--all", "--data", "--study", "smoke", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["broken"] == {} and found["pages"] == []
    for table, counts in found["tables"].items():
        assert counts["cells"] == counts["resolve"] >= 4, table


def test_pairs_are_traced_to_the_manifest_and_its_preparation(project: Project) -> None:
    done = trace(project, "Table 2", "mean words", "Total", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    manifest = json.loads((project.path / "data/smoke/pairs/manifest.json").read_text())
    (source,) = manifest["sources"]
    assert found["shown"] == f"{source['mean_words']:.1f}"
    (corpus,) = found["corpora"]
    assert corpus["path"] == "data/smoke/pairs/manifest.json"
    (step,) = found["steps"]
    assert step["record"]["extra"]["manifest_sha256"] == corpus["sha256"]
    assert "prepare --config results/smoke/configs/prepare_pairs.json" in step["command"]


def test_a_cell_without_a_record_is_refused(project: Project) -> None:
    path = project.path / "data/smoke/pairs/record.json"
    kept = path.read_bytes()
    path.unlink()
    try:
        one, every = trace(project, "Table 2", "pairs", "total"), trace(project, "--all")
    finally:
        path.write_bytes(kept)
    for done in (one, every):
        assert done.returncode == 1
        assert "data/smoke/pairs/record.json is missing" in done.stdout
    assert "Table 2, study smoke: 0 of 4 cells resolve" in every.stdout


def test_settings_name_the_runs_that_had_them(project: Project) -> None:
    done = trace(project, "Table A.1", "this study", "Training, batch size", "--json")
    found = json.loads(done.stdout)
    study = json.loads((project.path / found["settings"]).read_text())["study"]
    assert found["shown"] == str(study["pretrain"]["batch_size"])
    assert f"{RUN}/record.json" in {step["path"] for step in found["steps"]}


def test_a_number_is_traced_to_commands_configurations_and_data(project: Project) -> None:
    done = trace(project, "table_c1", "flava_dino", "ImageNet", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    (score,) = found["scores"]
    assert score["definition"] == "Share of examples whose class is right."
    assert score["protocol"]["data"]["path"] == "data/smoke/raw/tasks/imagenet/images.zip"
    by_step = {step["record"]["step"]: step for step in found["steps"]}
    assert set(by_step) == {
        *("evaluate", "pretrain", "init_dino", "init_mlm", "codebook", "selection", "prepare"),
    }
    run = by_step["pretrain"]
    assert run["command"] == (
        "python -m workflow.launch pretrain --config results/smoke/runs/flava_dino-s0/config.json "
        "--ranks 1 --threads 1 --sharding none"
    )
    assert run["config"]["path"] == "results/smoke/runs/flava_dino-s0/config.json"
    assert {corpus["path"] for corpus in run["corpora"]} == {
        f"data/smoke/{kind}/manifest.json" for kind in ("pairs", "images", "texts")
    }
    assert set(by_step["evaluate"]["record"]["tasks"]) == {"imagenet", "mnist"}
    prepared = [step for step in found["steps"] if step["record"]["step"] == "prepare"]
    assert {step["corpora"][0]["path"] for step in prepared} == {"data/smoke/raw/manifest.json"}
    text = trace(project, "Table C.1", "12", "imagenet").stdout
    assert "commit unknown: not run from a git checkout" in text
    assert "Every link holds" in text


def trace(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return project.python("-m", "workflow.trace", *arguments, "--study", "smoke")


RUN = "results/smoke/runs/flava_dino-s0"


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        (f"{RUN}/record.json", '"seed": 0', '"seed": 1', "record.json is not the one that"),
        (f"{RUN}/record.json", '"seed"', '"sed"', "record.json is not a valid record: seed: F"),
        (f"{RUN}/config.json", '"seed": 0', '"seed": 1', f"{RUN}/config.json is not the one"),
        (f"{RUN}/evaluate/vision.json", '"value": ', '"value": 1', "value is "),
        (f"{RUN}/evaluate/vision.json", '"n_train": ', '"n_train": 1', "was changed after it was"),
        (f"{RUN}/evaluate/vision.json", '"seed": 0', '"seed": 1', "is not the one of that score"),
        ("data/smoke/pairs/manifest.json", "toy pairs", "toy pears", "pairs/manifest.json is not"),
        ("data/smoke/images/record.json", '"seed"', '"sed"', "images/record.json is not a valid"),
        ("data/smoke/tokenizers/wordpiece.json", '"[PAD]"', '"[PAT]"', "wordpiece.json is not the"),
        ("results/smoke/inits/dino-s0/record.json", '"wall', '"val', "not a valid record: "),
        (f"{RUN}/model/model.safetensors", None, None, "model.safetensors is not the one that"),
        (f"{RUN}/log.csv", None, None, "log.csv is not the one that"),
        ("data/smoke/codebook/pairs.npy", None, None, "codebook/pairs.npy is not the one that"),
        ("data/smoke/pairs/shards/000000.tar", None, None, "000000.tar has"),
    ],
)
def test_a_changed_link_is_named(
    project: Project, name: str, old: str | None, new: str | None, says: str
) -> None:
    path = project.path / name
    kept = path.read_bytes()
    if old is None or new is None:
        path.write_bytes(kept + b"x")
    else:
        assert old.encode() in kept
        path.write_bytes(kept.replace(old.encode(), new.encode()))
    try:
        one = trace(project, "Table C.1", "flava_dino", "ImageNet")
        every = trace(project, "--all")
    finally:
        path.write_bytes(kept)
    for done in (one, every):
        assert done.returncode == 1, done.stderr
        assert says in done.stdout[done.stdout.index("\nBROKEN") :]


def test_changed_examples_of_a_task_are_named(project: Project) -> None:
    path = project.path / "data/smoke/raw/tasks/mnist/t10k-labels-idx1-ubyte.gz"
    kept = path.read_bytes()
    labels = gzip.decompress(kept)
    path.write_bytes(gzip.compress(labels[:-1] + bytes([labels[-1] ^ 1])))
    try:
        done = trace(project, "Table C.1", "mim", "MNIST", "--data")
    finally:
        path.write_bytes(kept)
    assert done.returncode == 1
    assert "the examples of task 'mnist' are not those that results/smoke/runs/mim" in done.stdout
    assert trace(project, "Table C.1", "mim", "MNIST", "--data").returncode == 0


def test_a_page_that_shows_another_number_is_named(project: Project) -> None:
    path = project.path / "results/smoke/report/table_c1.html"
    kept = path.read_text()
    first = kept.index('<span class="ours"')
    place = kept.index(">", first) + 1
    path.write_text(kept[:place] + "9" + kept[place:])
    try:
        done = trace(project, "--all")
    finally:
        path.write_text(kept)
    assert done.returncode == 1
    assert "table_c1.html shows" in done.stdout and "Render the report again" in done.stdout


def test_columns_of_table_4_have_its_numbers(project: Project) -> None:
    done = trace(project, "Table 4", "6", "ImageNet", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {score["column"] for score in json.loads(done.stdout)["scores"]} == {"flava_dino"}


def test_what_cannot_be_traced_is_said(project: Project) -> None:
    for arguments, code, says in (
        (("Table C.1", "mim", "SNLI-VE"), 3, "nothing of ours stands there"),
        (("Table C.1", "mim", "ImageNett"), 3, "Did you mean 'ImageNet'?"),
        (("Table C.1", "mim"), 2, "give a table, a column and a row"),
        (("Table C.1", "mim", "ImageNet", "--seed", "7"), 3, "seeds [0], not 7"),
    ):
        done = trace(project, *arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        assert says in done.stderr


def test_disk_is_as_estimated(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)
    plan = Plan.load("smoke")
    disk = all_disk(plan)
    written = sum(f.stat().st_size for f in Path("checkpoints/smoke").rglob("*.pt"))
    # At most; MIM and MLM train a third of FLAVA.
    assert 0.3 * disk.checkpoints < written < disk.checkpoints
    exported = [*Path("results/smoke").glob("*/*/model/*.safetensors")]
    exported += Path("data/smoke/codebook/model").glob("*.safetensors")
    assert sum(f.stat().st_size for f in exported) == pytest.approx(disk.models, rel=0.1)
    own = (Path(RUN) / "model/model.safetensors").stat().st_size
    assert own == pytest.approx(disk_by_column(plan)["flava_dino"].models, rel=0.1)
    tokens_written = sum(f.stat().st_size for f in Path("data/smoke/codebook").glob("*.npy"))
    assert tokens_written == pytest.approx(tokens(plan), rel=0.05)
    cached = sum(f.stat().st_size for f in Path("cache/smoke/features").glob("*.npy"))
    assert not disk.unknown and cached == pytest.approx(disk.features, rel=0.3)


def test_release_needs_a_clean_checkout(project: Project) -> None:
    for value, says in (("true", "is no git checkout"), ("maybe", "neither true nor false")):
        command = ["-m", "snakemake", "-n", "--config", "study=smoke", f"release={value}"]
        done = project.python(*command)
        assert done.returncode != 0
        assert says in done.stdout + done.stderr


def test_touched_files_replan_nothing(project: Project) -> None:
    for path in sorted((project.path / "data").rglob("*.json")):
        path.touch()
    assert project.planned() == set()


def test_one_key_of_one_column_replans_its_chain_alone(project: Project, edited) -> None:
    edited("params/columns.yaml", "gather: none", "gather: local")
    assert project.planned() == {
        "pretrain flava_c_local-s0",
        *(f"evaluate flava_c_local-s0 {job}" for job in ("vision", "nlp", "multimodal")),
        "collect all scores",
        *project.report(),
    }


NEW_COLUMN = """
flava_c_tmm_local:
  base: flava_c
  number: 15
  title: FLAVA_C, torchmultimodal's local
  gather: local
"""


def test_a_new_column_plans_its_own_chain_alone(project: Project, edited) -> None:
    edited("params/columns.yaml", "\nmlm:", NEW_COLUMN + "\nmlm:")
    edited("params/smoke.yaml", "columns: [mim,", "columns: [flava_c_tmm_local, mim,")
    assert project.planned() == {
        "pretrain flava_c_tmm_local-s0",
        *(f"evaluate flava_c_tmm_local-s0 {job}" for job in ("vision", "nlp", "multimodal")),
        "collect all scores",
        *project.report(),
    }


def test_more_seeds_plan_their_own_runs_alone(project: Project) -> None:
    planned = project.planned(seeds="2")
    names = {name for line in planned for name in line.split() if name.endswith(("-s0", "-s1"))}
    assert names >= {f"{column}-s1" for column in ("mim", "mlm", "flava_c_local", "clip_pmd")}
    assert not [name for name in names if name.endswith("-s0")]
    others = {line for line in planned if "-s1" not in line}
    assert others == {
        "collect all scores",
        *project.report(),
    }
    assert project.planned() == set()  # the report of one seed is still there


def test_directions_have_a_record(project: Project) -> None:
    value = json.loads((project.path / "results/smoke/directions.json").read_text())
    assert value["record"]["step"] == "directions"
    words = {line["word"] for line in value["directions"]}
    assert words <= {"undecided", "not run", "not claimed"}  # one seed decides nothing


def test_comment_and_resource_replan_nothing(project: Project, edited) -> None:
    edited("params/smoke.yaml", "pretrain:", "# a remark\npretrain:")
    edited("params/smoke.yaml", "seeds: [0]", "seeds: [0]\nresources: {evaluate: {threads: 2}}")
    edited("flava/train/pretrain.py", "\nimport ", "\n# a remark\nimport ")
    assert project.planned() == set()


def test_code_of_one_step_replans_what_follows_it(project: Project, edited) -> None:
    edited("flava/evaluate/collect.py", "\ndef main(", "\nREMARK = 1\n\n\ndef main(")
    assert project.planned() == {
        "collect all scores",
        *project.report(),
    }


def test_unknown_key_stops_before_any_job(project: Project, edited) -> None:
    edited("params/smoke.yaml", "pair_updates", "pair_updats")
    result = project.snakemake("--cores", "2")
    assert result.returncode != 0
    assert (
        "unknown key 'pair_updats'. Did you mean 'pair_updates'?" in result.stdout + result.stderr
    )
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("seeds", ["0", "-1", "abc", "3.5"])
def test_bad_seeds_stop_before_any_job(project: Project, seeds: str) -> None:
    result = project.snakemake("--cores", "2", seeds=seeds)
    assert result.returncode != 0
    assert f"seeds={seeds} is not a number of seeds" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_lint_finds_nothing_but_missing_environments(project: Project) -> None:
    result = project.snakemake("--lint", "json")
    found = json.loads(result.stdout) if result.stdout.strip() else {}
    titles = {
        lint["title"]
        for part in ("rules", "files")
        for item in found.get(part, [])
        for lint in item["lints"]
    }
    assert titles <= {"Specify a conda environment or container for each rule."}
