# Rows of Table C.1, grouped into jobs by the study, all scores in one table, and the leak check.


rule evaluate:
    input:
        plan.raw_inputs(),
        f"{plan.results}/runs/{{run}}/record.json",
        f"{plan.results}/runs/{{run}}/model/model.safetensors",
        config=f"{plan.results}/runs/{{run}}/evaluate/{{job}}.config.json",
        code=plan.code_path("evaluate"),
    output:
        f"{plan.results}/runs/{{run}}/evaluate/{{job}}.json",
    log:
        f"logs/{plan.name}/evaluate/{{run}}.{{job}}.log",
    threads: launching.threads("evaluate")
    message:
        "evaluate {wildcards.run} {wildcards.job}"
    shell:
        f"exec {{LAUNCH}} evaluate {FILES}"


# One pass over a corpus, whatever the number of tasks that are searched in it.
rule hash:
    input:
        f"{plan.data}/{{kind}}/manifest.json",
        config=f"{plan.results}/configs/hash_{{kind}}.json",
        code=plan.code_path("hash"),
    output:
        f"{plan.data}/hashes/{{kind}}.npz",
    log:
        f"logs/{plan.name}/hash/{{kind}}.log",
    threads: launching.threads("hash")
    message:
        "hash {wildcards.kind}"
    shell:
        f"exec {{LAUNCH}} hash {FILES}"


rule leaks:
    input:
        plan.raw_inputs(),
        [job.output for job in plan.hashes.values()],
        config=plan.config_path("leaks"),
        code=plan.code_path("leaks"),
    output:
        f"{plan.results}/leaks.json",
    log:
        f"logs/{plan.name}/leaks.log",
    threads: launching.threads("leaks")
    message:
        "leaks: search the test examples in the pretraining data"
    shell:
        f"exec {{LAUNCH}} leaks {FILES}"


rule collect:
    input:
        plan.scores,
        config=plan.config_path("collect"),
        code=plan.code_path("collect"),
    output:
        f"{plan.results}/results.parquet",
    log:
        f"logs/{plan.name}/collect.log",
    resources:
        here=1,
    message:
        "collect all scores"
    shell:
        "{HERE} collect --code {input.code:q} --config {input.config:q} > {log:q} 2>&1"
