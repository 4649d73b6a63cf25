# %% [markdown]
# # Table 4: full pretraining against other settings, task by task

# %% tags=["parameters"]
config = "results/toy/configs/report.json"

# %%
from IPython.display import HTML

from flava.jobs import ReportJob, load_job
from flava.report import sections, tables
from flava.report.compare import load_comparison

job = load_job(ReportJob, config)
comparison = load_comparison(job, "table_4")
HTML(sections.banner(job, comparison))

# %%
HTML(tables.results_table(comparison))

# %% [markdown]
# ## Stand-ins

# %%
HTML(sections.stand_ins(comparison))

# %% [markdown]
# ## What did not run, and why

# %%
HTML(sections.not_run(comparison))
