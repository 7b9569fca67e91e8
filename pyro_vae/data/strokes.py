"""Properties of handwriting, computed from its images."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["STROKE_PROPERTIES", "stroke_properties"]

STROKE_PROPERTIES = ("ink", "thickness", "slant")
"""Names of the columns of :func:`stroke_properties`."""


def stroke_properties(x: Tensor) -> Tensor:
    """Ink, thickness and slant of each image of a written character.

    *Ink* is the sum of the grey values, in pixels. *Thickness* is twice the sum of their squares over the length of the
    outline (the image's total variation), in pixels. On black and white images the squares are the ink itself: a stroke
    of length l and width w has ink l w and an outline of about 2 l. The mean of several images spreads a stroke's width
    w over W pixels with the values w / W; squares make that w again, where the ink alone would give W. *Slant* is the
    angle of the strokes with the vertical, in degrees, from the second moments; positive leans right.

    Args:
        x: images (N, C, H, W) of bright strokes on a dark ground, within [0, 1].

    Returns:
        (N, 3), one column for each of :data:`STROKE_PROPERTIES`.

    Raises:
        ValueError: if ``x`` are no images or not within [0, 1], or an image is empty.

    Example:
        >>> bar = torch.zeros(1, 1, 28, 28)
        >>> bar[..., 4:24, 12:16] = 1  # upright, 20 pixels long and 4 wide
        >>> stroke_properties(bar)[:, :2].round()
        tensor([[80.,  3.]])
    """
    if x.ndim != 4:
        raise ValueError(f"stroke_properties takes images of shape (N, C, H, W), got {tuple(x.shape)}")
    if (x < 0).any() or (x > 1).any():
        raise ValueError(
            f"stroke_properties takes grey values within [0, 1], got {x.min():g} to {x.max():g}; clamp them"
        )
    image = x.mean(1)
    ink = image.sum((-1, -2))
    if (ink <= 0).any():
        raise ValueError(f"image {int((ink <= 0).nonzero()[0])} is empty; an image without strokes has no slant")
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
    down = padded[:, 1:, :-1] - padded[:, :-1, :-1]
    right = padded[:, :-1, 1:] - padded[:, :-1, :-1]
    outline = torch.sqrt(down**2 + right**2).sum((-1, -2))
    height, width = image.shape[-2:]
    rows = torch.arange(height, device=x.device, dtype=x.dtype)[:, None]
    columns = torch.arange(width, device=x.device, dtype=x.dtype)
    weight = image / ink[:, None, None]

    def mean(values: Tensor) -> Tensor:
        return (weight * values).sum((-1, -2))

    off_row = rows - mean(rows)[:, None, None]
    off_column = columns - mean(columns)[:, None, None]
    # rows count downwards: strokes that lean right have their upper part at the higher columns
    shear = -mean(off_row * off_column) / mean(off_row**2).clamp(min=1e-6)
    slant = torch.rad2deg(torch.atan(shear))
    return torch.stack([ink, 2 * (image**2).sum((-1, -2)) / outline, slant], dim=-1)
