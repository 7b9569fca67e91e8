"""Images cut into the quadrants that are given and those that are to be predicted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch
from torch import Tensor

from pyro_vae.data.split import Dataset, Split

__all__ = ["Quadrants"]


class Quadrants:
    """The task of predicting the rest of an image from one, two or three of its quadrants.

    Given is the lower left quadrant (1), the left half (2), or all but the upper right quadrant (3). Both sides are
    vectors of pixels, row by row.

    Args:
        shape: of an image, (C, H, W).
        observed: how many quadrants are given.

    Raises:
        ValueError: if ``shape`` is no image's, or ``observed`` not 1, 2 or 3.

    Example:
        >>> from pyro_vae import data
        >>> digits = data.load("digits")
        >>> task = Quadrants(digits.shape, observed=1)
        >>> pair = task.split(digits.train.x)
        >>> pair
        Split(x=(1257, 16) float32, y=(1257, 48) float32)
        >>> torch.equal(task.join(pair.x, pair.y), digits.train.x)
        True

    References:
        Sohn, Lee and Yan (2015), Learning structured output representation using deep conditional generative models,
        section 5.1. https://papers.nips.cc/paper/5775
    """

    def __init__(self, shape: Iterable[int], observed: int) -> None:
        self.shape = tuple(shape)
        if len(self.shape) != 3:
            raise ValueError(f"quadrants are those of images of shape (C, H, W), got shape {self.shape}")
        if observed not in (1, 2, 3):
            raise ValueError(f"observed is a number of quadrants, 1, 2 or 3, got {observed!r}")
        self.observed = observed
        _, height, width = self.shape
        given = torch.zeros(self.shape, dtype=torch.bool)
        given[:, height // 2 :, : width // 2] = True
        if observed > 1:
            given[:, : height // 2, : width // 2] = True
        if observed > 2:
            given[:, height // 2 :, width // 2 :] = True
        self.given = given
        """Mask (C, H, W) of the pixels that are given."""

    def split(self, images: Tensor) -> Split:
        """Given and missing pixels of images (N, C, H, W), as x and y of a split.

        Raises:
            ValueError: if the images have another shape.
        """
        if tuple(images.shape[1:]) != self.shape:
            raise ValueError(f"images have shape (N, {', '.join(map(str, self.shape))}), got {tuple(images.shape)}")
        return Split(images[:, self.given], images[:, ~self.given])

    def of(self, dataset: Dataset) -> Dataset:
        """The task on each split of a data set of images."""
        splits = {name: self.split(getattr(dataset, name).x) for name in ("train", "valid", "test")}
        return dataclasses.replace(dataset, **splits, num_classes=None, class_names=None)  # type: ignore[arg-type]

    def join(self, given: Tensor, missing: Tensor) -> Tensor:
        """Images (\\*batch, C, H, W) from both sides, (\\*batch, pixels) each; batch shapes are broadcast."""
        batch = torch.broadcast_shapes(given.shape[:-1], missing.shape[:-1])
        images = missing.new_zeros(*batch, *self.shape)
        images[..., self.given] = given.to(missing).expand(*batch, -1)
        images[..., ~self.given] = missing.expand(*batch, -1)
        return images

    def __repr__(self) -> str:
        return f"Quadrants({self.shape}, observed={self.observed})"
