# Rows of Table C.1, grouped into jobs by the study, and all scores in one table.


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
    threads: plan.cores("evaluate")
    resources:
        ranks=plan.resources("evaluate")["ranks"],
    message:
        "evaluate {wildcards.run} {wildcards.job}"
    shell:
        "exec {PY} -m workflow.launch evaluate --config {input.config:q}"
        " --ranks {resources.ranks} --threads {threads} > {log:q} 2>&1"


rule collect:
    input:
        plan.scores,
        config=plan.config_path("collect"),
        code=plan.code_path("collect"),
    output:
        f"{plan.results}/results.parquet",
    log:
        f"logs/{plan.name}/collect.log",
    message:
        "collect all scores"
    shell:
        "{PY} -m flava.evaluate.collect --config {input.config:q} > {log:q} 2>&1"
