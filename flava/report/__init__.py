"""Tables and pages that show this project's results beside the paper's."""
