"""Steps and epochs beside those of others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tables.shared import measured, read, table

STEPS = {
    "eager/hand": "`fit`, eager",
    "graph/hand": "`fit`, as a graph",
    "compiled/hand": "`fit`, compiled",
    "hand compiled/hand": "by hand, `torch.compile`",
    "pyro/hand": "plain Pyro",
}


def log_likelihood() -> str:
    """What importance sampling costs in time and memory."""
    found = read("likelihood_speed")
    memory = found["peak_memory_mib"]
    seconds = found["seconds_per_image"]["ours"]
    rows = [
        ("a loop over particles in plain Pyro / ours", f"{found['plain_pyro/ours']['median']:.1f}"),
        ("ours / by hand in PyTorch", f"{found['ours/by_hand']['median']:.2f}"),
        ("processor time of ours for an image", f"{1000 * seconds:.0f} ms"),
        (f"peak memory for {found['images']} images", f"{memory['images']:.0f} MiB"),
        (f"peak memory for {10 * found['images']} images", f"{memory['ten_times_as_many']:.0f} MiB"),
    ]
    return table((f"log p(x) by {found['num_samples']:,} importance samples", ""), rows)


def speed() -> str:
    rows = [[case, *ratios(result, STEPS)] for case, result in read("speed").items()]
    return table(("a step / the same by hand in PyTorch", *STEPS.values()), rows)


def ratios(result: dict[str, Any], names: Iterable[str]) -> list[str]:
    return [f"{result['ratios'][name]['median']:.2f}" for name in names]


def steps() -> str:
    """The same with the time by hand, and beside the matrix products alone where they were timed."""
    results = read("speed")
    columns = dict(STEPS)
    if all("hand/floor" in result["ratios"] for result in results.values()):
        columns |= {"compiled/floor": "`fit`, compiled / products", "hand/floor": "by hand / products"}
    rows = [[c, f"{r['milliseconds']['hand']:.1f} ms", *ratios(r, columns)] for c, r in results.items()]
    return table(("network", "by hand", *columns.values()), rows)


def compiling() -> str:
    """What machine code takes, and what a step holds in memory, beside the step by hand."""
    rows = []
    for case, result in read("speed").items():
        seconds, memory = result["compile_seconds"], result["mebibytes"]
        held = [f"{memory[way] / memory['hand']:.2f}" for way in ("eager", "graph", "compiled", "hand compiled")]
        rows.append((case, f"{seconds['cold']:.0f} s", f"{seconds['warm']:.1f} s", *held))
    ways = ("`fit`, eager", "as a graph", "compiled", "by hand, `torch.compile`")
    return table(("machine code of", "first time", "later", *(f"memory: {way}" for way in ways)), rows)


PARTS = ("imports", "trace", "Python", "C++ compiler", "all")


def compile_time() -> str:
    """Where the time goes that machine code takes."""
    rows = []
    for case, result in read("compile_time").items():
        for cache in ("empty cache", "full cache"):
            ours, by_hand = result[f"fit, {cache}"], result[f"hand, {cache}"]
            rows.append((case, cache, *(f"{ours[part]:.1f}" for part in PARTS), f"{by_hand['all']:.1f}"))
    parts = ("imports", "the programs' trace", "lowering, in Python", "C++ compiler", "all")
    return table(("seconds to make machine code of", "", *parts, "`torch.compile`, by hand"), rows)


MEMORY_WAYS = {
    "hand": "by hand",
    "eager": "`fit`, eager",
    "compiled": "`fit`, compiled",
    "compiled, one order": "`fit`, compiled, `layout_optimization=False`",
    "hand compiled": "by hand, `torch.compile`",
}


def memory() -> str:
    """What a step of convolutions holds when it holds the most, by what asked for it."""
    result = read("profile_memory")["mebibytes"]
    owners = list(dict.fromkeys(name for held in result.values() for name in held))
    rows = [(words, *(f"{result[way].get(name, 0):.1f}" for name in owners)) for way, words in MEMORY_WAYS.items()]
    return table(("MiB at the most, the convolutional VAE", *owners), rows)


EPOCH_WAYS = {
    "fit": "`fit`, eager",
    "fit graph": "`fit`, as a graph",
    "fit compiled": "`fit`, compiled",
    "hand": "a loop by hand in PyTorch",
    "hand compiled": "that loop with `torch.compile`",
    "pyro": "plain Pyro, SVI in its example's loop",
    "pythae": "pythae's trainer",
    "pythae, fused Adam": "pythae's trainer, told to use the fused Adam",
    "pixyz": "pixyz's model in its example's loop",
    "pixyz, fused Adam": "that loop, the model told to use the fused Adam",
}


def epochs() -> str:
    """Whole epochs of ``fit`` beside those of others."""
    results = {name: result for name, result in read("epochs").items() if name != "peers"}
    ours = {"fit": "eager", "fit graph": "as a graph", "fit compiled": "compiled"}
    head = [f"{network}, {kind}" for network in results for kind in ours.values()]
    rows = []
    for name, words in EPOCH_WAYS.items():
        found = [result["ratios"].get(f"{way}/{name}") for result in results.values() for way in ours]
        if all(found):
            rows.append([words, *(f"{ratio['processor']['median']:.2f}" for ratio in found)])
    return table(("an epoch of `fit` / the same with", *head), rows)


def epochs_of(network: str) -> str:
    """Seconds and losses of every way."""
    result = read("epochs")[network]
    rows = []
    for name, words in EPOCH_WAYS.items():
        if name in result["seconds_per_epoch"]:
            seconds, loss = result["seconds_per_epoch"][name], result["loss_per_datum"][name]
            more = result["seconds_more_in_the_first_epoch"][name]["empty_cache"]
            cells = [f"{seconds['processor']:.2f}", f"{seconds['clock']:.2f}", f"{more:.1f}" * ("compiled" in name)]
            cells += [f"{loss['mean']:.2f}", "" if name == "hand" else measured(*loss["more_than_by_hand"].values())]
            rows.append([words, *cells])
    header = (network, "processor, s", "clock, s", "to compile, s", "loss, nats per datum", "more than by hand")
    return table(header, rows)


def profile() -> str:
    """Where the time of an eager step goes."""
    result = read("profile_step")
    ways = [result["eager"], result["hand"]]
    rows = []
    for owner in result["eager"]["by_owner"]:
        spent = [way["by_owner"].get(owner, {}).get("milliseconds") for way in ways]
        rows.append([owner, *("" if ms is None else f"{ms:.2f}" for ms in spent)])
    rows.append(["all", *(f"{way['milliseconds']:.2f}" for way in ways)])
    return table((f"a step of the {result['case']}, ms", "`fit`, eager", "by hand"), rows)


def overhead() -> str:
    result = read("overhead")
    words = {
        "with_fit/bare_loop": "`pv.fit` / a bare loop of `svi.step` with the same objective and optimiser",
        "bare_loop/by_hand": "that loop / the same network by hand in PyTorch",
        "plain_pyro/by_hand": "Pyro's own objective and optimiser / by hand",
    }
    rows = []
    for name, text in words.items():
        low, high = result[name]["quartiles"]
        rows.append((text, f"{result[name]['median']:.2f}", f"{low:.2f} to {high:.2f}"))
    return table(("time of an epoch, 784-400-20, batch 128", "median ratio", "quartiles"), rows)
