"""Step time, memory and throughput, against Hugging Face's FLAVA (docs/performance.md)."""

import flava  # noqa: F401  # before torch, whose allocator it sets
