"""The columns of params/columns.yaml are those of the paper's Table C.1."""

from __future__ import annotations

from pathlib import Path

import pytest

from flava.studies import load_columns, load_study

CONTRASTIVE = {"pairs": ["global_contrastive"]}
MULTIMODAL = {"pairs": ["global_contrastive", "mmm_image", "mmm_text", "itm"]}
FULL = MULTIMODAL | {"images": ["mim"], "texts": ["mlm"]}
RANDOM = {"image": "none", "text": "none"}
BEIT, DINO = ({"image": kind, "text": "mlm"} for kind in ("beit", "dino"))
FLAVA, CLIP, RELEASED = (("flava", "wordpiece"), ("clip", "bpe"), ("clip_released", "bpe"))

# Table C.1's header and Section D of the supplement: losses of each kind of data, initialisation
# of the encoders, gather mode, model and tokenizer. `none` is our reading of "local contrastive".
PAPER: dict[str, tuple[dict[str, list[str]], dict[str, str], str, tuple[str, str]]] = {
    "mim": ({"pair_images": ["mim"]}, RANDOM, "global", FLAVA),
    "mlm": ({"pair_texts": ["mlm"]}, RANDOM, "global", FLAVA),
    "flava_c_local": (CONTRASTIVE, RANDOM, "none", FLAVA),
    "flava_c": (CONTRASTIVE, RANDOM, "global", FLAVA),
    "flava_c_beit": (CONTRASTIVE, BEIT, "global", FLAVA),
    "flava_c_dino": (CONTRASTIVE, DINO, "global", FLAVA),
    "flava_mm": (MULTIMODAL, RANDOM, "global", FLAVA),
    "flava_mm_beit": (MULTIMODAL, BEIT, "global", FLAVA),
    "flava_mm_dino": (MULTIMODAL, DINO, "global", FLAVA),
    "flava_no_init": (FULL, RANDOM, "global", FLAVA),
    "flava_beit": (FULL, BEIT, "global", FLAVA),
    "flava_dino": (FULL, DINO, "global", FLAVA),
    "clip_pmd": (CONTRASTIVE, RANDOM, "none", CLIP),
    "clip_400m": ({}, RANDOM, "global", RELEASED),
}


def test_the_fourteen_columns_are_the_papers(root: Path) -> None:
    columns = load_columns(root / "params" / "columns.yaml")
    header = (root / "params/paper/table_c1.csv").read_text().splitlines()[0].split(",")[3:]
    listed = [f"{c.number}:{name}" for name, c in columns.items()]
    assert listed[:14] == header and listed[14:] == ["15:flava_released"]


def test_beit_and_dino_columns_differ_in_the_image_init_alone(root: Path) -> None:
    columns = load_columns(root / "params" / "columns.yaml")
    for stem in ("flava_c", "flava_mm", "flava"):
        beit, dino = (columns[f"{stem}_{init}"].model_dump() for init in ("beit", "dino"))
        assert {key for key in beit if beit[key] != dino[key]} == {"number", "title", "init"}
        assert beit["init"]["text"] == dino["init"]["text"] == "mlm"


@pytest.mark.parametrize("name", PAPER)
def test_a_column_trains_what_the_papers_column_does(root: Path, name: str) -> None:
    column = load_columns(root / "params" / "columns.yaml")[name]
    data = {kind: list(use.objectives) for kind, use in column.data.items()}
    found = (data, column.init.model_dump(), column.gather, (column.arch, column.tokenizer))
    assert found == PAPER[name]


@pytest.mark.parametrize("name", [name for name in PAPER if name != "clip_400m"])
def test_the_papers_run_of_a_column_has_what_the_column_says(root: Path, name: str) -> None:
    objectives, init, gather, model = PAPER[name]
    run = load_study(root / "params", "paper").run_config(name, 0)
    assert run.objectives == objectives and run.contrastive.gather == gather
    assert (run.arch, run.tokenizer) == model
    started = {part: kind for part, kind in init.items() if kind != "none"}
    assert {part: source.kind for part, source in run.init if source} == started
    assert run.corpora.keys() == {"pairs" if "pair" in kind else kind for kind in objectives}
