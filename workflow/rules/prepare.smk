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
    threads: launching.threads("toy_world")
    message:
        "toy world: generate its files"
    shell:
        f"exec {{LAUNCH}} toy_world {FILES}"


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
    threads: launching.threads("tokenizer")
    message:
        "tokenizers: train or convert"
    shell:
        f"exec {{LAUNCH}} tokenizer {FILES}"


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
    threads: launching.threads("prepare")
    message:
        "prepare {wildcards.kind}"
    shell:
        f"exec {{LAUNCH}} prepare {FILES}"


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
    threads: launching.threads("codebook")
    message:
        "codebook: image tokenizer and the tokens of all images"
    shell:
        f"exec {{LAUNCH}} codebook {FILES}"
