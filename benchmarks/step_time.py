"""Times a whole training step of ours against Hugging Face's `FlavaForPreTraining`.

    python -m benchmarks.step_time --size base --repeats 5 --output build/step_time.json

Forward, backward and AdamW update, all in one process, on the same batch, in an order that is
drawn anew in each round, after a check that the losses agree at equal weights. The minimum over
the rounds is compared: other load on the machine only ever adds time. Peak memory is that of a
process of its own for each.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import (
    OBJECTIVES,
    PADDED_LENGTH,
    SIZES,
    Size,
    codebook_pixels,
    multimodal_batch,
)
from benchmarks.contestants import (
    LearningStep,
    check_equal,
    hf_inputs,
    hf_losses,
    hugging_face,
    optimizer_of,
    our_losses,
    ours,
    update_step,
)
from flava.errors import run_cli
from flava.io import write_json

# hf: as its users run it, the dVAE in the step; hf_tokens: with ready image tokens.
CONTESTANTS = ("hf", "hf_tokens", "ours", "ours_bf16")
SEED = 0


def steps(size: Size, kind: str, names: tuple[str, ...]) -> dict[str, LearningStep]:
    """A step of each contestant, at equal weights and on the same batch.

    Raises:
        UnequalLossesError: the losses differ by more than 1e-5.
    """
    theirs = hugging_face(size, SEED)
    mine = ours(size, theirs)
    pixels = codebook_pixels(size, SEED)
    with torch.no_grad():
        tokens = theirs.image_codebook.get_codebook_indices(pixels)
    batch = multimodal_batch(size, SEED)
    batch = replace(batch, kind="pairs", image_tokens_BP=tokens.flatten(1))
    given = {
        "hf": {"codebook_pixel_values": pixels},
        "hf_tokens": {"mim_labels": tokens},
    }
    losses = {
        name: hf_losses(theirs, hf_inputs(batch, kind, codebook, PADDED_LENGTH), kind, bf16=False)
        for name, codebook in given.items()
    }
    losses["ours"] = our_losses(mine, batch, kind, bf16=False)
    losses["ours_bf16"] = our_losses(mine, batch, kind, bf16=True)
    with torch.no_grad():
        expected = losses["hf_tokens"]()
        check_equal(kind, expected, losses["hf"]())
        check_equal(kind, expected, losses["ours"]())
    models = {"hf": theirs, "hf_tokens": theirs, "ours": mine, "ours_bf16": mine}
    return {name: update_step(optimizer_of(models[name]), losses[name]) for name in names}


def times(contestants: dict[str, LearningStep], repeats: int) -> dict[str, list[float]]:
    """Seconds of each round, by contestant; one round before them does not count."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants)
    shuffle = random.Random(SEED)
    for round_number in range(repeats + 1):
        shuffle.shuffle(order)
        for name in order:
            started = time.perf_counter()
            contestants[name]()
            if round_number:
                found[name].append(time.perf_counter() - started)
    return found


def peak_bytes(size: str, kind: str, name: str) -> int:
    """Largest resident set of a process that makes two steps of one contestant."""
    command = [sys.executable, "-m", "benchmarks.step_time", "--size", size, "--peak", kind, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.strip().splitlines()[-1])


def print_peak(size: Size, kind: str, name: str) -> None:
    """What `peak_bytes` reads."""
    step = steps_alone(size, kind, name)
    step()
    step()
    print(high_water_bytes())


def high_water_bytes() -> int:
    """Largest resident set of this process (Linux).

    Not getrusage's, which a process inherits from the one that started it.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    row = next(text for text in status.splitlines() if text.startswith("VmHWM"))
    return 1024 * int(row.split()[1])


def steps_alone(size: Size, kind: str, name: str) -> LearningStep:
    """One contestant without the other's model in memory; image tokens are random for ours."""
    batch = multimodal_batch(size, SEED)
    patches = size.config.grid**2
    shape = (size.batch_size, patches)
    generator = torch.Generator().manual_seed(SEED)
    tokens = torch.randint(size.config.codebook_size, shape, generator=generator)
    batch = replace(batch, image_tokens_BP=tokens)
    if name.startswith("ours"):
        model: torch.nn.Module = ours(size)
        losses = our_losses(model, batch, kind, bf16=name == "ours_bf16")
    else:
        model = hugging_face(size, SEED)
        side = size.config.grid
        codebook = (
            {"codebook_pixel_values": codebook_pixels(size, SEED)}
            if name == "hf"
            else {"mim_labels": tokens.view(-1, side, side)}
        )
        losses = hf_losses(model, hf_inputs(batch, kind, codebook, PADDED_LENGTH), kind, bf16=False)
    return update_step(optimizer_of(model), losses)


def benchmark(name: str, repeats: int, memory: bool) -> dict[str, Any]:
    """All kinds of step at one size."""
    size = SIZES[name]
    rows = []
    for kind in OBJECTIVES:
        found = times(steps(size, kind, CONTESTANTS), repeats)
        row: dict[str, Any] = {
            "kind": kind,
            "target": size.targets.get(kind),
            "ratio": min(found["ours"]) / min(found["hf"]),
            "seconds": {
                each: {"min": min(values), "median": statistics.median(values)}
                for each, values in found.items()
            },
        }
        if memory:
            row["peak_bytes"] = {each: peak_bytes(name, kind, each) for each in ("hf", "ours")}
        rows.append(row)
        print(line(row), flush=True)
    return {"size": name, "batch_size": size.batch_size, "repeats": repeats, "rows": rows}


def line(row: dict[str, Any]) -> str:
    """A row of the Markdown table of docs/performance.md."""
    seconds = " | ".join(f"{1000 * row['seconds'][name]['min']:,.0f}" for name in CONTESTANTS)
    peaks = row.get("peak_bytes", {})
    memory = " / ".join(f"{peaks[each] / 1e6:,.0f}" for each in ("hf", "ours") if each in peaks)
    target = "" if row["target"] is None else f"{row['target']:.2f}"
    return f"| {row['kind']} | {seconds} | {row['ratio']:.2f} | {target} | {memory} |"


def machine() -> dict[str, Any]:
    """What the numbers hold for."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [t for t in info.read_text().splitlines() if t.startswith("model name")]
        cpu = models[0].split(":", 1)[1].strip() if models else cpu
    return {"cpu": cpu, "threads": torch.get_num_threads(), "torch": torch.__version__}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="torch's threads")
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory")
    parser.add_argument("--output", type=Path, help="JSON file")
    parser.add_argument("--peak", nargs=2, metavar=("KIND", "CONTESTANT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.peak:
        print_peak(SIZES[arguments.size], *arguments.peak)
        return
    print(json.dumps(machine()))
    print(f"| step | {' | '.join(CONTESTANTS)} | ours / hf | target | peak MB, hf / ours |")
    print("|---" * (len(CONTESTANTS) + 4) + "|")
    found = benchmark(arguments.size, arguments.repeats, not arguments.no_memory)
    if arguments.output:
        write_json(arguments.output, {"machine": machine(), **found})


if __name__ == "__main__":
    run_cli(main)
