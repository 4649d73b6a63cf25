"""The plan: every step's files, written only when their content changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from flava.errors import ConfigError
from flava.fingerprint import NOT_PART, fingerprint
from flava.io import canonical_json
from workflow.plan import MODULES, Plan


def test_writing_twice_touches_nothing(in_copy: Path) -> None:
    Plan.load("smoke").write()
    files = sorted(Path("results").rglob("*.json"))
    for file in files:
        os.utime(file, ns=(1, 1))
    Plan.load("smoke").write()
    assert files
    assert {file.stat().st_mtime_ns for file in files} == {1}


def test_a_comment_in_a_study_changes_no_configuration(in_copy: Path) -> None:
    before = Plan.load("smoke").configs()
    study = Path("params/smoke.yaml")
    study.write_text("# a remark\n" + study.read_text())
    assert Plan.load("smoke").configs() == before


def test_one_edited_column_changes_only_its_own_files(in_copy: Path) -> None:
    before = Plan.load("smoke").configs()
    columns = Path("params/columns.yaml")
    text = columns.read_text()
    assert text.count("gather: none") == 2
    columns.write_text(text.replace("gather: none", "gather: local", 1))
    after = Plan.load("smoke").configs()
    changed = {path for path in after if after[path] != before[path]}
    run = "results/smoke/runs/flava_c_local-s0/config.json"
    assert changed == {run, "results/smoke/configs/settings.json"}  # the second is the pages'
    # The checkpoints of the run as it was stay; undone, the edit leads back to them.
    assert after[run]["checkpoints"] != before[run]["checkpoints"]
    columns.write_text(text)
    assert Plan.load("smoke").configs() == before


def test_edited_words_of_a_task_change_no_job_but_the_pages(in_copy: Path) -> None:
    before, tasks = Plan.load("smoke").configs(), Path("params/tasks.yaml")
    tree = yaml.safe_load(tasks.read_text())
    for name, task in tree.items():
        for key in ("title", "source", "obtain", "licence"):
            task[key] = f"{key} of {name}, edited"
    tasks.write_text(yaml.safe_dump(tree, sort_keys=False))
    plan = Plan.load("smoke")
    after = plan.configs()
    changed = {
        path for path in after if canonical_json(after[path]) != canonical_json(before[path])
    }
    assert changed == {"results/smoke/configs/report.json"}
    assert any(path.endswith("nlp.config.json") for path in after)
    assert "params/tasks.yaml" in plan.report_inputs


def test_a_column_that_a_study_does_not_list_changes_none_of_its_files(in_copy: Path) -> None:
    before = Plan.load("smoke").configs()
    columns = Path("params/columns.yaml")
    more = "\nfirst:\n  base: flava_c\n  number: 16\n  title: First\n"
    more += "\nsecond:\n  base: first\n  number: 17\n  title: Second\n"
    columns.write_text(columns.read_text() + more)
    assert Plan.load("smoke").configs() == before
    study = Path("params/smoke.yaml")
    study.write_text(study.read_text().replace("columns: [mim,", "columns: [second, mim,"))
    after = Plan.load("smoke").configs()
    report = after["results/smoke/configs/report.json"]
    assert report["columns"]["second"] == 17 and "first" not in report["not_run"]
    settings = after["results/smoke/configs/settings.json"]  # its page compares it with its base
    assert {"first", "second"} <= set(settings["columns"]) and settings["bases"][
        "second"
    ] == "first"


def test_one_edited_init_changes_its_own_file_alone(in_copy: Path) -> None:
    before = Plan.load("smoke").configs()
    study = Path("params/smoke.yaml")
    text = study.read_text()
    assert text.count("local_crops: 2") == 1
    study.write_text(text.replace("local_crops: 2", "local_crops: 3"))
    after = Plan.load("smoke").configs()
    changed = {path for path in after if after[path] != before[path]}
    init = "results/smoke/inits/dino-s0/config.json"
    assert changed == {init, "results/smoke/configs/settings.json"}  # the second is the pages'


def test_columns_read_the_inits_they_name_and_no_other(in_copy: Path) -> None:
    plan = Plan.load("smoke")
    assert set(plan.inits) == {"mlm-s0", "beit-s0", "dino-s0"}
    for run, read in {
        "flava_beit-s0": {"mlm", "beit"},
        "flava_dino-s0": {"mlm", "dino"},
        "flava_no_init-s0": set(),
    }.items():
        inits = [path for path in plan.run_inputs(run) if "/inits/" in path]
        assert {path.split("/inits/")[1].split("-s0")[0] for path in inits} == read
    beit, dino = (plan.runs[f"flava_{init}-s0"].model_dump() for init in ("beit", "dino"))
    assert beit["init"]["text"] == dino["init"]["text"]
    differing = {key for key in beit if beit[key] != dino[key]}
    assert differing == {"column", "init", "output", "checkpoints"}


def test_column_14_is_a_labelled_stand_in_or_published_weights(in_copy: Path) -> None:
    plan = Plan.load("smoke")
    stand_in = plan.runs["clip_400m-s0"]
    assert stand_in.arch == "clip" and stand_in.corpora == {"pairs": "data/smoke/large_pairs"}
    assert "data/smoke/large_pairs/manifest.json" in plan.targets()
    assert {job for run, job in plan.evaluate_jobs if run == "clip_400m-s0"} == {
        "vision", "nlp", "multimodal",
    }  # fmt: skip
    study = Path("params/smoke.yaml")
    text = study.read_text()
    begin, end = text.index("released_clip:"), text.index("evaluate_jobs:")
    weights = "released_clip:\n  weights: {source: clip.safetensors, layout: clip}\n"
    study.write_text(text[:begin] + weights + text[end:])
    plan = Plan.load("smoke")
    assert "clip_400m-s0" not in plan.runs and set(plan.imports) == {"clip_400m-s0"}
    assert "data/smoke/large_pairs/manifest.json" not in plan.targets()
    assert ("clip_400m-s0", "vision") in plan.evaluate_jobs


def test_unimodal_columns_have_the_papers_dashes(root: Path, monkeypatch) -> None:
    monkeypatch.chdir(root)
    jobs = Plan.load("toy").evaluate_jobs
    assert {job.features for job in jobs.values()} == {"cache/toy/features"}
    assert {job for run, job in jobs if run == "mim-s0"} == {"vision"}
    assert {job for run, job in jobs if run == "mlm-s0"} == {"nlp"}
    assert {job for run, job in jobs if run == "flava_c-s0"} == {"vision", "nlp", "multimodal"}
    assert {job for run, job in jobs if run == "clip_400m-s0"} == {"vision", "nlp", "multimodal"}


@pytest.mark.parametrize("study", ["smoke", "toy", "paper"])
def test_pages_depend_on_the_records_and_logs_of_what_runs_start_from(
    in_copy: Path, study: str
) -> None:
    plan = Plan.load(study)
    folders = [f"{plan.data}/codebook", *(init.job.output for init in plan.inits.values())]
    assert len(folders) > 1
    for folder in folders:
        assert {f"{folder}/record.json", f"{folder}/log.csv"} <= set(plan.report_inputs)


def test_the_leak_check_is_part_of_every_study_and_can_be_turned_off(in_copy: Path) -> None:
    for name in ("smoke", "toy", "mini", "paper"):
        plan = Plan.load(name)
        assert plan.leaks is not None and plan.leaks.output in plan.targets(), name
        assert plan.leaks.output in plan.report_inputs
        assert set(plan.hashes) == set(plan.leaks.corpora) == set(plan.corpora)
        listed = [task for tasks in plan.study.config.evaluate_jobs.values() for task in tasks]
        assert set(plan.leaks.tasks) == set(listed)
    study = Path("params/smoke.yaml")
    study.write_text(study.read_text() + "\nleaks: null\n")
    plan, files = Plan.load("smoke"), ("smoke/leaks.json", "configs/leaks.json", ".npz")
    assert not plan.hashes and plan.leaks is None and plan.report_job().leaks is None
    assert not [path for path in (*plan.targets(), *plan.configs()) if path.endswith(files)]


def test_corpora_are_compared_by_a_tokenizer_they_were_prepared_with(in_copy: Path) -> None:
    plan = Plan.load("smoke")
    used = {kind: job.tokenizer for kind, job in plan.hashes.items()}
    assert used == {
        "pairs": "wordpiece", "images": None, "texts": "wordpiece", "large_pairs": "bpe",
    }  # fmt: skip
    for kind, job in plan.hashes.items():
        prepared = plan.prepare_job(kind)
        assert job.tokenizer is None or job.tokenizer_path == prepared.tokenizers[job.tokenizer]
        assert (job.corpus, job.images) == (prepared.output, kind != "texts")


def test_settings_of_a_protocol_do_not_change_the_leak_check(in_copy: Path) -> None:
    before = Plan.load("smoke").configs()
    study = Path("params/smoke.yaml")
    text = study.read_text()
    assert text.count("updates: 6, warmup_updates: 2, evaluations: 2") == 1
    study.write_text(
        text.replace("updates: 6, warmup_updates: 2, ev", "updates: 7, warmup_updates: 2, ev")
    )
    after = Plan.load("smoke").configs()
    changed = {path for path in after if after[path] != before[path]}
    assert "results/smoke/runs/mlm-s0/evaluate/nlp.config.json" in changed
    assert not {"results/smoke/configs/leaks.json"} & changed


def test_every_target_is_made_for_a_run_of_the_study(root: Path, monkeypatch) -> None:
    monkeypatch.chdir(root)
    plan = Plan.load("toy")
    assert len(plan.targets()) == len(set(plan.targets()))
    assert "results/toy/report/index.html" in plan.targets()
    assert not [t for t in plan.targets() if "checkpoints" in t]


@pytest.mark.parametrize("study", ["smoke", "toy", "paper"])
def test_no_two_jobs_share_a_folder(in_copy: Path, study: str) -> None:
    """The column MLM and the initialisation MLM have one name, and folders of their own."""
    plan = Plan.load(study, seeds=2)
    jobs = [*plan.runs.values(), *(init.job for init in plan.inits.values()), plan.codebook_job()]
    for key in ("checkpoints", "output"):
        folders = [getattr(job, key) for job in jobs]
        assert len(set(folders)) == len(folders)


def test_more_seeds_leave_the_files_of_the_others_alone(in_copy: Path) -> None:
    before = Plan.load("toy").configs()
    more = Plan.load("toy", seeds=3)
    after = more.configs()
    changed = {path for path in before if after[path] != before[path]}
    assert changed == {f"results/toy/configs/{step}.json" for step in ("collect", "dag", "report")}
    added = set(after) - set(before)
    assert all("-s1" in path or "-s2" in path for path in added)
    assert set(more.runs) == {f"{column}-s{seed}" for column, seed in more.study.runs}


def test_fewer_seeds_damage_nothing(in_copy: Path) -> None:
    """The runs of more seeds stay; the report is of the seeds of its call."""
    Plan.load("smoke", seeds=3).write()
    runs = sorted(Path("results/smoke/runs").rglob("*.json"))
    kept = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in runs}
    one = Plan.load("smoke", seeds="1")
    one.write()
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in runs} == kept
    assert one.report_job().seeds == [0]
    assert not [path for path in one.collect_job().scores if "-s1" in path or "-s2" in path]


@pytest.mark.parametrize("seeds", [0, -1, "abc", 3.5, "3.5", "-1", "0", "", True, [1], "\u00b3"])
def test_bad_seeds_are_refused(in_copy: Path, seeds: object) -> None:
    with pytest.raises(ConfigError, match=r"is not a number of seeds\. Give a whole number"):
        Plan.load("toy", seeds=seeds)


def test_seeds_of_the_study_are_the_default(in_copy: Path) -> None:
    study = Path("params/smoke.yaml")
    study.write_text(study.read_text().replace("seeds: [0]", "seeds: [4, 2]"))
    assert [seed for _, seed in Plan.load("smoke").study.runs][:2] == [4, 2]
    assert Plan.load("smoke", seeds=2).study.config.seeds == [0, 1]


@pytest.mark.parametrize(("seeds", "says"), [("[]", "seeds"), ("[1, 1]", "names a seed twice")])
def test_bad_seeds_in_a_study_are_refused(in_copy: Path, seeds: str, says: str) -> None:
    study = Path("params/smoke.yaml")
    study.write_text(study.read_text().replace("seeds: [0]", f"seeds: {seeds}"))
    with pytest.raises(ConfigError, match=says):
        Plan.load("smoke")


@pytest.mark.parametrize("step", MODULES)
def test_every_step_has_a_fingerprint_of_its_own_module(step: str) -> None:
    assert MODULES[step] in fingerprint(MODULES[step])
    assert not NOT_PART & set(fingerprint(MODULES[step]))


@pytest.fixture
def read(tmp_path: Path, monkeypatch) -> Iterator[Callable[[], dict[str, str]]]:
    """The fingerprint of tmp_path's flava.a, its files read anew at each call."""
    from flava import fingerprint as module

    monkeypatch.setattr(module, "ROOT", tmp_path)

    def read() -> dict[str, str]:
        module._read.cache_clear()
        return module.fingerprint("flava.a")

    yield read
    module._read.cache_clear()


def test_fingerprint_follows_imports_and_ignores_comments(tmp_path, read) -> None:
    (tmp_path / "flava").mkdir()
    (tmp_path / "flava/__init__.py").write_text("")
    (tmp_path / "flava/a.py").write_text("from flava import b\n")
    (tmp_path / "flava/b.py").write_text('"""Doc."""\n# remark\nX = 1\n')
    first = read()
    assert set(first) == {"flava", "flava.a", "flava.b"}
    (tmp_path / "flava/b.py").write_text('"""Another doc."""\nX = 1  # remark\n')
    assert read() == first
    (tmp_path / "flava/b.py").write_text("X = 2\n")
    assert read() != first
    (tmp_path / "flava/b.py").write_text('X = "flava.c.d:load"\n')
    (tmp_path / "flava/c").mkdir()
    (tmp_path / "flava/c/d.py").write_text("load = 1\n")
    assert {"flava.b", "flava.c.d"} < set(read()), "a function named as resolve_name reads it"


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("flava/evaluate/formats/imagenet_wnids.txt", {"selection", "evaluate", "leaks"}),
        ("flava/report/templates/flava/conf.json", {"render"}),
        ("flava/report/templates/flava/index.html.j2", {"render"}),
        ("flava/report/style.css", {"render", "site", "directions", "figure"}),
        ("flava/report/sort.js", {"render", "site", "directions", "figure"}),
    ],
)
def test_files_that_a_module_reads_are_in_its_fingerprint(name: str, steps: set[str]) -> None:
    assert {step for step, module in MODULES.items() if name in fingerprint(module)} == steps


def test_every_file_of_the_package_is_in_a_fingerprint(root: Path) -> None:
    known = {name for module in MODULES.values() for name in fingerprint(module)}
    listed = [path.relative_to(root) for path in (root / "flava").rglob("*") if path.is_file()]
    others = {path.as_posix() for path in listed if path.suffix not in (".py", ".pyc")}
    assert others and others <= known


def test_fingerprint_follows_files_beside_a_module(tmp_path, read) -> None:
    (tmp_path / "flava/looks/dark").mkdir(parents=True)
    for name in ("__init__.py", "a.py", "names.txt", "other.txt", "looks/dark/page.html"):
        (tmp_path / "flava" / name).write_text("")
    (tmp_path / "flava/a.py").write_text('NAMES, LOOKS = "names.txt", "looks"\n')
    first = read()
    assert set(first) == {"flava", "flava.a", "flava/names.txt", "flava/looks/dark/page.html"}
    (tmp_path / "flava/other.txt").write_text("unread")
    assert read() == first
    for name in ("names.txt", "looks/dark/page.html"):
        (tmp_path / "flava" / name).write_text("changed")
        found = read()
        assert {key for key in first if first[key] != found[key]} == {f"flava/{name}"}
        first = found


def test_the_stand_in_for_the_released_clip_is_named_in_the_report(in_copy: Path) -> None:
    label = "CLIP on 1.5 times as many toy pairs"
    assert Plan.load("smoke").report_job().stand_ins == {"clip_400m": label}
    assert Plan.load("mini").report_job().stand_ins == {}


def test_the_dvae_is_kept_and_beits_recipe_waits_for_it(in_copy: Path) -> None:
    plan = Plan.load("smoke")
    dvae = "data/smoke/codebook/model/model.safetensors"
    assert dvae in plan.targets() and dvae in plan.init_inputs("beit-s0")
    assert dvae not in plan.init_inputs("dino-s0")
