# %% tags=["parameters"]
config = "results/toy/configs/report.json"
column = "flava_dino"

# %%
from IPython.display import HTML

from flava.jobs import ReportJob, ReportSettings, load_job
from flava.report import column as page
from flava.report import curves, sections
from flava.report.compare import load_comparison
from flava.report.runs import load_runs

job = load_job(ReportJob, config)
settings = load_job(ReportSettings, job.settings)
comparison = load_comparison(job)
every_run = load_runs(job, comparison.records)
runs = page.runs_of(every_run, column)
shown = page.shown_part(comparison, settings, column)
HTML(page.heading(comparison, settings, column) + sections.banner(job, shown))

# %% [markdown]
# ## Configuration

# %%
changes = page.configuration(settings, column, job.columns)
stands_in = page.info_of(comparison, column).stand_in is not None
HTML(changes + page.run_differences(every_run, settings, column, stands_in))

# %% [markdown]
# ## Scores

# %%
HTML(page.scores(comparison, settings, column))

# %%
HTML(sections.footnotes(shown))

# %% [markdown]
# ## Training losses

# %%
HTML(curves.loss_curves(runs, comparison))

# %% [markdown]
# ## Cost

# %%
HTML(sections.cost(runs, {}) + page.origin(runs))
