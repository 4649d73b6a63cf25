"""A study that takes what it does not declare from another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from flava.errors import ConfigError
from flava.studies import load_study


def derived(params: Path, text: str) -> Path:
    """A study `mine`."""
    path = params / "mine.yaml"
    path.write_text(text)
    return path


MINE = "base: toy\nname: mine\ntitle: Mine\nscale: small\n"


def test_a_study_takes_from_its_base_what_it_does_not_declare(params: Path) -> None:
    changes = """\
columns: [flava_c]
flava: {text_layers: 1}
evaluate_jobs: {some: [mnist]}
tasks: {mnist: {probe: {steps: 3}}}
budgets: {tiny: {pretrain: {pair_updates: 5}}}
"""
    derived(params, MINE + changes)
    base, mine = (load_study(params, name).config for name in ("toy", "mine"))
    assert (mine.name, mine.title, mine.columns) == ("mine", "Mine", ["flava_c"])
    assert mine.flava == base.flava.model_copy(update={"text_layers": 1})
    assert mine.evaluate_jobs == {"some": ["mnist"]}  # as a whole: no other job stays
    assert mine.tasks["mnist"].probe == base.tasks["mnist"].probe | {"steps": 3}
    assert set(mine.tasks) == set(base.tasks)
    # The toy world is its own: what one study generates is not another's.
    assert mine.data.pairs[0].path == "data/mine/raw/pairs" != base.data.pairs[0].path
    assert mine.tasks["cola"].path == "data/mine/raw/tasks/CoLA"
    assert "data/toy/" not in mine.model_dump_json()
    assert (mine.pretrain, mine.seeds) == (base.pretrain, base.seeds)
    tiny = load_study(params, "mine", "tiny").config
    assert (tiny.name, tiny.pretrain.pair_updates) == ("mine-tiny", 5)
    assert tiny.data.pairs[0].path == "data/mine-tiny/raw/pairs"


def test_a_base_may_have_a_base_and_its_budgets_are_its_own(params: Path) -> None:
    derived(params, "base: mini\nname: mine\ntitle: Mine\nscale: s\nseeds: [3]\n")
    (params / "more.yaml").write_text("base: mine\nname: more\ntitle: More\nscale: s\n")
    more, mini = load_study(params, "more").config, load_study(params, "mini").config
    assert (more.seeds, more.columns, more.tasks) == ([3], mini.columns, mini.tasks)
    with pytest.raises(ConfigError, match="unknown budget 'cpu-quick'"):
        load_study(params, "more", "cpu-quick")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINE.replace("toy", "tyo"), r"mine\.yaml: unknown base study 'tyo'. Did you mean 'toy'\?"),
        (MINE.replace("base: toy", "base: [toy]"), r"base \['toy'\] of 'mine' is no name"),
        (MINE.replace("base: toy", "base: mine"), r"mine -> mine are each other's base"),
        (MINE.replace("name: mine\n", ""), r"mine\.yaml: key 'name' is missing"),
        (MINE.replace("scale: small\n", ""), r"mine\.yaml: key 'scale' is missing"),
        (MINE.replace("name: mine", "name: toy"), r"its name is 'toy'\. Write `name: mine`"),
        (MINE + "flava: {hiden_size: 3}\n", r"mine\.yaml: flava: unknown key 'hiden_size'"),
    ],
)
def test_a_bad_base_is_refused(params: Path, text: str, message: str) -> None:
    derived(params, text)
    with pytest.raises(ConfigError, match=message):
        load_study(params, "mine")


def test_a_copied_file_does_not_take_the_place_of_the_other_study(params: Path) -> None:
    derived(params, (params / "toy.yaml").read_text())
    with pytest.raises(ConfigError, match=r"mine\.yaml: its name is 'toy'\. Write `name: mine`"):
        load_study(params, "mine")


@pytest.mark.parametrize("name", ["../x", "Mine", "a b", "mini-cpu"])
def test_a_name_that_no_folder_should_have_is_refused(params: Path, name: str) -> None:
    """`mini-cpu` is the study `mini` with the budget `cpu`."""
    path = params / f"{name}.yaml"
    path.write_text(MINE.replace("mine", name))
    with pytest.raises(ConfigError, match=rf"study '{name}' must be named with small letters"):
        load_study(params, name)


def test_a_budget_does_not_rename_its_study(params: Path) -> None:
    derived(params, MINE + "budgets: {tiny: {name: toy}}\n")
    assert load_study(params, "mine", "tiny").config.name == "mine-tiny"
