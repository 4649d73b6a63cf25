"""The module that each rule runs, its fingerprint an input of the rule, and what some leave."""

MODULES = {
    "toy_world": "flava.data.toy.__main__",
    "tokenizer": "flava.data.tokenizer",
    "prepare": "flava.data.prepare",
    "codebook": "flava.train.codebook",
    "selection": "flava.evaluate.selection_set",
    "init_mlm": "flava.train.init_mlm",
    "init_beit": "flava.train.init_beit",
    "init_dino": "flava.train.init_dino",
    "pretrain": "flava.train.pretrain",
    "import": "flava.train.imported",
    "evaluate": "flava.evaluate.run",
    "hash": "flava.data.hash_corpus",
    "leaks": "flava.evaluate.leaks",
    "collect": "flava.evaluate.collect",
    "directions": "flava.report.directions",
    "metrics": "flava.report.metrics",
    "figure": "flava.report.figure_files",
    "render": "flava.report.render",
    "site": "flava.report.site",
}

# Steps of seconds, which run where Snakemake runs.
NOT_LAUNCHED = frozenset({"collect", "directions", "metrics", "figure", "render", "site"})

LAUNCHED = [name for name in MODULES if name not in NOT_LAUNCHED]

# Steps whose ranks meet; each rank does its share.
JOIN_RANKS = frozenset({"codebook", "init_mlm", "init_beit", "init_dino", "pretrain"})

# Steps that are one process: a second rank would do the same work at the same place.
ONE_PROCESS = frozenset(MODULES) - NOT_LAUNCHED - JOIN_RANKS

# Steps that keep nothing of what they did before they were stopped.
BEGIN_ANEW = ONE_PROCESS - {"evaluate"}

# Steps that compute on a GPU where there is one.
ON_GPU = frozenset({"codebook", "init_mlm", "init_beit", "init_dino", "pretrain", "evaluate"})

RUN_FILES = [
    "record.json",
    "log.csv",
    "curves.png",
    "model/config.json",
    "model/model.safetensors",
]
IMPORT_FILES = ["record.json", "model/config.json", "model/model.safetensors"]
