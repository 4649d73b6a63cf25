"""FLAVA (CVPR 2022): the science of the reproduction. Knows nothing of Snakemake, SLURM or DVC."""

import os

# Linux: PyTorch asks for large pages, read at its first allocation (docs/performance.md).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.1.0"
