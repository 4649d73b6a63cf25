"""Configuration: what is accepted, what is refused, and with which words."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import get_args

import pytest
import yaml

from flava.config.base import Sharding
from flava.data.adapters import IMAGES, PAIRS, TEXTS
from flava.errors import ConfigError
from flava.evaluate.adapters import READERS
from flava.options import options
from flava.params import read_yaml
from flava.studies import load_columns, load_study
from workflow.resources import RuleResources


def edit(path: Path, change) -> None:
    tree = yaml.safe_load(path.read_text())
    change(tree)
    path.write_text(yaml.safe_dump(tree))


@pytest.mark.parametrize(("batch", "valid"), [("whole", True), ("micro", False)])
def test_micro_batches_are_shared_by_contrastive_ranks_only_if_compared_alone(
    params: Path, batch: str, valid: bool
) -> None:
    """32 rows of an update for 8 contrastive ranks, in 8 micro-batches of 4."""

    def change(tree) -> None:
        tree["contrastive_ranks"] = 8
        tree["pretrain"] |= {"batch_size": 32, "accumulate": 8, "contrastive_batch": batch}

    edit(params / "toy.yaml", change)
    if valid:
        load_study(params, "toy")
    else:
        with pytest.raises(ConfigError, match="batch of 4 cannot be split into contrastive_ranks"):
            load_study(params, "toy")


@pytest.mark.parametrize(
    ("column", "every", "refused"),
    [
        ("clip_pmd", 4, True),
        ("clip_400m", 4, True),  # the stand-in is trained
        ("clip_pmd", None, False),
        ("flava_c_local", 4, False),
    ],
)
def test_a_clip_is_selected_on_images_of_its_own_size(
    params: Path, column: str, every: int | None, refused: bool
) -> None:
    def change(tree) -> None:
        tree["columns"] = [column]
        tree["clip"]["image_size"] = 48
        tree["pretrain"]["select_updates"] = every

    edit(params / "smoke.yaml", change)
    if refused:
        message = (
            r"smoke\.yaml: clip\.image_size 48 and flava\.image_size 32 must be equal: column "
            rf"'{column}' is selected every 4 updates \(pretrain\.select_updates\)"
        )
        with pytest.raises(ConfigError, match=message):
            load_study(params, "smoke")
    else:
        load_study(params, "smoke")


@pytest.mark.parametrize("name", ["smoke", "toy", "mini", "paper", "released"])
def test_studies_are_valid(root: Path, name: str) -> None:
    study = load_study(root / "params", name)
    for column, seed in study.runs:
        job = study.import_job(column, seed) or study.run_config(column, seed)
        assert job.column == column


@pytest.mark.parametrize("budget", [None, "cpu", "cpu-quick"])
def test_mini_counts_no_data_that_are_never_counted(root: Path, budget: str | None) -> None:
    """Its data may be any part of their sets: a number in a label is compared with nothing."""
    config = load_study(root / "params", "mini", budget).config
    labels = [task.stand_in for task in config.tasks.values()]
    labels.append(config.scale.partition("encoders of width")[0])
    assert all(labels)
    numbers = [re.findall(r"(?<![\w-])\d[\d,.]*", str(label)) for label in labels]
    assert not any(numbers), numbers


REFUSED = {
    "misspelt key": (
        lambda t: t["pretrain"].update(pair_updats=3),
        r"toy\.yaml: pretrain: unknown key 'pair_updats'. Did you mean 'pair_updates'\? Allowed: ",
    ),
    "misspelt column": (
        lambda t: t.update(columns=["flava_cc"]),
        r"unknown column 'flava_cc'. Did you mean 'flava_c'\?",
    ),
    "no column": (
        lambda t: t.update(columns=[]),
        r"toy\.yaml: key 'columns': it is empty: name at least one column of columns\.yaml\.",
    ),
    "a column twice": (
        lambda t: t["columns"].append("mim"),
        r"toy\.yaml: key 'columns': it names mim more than once: keep one\.",
    ),
    "nothing to evaluate": (
        lambda t: t.update(evaluate_jobs={}),
        r"toy\.yaml: key 'evaluate_jobs': it is empty: name tasks",
    ),
    "an evaluate job without tasks": (
        lambda t: t["evaluate_jobs"].update(more=[]),
        r"toy\.yaml: key 'evaluate_jobs': job 'more' is empty: name tasks",
    ),
    "wrong type": (
        lambda t: t["pretrain"].update(batch_size="many"),
        r"key 'pretrain.batch_size': .*integer \(given: 'many'\)",
    ),
    "negative size": (
        lambda t: t["flava"].update(hidden_size=-64),
        r"key 'flava.hidden_size': .*greater than 0 \(given: -64\)",
    ),
    "heads do not divide": (
        lambda t: t["flava"].update(num_attention_heads=5),
        r"hidden_size 64 is not a multiple of num_attention_heads 5",
    ),
    "missing key": (lambda t: t.pop("seeds"), r"key 'seeds' is missing"),
    "ranks do not divide": (
        lambda t: t.update(contrastive_ranks=7),
        r"batch of 128 cannot be split into contrastive_ranks 7",
    ),
    "all patches masked": (
        lambda t: t["masking"].update(image_patches=16),
        r"image_patches 16 must be less than the 16 patches",
    ),
    "text too long": (
        lambda t: t["pretrain"].update(text_batch_length=65),
        r"texts of 65 tokens do not fit flava.max_text_length 64",
    ),
    "init without a source": (
        lambda t: t["inits"].pop("dino"),
        r"column 'flava_c_dino' needs 'inits.dino': a recipe, or published weights",
    ),
    "init with two sources": (
        lambda t: t["inits"]["mlm"].update(weights={"source": "x", "layout": "flava"}),
        r"key 'inits.mlm': give one of recipe, weights",
    ),
    "no released CLIP": (
        lambda t: t.pop("released_clip"),
        r"column 'clip_400m' needs 'released_clip': published weights, or a stand-in",
    ),
    "no released FLAVA": (
        lambda t: t.update(columns=["flava_released"]),
        r"column 'flava_released' needs 'released_flava': published weights",
    ),
    "a released FLAVA of CLIP's layout": (
        lambda t: t.update(released_flava={"weights": {"source": "x", "layout": "clip"}}),
        r"key 'released_flava': weights of layout 'clip' are no whole FLAVA: give layout 'flava'",
    ),
    "half a stand-in": (
        lambda t: t["released_clip"].pop("pairs"),
        r"give either weights, or all of stand_in, pairs and pair_updates",
    ),
    "selection without data": (
        lambda t: t["pretrain"].update(select_updates=200),
        r"is to be selected every 200 updates \(pretrain.select_updates\), which needs",
    ),
    "selection of the wrong family": (
        lambda t: t["selection"].update(zero_shot="imagenet"),
        r"selection.zero_shot: task 'imagenet' is of family 'linear_probe', not 'zero_shot'",
    ),
    "task without data": (
        lambda t: t["tasks"].pop("food101"),
        r"unknown task without data 'food101'",
    ),
    "misspelt adapter of a task": (
        lambda t: t["tasks"]["mnist"].update(adapter="mnist_idxx"),
        r"toy\.yaml: tasks\.mnist: unknown adapter 'mnist_idxx'. Did you mean 'mnist_idx'\?",
    ),
    "adapter of another family": (
        lambda t: t["tasks"]["rte"].update(adapter="karpathy"),
        r"toy\.yaml: tasks\.rte: unknown adapter 'karpathy'. Allowed: glue_tsv",
    ),
    "misspelt adapter of pairs": (
        lambda t: t["data"]["pairs"][0].update(adapter="karpaty"),
        r"toy\.yaml: source '.*' of pairs: unknown adapter 'karpaty'. Did you mean 'karpathy'",
    ),
    "adapter of another kind": (
        lambda t: t["data"]["texts"][0].update(adapter="image_folder"),
        r"toy\.yaml: source '.*' of texts: unknown adapter 'image_folder'. ",
    ),
    "misspelt adapter of images": (
        lambda t: t["data"]["images"][0].update(adapter="imagenet1k"),
        r"of images: unknown adapter 'imagenet1k'. Did you mean 'imagenet'",
    ),
    "misspelt adapter of the stand-in's pairs": (
        lambda t: t["released_clip"]["pairs"][0].update(adapter="karpaty"),
        r"toy\.yaml: source '.*' of pairs: unknown adapter 'karpaty'",
    ),
    "misspelt release": (
        lambda t: t["tasks"]["hateful_memes"].update(split="sen"),
        r"tasks\.hateful_memes\.split: unknown split 'sen'. Did you mean 'seen'\?",
    ),
    "part of a real set": (
        lambda t: t["tasks"]["mnist"].update(stand_in=None, test_limit=10),
        r"tasks\.mnist: a part of MNIST is not the real set\. Name what it is under 'stand_in'",
    ),
    "another split of a real set": (
        lambda t: t["tasks"]["coco"].update(stand_in=None, split="val"),
        r"tasks\.coco: split 'val' of COCO retrieval is not the official one",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_study_is_refused(params: Path, case: str) -> None:
    change, message = REFUSED[case]
    edit(params / "toy.yaml", change)
    with pytest.raises(ConfigError, match=message):
        load_study(params, "toy")


BAD_COLUMNS = {
    "itm without pairs": (
        {"data": {"images": {"objectives": ["itm"]}}},
        r"objective 'itm' needs data of kind pairs, but is asked for on 'images'",
    ),
    "clip with masking": (
        {"arch": "clip", "data": {"pairs": {"objectives": ["global_contrastive", "itm"]}}},
        r"arch 'clip' has no itm",
    ),
    "unknown objective": (
        {"data": {"pairs": {"objectives": ["itc"]}}},
        r"columns.yaml: flava_mm: key 'data.pairs.objectives.0'.*'global_contrastive'",
    ),
    "no data": ({"data": {}}, r"flava_mm: no data"),
    "no objectives": ({"data": {"pairs": {"objectives": []}}}, r"flava_mm: data.pairs has no obj"),
    "unknown base": ({"base": "flava_x"}, r"unknown base column 'flava_x'"),
    "cycle": ({"base": "flava_mm"}, r"flava_mm -> flava_mm are each other's base"),
    "unknown kind": ({"data": {"pears": {"objectives": ["mim"]}}}, r"key 'data.pears.*'pairs'"),
}


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_bad_column_is_refused(params: Path, case: str) -> None:
    change, message = BAD_COLUMNS[case]
    edit(params / "columns.yaml", lambda t: t["flava_mm"].update(change))
    with pytest.raises(ConfigError, match=message):
        load_columns(params / "columns.yaml")


def test_names_that_no_file_can_have_are_refused(params: Path) -> None:
    edit(params / "columns.yaml", lambda t: t.update({"My-Col": {"base": "flava_mm"}}))
    with pytest.raises(ConfigError, match=r"columns.yaml: column 'My-Col' must be named"):
        load_columns(params / "columns.yaml")
    edit(params / "columns.yaml", lambda t: t.pop("My-Col"))
    edit(params / "toy.yaml", lambda t: t["evaluate_jobs"].update(GLUE=["sst2"]))
    with pytest.raises(ConfigError, match=r"toy.yaml: evaluate job 'GLUE' must be named"):
        load_study(params, "toy")


def test_every_adapter_is_a_function() -> None:
    """... of its registry; nothing else than using it imports its module."""
    pairs = [name for each in PAIRS.values() for name in (each.images, each.captions)]
    tasks = [name for family in READERS.values() for name in family.values()]
    for name in [*pairs, *IMAGES.values(), *TEXTS.values(), *tasks]:
        assert inspect.isfunction(resolve_name(name)), name


def test_planning_imports_no_arrays(root: Path) -> None:
    """Adapters are checked by name: a study is refused, or planned, in a moment."""
    code = (
        "import sys; from pathlib import Path; from flava.studies import load_study; "
        "import workflow.plan; load_study(Path('params'), 'toy'); "
        "print(*sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == []


def test_a_merged_key_may_be_given_anew(tmp_path: Path) -> None:
    """`<<` takes in a mapping; a key beside it wins, given twice beside it is refused."""
    path = tmp_path / "merged.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n", encoding="utf-8")
    assert read_yaml(path)["b"] == {"x": 1, "y": 3}
    path.write_text("a: &a {x: 1}\nb:\n  <<: *a\n  y: 3\n  y: 4\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"line 5: key 'y' is given twice"):
        read_yaml(path)


def test_key_given_twice_is_refused(params: Path) -> None:
    path = params / "toy.yaml"
    path.write_text(path.read_text() + "\nname: other\n")
    with pytest.raises(ConfigError, match=r"line \d+: key 'name' is given twice"):
        load_study(params, "toy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"? [1]\n: 2\n", r"x\.yaml, line 1: a list or mapping is no key\. Write a name"),
        (b"a: 1\n{b}: 2\n", r"x\.yaml, line 2: a list or mapping is no key\."),
        (b"caf\xe9: 1\n", r"x\.yaml is not valid YAML: .*utf-8.*\. Mend that place"),
        (
            b"a: 1\nb: !!timestamp 2020-12-13\n",
            r"x\.yaml, line 2: no setting is of type .*timestamp",
        ),
        (b"a: !!set {b, c}\n", r"x\.yaml, line 1: no setting is of type .*set\. Leave the tag"),
        (b"a: " + b"[" * 5000, r"x\.yaml is not valid YAML: .*recursion.*\. Mend that place"),
        (b"a: [1\n", r"(?s)x\.yaml is not valid YAML: .*line 2, column 1\. Mend that place"),
    ],
)
def test_what_is_no_yaml_is_named(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "x.yaml").write_bytes(text)
    with pytest.raises(ConfigError, match=message):
        read_yaml(tmp_path / "x.yaml")


def test_a_folder_is_no_yaml_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder\. Name a YAML file"):
        read_yaml(tmp_path)


def test_a_date_is_a_text(params: Path) -> None:
    path = params / "toy.yaml"
    path.write_text(path.read_text().replace('version: "1"', "version: 2017-09-01", 1))
    assert load_study(params, "toy").config.data.pairs[0].version == "2017-09-01"


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_is_no_finite_number_names_its_key(params: Path, value: float) -> None:
    edit(params / "toy.yaml", lambda t: t["pretrain"]["optim"].update(clip_grad_norm=value))
    with pytest.raises(ConfigError, match=r"'pretrain\.optim\.clip_grad_norm': .*finite number"):
        load_study(params, "toy")


def test_of_many_bad_keys_the_rest_are_counted(params: Path) -> None:
    edit(params / "toy.yaml", lambda t: t["flava"].update({f"no_{i}": 1 for i in range(8)}))
    with pytest.raises(ConfigError, match=r"unknown key 'no_4'.*\. And 3 more: mend these first\."):
        load_study(params, "toy")


def test_sampling_that_gives_a_column_nothing_names_its_keys(params: Path) -> None:
    edit(params / "toy.yaml", lambda t: t.update(sampling={"pairs": 0.0}))
    study = load_study(params, "toy")
    says = r"study 'toy': sampling\.pairs: 0 for all of column 'flava_c'\. Raise one\."
    with pytest.raises(ConfigError, match=says):
        study.run_config("flava_c", 0)


def test_a_folder_without_studies_is_not_the_checkout(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{tmp_path} holds no study\. Run it in the checkout\."):
        load_study(tmp_path, "toy")


def test_unknown_study_and_budget_name_the_nearest(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown study 'tyo'. Did you mean 'toy'\?"):
        load_study(root / "params", "tyo")
    with pytest.raises(ConfigError, match=r"unknown budget 'cpuquick'. Did you mean 'cpu-quick'\?"):
        load_study(root / "params", "mini", "cpuquick")


def test_budget_changes_only_what_it_names(root: Path) -> None:
    full = load_study(root / "params", "mini").config
    quick = load_study(root / "params", "mini", "cpu-quick").config
    assert quick.name == "mini-cpu-quick"
    assert quick.flava.hidden_size == 128
    assert quick.flava.patch_size == full.flava.patch_size
    assert quick.pretrain.optim.learning_rate == full.pretrain.optim.learning_rate


def test_numbers_with_exponents_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: 1e-3\nb: 5E4\nc: '1e-3'\n")
    assert read_yaml(tmp_path / "x.yaml") == {"a": 0.001, "b": 50000.0, "c": "1e-3"}


def test_options_page_is_in_sync(root: Path) -> None:
    assert (root / "docs/options.md").read_text() == options(), "run `make docs`"


def test_options_page_has_every_key_with_its_meaning_and_allowed_values() -> None:
    lines = [line for line in options().splitlines() if line.startswith("| `")]
    assert lines and not [line for line in lines if line.endswith("|  |")]
    gather = next(line for line in lines if line.startswith("| `gather`"))
    assert "allowed: `global`, `global_full`, `local`, `none`, `openclip_2021` |" in gather
    resources = next(line for line in lines if line.startswith("| `resources`"))
    assert all(f"`{key}`" in resources for key in RuleResources.model_fields)
    assert all(f"`{value}`" in resources for value in get_args(Sharding))
    assert "## ContrastiveConfig" not in options()  # resolved from other keys
