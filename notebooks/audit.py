# %% [markdown]
# # Audit of the paper's numbers

# %% tags=["parameters"]
config = "results/toy/configs/report.json"

# %%
from pathlib import Path

from IPython.display import HTML

from flava.jobs import ReportJob, load_job
from flava.report import sections
from flava.report.audit import page, run
from flava.report.compare import load_comparison

job = load_job(ReportJob, config)
comparison = load_comparison(job)
HTML(sections.banner(job, comparison))

# %%
HTML(page.audit_html(run.audit(Path(job.published).parent)))
