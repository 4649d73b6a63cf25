"""A made-up study on disk: every score is a formula, none is a result."""

from __future__ import annotations

import csv
import json
from dataclasses import fields
from pathlib import Path

import pyarrow
import pyarrow.parquet

from flava.evaluate.score_file import KEY, scores_sha256
from flava.io import sha256_file, sha256_json
from flava.jobs import ImportJob, ReportJob, RunConfig
from flava.report.compare import Comparison, compare
from flava.report.origins import IDENTITY, MEASURED
from flava.report.printed_tables import load_published, load_table_c1
from flava.report.scores import Score, load_scores
from flava.studies import load_study
from workflow.graph import graph
from workflow.plan import Plan
from workflow.reporting import report_settings

REPO = Path(__file__).parents[2]
PAPER = REPO / "params" / "paper"
NUMBERS = {
    "mim": 1,
    "mlm": 2,
    "flava_c_local": 3,
    "flava_c": 4,
    "flava_mm": 7,
    "flava_no_init": 10,
    "clip_pmd": 13,
}
TITLES = {
    "mim": "MIM",
    "mlm": "MLM",
    "flava_c_local": "FLAVA_C, local contrastive",
    "flava_c": "FLAVA_C",
    "flava_c_beit": "FLAVA_C, BEiT init.",
    "flava_c_dino": "FLAVA_C, DINO init.",
    "flava_mm": "FLAVA_MM",
    "flava_mm_beit": "FLAVA_MM, BEiT init.",
    "flava_mm_dino": "FLAVA_MM, DINO init.",
    "flava_no_init": "FLAVA",
    "flava_beit": "FLAVA, BEiT init.",
    "flava_dino": "FLAVA, DINO init.",
    "clip_pmd": "CLIP",
    "clip_400m": "CLIP",
}
ROWS = (
    "ImageNet", "CIFAR10", "DTD", "Caltech101", "MNIST", "EuroSAT", "CLEVR",
    "COLA", "SST-2", "RTE", "STS-B",
    "SNLI-VE", "Flickr30K TR R@1", "Flickr30K TR R@5", "Flickr30K IR R@1", "Flickr30K IR R@5",
)  # fmt: skip
RETRIEVAL = "Flickr30K"
LINE = {"row", *IDENTITY, *MEASURED}
SCORE = tuple(field.name for field in fields(Score))


def fake_scores(rows=ROWS, columns=NUMBERS, seeds=(0,), stand_in=True, drop=(), root="fake"):
    """Lines of results.parquet; `drop` holds (row, column) pairs to leave out."""
    table = load_table_c1(PAPER)
    domains = {row.name: row.domain for row in table.rows}
    lines = []
    for i, row in enumerate(rows):
        for column in columns:
            domain = domains.get(row, "multimodal")
            absent = {"mim": ("nlp", "multimodal"), "mlm": ("vision", "multimodal")}
            if domain in absent.get(column, ()) or (row, column) in drop:
                continue
            for seed in seeds:
                lines.append(
                    {
                        "study": "fake",
                        "column": column,
                        "seed": seed,
                        "row": row,
                        "task": "flickr30k" if row.startswith(RETRIEVAL) else row.lower(),
                        "domain": domain,
                        "metric": "recall" if row.startswith(RETRIEVAL) else "accuracy",
                        "value": fake_value(i, NUMBERS.get(column, 20), seed),
                        "std_error": 1.25,
                        "chance": 10.0 + i,
                        "n_examples": 1000,
                        "stand_in": f"fake: made-up data {i}" if stand_in else None,
                        "record": f"{root}/runs/{column}-s{seed}/evaluate/vision.json",
                        "record_sha256": sha256_json(record("evaluate", seed, 9.0)),
                    }
                )
    return lines


def fake_value(i: int, number: int, seed: int) -> float:
    """A number that means nothing."""
    return 40.0 + (7 * i + 3 * number) % 31 + 0.5 * seed + 0.25


def write_scores(path: Path, lines) -> None:
    """Writes lines as results.parquet, and into the evaluations that exist."""
    made = {}
    for name in {line["record"] for line in lines} & {str(p) for p in path.parent.rglob("*.json")}:
        ours = [line for line in lines if line["record"] == name]
        scores = [{k: v for k, v in line.items() if k in LINE} for line in ours]
        evaluated = json.loads(Path(name).read_text())["record"]
        made[name] = {"record_sha256": write_evaluation(Path(name), evaluated, scores)}
    write_table(path, [{**line, **made.get(line["record"], {})} for line in lines])


def write_evaluation(path: Path, made, scores=()) -> str:
    """An evaluation's file of these scores; gives the hash of its record."""
    content = {"scores": list(scores)}
    made = made | {"extra": {KEY: scores_sha256(content)}}
    write_json(path, content | {"record": made})
    return sha256_json(made)


def write_table(path: Path, lines) -> None:
    """Writes lines as results.parquet with a fixed schema."""
    text, real = pyarrow.string(), pyarrow.float64()
    types = dict.fromkeys(lines[0] if lines else SCORE, text)
    types |= dict.fromkeys(("value", "std_error", "chance"), real)
    types |= dict.fromkeys(("seed", "n_examples"), pyarrow.int64())
    schema = pyarrow.schema(list(types.items()))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(lines, schema), path)


def fake_job(root: Path, seeds=(0,), columns=NUMBERS, **more) -> ReportJob:
    """A report configuration whose files lie under `root`."""
    runs = {f"{c}-s{s}": str(root / "runs" / f"{c}-s{s}") for c in columns for s in seeds}
    others = set(TITLES) - set(columns)
    values = {
        "study": "fake",
        "title": "Fake study",
        "scale": "made-up numbers, no training, only to look at the page",
        "columns": dict(columns),
        "titles": TITLES,
        "seeds": list(seeds),
        "not_run": dict.fromkeys(others, "its encoder initialisation is not built"),
        "results": str(root / "results.parquet"),
        "runs": runs,
        "published": str(PAPER),
        "settings": str(root / "settings.json"),
        "dag": str(root / "dag.json"),
        "output": str(root / "report"),
    }
    return ReportJob.model_validate(values | more)


def write_study(root: Path, seeds=(0,), columns=NUMBERS, lines=None, **more) -> ReportJob:
    """Writes scores, runs, manifests and report.json under `root`; returns the configuration."""
    root.mkdir(parents=True, exist_ok=True)
    job = fake_job(root, seeds, columns, **more)
    if lines is None:
        lines = fake_scores(seeds=seeds, columns=columns, root=root)
    for kind in ("pairs", "images", "texts"):
        source = {"name": f"fake {kind}", "version": "1", "licence": "generated"}
        source |= {"stand_in_for": "PMD", "counts": {kind: 20000}, "mean_words": 12.1}
        write_json(root / "data" / kind / "manifest.json", {"kind": kind, "sources": [source]})
        write_json(root / "data" / kind / "record.json", record("prepare", 0, 1.0))
    for column in columns:
        for seed in seeds:
            write_run(root, column, seed)
    write_scores(root / "results.parquet", lines)
    write_json(root / "dag.json", graph(Plan.load("toy", params=str(PAPER.parent))).model_dump())
    settings = report_settings(load_study(PAPER.parent, "toy"))
    write_json(root / "settings.json", settings.model_dump(mode="json"))
    write_json(root / "report.json", job.model_dump(mode="json"))
    return job


def compared(job: ReportJob, table: str = "table_c1") -> Comparison:
    """The study's scores joined with the paper's, where no records are written beside them."""
    published = load_published(job.published, table)
    return compare(job, published, load_scores(job.results, job.study))


def write_json(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


OBJECTIVES = {
    "mim": {"pair_images": ["mim"]},
    "mlm": {"pair_texts": ["mlm"]},
    "flava_mm": {"pairs": ["global_contrastive", "mmm_image", "mmm_text", "itm"]},
    "flava_no_init": {
        "pairs": ["global_contrastive", "mmm_image", "mmm_text", "itm"],
        "images": ["mim"],
        "texts": ["mlm"],
    },
}


def write_run(root: Path, column: str, seed: int) -> None:
    """config.json, record.json, log.csv and one evaluation of a run."""
    folder = root / "runs" / f"{column}-s{seed}"
    objectives = OBJECTIVES.get(column, {"pairs": ["global_contrastive"]})
    config = RunConfig.model_validate(
        {
            "study": "fake",
            "column": column,
            "seed": seed,
            "arch": "flava",
            "flava": {},
            "clip": None,
            "init": {},
            "objectives": objectives,
            "sampling": {"pairs": 1.0},
            "contrastive": {},
            "masking": {},
            "pretrain": {},
            "tokenizer": "wordpiece",
            "tokenizer_path": "x",
            "corpora": {kind: str(root / "data" / kind) for kind in ("pairs", "images", "texts")},
            "image_tokens": {},
            "output": str(folder),
            "checkpoints": "x",
        }
    )
    write_json(folder / "config.json", config.model_dump(mode="json"))
    made = record("pretrain", seed, 75.0, config.model_dump(mode="json"))
    paths = [Path(corpus) / "manifest.json" for corpus in config.corpora.values()]
    made["manifests"] = {str(path): {"sha256": sha256_file(path), "counts": {}} for path in paths}
    write_json(folder / "record.json", made)
    write_evaluation(folder / "evaluate" / "vision.json", record("evaluate", seed, 9.0))
    write_json(folder / "evaluate" / "vision.config.json", {})
    names = [f"{kind}.{name}" for kind, parts in objectives.items() for name in parts]
    with (folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["update", "updates.pairs", *names, "loss", "learning_rate", "seconds"])
        for update in range(20, 1001, 20):
            values = [2 + NUMBERS.get(column, 5) / 10 + 60 / (update + 20) for _ in names]
            values = ["" if update == 40 else value for value in values]
            writer.writerow([update, 20, *values, 1.0, 0.001, update / 10])


def write_import(root: Path, column: str, seed: int) -> None:
    """What a column with published weights leaves: no log, no corpora."""
    folder = root / "runs" / f"{column}-s{seed}"
    weights = {"source": "hub:someone/clip", "layout": "clip"}
    job = {"study": "fake", "column": column, "seed": seed, "weights": weights, "clip": {}}
    job |= {"tokenizer": "bpe", "tokenizer_path": "x", "output": str(folder)}
    config = ImportJob.model_validate(job).model_dump(mode="json")
    write_json(folder / "config.json", config)
    write_json(folder / "record.json", record("import", seed, 5.0, config))
    path = folder / "evaluate" / "vision.json"
    if not path.is_file():
        write_evaluation(path, record("evaluate", seed, 9.0))


def record(step: str, seed: int, seconds: float, config=None):
    """A valid record of a step that never ran."""
    return {
        "format": 4,
        "step": step,
        "command": None,
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "git_dirty": True,
        "earlier_commits": [],
        "config_sha256": sha256_json(config or {}),
        "seed": seed,
        "manifests": {},
        "tasks": {},
        "parents": {},
        "python": "3.11",
        "packages": {},
        "hardware": {"cpu": "Fake CPU", "cores": 2, "gpus": []},
        "started": "2022-06-19T00:00:00+00:00",
        "wall_seconds": seconds,
        "gpu_hours": 0.0,
        "earlier_work": [],
        "peak_memory_bytes": 2**30,
        "ranks": 1,
        "jobs": [],
        "requeues": 0,
        "extra": {},
    }
