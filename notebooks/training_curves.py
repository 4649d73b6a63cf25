# %% [markdown]
# # Training curves

# %% tags=["parameters"]
config = "results/toy/configs/report.json"

# %%
from IPython.display import HTML

from flava.jobs import ReportJob, load_job
from flava.report import curves, sections
from flava.report.compare import load_comparison
from flava.report.runs import load_earlier, load_earlier_losses, load_runs

job = load_job(ReportJob, config)
comparison = load_comparison(job)
runs = load_runs(job, comparison.records)
HTML(sections.banner(job, comparison))

# %% [markdown]
# ## Losses of the columns
#
# One panel a loss, one line a run; each point is the mean since the one before. The page of
# each column has its own lines alone.

# %%
HTML(curves.loss_curves(runs, comparison))

# %% [markdown]
# ## What the columns start from

# %%
HTML(curves.earlier_curves(load_earlier_losses(job), load_earlier(job)))
