"""What making machine code of a training step takes, and where that time goes, beside ``torch.compile`` by hand.

    python benchmarks/compile_time.py --threads 1

Processor time of the step that compiles, in a new process each, with an empty cache and then with the full one: to
import what compiles, to run the programs on tensors without data (their trace), to lower the graph (in Python), and in
the C++ compiler.
"""

from __future__ import annotations

import importlib
import json
import resource
import time
from collections.abc import Callable
from typing import Any

import pyro
import torch
from common import parser, record
from speed import CASES, hand_written, of_fit, with_empty_and_full_cache

WAYS = ("fit", "hand")


def of_children() -> float:
    """Processor seconds of processes that were waited for: the C++ compiler's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds_of(work: Callable[[], Any]) -> tuple[float, float]:
    """Of this process, and of its children."""
    before = time.process_time(), of_children()
    work()
    return time.process_time() - before[0], of_children() - before[1]


def importing() -> None:
    for module in ("torch._inductor.compile_fx", "pyro_vae.objectives.compiled.tracing"):
        importlib.import_module(module)


def compile_once(case: str, way: str) -> dict[str, float]:
    """The parts of one compilation, in processor seconds."""
    found = {"imports": sum(seconds_of(importing))}
    with pyro.get_param_store().scope():
        if way == "hand":
            own, children = seconds_of(hand_written(CASES[case], compiled=True))
            return found | {"Python": own, "C++ compiler": children}
        from pyro_vae.objectives.compiled import tracing

        of_trace: list[float] = []
        trace = tracing.trace

        def timed(*args: Any) -> Any:
            start = time.process_time()
            made = trace(*args)
            of_trace.append(time.process_time() - start)
            return made

        tracing.trace = timed
        step = of_fit(CASES[case], "inductor")
        step()  # as Pyro runs it, with its checks
        own, children = seconds_of(step)
        return found | {"trace": sum(of_trace), "Python": own - sum(of_trace), "C++ compiler": children}


def compiled(case: str, threads: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for way in WAYS:
        printed = with_empty_and_full_cache([__file__, "--threads", str(threads), "--once", case, way])
        for name, line in zip(("empty cache", "full cache"), printed, strict=True):
            parts = json.loads(line)
            parts["all"] = sum(parts.values())
            result[f"{way}, {name}"] = {part: round(seconds, 1) for part, seconds in parts.items()}
    return result


def main() -> None:
    options = parser("What making machine code of a training step takes.")
    options.add_argument("--cases", nargs="*", default=list(CASES), help="some of: " + "; ".join(CASES))
    options.add_argument("--once", nargs=2, metavar=("CASE", "WAY"), help="print the parts of one compilation")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    if arguments.once:
        print(json.dumps(compile_once(*arguments.once)))
        return
    result = {}
    for case in arguments.cases:
        result[case] = compiled(case, arguments.threads)
        print(case, json.dumps(result[case]), flush=True)
        record("compile_time", arguments, result)


if __name__ == "__main__":
    main()
