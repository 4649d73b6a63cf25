"""What does not add up in the paper's printed tables and statements, found by computation."""
