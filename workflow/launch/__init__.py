"""The launcher: one callable on N ranks, on a SLURM cluster or on this machine, waited for."""
