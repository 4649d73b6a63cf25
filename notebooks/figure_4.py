# %% [markdown]
# # Figure 4: FLAVA against the released CLIP

# %% tags=["parameters"]
config = "results/toy/configs/report.json"

# %%
from IPython.display import HTML

from flava.jobs import ReportJob, load_job
from flava.report import figure, sections
from flava.report.compare import load_comparison, only

job = load_job(ReportJob, config)
comparison = load_comparison(job, "table_4")
columns = figure.figure_columns(job.published)
ratios = figure.ratios(comparison, columns)
shown = only(comparison, columns)
HTML(sections.banner(job, shown))

# %%
HTML(figure.figure_4(comparison, ratios, columns))

# %% [markdown]
# ## The numbers

# %%
HTML(figure.figure_table(comparison, ratios, columns))

# %%
HTML(sections.footnotes(shown))
