"""What several processes do for ``test_training_processes.py``: ``torchrun several.py WHAT FOLDER``."""

import os
import sys
from pathlib import Path

import pyro.distributions as dist
import torch

import pyro_vae as pv
from pyro_vae import labels, likelihoods, networks, objectives, posteriors, priors
from pyro_vae.training import kept

N, D = 23, 3
SETTINGS = {"batch_size": 5, "lr": 1e-2, "lr_schedule": "constant", "device": "cpu", "progress": False}


def _parts():
    encoder = networks.MLP([8], "tanh")
    return {"prior": priors.StandardNormal(2), "likelihood": likelihoods.Bernoulli(D), "encoder": encoder}


def autoencoder():
    return pv.Autoencoder(2, likelihoods.Bernoulli(D), encoder=networks.MLP([8], "tanh"))


class _Spread(dist.Normal):
    """A normal distribution whose draws are the same for all data: particles lie at fixed distances from the mean."""

    def rsample(self, sample_shape=torch.Size()):
        particles = torch.linspace(-1.0, 1.5, self.batch_shape[0])[:, None, None]
        return self.loc + self.scale * particles


class Spread(posteriors.Normal):
    def forward(self, x, *others):
        q = super().forward(x, *others).base_dist
        return _Spread(q.loc, q.scale).to_event(1)


def of_particles():
    """An importance-weighted VAE without noise."""
    return pv.VAE(**_parts(), posterior=Spread(), objective=objectives.IWAE(4))


def of_a_graph():
    """A VAE without noise, whose programs run once and then as a graph."""
    objective = objectives.Compiled(objectives.ELBO(), backend="eager")
    return pv.VAE(**_parts(), posterior=posteriors.Delta(), objective=objective)


def of_classes():
    """M2 without noise, whose classes are summed over where they are missing."""
    return pv.M2(labels.Categorical(3), **_parts(), posterior=posteriors.Delta())


def noisy():
    return pv.VAE(**_parts())


def data():
    generator = torch.Generator().manual_seed(1)
    x = torch.bernoulli(torch.full((N, D), 0.4), generator=generator)
    y = torch.randint(3, (N,), generator=generator)
    y[4:17] = -1
    return x, y


CASES = {
    "autoencoder": (autoencoder, False, {}),
    "particles": (of_particles, False, {"clip": 0.5}),
    "a graph": (of_a_graph, False, {}),
    "classes": (of_classes, True, {"labelled_batch_size": None, "warmup": 0}),
    "classes that return": (of_classes, True, {"labelled_batch_size": 3, "warmup": 0}),
}
"""Variants whose training has no noise: where their data have labels, and further settings."""


def trained(name, **others):
    """A variant after training, and its history: the same in one process and in several."""
    make, with_labels, settings = CASES[name]
    torch.manual_seed(0)
    variant = make()
    x, y = data()
    given, valid = ((x, y), (x[:7], y[:7])) if with_labels else (x, x[:7])
    history = pv.fit(variant, given, valid=valid, **({"epochs": 3} | SETTINGS | settings | others))
    return {"weights": variant.state_dict(), "history": dict(history)}


def together(folder, rank):
    found = {name: trained(name) for name in CASES}

    written = []
    write = kept.write_torch
    kept.write_torch = lambda path, content: (written.append(str(path)), write(path, content))
    found["resumed"] = trained("autoencoder", epochs=4, folder=folder / "of one", resume=True)
    kept.write_torch = write
    found["written"] = written

    torch.manual_seed(rank)  # even from other weights all begin with those of the first
    variant, drawn = noisy(), []
    x, _ = data()

    def transform(batch):
        drawn.append(torch.rand(()).item())
        return batch

    history = pv.fit(variant, x, epochs=3, transform=transform, patience=2, valid=0.3, **SETTINGS)
    found["noisy"] = {"weights": variant.state_dict(), "history": dict(history), "drawn": drawn}

    found["errors"] = {
        "another batch size": error_of(lambda: pv.fit(noisy(), x, epochs=1, **(SETTINGS | {"batch_size": 5 + rank}))),
        "too small a batch": error_of(lambda: pv.fit(noisy(), x, epochs=1, **(SETTINGS | {"batch_size": 1}))),
        "nan": error_of(lambda: pv.fit(Failing(), x, epochs=2, **SETTINGS)),
    }
    return found


class Failing(pv.VAE):
    """A VAE whose loss becomes NaN in process 1, at the second step."""

    def __init__(self):
        super().__init__(**_parts())
        self.steps = 0

    def program_arguments(self, x, y=None):
        self.steps += 1
        return (x * float("nan") if os.environ["RANK"] == "1" and self.steps == 2 else x,)


def error_of(action):
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def fails(folder, rank):
    """Process 1 ends with an error in the third epoch."""
    calls, arguments = [], pv.Autoencoder.program_arguments

    def failing(variant, *batch):
        calls.extend([1] * variant.training)
        if rank == 1 and len(calls) > 2 * 5:
            raise OSError("the disk of process 1 is gone")
        return arguments(variant, *batch)

    pv.Autoencoder.program_arguments = failing
    trained("autoencoder", epochs=4, folder=folder / "of two")


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, folder = sys.argv[1], Path(sys.argv[2])
    number = int(os.environ["RANK"])
    torch.save({"together": together, "fails": fails}[what](folder, number), folder / f"{what} {number}.pt")
