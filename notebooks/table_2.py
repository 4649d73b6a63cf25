# %% [markdown]
# # Table 2: the pairs of pretraining

# %% tags=["parameters"]
config = "results/toy/configs/report.json"

# %%
from IPython.display import HTML

from flava.jobs import ReportJob, load_job
from flava.report import corpora, sections
from flava.report.compare import load_comparison
from flava.report.runs import load_runs, load_sources

job = load_job(ReportJob, config)
comparison = load_comparison(job)
sources = load_sources(load_runs(job, comparison.records))
HTML(sections.banner(job, comparison))

# %%
HTML(corpora.pairs_table(sources, job.published))

# %% [markdown]
# ## All corpora

# %%
HTML(sections.data(sources))
