"""The tables of the README, from the recorded results: ``python benchmarks/table.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
SETUPS = ["by_hand", "same_settings", "defaults", "flow_prior", "vamp", "flow_posterior", "conv", "best"]
PUBLISHED = "| published, IWAE paper's VAE (Burda et al. 2016, table 1) | 3,280 | | −86.76 | |"


def read(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text())["result"]


def nats(value: float, error: float) -> str:
    return f"{value:.2f} ± {error:.2f}".replace("-", "−")


def mnist() -> str:
    lines = ["| network and parts | epochs | test ELBO | test log p(x) | training |", "|---|---|---|---|---|"]
    for epochs in (10, 30):
        for name in SETUPS:
            if not (RESULTS / f"mnist_vae_{name}_{epochs}.json").exists():
                continue
            result = read(f"mnist_vae_{name}_{epochs}")
            elbo = nats(result["test_elbo"], result["test_elbo_standard_error"])
            log_p = nats(result["test_log_likelihood"], result["test_log_likelihood_standard_error"])
            minutes = result["training_seconds"] / 60
            lines.append(f"| {result['setup']} | {epochs} | {elbo} | {log_p} | {minutes:.1f} min |")
    return "\n".join([*lines, PUBLISHED])


def overhead() -> str:
    result = read("overhead")
    words = {
        "with_fit/bare_loop": "`pv.fit` / a bare loop of `svi.step` with the same objective and optimiser",
        "bare_loop/by_hand": "that loop / the same network by hand in PyTorch",
        "plain_pyro/by_hand": "Pyro's own objective and optimiser / by hand",
    }
    lines = ["| time of an epoch, 784-400-20, batch 128 | median ratio | quartiles |", "|---|---|---|"]
    for name, text in words.items():
        low, high = result[name]["quartiles"]
        lines.append(f"| {text} | {result[name]['median']:.2f} | {low:.2f} to {high:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(mnist(), overhead(), sep="\n\n")
