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
    threads: launching.threads("selection")
    message:
        "selection set: labelled arrays for scores during training"
    shell:
        f"exec {{LAUNCH}} selection {FILES}"


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
    threads: lambda wildcards: launching.threads(f"init_{wildcards.init}")
    message:
        "init {wildcards.init}-{wildcards.seed}"
    shell:
        f"exec {{LAUNCH}} init_{{wildcards.init}} {FILES}"
