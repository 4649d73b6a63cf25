"""What a study may say of a task's data: keys that its reader reads and its protocol has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flava.errors import ConfigError
from flava.params import read_yaml
from flava.studies import Study, load_study


def with_task(params: Path, task: str, **keys: Any) -> Study:
    """The toy study with other keys of a task's data."""
    path = params / "toy.yaml"
    tree = read_yaml(path)
    tree["tasks"][task] |= keys
    path.write_text(yaml.safe_dump(tree))
    return load_study(params, "toy")


@pytest.mark.parametrize(
    ("task", "keys", "message"),
    [
        ("mnist", {"finetune": {"nonsense": 4}}, r"tasks\.mnist\.finetune: nonsense: the protocol"),
        ("cola", {"probe": {"steps": 4}}, r"tasks\.cola\.probe: steps: .*\(glue\) has no 'probe'"),
        ("coco", {"finetune": {"updates": 4}}, r"tasks\.coco\.finetune: updates: the protocol"),
        ("mnist", {"split": "val"}, r"tasks\.mnist\.split: adapter 'mnist_idx' does not read it"),
        ("mnist", {"prompts": "x"}, r"tasks\.mnist\.prompts: adapter 'mnist_idx' does not"),
        ("mnist", {"answers": "train"}, r"tasks\.mnist\.answers: adapter"),
        ("cola", {"images": "x"}, r"tasks\.cola\.images: adapter 'glue_tsv' does not read it"),
        ("vqav2", {"split": "test"}, r"tasks\.vqav2\.split: adapter"),
        ("imagenet_zero_shot", {"split": "nonsense"}, r"tasks\.imagenet_zero_shot\.split: adapter"),
    ],
)
def test_a_key_without_effect_is_refused(
    params: Path, task: str, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"toy\.yaml: {message}"):
        with_task(params, task, **keys)


def test_a_key_that_a_base_sets_is_taken_back_with_its_default(params: Path) -> None:
    assert with_task(params, "mnist", split=None, answers="train_val").config.tasks["mnist"]


def test_every_key_of_fine_tuning_can_be_set(params: Path) -> None:
    keys = {"segment_types": False, "head_hidden": None, "precision": "bf16", "dropout": 0}
    found = with_task(params, "snli_ve", finetune=keys).evaluate_task("snli_ve").finetune
    assert found is not None
    assert {key: getattr(found, key) for key in keys} == keys
    with pytest.raises(
        ConfigError, match=r"snli_ve\.finetune: unknown key 'segment_typs'. Did you"
    ):
        with_task(params, "snli_ve", finetune={"segment_typs": True}).evaluate_task("snli_ve")
