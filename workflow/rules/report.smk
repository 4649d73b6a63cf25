# Notebooks through papermill to HTML, and the page that ties them together. All run where Snakemake
# runs; a profile of a cluster says how many at one time (`here`).


rule notebook:
    input:
        plan.report_inputs,
        config=plan.config_path("report"),
        code=plan.code_path("render"),
        notebook="notebooks/{page}.py",
    output:
        html=report(
            f"{plan.results}/report/{{page}}.html",
            caption="../report/page.rst",
            category="Tables, figure and checks",
            labels={"page": "{page}"},
        ),
        ipynb=f"{plan.results}/report/{{page}}.ipynb",
    log:
        f"logs/{plan.name}/notebook/{{page}}.log",
    wildcard_constraints:
        page="|".join(plan.page_names),
    resources:
        here=1,
    message:
        "render {wildcards.page}"
    shell:
        "{HERE} render --code {input.code:q} --config {input.config:q} --notebook {input.notebook:q}"
        " --output {output.html:q} > {log:q} 2>&1"


# One process: the pages of columns are one notebook with another parameter.
rule column_pages:
    input:
        plan.report_inputs,
        config=plan.config_path("report"),
        code=plan.code_path("render"),
        notebook="notebooks/column.py",
    output:
        html=[
            report(
                f"{plan.results}/report/column_{column}.html",
                caption="../report/column.rst",
                category="Columns",
                labels={"page": column},
            )
            for column in plan.study.config.columns
        ],
        ipynb=[page.removesuffix(".html") + ".ipynb" for page in plan.column_pages],
    log:
        f"logs/{plan.name}/column_pages.log",
    resources:
        here=1,
    params:
        output=lambda wildcards: f"{plan.results}/report/column_{{column}}.html",
        each="column=" + ",".join(plan.study.config.columns),
    message:
        "render a page of each column"
    shell:
        "{HERE} render --code {input.code:q} --config {input.config:q} --notebook {input.notebook:q}"
        " --output {params.output:q} --each {params.each:q} > {log:q} 2>&1"


rule figure:
    input:
        plan.report_inputs,
        config=plan.config_path("report"),
        code=plan.code_path("figure"),
    output:
        plan.figure,
    log:
        f"logs/{plan.name}/figure.log",
    resources:
        here=1,
    message:
        "draw Figure 4 as files"
    shell:
        "{HERE} figure --code {input.code:q} --config {input.config:q} > {log:q} 2>&1"


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
        "{HERE} directions --code {input.code:q} --config {input.config:q} --output {output:q} > {log:q} 2>&1"


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
        "{HERE} metrics --code {input.code:q} --config {input.config:q} --output {params.folder:q} > {log:q} 2>&1"


rule site:
    input:
        plan.report_inputs,
        config=plan.config_path("report"),
        code=plan.code_path("site"),
        dag=plan.config_path("dag"),
        pages=plan.pages,
    output:
        report(
            f"{plan.results}/report/index.html",
            caption="../report/index.rst",
            category="Index",
            labels={"page": "index"},
        ),
    log:
        f"logs/{plan.name}/site.log",
    resources:
        here=1,
    message:
        "render the index page"
    shell:
        "{HERE} site --code {input.code:q} --config {input.config:q} > {log:q} 2>&1"
