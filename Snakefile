# One DAG from raw data to the paper's tables. Targets and includes only.
import atexit
import os
import sys

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from flava import checkout
from flava.errors import FlavaError
from workflow.choice import chosen
from workflow.configs import begin
from workflow.cost import announce, is_dry_run
from workflow.estimate import check_budget
from workflow.launching import Launching
from workflow.plan import Plan

min_version("9.0")


report: "workflow/report/workflow.rst"


try:
    plan = Plan.load(**chosen(config))
    if workflow.is_main_process:
        check_budget(plan, config.get("budget_gpu_hours"))
    plan.write()
    launching = Launching.load(plan, config.get("cluster"))
    if workflow.is_main_process:
        launching.warn()
        if is_dry_run(sys.argv):
            atexit.register(announce, plan, launching.settings)
except FlavaError as error:
    raise WorkflowError(str(error)) from None

config["study_shown"] = plan.name  # for workflow/report/workflow.rst

PY = sys.executable
LAUNCH = f"{PY} -m workflow.launch --settings {launching.path} --parent {os.getpid()}"
HERE = f"{PY} -m workflow.launch.here"
FILES = (
    "--config {input.config:q} --code {input.code:q} --inputs {input:q} --outputs {output:q}"
    " > {log:q} 2>&1"
)


onstart:
    try:
        begin(plan.name, plan.configs())
    except FlavaError as error:
        raise WorkflowError(str(error)) from None
    checkout.warn()
    announce(plan, launching.settings)


wildcard_constraints:
    run=r"[a-z0-9_]+-s\d+",
    job=r"[a-z0-9_]+",
    kind="pairs|images|texts|large_pairs",


rule all:
    input:
        plan.targets(),


include: "workflow/rules/prepare.smk"
include: "workflow/rules/init.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
