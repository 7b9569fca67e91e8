"""What a training step of convolutions holds in memory when it holds the most, by what asked for it.

    python benchmarks/profile_memory.py --threads 1

For the step by hand, for ``fit``, compiled or not, and for ``torch.compile`` by hand: torch's profiler says when memory
is asked for and given back, and which operations run at that time.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pyro
import torch
import torch._inductor.config
from common import parser, record
from speed import CASES, Step, hand_written, of_fit
from torch.profiler import ProfilerActivity, profile

CASE = "VAE 28 x 28, convolutional, batch 128"
COPIES = ("aten::resize_", "aten::clone", "aten::contiguous", "aten::copy_")


def owner(operations: list[str]) -> str:
    """Who asked for memory, from the operations that ran at the time, the outermost first."""
    if any(name in COPIES for name in operations):
        return "copies in another order"
    if any("convolution_backward" in name for name in operations):
        return "gradients of convolutions"
    if any("convolution" in name for name in operations):
        return "results of convolutions"
    # machine code asks for what it writes without any operation
    return "buffers of the machine code" if operations and "CompiledFxGraph" in operations[-1] else "everything else"


def held(step: Step) -> dict[str, float]:
    """MiB that are held beside weights and data when they are the most, by owner."""
    step(), step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = profiler.profiler.kineto_results.events()
    operations = sorted((e for e in events if e.name() != "[memory]"), key=lambda event: event.start_ns())
    blocks: dict[int, tuple[int, str]] = {}
    most: dict[int, tuple[int, str]] = {}
    number = now = peak = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda event: event.start_ns()):
        size, time = event.nbytes(), event.start_ns()
        now += size
        if size > 0:
            number += 1
            running = [each.name() for each in operations if each.start_ns() <= time <= each.end_ns()]
            blocks[number] = size, owner(running)
        else:  # which block is not told; one of that size
            given_back = next((key for key, (each, _) in blocks.items() if each == -size), None)
            blocks.pop(given_back, None)  # type: ignore[arg-type]
        if now > peak:
            peak, most = now, dict(blocks)
    found: Counter[str] = Counter()
    for size, name in most.values():
        found[name] += size
    return {"all": round(peak / 2**20, 1)} | {name: round(size / 2**20, 1) for name, size in found.most_common()}


def main() -> None:
    options = parser("What a step of convolutions holds in memory.")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    case = CASES[CASE]
    result: dict[str, Any] = {}
    with pyro.get_param_store().scope():
        result["hand"] = held(hand_written(case, compiled=False))
        result["eager"] = held(of_fit(case, None))
        result["compiled"] = held(of_fit(case, "inductor"))
        with torch._inductor.config.patch(layout_optimization=False):
            result["compiled, one order"] = held(of_fit(case, "inductor"))
        result["hand compiled"] = held(hand_written(case, compiled=True))
    print(json.dumps(result, indent=1))
    record("profile_memory", arguments, {"case": CASE, "mebibytes": result})


if __name__ == "__main__":
    main()
