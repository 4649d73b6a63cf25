"""Readers of the official file formats, one module a format."""
