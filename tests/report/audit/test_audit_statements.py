"""What the paper's text says: each statement is read, and found where the tables contradict it."""

from __future__ import annotations

import copy
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from flava.config import StatementConfig
from flava.errors import ConfigError
from flava.jobs import parse
from flava.report.audit.finding import Finding
from flava.report.audit.run import audit
from tests.report.audit.conftest import PARAMS

STATEMENTS: dict[str, dict[str, Any]] = yaml.safe_load(
    (PARAMS / "paper" / "statements.yaml").read_text(encoding="utf-8")
)
FALSE = {
    "global_contrastive_macro",
    "global_contrastive_multimodal",
    "mm_vision",
    "init_every_task",
    "init_every_task_and_setting",
    "earlier_models",
    "corpus_size_conclusion",
    "table_4_caption",
}


def audit_of(folder: Path, statements: dict[str, Any]) -> list[Finding]:
    """Of the paper's tables with other statements."""
    folder.mkdir(exist_ok=True)
    shutil.copy(PARAMS / "tasks.yaml", folder)
    shutil.copytree(PARAMS / "paper", folder / "paper")
    (folder / "paper" / "statements.yaml").write_text(yaml.safe_dump(statements))
    return [item for item in audit(folder) if item.kind == "statement"]


def opposite(statement: dict[str, Any]) -> dict[str, Any]:
    """The statement with its columns, lines or numbers exchanged."""
    found = copy.deepcopy(statement)
    if "higher" in found:
        found["higher"]["pairs"] = [pair[::-1] for pair in found["higher"]["pairs"]]
    elif "difference" in found:
        each = found["difference"]
        each["first"], each["second"] = each["second"], each["first"]
    elif "table_5" in found:
        lines = found["table_5"]
        (lines["line"],), lines["over"] = lines["over"], [lines["line"]]
    elif "ratio" in found:
        key = "times" if "times" in found["ratio"] else "orders"
        found["ratio"][key] += 3
    elif "sizes" in found:
        found["sizes"]["CLIP"] = "4B"
    else:
        found["metrics"] = dict(
            zip(found["metrics"], [*found["metrics"].values()][::-1], strict=True)
        )
    return found


@pytest.mark.parametrize("key", sorted(set(STATEMENTS) - FALSE))
def test_the_opposite_of_what_holds_is_found(tmp_path: Path, key: str) -> None:
    assert audit_of(tmp_path / "as_printed", {key: STATEMENTS[key]}) == []
    (item,) = audit_of(tmp_path / "opposite", {key: opposite(STATEMENTS[key])})
    assert item.where == STATEMENTS[key]["source"]
    assert item.arithmetic


@pytest.mark.parametrize("key", sorted(FALSE))
def test_what_does_not_hold_is_found(tmp_path: Path, key: str) -> None:
    (item,) = audit_of(tmp_path, {key: STATEMENTS[key]})
    assert item.where == STATEMENTS[key]["source"]


def test_initialisation_in_all_settings_is_told_pair_by_pair(tmp_path: Path) -> None:
    key = "init_every_task_and_setting"
    (item,) = audit_of(tmp_path, {key: STATEMENTS[key]})
    pairs = item.arithmetic.split("; ")
    falls = [int(re.findall(r"(\d+) of 4[01] rows do not rise", pair)[0]) for pair in pairs]
    assert falls == [16, 8, 21, 11, 9, 4]
    assert "vision average 79.14 to 78.57: -0.57" in pairs[0]
    assert "vision average 79.35 to 78.49: -0.86" in pairs[2]
    assert "multimodal average 69.11 to 69.05: -0.06" in pairs[2]


def test_every_difference_of_section_4_and_supplement_c_is_listed() -> None:
    """By what the paper compares; the columns are those that its text names."""
    told = {key: parse(StatementConfig, tree, key) for key, tree in STATEMENTS.items()}
    compared = {
        pair
        for statement in told.values()
        for pair in (statement.higher.pairs if statement.higher else [])
    }
    compared |= {
        (each.difference.first, each.difference.second) for each in told.values() if each.difference
    }
    numbers = {"flava_c_local": 3, "flava_c": 4, "flava_c_beit": 5, "flava_c_dino": 6}
    numbers |= {"flava_mm": 7, "flava_mm_beit": 8, "flava_mm_dino": 9, "flava_no_init": 10}
    numbers |= {"flava_beit": 11, "flava_dino": 12, "clip_pmd": 13, "clip_400m": 14}
    numbers |= {"mim": 1, "mlm": 2}
    wanted = {(4, 13), (4, 3), (7, 4), (7, 1), (7, 2), (10, 7), (12, 10), (6, 5), (9, 8), (12, 11)}
    wanted |= {(5, 4), (6, 4), (8, 7), (9, 7), (11, 10), (12, 14), (12, 13), (3, 13), (12, 4)}
    assert wanted <= {(numbers[first], numbers[second]) for first, second in compared}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"higher": {"pairs": [["mim", "mlm"]], "averages": ["nlp"]}}, "nothing is printed"),
        ({"higher": {"pairs": [["mim", "mlm"]]}}, "give averages, rows or both"),
        ({"higher": {"pairs": [["mim", "flava_c"]], "rows": ["Imagenet"]}}, "ImageNet"),
        ({"ratio": {"small": "FLAVA", "large": ["CLIP"], "times": 6.0}}, "method of Table 1"),
        ({"sizes": {"CLIPP": "400M"}}, "CLIP"),
        ({"table_5": {"line": 11, "over": [4], "headings": ["VQA"]}}, "VQAv2"),
    ],
)
def test_a_statement_of_what_does_not_exist_is_refused(
    tmp_path: Path, more: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        audit_of(tmp_path, {"mine": {"source": "me", "says": "x", **more}})
