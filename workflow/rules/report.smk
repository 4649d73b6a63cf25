# Notebooks through papermill to HTML, and the page that ties them together. All run where Snakemake
# runs; a profile of a cluster says how many at one time (`here`).


rule notebook:
    input:
        plan.report_inputs,
        "flava/report/templates/flava/index.html.j2",
        config=plan.config_path("report"),
        code=plan.code_path("render"),
        notebook=lambda wildcards: plan.notebook(wildcards.page),
    output:
        html=f"{plan.results}/report/{{page}}.html",
        ipynb=f"{plan.results}/report/{{page}}.ipynb",
    log:
        f"logs/{plan.name}/notebook/{{page}}.log",
    wildcard_constraints:
        page="|".join(plan.page_names),
    resources:
        here=1,
    params:
        column=lambda wildcards: plan.page_parameters(wildcards.page),
    message:
        "render {wildcards.page}"
    shell:
        "{PY} -m flava.report.render --config {input.config:q} --notebook {input.notebook:q}"
        " --output {output.html:q} {params.column} > {log:q} 2>&1"


rule directions:
    input:
        plan.report_inputs,
        config=plan.config_path("report"),
        code=plan.code_path("directions"),
    output:
        plan.directions,
    log:
        f"logs/{plan.name}/directions.log",
    resources:
        here=1,
    message:
        "directions: which of the paper's hold"
    shell:
        "{PY} -m flava.report.directions --config {input.config:q} --output {output:q} > {log:q} 2>&1"


rule metrics:
    input:
        plan.report_inputs,
        config=plan.config_path("report"),
        code=plan.code_path("metrics"),
    output:
        plan.metrics,
    log:
        f"logs/{plan.name}/metrics.log",
    resources:
        here=1,
    params:
        folder=f"{plan.results}/metrics",
    message:
        "metrics: averages of each column"
    shell:
        "{PY} -m flava.report.metrics --config {input.config:q} --output {params.folder:q} > {log:q} 2>&1"


rule site:
    input:
        plan.report_inputs,
        config=plan.config_path("report"),
        code=plan.code_path("site"),
        pages=plan.pages,
    output:
        f"{plan.results}/report/index.html",
    log:
        f"logs/{plan.name}/site.log",
    resources:
        here=1,
    message:
        "render the index page"
    shell:
        "{PY} -m flava.report.site --config {input.config:q} > {log:q} 2>&1"
