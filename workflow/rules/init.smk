# Encoders pretrained on one modality, before the columns that start from them, and the labelled
# arrays that score models during training.


rule selection:
    input:
        plan.raw_inputs(),
        expand(f"{plan.data}/tokenizers/{{name}}.json", name=plan.tokenizers),
        config=plan.config_path("selection"),
        code=plan.code_path("selection"),
    output:
        plan.selection_arrays,
        f"{plan.data}/selection/record.json",
    log:
        f"logs/{plan.name}/selection.log",
    priority: 100
    threads: plan.cores("selection")
    message:
        "selection set: labelled arrays for scores during training"
    shell:
        "OMP_NUM_THREADS={threads} {PY} -m flava.evaluate.selection_set"
        " --config {input.config:q} > {log:q} 2>&1"


rule init:
    input:
        lambda wildcards: plan.init_inputs(f"{wildcards.init}-{wildcards.seed}"),
        config=f"{plan.results}/inits/{{init}}-{{seed}}/config.json",
        code=plan.code_path("init_{init}"),
    output:
        [f"{plan.results}/inits/{{init}}-{{seed}}/{name}" for name in plan.run_files],
    log:
        f"logs/{plan.name}/init/{{init}}-{{seed}}.log",
    wildcard_constraints:
        init="mlm|beit|dino",
        seed=r"s\d+",
    priority: 80
    threads: lambda wildcards: plan.cores(f"init_{wildcards.init}")
    resources:
        ranks=lambda wildcards: plan.resources(f"init_{wildcards.init}")["ranks"],
        sharding=lambda wildcards: plan.resources(f"init_{wildcards.init}")["sharding"],
    message:
        "init {wildcards.init}-{wildcards.seed}"
    shell:
        "exec {PY} -m workflow.launch init_{wildcards.init} --config {input.config:q}"
        " --ranks {resources.ranks} --threads {threads} --sharding {resources.sharding} > {log:q} 2>&1"
