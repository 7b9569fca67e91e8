"""What log p(x) by importance sampling costs: next to plain Pyro, and to PyTorch by hand; and its memory.

    python benchmarks/likelihood_speed.py --threads 1

K = 5,000 draws for each of some binarised MNIST test images, 784-400-20 and back, untrained: the processor time of
one estimate, as ratios of neighbouring rounds in one run, whose order alternates.  "plain Pyro" runs guide and model
once for each particle, all images at once, as one does without a plate of particles; it gets few particles, and its
time is scaled to K.  "by hand" is the same network, the same chunks and the same formulas in PyTorch.  Peak memory is
that of a process of its own for N images and for ten times as many, above that of a process that estimates nothing.
"""

from __future__ import annotations

import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from common import parser, record
from pyro import poutine
from torch import Tensor, nn
from torch.nn import functional

import pyro_vae as pv
from pyro_vae import data, evaluation, likelihoods, networks, priors

SAMPLES = 5000
PARTICLES = 100  # of plain Pyro
BOUND = 256  # MiB above an idle process, whatever the number of images


def make() -> pv.VAE:
    return pv.VAE(priors.StandardNormal(20), likelihoods.Bernoulli(784), encoder=networks.MLP([400]))


def ours(vae: pv.VAE, x: Tensor, chunk: int) -> Callable[[], Tensor]:
    return lambda: evaluation.log_likelihood(vae, x, num_samples=SAMPLES, chunk=chunk, progress=False)


def plain_pyro(vae: pv.VAE, x: Tensor) -> Callable[[], Tensor]:
    """A loop over particles; its time is that of ``PARTICLES`` of them."""

    def estimate() -> Tensor:
        found = []
        with torch.no_grad():
            for _ in range(PARTICLES):
                guide = poutine.trace(vae.guide).get_trace(x)
                model = poutine.trace(poutine.replay(vae.model, trace=guide)).get_trace(x)
                for trace in (guide, model):
                    trace.compute_log_prob()
                sites = model.nodes
                found.append(sites["x"]["log_prob"] + sites["z"]["log_prob"] - guide.nodes["z"]["log_prob"])
        return torch.stack(found).logsumexp(0) - math.log(PARTICLES)

    return estimate


def by_hand(vae: pv.VAE, x: Tensor, chunk: int) -> Callable[[], Tensor]:
    """The same without Pyro: same weights, same chunks."""

    def layers(network: nn.Module) -> nn.Sequential:
        first = nn.Linear(network.first.weights[0].shape[1], network.first.weights[0].shape[0])
        first.weight, first.bias = network.first.weights[0], network.first.bias
        return nn.Sequential(first, *network.rest)

    encoder, decoder = layers(vae.guide.posterior.network), layers(vae.likelihood.network)
    at_once = max(1, chunk // SAMPLES)

    def normal(z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        return (-0.5 * ((z - loc) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)).sum(-1)

    def estimate() -> Tensor:
        found = []
        with torch.no_grad():
            for some in x.split(at_once):
                loc, raw = encoder(some).chunk(2, -1)
                scale = functional.softplus(raw + math.log(math.e - 1)) + 1e-6
                z = loc + scale * torch.randn(SAMPLES, *loc.shape)
                logits = decoder(z)
                log_p = -functional.binary_cross_entropy_with_logits(
                    logits, some.expand_as(logits), reduction="none"
                ).sum(-1)
                log_w = log_p + normal(z, torch.zeros(()), torch.ones(())) - normal(z, loc, scale)
                found.append(log_w.logsumexp(0) - math.log(SAMPLES))
        return torch.cat(found)

    return estimate


def images(n: int) -> Tensor:
    x = data.load("mnist").test.x[:n]
    return data.threshold(x).flatten(1)


def peak(n: int, chunk: int) -> float:
    """MiB of a process of its own that estimates log p(x) of n random images; nothing is estimated for n = 0."""
    command = [sys.executable, __file__, "--measure", str(n), "--chunk", str(chunk), "--threads", "1"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def measure(n: int, chunk: int) -> None:
    vae, x = make(), torch.bernoulli(torch.full((n, 784), 0.3))
    if n:
        ours(vae, x, chunk)()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def compare(x: Tensor, chunk: int, rounds: int) -> dict[str, object]:
    vae = make()
    ways = {"ours": ours(vae, x, chunk), "plain_pyro": plain_pyro(vae, x), "by_hand": by_hand(vae, x, chunk)}
    worth = {"ours": 1.0, "by_hand": 1.0, "plain_pyro": SAMPLES / PARTICLES}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers = {}
    for number in range(rounds + 1):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            start = time.process_time()
            answers[name] = ways[name]().mean().item()
            if number:  # the first round warms up
                seconds[name].append((time.process_time() - start) * worth[name])
    result: dict[str, object] = {
        "images": len(x),
        "num_samples": SAMPLES,
        "chunk": chunk,
        "mean_estimate": answers,
        "seconds_per_image": {name: statistics.median(s) / len(x) for name, s in seconds.items()},
    }
    for first, second in [("plain_pyro", "ours"), ("ours", "by_hand")]:
        ratios = [a / b for a, b in zip(seconds[first], seconds[second], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        result[f"{first}/{second}"] = {"median": median, "quartiles": [low, high]}
        print(f"{first} / {second}: {median:.3f} (quartiles {low:.3f} to {high:.3f})")
    return result


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--images", type=int, default=10)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--chunk", type=int, default=10_000)
    options.add_argument("--measure", type=int, help="print the peak memory of this process for so many images")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    if arguments.measure is not None:
        measure(arguments.measure, arguments.chunk)
        return
    # first, while this process is small: Linux lets a new process begin with the peak of its parent
    idle, few, many = (peak(n, arguments.chunk) for n in (0, arguments.images, 10 * arguments.images))
    result = compare(images(arguments.images), arguments.chunk, arguments.rounds)
    result["peak_memory_mib"] = {"idle": idle, "images": few - idle, "ten_times_as_many": many - idle}
    result["memory_ratio"] = (many - idle) / (few - idle)
    print(f"peak memory above idle: {few - idle:.0f} MiB, of ten times as many images {many - idle:.0f} MiB")
    record("likelihood_speed", arguments, result)
    if max(few, many) - idle > BOUND:
        raise SystemExit(f"more than the stated bound of {BOUND} MiB")


if __name__ == "__main__":
    main()
