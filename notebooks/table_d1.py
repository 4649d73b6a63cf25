# %% [markdown]
# # Table D.1: FLAVA's encoders against CLIP's

# %% tags=["parameters"]
config = "results/toy/configs/report.json"

# %%
from IPython.display import HTML

from flava.jobs import ReportJob, load_job
from flava.report import average_tables, sections
from flava.report.compare import load_comparison

job = load_job(ReportJob, config)
comparison = load_comparison(job)
lines = average_tables.load_lines(job.published, "table_d1")
shown = average_tables.of_lines(comparison, lines)
HTML(sections.banner(job, shown))

# %%
HTML(average_tables.average_table(comparison, lines))

# %%
HTML(sections.footnotes(shown))
