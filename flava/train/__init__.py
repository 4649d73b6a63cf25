"""Training: the image tokenizer, the pretraining loop, and what a run leaves behind."""
