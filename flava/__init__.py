"""FLAVA (CVPR 2022): the science of the reproduction. Knows nothing of Snakemake, SLURM or DVC."""

__version__ = "0.1.0"
