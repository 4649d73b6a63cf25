# %% [markdown]
# # Table 1: models by data, losses and modalities

# %% tags=["parameters"]
config = "results/toy/configs/report.json"

# %%
from IPython.display import HTML

from flava.jobs import ReportJob, ReportSettings, load_job
from flava.report import sections, signs
from flava.report.compare import load_comparison
from flava.report.runs import load_runs

job = load_job(ReportJob, config)
comparison = load_comparison(job)
settings = load_job(ReportSettings, job.settings)
runs = load_runs(job, comparison.records)
HTML(sections.banner(job, comparison))

# %%
HTML(signs.signs_table(comparison, settings, runs, job.published))
