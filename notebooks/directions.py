# %% [markdown]
# # Directions: which of the paper's claims hold here

# %% tags=["parameters"]
config = "results/toy/configs/report.json"

# %%
from IPython.display import HTML

from flava.jobs import ReportJob, load_job
from flava.report import directions, sections
from flava.report.compare import load_comparison
from flava.report.html import paragraph

job = load_job(ReportJob, config)
comparison = load_comparison(job)
found = directions.load_directions(job, comparison)
HTML(sections.banner(job, comparison))

# %%
HTML(paragraph(directions.support(found)) + directions.directions_table(comparison, found))

# %%
HTML(paragraph(directions.note(comparison, found), "small"))

# %%
HTML(sections.footnotes(comparison))
