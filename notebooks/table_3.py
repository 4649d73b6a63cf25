# %% [markdown]
# # Table 3: averages of the ablations

# %% tags=["parameters"]
config = "results/toy/configs/report.json"

# %%
from IPython.display import HTML

from flava.jobs import ReportJob, load_job
from flava.report import average_tables, sections
from flava.report.compare import load_comparison

job = load_job(ReportJob, config)
comparison = load_comparison(job, "table_4")
lines = average_tables.load_lines(job.published, "table_3")
shown = average_tables.of_lines(comparison, lines)
HTML(sections.banner(job, shown))

# %%
HTML(average_tables.average_table(comparison, lines))

# %%
HTML(sections.footnotes(shown))
