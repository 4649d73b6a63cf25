"""Times a whole training step of ours against Hugging Face's `FlavaForPreTraining`.

    python -m benchmarks.step_time --size base --output build/step_time_base.json

Forward, backward and AdamW update, all in one process, on the same batch, in an order that is
drawn anew in each round, after a check that the losses agree at equal weights. The minimum over
the rounds is compared: other load on the machine only ever adds time. Peak memory is that of a
process of its own for each.

A contestant is `hf` (as its users run it: the dVAE in the step), `hf_tokens` (with ready image
tokens) or `ours`, with `_bf16` for bfloat16 autocast and `_compile` for torch.compile.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.cases import OBJECTIVES, SIZES, Size, codebook_pixels, multimodal_batch
from benchmarks.contestants import (
    Codebook,
    LearningStep,
    check_equal,
    hugging_face,
    losses_of,
    optimizer_of,
    ours,
    update_step,
)
from benchmarks.flops import sample_flops
from benchmarks.machine import describe, high_water_bytes, matrix_peak, seconds_of
from flava.errors import run_cli
from flava.io import write_json

CONTESTANTS = {
    "cpu": ("hf", "hf_tokens", "ours", "ours_bf16"),
    "cuda": ("hf_bf16", "hf_tokens_bf16", "ours_bf16", "ours"),
}
COMPARED = {"cpu": ("hf", "ours"), "cuda": ("hf_bf16", "ours_bf16")}
SEED = 0
Seconds = dict[str, list[float]]


def steps(
    size: Size, kind: str, names: Sequence[str], device: torch.device
) -> dict[str, LearningStep]:
    """A step of each contestant, at equal weights and on the same batch.

    Raises:
        UnequalLossesError: the losses differ by more than 1e-5 in fp32.
    """
    theirs = hugging_face(size, SEED)
    models = {"hf": theirs.to(device), "ours": ours(size, theirs).to(device)}
    pixels = codebook_pixels(size, SEED).to(device)
    with torch.no_grad():
        tokens = theirs.image_codebook.get_codebook_indices(pixels)
    batch = multimodal_batch(size, SEED).to(device)
    batch = replace(batch, image_tokens_BP=tokens.flatten(1))
    codebook = Codebook(pixels, tokens)
    losses = {
        name: losses_of(name, models[_side(name)], batch, kind, codebook)
        for name in {"hf", "hf_tokens", "ours", *names}
    }
    with torch.no_grad():
        expected = losses["hf_tokens"]()
        check_equal(kind, expected, losses["hf"]())
        check_equal(kind, expected, losses["ours"]())
    optimizers = {side: optimizer_of(model) for side, model in models.items()}
    return {name: update_step(optimizers[_side(name)], losses[name]) for name in names}


def step_alone(size: Size, kind: str, name: str, device: torch.device) -> LearningStep:
    """One contestant without the other's model in memory; image tokens are random."""
    generator = torch.Generator().manual_seed(SEED)
    side = size.config.grid
    shape = (size.batch_size, side, side)
    tokens = torch.randint(size.config.codebook_size, shape, generator=generator)
    batch = replace(multimodal_batch(size, SEED), image_tokens_BP=tokens.flatten(1)).to(device)
    model: nn.Module = ours(size) if _side(name) == "ours" else hugging_face(size, SEED)
    codebook = Codebook(codebook_pixels(size, SEED).to(device), tokens.to(device))
    losses = losses_of(name, model.to(device), batch, kind, codebook)
    return update_step(optimizer_of(model), losses)


def _side(name: str) -> str:
    return name.split("_")[0]


def times(contestants: dict[str, LearningStep], repeats: int, device: torch.device) -> Seconds:
    """Seconds of each round, by contestant; one round before them does not count."""
    found: Seconds = {name: [] for name in contestants}
    order = list(contestants)
    shuffle = random.Random(SEED)
    for number in range(repeats + 1):
        shuffle.shuffle(order)
        for name in order:
            seconds = seconds_of(contestants[name], device)
            if number:
                found[name].append(seconds)
    return found


def peak_bytes(size: str, kind: str, name: str, device: torch.device) -> int:
    """Most memory of a process that makes two steps of one contestant."""
    command = [sys.executable, "-m", "benchmarks.step_time", "--size", size, "--peak", kind, name]
    command += ["--threads", str(torch.get_num_threads()), "--device", device.type]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.strip().splitlines()[-1])


def benchmark(
    name: str, names: Sequence[str], repeats: int, memory: bool, device: torch.device
) -> dict[str, Any]:
    """All kinds of step at one size."""
    size, rows = SIZES[name], []
    peaks = {dtype: matrix_peak(dtype, device) for dtype in (torch.float32, torch.bfloat16)}
    base, other = COMPARED[device.type]
    for kind in OBJECTIVES:
        found = times(steps(size, kind, names, device), repeats, device)
        flops = sample_flops(size, kind, multimodal_batch(size, SEED))
        row: dict[str, Any] = {
            "kind": kind,
            "target": size.targets.get(kind),
            "ratio": min(found[other]) / min(found[base]),
            "seconds": {each: _summary(values) for each, values in found.items()},
            "flops_a_sample": flops,
            "peak_share": {
                each: flops * size.batch_size / min(values) / peaks[_dtype(each)]
                for each, values in found.items()
                if _side(each) == "ours"
            },
        }
        if memory:
            row["peak_bytes"] = {
                each: peak_bytes(name, kind, each, device) for each in (base, other)
            }
        rows.append(row)
        print(line(row), flush=True)
    return {
        "size": name,
        "batch_size": size.batch_size,
        "repeats": repeats,
        "matrix_peak": {str(dtype): peak for dtype, peak in peaks.items()},
        "rows": rows,
    }


def _summary(values: list[float]) -> dict[str, Any]:
    return {"min": min(values), "median": statistics.median(values), "all": values}


def _dtype(name: str) -> torch.dtype:
    return torch.bfloat16 if "bf16" in name else torch.float32


def header(names: Sequence[str]) -> str:
    """Head of the Markdown table of docs/performance.md."""
    shares = [f"{name}, share of peak" for name in names if _side(name) == "ours"]
    cells = ["step", *names, "ours / hf", "target", "peak MB, hf / ours", "GFLOP a sample", *shares]
    return f"| {' | '.join(cells)} |\n{'|---' * len(cells)}|"


def line(row: dict[str, Any]) -> str:
    """A row of that table; times are minima in ms."""
    cells = [row["kind"], *(f"{1000 * each['min']:,.0f}" for each in row["seconds"].values())]
    cells += [f"{row['ratio']:.2f}", "" if row["target"] is None else f"{row['target']:.2f}"]
    cells += [" / ".join(f"{peak / 1e6:,.0f}" for peak in row.get("peak_bytes", {}).values())]
    cells += [f"{row['flops_a_sample'] / 1e9:,.1f}"]
    cells += [f"{100 * share:.0f} %" for share in row["peak_share"].values()]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="torch's threads on the CPU")
    parser.add_argument("--device", choices=CONTESTANTS, default="cpu")
    parser.add_argument("--contestants", nargs="+", help="what is timed")
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory")
    parser.add_argument("--output", type=Path, help="JSON file")
    parser.add_argument("--peak", nargs=2, metavar=("KIND", "CONTESTANT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    if arguments.peak:
        step = step_alone(SIZES[arguments.size], *arguments.peak, device)
        step()
        step()
        print(high_water_bytes(device))
        return
    names = dict.fromkeys([*(arguments.contestants or CONTESTANTS[device.type])])
    names |= dict.fromkeys(COMPARED[device.type])
    print(json.dumps(describe(device)))
    print(header(list(names)))
    memory = not arguments.no_memory
    found = benchmark(arguments.size, list(names), arguments.repeats, memory, device)
    if arguments.output:
        write_json(arguments.output, {"machine": describe(device), **found})


if __name__ == "__main__":
    run_cli(main)
