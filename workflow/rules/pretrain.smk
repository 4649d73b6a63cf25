# One job a run (study, column, seed). Checkpoints are not outputs: they outlive a failed job.


rule pretrain:
    input:
        lambda wildcards: plan.run_inputs(wildcards.run),
        config=f"{plan.results}/runs/{{run}}/config.json",
        code=plan.code_path("pretrain"),
    output:
        [f"{plan.results}/runs/{{run}}/{name}" for name in plan.run_files],
    log:
        f"logs/{plan.name}/pretrain/{{run}}.log",
    wildcard_constraints:
        run="|".join(plan.runs) or "none",
    priority: 50
    threads: launching.threads("pretrain")
    message:
        "pretrain {wildcards.run}"
    shell:
        f"exec {{LAUNCH}} pretrain {FILES}"


rule import_model:
    input:
        lambda wildcards: plan.imports[wildcards.run].tokenizer_path,
        config=f"{plan.results}/runs/{{run}}/config.json",
        code=plan.code_path("import"),
    output:
        [f"{plan.results}/runs/{{run}}/{name}" for name in plan.import_files],
    log:
        f"logs/{plan.name}/import/{{run}}.log",
    wildcard_constraints:
        run="|".join(plan.imports) or "none",
    threads: launching.threads("import")
    message:
        "import {wildcards.run}: published weights, evaluated only"
    shell:
        f"exec {{LAUNCH}} import {FILES}"
