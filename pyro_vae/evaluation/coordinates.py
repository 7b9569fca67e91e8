"""Names for the dimensions of draws: datum, latent, channel, row, column, feature, property, class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from pyro_vae.errors import ConfigurationError, check_choice
from pyro_vae.evaluation.draws import Draws
from pyro_vae.labels import Output
from pyro_vae.parts import Shape
from pyro_vae.program import labelled
from pyro_vae.variants.base import Variant

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Layout", "event_dims", "latent_dims", "named_in"]

_DRAWS = ("chain", "draw")


def event_dims(shape: Shape, prefix: str = "") -> tuple[str, ...]:
    """What the dimensions of a datum are called.

    Args:
        shape: event shape of the datum.
        prefix: put before each name.

    Example:
        >>> event_dims((1, 8, 8)), event_dims((5,)), event_dims((), "y_")
        (('channel', 'row', 'column'), ('feature',), ())
    """
    usual = {0: (), 1: ("feature",), 2: ("row", "column"), 3: ("channel", "row", "column")}
    names = usual.get(len(shape), tuple(f"dim_{place}" for place in range(len(shape))))
    return tuple(prefix + name for name in names)


def latent_dims(site: str, shape: Shape) -> tuple[str, ...]:
    """What the dimensions of a latent are called: codes of different sites may differ in size.

    Example:
        >>> latent_dims("z", (8,)), latent_dims("z1", (2,)), latent_dims("w", (2, 3))
        (('latent',), ('latent1',), ('latent_w_0', 'latent_w_1'))
        >>> latent_dims("z", (20, 10))  # twenty one-hot vectors of ten classes
        ('latent', 'latent_class')
    """
    code = site[:1] == "z"
    name = f"latent{site[1:]}" if code else f"latent_{site}"
    if len(shape) == 1:
        return (name,)
    return (name, f"{name}_class") if code and len(shape) == 2 else tuple(f"{name}_{i}" for i in range(len(shape)))


def named_in(container: Any) -> dict[str, np.ndarray]:
    """The coordinates of draws and their statistics, but for those that count draws or tell labelled data apart."""
    counted = {*_DRAWS, "labelled", "unlabelled"}
    return {
        str(name): coordinate.values
        for group in ("posterior", "sample_stats")
        for name, coordinate in container[group].coords.items()
        if name not in counted
    }


class Layout:
    """The dimensions of all variables of a variant, with coordinates, and data sets of xarray made by them.

    What only some data have, such as a label, is on the dimension ``labelled`` or ``unlabelled``, whose coordinates
    are those data's of ``datum``.

    Args:
        variant: any variant.
        latents: draws of what is latent.
        x: checked data (N, \\*shape).
        y: checked labels, in variants that have them.
        coords: names of the positions along dimensions, by the dimension; 0, 1, ... where none are given.
        chains: how many chains the draws come from, one after the other.

    Raises:
        ConfigurationError: for coordinates of an unknown dimension, or of a wrong number.
    """

    def __init__(
        self,
        variant: Variant,
        latents: Draws,
        x: Tensor,
        y: Tensor | None,
        coords: Mapping[str, Sequence[Any]],
        chains: int = 1,
    ) -> None:
        self.chains = chains
        self.known = np.ones(len(x), dtype=bool)
        if y is not None and variant.labels == "some":
            self.known = labelled(y).cpu().numpy()
        shapes = {name: values.shape[2:] for name, values in latents.values.items()} | {"x": variant.shape}
        self.dims = {name: latent_dims(name, shape) for name, shape in shapes.items()}
        self.dims["x"] = event_dims(variant.shape)
        self.classes = variant.label.classes if variant.label is not None else None
        if variant.label is not None:
            shapes["y"] = variant.label.shape
            # an output is data as x is, but of a shape of its own
            output = isinstance(variant.label, Output)
            properties = ("property",) * len(variant.label.shape)
            self.dims["y"] = event_dims(variant.label.shape, "y_") if output else properties
        sizes = {"datum": len(x)} | ({"class": self.classes} if self.classes else {})
        for name, dims in self.dims.items():
            sizes |= dict(zip(dims, shapes[name], strict=True))
        self.coords = {dim: np.arange(size) for dim, size in sizes.items()} | _checked(coords, sizes)

    def draws(self, draws: Draws) -> xr.Dataset:
        """Variables (chain, draw, datum, \\*event)."""
        return self._dataset(self._by_chain(draws.values), draws.rows, _DRAWS, True)

    def log_densities(self, draws: Draws) -> xr.Dataset:
        """Variables (chain, draw, datum)."""
        return self._dataset(self._by_chain(draws.values), draws.rows, _DRAWS, False)

    def data(self, values: Mapping[str, Tensor]) -> xr.Dataset:
        """Variables (datum, \\*event): data and labels, without the labels that are missing."""
        rows = {name: self.known if name == "y" else np.ones_like(self.known) for name in values}
        return self._dataset({name: value.cpu().numpy() for name, value in values.items()}, rows, (), True)

    def statistics(self, values: Mapping[str, np.ndarray]) -> xr.Dataset:
        """Numbers about draws (S, N), or about data (N,); those of draws that are no longer there by ``proposal``."""
        import xarray as xr

        variables: dict[str, Any] = {}
        coords: dict[str, Any] = {"datum": self.coords["datum"]} if values else {}
        for name, value in values.items():
            if value.ndim == 1:
                variables[name] = (("datum",), value)
            elif name.startswith("proposal"):
                variables[name] = (("proposal", "datum"), value)
                coords["proposal"] = np.arange(len(value))
            else:
                (split,) = self._by_chain({name: value}).values()
                variables[name] = ((*_DRAWS, "datum"), split)
                coords |= {dim: np.arange(size) for dim, size in zip(_DRAWS, split.shape, strict=False)}
        return xr.Dataset(variables, coords)

    def _by_chain(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Draws (S, ...) of all chains as (chain, draw, ...)."""
        return {name: value.reshape(self.chains, -1, *value.shape[1:]) for name, value in values.items()}

    def _dataset(
        self, values: Mapping[str, np.ndarray], rows: Mapping[str, np.ndarray], front: tuple[str, ...], events: bool
    ) -> xr.Dataset:
        import xarray as xr

        variables: dict[str, Any] = {}
        coords: dict[str, Any] = {}
        for name, value in values.items():
            data = self._data_dim(rows[name])
            chosen = value if data == "datum" else value.compress(rows[name], axis=len(front))
            dims = (*front, data, *(self.dims[name] if events else ()))
            variables[name] = (dims, chosen)
            coords[data] = self.coords["datum"][rows[name]]
            coords |= {dim: np.arange(size) for dim, size in zip(front, value.shape, strict=False)}
            coords |= {dim: self.coords[dim] for dim in dims if dim in self.coords and dim != "datum"}
            if name == "y" and events and self.classes:
                coords["class"] = self.coords["class"]  # what the numbers in y stand for
        return xr.Dataset(variables, coords)

    def _data_dim(self, rows: np.ndarray) -> str:
        if rows.all():
            return "datum"
        return "labelled" if np.array_equal(rows, self.known) else "unlabelled"


def _checked(coords: Mapping[str, Sequence[Any]], sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    found = {}
    for dim, names in coords.items():
        size = sizes[check_choice("coords: the dimension", dim, sizes)]
        found[dim] = np.asarray(names)
        if found[dim].shape != (size,):
            raise ConfigurationError(
                f"coords: dimension {dim!r} wants {size:,} names, one for each position, got an array of shape "
                f"{found[dim].shape}"
            )
    return found
