"""Step time, memory and throughput, against Hugging Face's FLAVA (docs/performance.md)."""
