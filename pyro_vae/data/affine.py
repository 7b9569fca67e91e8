"""Images moved a little, each in its own way."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyro_vae.configured import Configured

__all__ = ["RandomAffine"]


class RandomAffine(Configured):
    """A transform of images: each is rotated, moved, scaled and sheared at random, anew each time.

    For :func:`pyro_vae.fit`, or for a classifier's input (:class:`pyro_vae.networks.Augmented`).

    It says what a class is blind to, which is knowledge that no label gave: figures with it and without it are not
    to be compared without saying so.

    Args:
        degrees: largest rotation to either side.
        translate: largest shift to either side, as a part of the image's size.
        scale: largest change of size, as a part of it.
        shear: largest shear to either side, in degrees.

    Raises:
        ValueError: if a number is negative, or ``scale`` is not below 1.

    Example:
        >>> from pyro_vae import data
        >>> x = data.load("digits").train.x[:4]
        >>> RandomAffine(degrees=10, translate=0.1)(x).shape
        torch.Size([4, 1, 8, 8])
        >>> torch.equal(RandomAffine()(x), x)
        True
    """

    def __init__(self, degrees: float = 0.0, translate: float = 0.0, scale: float = 0.0, shear: float = 0.0) -> None:
        self.degrees, self.translate, self.scale, self.shear = degrees, translate, scale, shear
        if min(degrees, translate, scale, shear) < 0 or scale >= 1:
            raise ValueError(f"sizes of changes are not negative, and scale below 1, got {self!r}")

    def __call__(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W), each changed in its own way; what comes in from outside is 0.

        Raises:
            ValueError: if ``x`` are no images.
        """
        if x.ndim != 4:
            raise ValueError(f"RandomAffine takes images of shape (N, C, H, W), got {tuple(x.shape)}")
        if not any((self.degrees, self.translate, self.scale, self.shear)):
            return x

        def draw(most: float) -> Tensor:
            return most * (2 * torch.rand(len(x), device=x.device, dtype=x.dtype) - 1)

        angle, shear = draw(math.radians(self.degrees)), draw(math.radians(self.shear)).tan()
        size = 1 + draw(self.scale)
        cosine, sine = angle.cos() / size, angle.sin() / size
        # affine_grid measures in half images
        right, down = draw(2 * self.translate), draw(2 * self.translate)
        height, width = x.shape[2:]  # its two directions have units of their own
        rows = [
            torch.stack([cosine, (cosine * shear - sine) * height / width, right], -1),
            torch.stack([sine * width / height, sine * shear + cosine, down], -1),
        ]
        grid = torch.nn.functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
        moved = torch.nn.functional.grid_sample(x, grid, align_corners=False)
        # weights of neighbours add up to one but for rounding, and a Bernoulli takes nothing above one
        return moved.clamp(x.amin().clamp(max=0), x.amax().clamp(min=0))
