# %% [markdown]
# # Table A.2: sampling of the corpora

# %% tags=["parameters"]
config = "results/toy/configs/report.json"

# %%
from IPython.display import HTML

from flava.jobs import ReportJob, ReportSettings, load_job
from flava.report import sections, settings
from flava.report.compare import load_comparison
from flava.report.runs import load_runs

job = load_job(ReportJob, config)
comparison = load_comparison(job)
shown = load_job(ReportSettings, job.settings)
HTML(sections.banner(job, comparison))

# %%
HTML(settings.settings_table(shown.study, job.published, "table_a2"))

# %% [markdown]
# ## Shares of the updates, by column

# %%
HTML(settings.sampling_table(shown, comparison, load_runs(job, comparison.records)))
