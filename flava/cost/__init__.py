"""What a study costs before it runs: FLOPs of a sample as formulas, then of whole runs.

A FLOP is one multiplication or addition of a matrix product, convolution or attention; norms,
activations, softmax, embeddings and the optimiser are left out, as in `torch.utils.flop_counter`,
which the formulas are tested against.
"""
