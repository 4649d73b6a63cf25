"""Sources, prepared corpora, masking and the three-way mixture."""
