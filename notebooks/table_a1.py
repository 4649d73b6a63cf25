# %% [markdown]
# # Table A.1: settings of pretraining

# %% tags=["parameters"]
config = "results/toy/configs/report.json"

# %%
from IPython.display import HTML

from flava.jobs import ReportJob, ReportSettings, load_job
from flava.report import sections, settings
from flava.report.compare import load_comparison

job = load_job(ReportJob, config)
comparison = load_comparison(job)
study = load_job(ReportSettings, job.settings).study
HTML(sections.banner(job, comparison))

# %%
HTML(settings.settings_table(study, job.published, "table_a1"))

# %% [markdown]
# ## Section B.1

# %%
HTML(settings.settings_table(study, job.published, "section_b1"))

# %% [markdown]
# ## Recipes that Section B.1 follows

# %%
HTML(settings.settings_table(study, job.published, "recipes"))
