"""The networks of ``speed.py`` as an expert writes them in PyTorch alone: the loss of a batch, in nats, summed."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["IWAE", "M2", "VAE", "Convolutional", "convolutions"]


def normal_kl(loc: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(loc, variance) || N(0, 1)), summed over the last dimension."""
    return 0.5 * (loc**2 + log_variance.exp() - 1 - log_variance).sum(-1)


def minus_log_bernoulli(logits: Tensor, x: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)


class VAE(nn.Module):
    def __init__(self, width: int, hidden: int, size: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 2 * size))
        self.decoder = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        loc, log_variance = self.encoder(x).chunk(2, -1)
        z = loc + (0.5 * log_variance).exp() * torch.randn_like(loc)
        return minus_log_bernoulli(self.decoder(z), x).sum() + normal_kl(loc, log_variance).sum()


class Bias(nn.Module):
    """A bias of each pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


def convolutions(width: int, channels: tuple[int, int], hidden: int, size: int) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder of square grey images (B, width), each stage halving or doubling the side."""
    side, (first, second) = math.isqrt(width), channels
    small = (second, side // 4, side // 4)
    encoder = nn.Sequential(
        nn.Unflatten(1, (1, side, side)),
        nn.Conv2d(1, first, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(math.prod(small), hidden),
        nn.ReLU(),
        nn.Linear(hidden, 2 * size),
    )
    decoder = nn.Sequential(
        nn.Linear(size, hidden),
        nn.ReLU(),
        nn.Linear(hidden, math.prod(small)),
        nn.ReLU(),
        nn.Unflatten(1, small),
        nn.ConvTranspose2d(second, first, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(first, 1, 4, stride=2, padding=1),
        nn.Flatten(),
        Bias(width),
    )
    return encoder, decoder


class Convolutional(VAE):
    def __init__(self, width: int, channels: tuple[int, int], hidden: int, size: int) -> None:
        nn.Module.__init__(self)
        self.encoder, self.decoder = convolutions(width, channels, hidden, size)


class IWAE(VAE):
    def __init__(self, width: int, hidden: int, size: int, draws: int) -> None:
        super().__init__(width, hidden, size)
        self.draws = draws

    def forward(self, x: Tensor) -> Tensor:
        loc, log_variance = self.encoder(x).chunk(2, -1)
        noise = torch.randn(self.draws, *loc.shape)
        z = loc + (0.5 * log_variance).exp() * noise
        log_ratio = 0.5 * (noise**2 + log_variance - z**2).sum(-1)  # log p(z) - log q(z | x)
        log_w = log_ratio - minus_log_bernoulli(self.decoder(z), x)
        return -(log_w.logsumexp(0) - math.log(self.draws)).sum()


class M2(nn.Module):
    """Classes are summed over; what a first layer makes of x, or of z, and of y is added up, not concatenated."""

    def __init__(self, width: int, hidden: int, size: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, classes))
        self.encoder_x, self.encoder_y = nn.Linear(width, hidden), nn.Linear(classes, hidden, bias=False)
        self.encoder_top = nn.Linear(hidden, 2 * size)
        self.decoder_z, self.decoder_y = nn.Linear(size, hidden), nn.Linear(classes, hidden, bias=False)
        self.decoder_top = nn.Linear(hidden, width)
        self.classes = classes

    def minus_bound(self, x: Tensor, y: Tensor) -> Tensor:
        """Given one-hot y (\\*classes, B or 1, K), without log p(y); (\\*classes, B)."""
        loc, log_variance = self.encoder_top((self.encoder_x(x) + self.encoder_y(y)).relu()).chunk(2, -1)
        z = loc + (0.5 * log_variance).exp() * torch.randn_like(loc)
        logits = self.decoder_top((self.decoder_z(z) + self.decoder_y(y)).relu())
        return minus_log_bernoulli(logits, x) + normal_kl(loc, log_variance)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """``y`` holds the labels of the first data alone."""
        known, log_k = y.shape[0], math.log(self.classes)
        log_q = self.classifier(x).log_softmax(-1)
        with_labels = self.minus_bound(x[:known], functional.one_hot(y, self.classes).to(x)) + log_k
        every = torch.eye(self.classes).unsqueeze(1)
        without = self.minus_bound(x[known:], every)  # (K, B)
        q = log_q[known:].exp()
        missing = (q * (without.T + log_q[known:] + log_k)).sum()
        return with_labels.sum() + missing + functional.nll_loss(log_q[:known], y, reduction="sum")
