# %% [markdown]
# # Table C.1: every column, every task

# %% tags=["parameters"]
config = "results/toy/configs/report.json"

# %%
from IPython.display import HTML

from flava.jobs import ReportJob, load_job
from flava.report import sections, tables
from flava.report.compare import load_comparison
from flava.report.runs import load_earlier, load_runs

job = load_job(ReportJob, config)
comparison = load_comparison(job)
runs = load_runs(job, comparison.records)
HTML(sections.banner(job, comparison))

# %%
HTML(tables.results_table(comparison))

# %%
HTML(sections.extra_rows(comparison))

# %% [markdown]
# ## Stand-ins

# %%
HTML(sections.stand_ins(comparison))

# %% [markdown]
# ## What did not run, and why

# %%
HTML(sections.not_run(comparison))

# %% [markdown]
# ## Cost

# %%
HTML(sections.cost(runs, load_earlier(job)))
