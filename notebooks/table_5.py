# %% [markdown]
# # Table 5: FLAVA against earlier models

# %% tags=["parameters"]
config = "results/toy/configs/report.json"

# %%
from IPython.display import HTML

from flava.jobs import ReportJob, load_job
from flava.report import methods, sections
from flava.report.compare import load_comparison

job = load_job(ReportJob, config)
comparison = load_comparison(job)
shown = methods.shown_part(comparison, job.published)
HTML(sections.banner(job, shown))

# %%
HTML(methods.methods_table(comparison, job.published))

# %%
HTML(sections.footnotes(shown))
