# Raw data to tokenizers, shards with manifests, and cached image tokens.


rule toy_world:
    input:
        config=plan.config_path("toy_world"),
        code=plan.code_path("toy_world"),
    output:
        f"{plan.data}/raw/manifest.json",
    log:
        f"logs/{plan.name}/toy_world.log",
    priority: 100
    threads: plan.cores("toy_world")
    message:
        "toy world: generate its files"
    shell:
        "OMP_NUM_THREADS={threads} {PY} -m flava.data.toy --config {input.config:q} > {log:q} 2>&1"


rule tokenizer:
    input:
        plan.raw_inputs(),
        config=plan.config_path("tokenizer"),
        code=plan.code_path("tokenizer"),
    output:
        expand(f"{plan.data}/tokenizers/{{name}}.json", name=plan.tokenizers),
    log:
        f"logs/{plan.name}/tokenizer.log",
    priority: 100
    threads: plan.cores("tokenizer")
    message:
        "tokenizers: train or convert"
    shell:
        "OMP_NUM_THREADS={threads} {PY} -m flava.data.tokenizer --config {input.config:q} > {log:q} 2>&1"


rule prepare:
    input:
        plan.raw_inputs(),
        lambda wildcards: list(plan.prepare_job(wildcards.kind).tokenizers.values()),
        config=plan.config_path("prepare_{kind}"),
        code=plan.code_path("prepare"),
    output:
        f"{plan.data}/{{kind}}/manifest.json",
        f"{plan.data}/{{kind}}/record.json",
    log:
        f"logs/{plan.name}/prepare_{{kind}}.log",
    priority: 100
    threads: plan.cores("prepare")
    message:
        "prepare {wildcards.kind}"
    shell:
        "OMP_NUM_THREADS={threads} {PY} -m flava.data.prepare --config {input.config:q} > {log:q} 2>&1"


rule codebook:
    input:
        [f"{folder}/manifest.json" for folder in plan.codebook_job().corpora.values()],
        config=plan.config_path("codebook"),
        code=plan.code_path("codebook"),
    output:
        [f"{plan.data}/codebook/{corpus}.npy" for corpus in plan.codebook_job().corpora],
        plan.codebook_files,
    log:
        f"logs/{plan.name}/codebook.log",
    priority: 100
    threads: plan.cores("codebook")
    resources:
        ranks=plan.resources("codebook")["ranks"],
        sharding=plan.resources("codebook")["sharding"],
    message:
        "codebook: train the dVAE, cache image tokens"
    shell:
        "exec {PY} -m workflow.launch codebook --config {input.config:q}"
        " --ranks {resources.ranks} --threads {threads} --sharding {resources.sharding} > {log:q} 2>&1"
