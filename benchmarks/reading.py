"""Images a second that a prepared corpus gives to training, by threads.

    python -m benchmarks.reading --corpus data/mini/pairs --size 224 --threads 1 2

Read, decoded, cropped, resized and normalised by the functions of training, an update of 64 images
at a time, ahead of a consumer that does nothing (`flava/prefetch.py`). To be set against what
a step needs: its images a second on the accelerator in question.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import describe
from flava.data.corpus import ImageCorpus
from flava.data.transforms import normalise
from flava.errors import run_cli
from flava.io import write_json
from flava.prefetch import prefetched

BATCH = 64


def images_a_second(corpus: ImageCorpus, size: int, threads: int, updates: int) -> float:
    """Of `updates` updates, after one a thread that does not count."""

    def read(update: int) -> Tensor:
        indices = [(update * BATCH + row) % len(corpus) for row in range(BATCH)]
        crops = [corpus.good_crop(index, size, scale_min=0.9)[1] for index in indices]
        return normalise(np.stack(crops))

    arrivals = [time.perf_counter() for _ in prefetched(read, range(updates + threads), threads)]
    return BATCH * updates / (arrivals[-1] - arrivals[threads - 1])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True, help="prepared images or pairs")
    parser.add_argument("--size", type=int, default=224, help="pixels a side")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3, help="the best one is reported")
    parser.add_argument("--output", type=Path, help="JSON file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    corpus = ImageCorpus(arguments.corpus)
    rates = dict.fromkeys(arguments.threads, 0.0)
    for _ in range(arguments.repeats):
        for threads in rates:
            rate = images_a_second(corpus, arguments.size, threads, arguments.updates)
            rates[threads] = max(rates[threads], rate)
    print("| threads | images a second | against the first |\n|---|---|---|")
    first = rates[arguments.threads[0]]
    for threads, rate in rates.items():
        print(f"| {threads} | {rate:,.0f} | {rate / first:.2f} |")
    found = {"machine": describe(torch.device("cpu")), "size": arguments.size, "rates": rates}
    print(json.dumps(found["machine"]))
    if arguments.output:
        write_json(arguments.output, found)


if __name__ == "__main__":
    run_cli(main)
