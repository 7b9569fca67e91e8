"""How data and labels come into a variant: checked, converted, and put in the order that its programs want."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data import as_split
from pyro_vae.data.convert import as_numbers, as_reals
from pyro_vae.errors import DataError
from pyro_vae.labels import Label
from pyro_vae.likelihoods import Likelihood
from pyro_vae.parts import Part
from pyro_vae.program import labelled, labels_first
from pyro_vae.variants.stored import Stored

__all__ = ["Inputs"]


class Inputs(Stored):
    """The side of a variant that data come in by; :class:`pyro_vae.Variant` is built on it.

    ``labels`` says what the variant does with labels: ``"none"`` where its story has none, ``"all"`` where every datum
    needs one, ``"some"`` where labels may be missing.
    """

    labels = "none"
    """Whether the story has labels: ``"none"``, ``"some"`` or ``"all"``."""

    decodes_label = False
    """Whether the likelihood is conditional on the label."""

    programs_see_labels = True
    """Whether model and guide take the labels that the variant is given."""

    label: Label | None
    initialised: Tensor

    @property
    def likelihood(self) -> Likelihood:
        """p(x | z)."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """Event shape of one datum x."""
        return self.likelihood.shape

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Floating point type of the weights."""
        return next(self.parameters()).dtype

    def batch(self, x: Any, y: Any = None) -> tuple[Tensor, Tensor | None]:
        """Check data and, where the story has them, labels, and bring them to the weights' device and precision.

        Args:
            x: data (N, \\*shape); or a split, a pair (x, y) or a ``torch.utils.data.Dataset``, whose labels are used
                where ``y`` is not given.
            y: labels, with -1 or NaN where they are missing.

        Raises:
            DataError: what does not fit, labels that are not wanted, or wanted and missing.
        """
        x, theirs = self.taken_apart(x)
        if y is None and self.labels != "none":
            y = theirs
        if y is not None and self.labels == "none":
            raise DataError(f"{type(self).__name__} has no labels in its story; leave y out")
        x = self.as_data(x)
        if y is None:
            if self.labels == "all":
                raise DataError(f"{type(self).__name__} needs the label of every datum; give y, or a split that has it")
            return x, None
        return x, self.as_labels(y, len(x), complete=self.labels == "all")

    def with_known_labels(self, x: Any, y: Any = None) -> tuple[Tensor, Tensor] | None:
        """The data whose labels are known, checked, also where :meth:`batch` would want every label.

        Args:
            x: data (N, \\*shape), or anything that has labels with it, which are used where ``y`` is not given.
            y: labels, with -1 or NaN where they are missing.

        Returns:
            Data and labels, or ``None`` where no label is known.

        Raises:
            DataError: when data or labels do not fit.
        """
        x, theirs = self.taken_apart(x)
        y = theirs if y is None else y
        x = self.as_data(x)
        if y is None:
            return None
        y = self.as_labels(y, len(x))
        known = labelled(y)
        return (x[known], y[known]) if known.any() else None

    def as_data(self, x: Any) -> Tensor:
        """Check data and bring them to the weights' device and precision.

        Raises:
            DataError: wrong type, shape, dtype, NaN, or values outside the likelihood's support.
        """
        x, _ = self.taken_apart(x)
        if x.dim() and not len(x):
            raise DataError(f"x: there are no data (shape {tuple(x.shape)})")
        self.check_data(x)
        made = x.to(self.device, self.dtype if x.is_floating_point() else None)
        if made.dtype != x.dtype and not made.isfinite().all():
            raise DataError(f"x: some numbers are too large for {made.dtype}, which the weights have; rescale the data")
        return made

    def taken_apart(self, x: Any) -> tuple[Tensor, Any]:
        """Data as a tensor, and the labels that came with them."""
        if isinstance(x, np.ndarray):
            try:
                x = as_numbers(x, "x")
                if not x.is_floating_point():
                    x = as_reals(x, "x")  # as `fit` takes them
            except (TypeError, ValueError) as error:
                raise DataError(str(error)) from error
        if hasattr(x, "train") and hasattr(x, "test"):
            raise DataError("x: this is a whole data set; give one of its splits: .train, .valid or .test")
        if isinstance(x, Tensor):
            return x, None
        try:
            split = as_split(x)
        except (ValueError, TypeError) as error:
            raise DataError(f"x: {error}") from error
        return split.x, split.y

    def check_data(self, x: Tensor) -> None:
        """Check that the data (N, \\*shape) are such as the story tells of.

        Raises:
            DataError: when they are not.
        """
        self.likelihood.check(x)

    def as_labels(self, y: Any, n: int, *, complete: bool = False) -> Tensor:
        """Check labels of ``n`` data and bring them to the weights' device and precision.

        Args:
            y: labels, with -1 or NaN where they are missing.
            n: number of data.
            complete: whether none may be missing.

        Raises:
            DataError: wrong type, shape or values.
        """
        assert self.label is not None
        y = self.label.check(self._as_tensor(y), n)
        missing = ~labelled(y)
        if complete and missing.any():
            raise DataError(
                f"y: {int(missing.sum()):,} of {n:,} labels are missing (the first is that of datum "
                f"{int(missing.nonzero()[0])}), and {type(self).__name__} needs them all; leave those data out"
            )
        return y

    def program_arguments(self, x: Tensor, y: Tensor | None = None) -> tuple[Any, ...]:
        """The arguments of model and guide for a batch of data.

        Where only some labels are known their data come first, and ``y`` holds the labels of these alone: model and
        guide need not look at values to know what is labelled.
        """
        if self.labels == "none" or not self.programs_see_labels:
            return (x,)
        if self.labels == "some" and y is not None and not labelled(y).all():
            x, y = labels_first(x, y)
            return (x, y if len(y) else None)
        return (x, y)

    def examples(self, n: int) -> dict[str, tuple[Any, ...]]:
        """Arguments of model and guide for ``n`` made-up data, for each kind of data that the programs tell apart."""
        x = self._example_data(n)
        if self.labels == "none" or not self.programs_see_labels:
            return {"data": (x,)}
        assert self.label is not None
        y = self.label.example(n)
        return {"labelled": (x, y), "unlabelled": (x, None)} if self.labels == "some" else {"data": (x, y)}

    def _example_data(self, n: int) -> Tensor:
        """Data that lie in the likelihood's support, where one of the usual values does."""
        fallback = torch.zeros(n, *self.shape, dtype=self.dtype, device=self.device)
        for value in (0.0, 0.5, 1.0):
            for candidate in (fallback + value, (fallback + value).long()):
                with contextlib.suppress(Exception):
                    return self.as_data(candidate)
        return fallback

    def initialise(self, x: Tensor, y: Tensor | None = None) -> None:
        """Let every part that is to be trained choose values that fit the data (N, \\*shape); done once, by ``fit``."""
        self.meet_labels(y)
        for module in self.modules():
            if isinstance(module, Part) and not _frozen(module):
                module.initialise(x)
        self.initialised.fill_(True)

    def meet_labels(self, y: Tensor | None) -> None:
        """Check what is known of the labels, (N, \\*shape), and let the label's part choose values that fit the first.

        Raises:
            DataError: when nothing can be learned from them.
        """
        if self.label is None:
            return
        known = None if y is None else y[labelled(y)]
        if known is None or not len(known):
            if self.labels == "some" and self.programs_see_labels:
                warnings.warn(
                    f"y: no label is known, so that nothing trains what {type(self).__name__} predicts labels by",
                    stacklevel=2,
                )
            return
        self.label.check_known(known)
        if not self.label.initialised:
            self.label.initialise_from(known)
            self.label.initialised.fill_(True)

    def _decoded_with(self, batch: torch.Size, y: Any) -> tuple[Tensor, ...]:
        if not self.decodes_label:
            if y is not None:
                raise DataError(f"the data of {type(self).__name__} do not depend on labels; call decode(z) without y")
            return ()
        if y is None:
            raise DataError(f"{type(self).__name__} decodes a code together with a label; call decode(z, y)")
        assert self.label is not None
        n = batch.numel()
        y = self._as_tensor(y)
        if y.shape == self.label.shape:
            y = y.expand((*batch, *self.label.shape))  # of a single code () too
        elif y.shape != (*batch, *self.label.shape):
            raise DataError(
                f"y: labels of shape {tuple(y.shape)} for codes of batch shape {tuple(batch)}, wanted "
                f"{(*batch, *self.label.shape)}, or one label for all, {self.label.shape}"
            )
        y = self.as_labels(y.reshape(n, *self.label.shape), n, complete=True)
        return (y.reshape((*batch, *self.label.shape)),)

    def labels_for(self, y: Any, n: int) -> Tensor:
        """Labels of data that are to be made, checked: as many as are given, or ``n`` of one that is for all.

        Raises:
            DataError: wrong type, shape or values, or a label that is missing.
        """
        y = self._for_each(y, n)
        return self.as_labels(y, len(y), complete=True)

    def _for_each(self, y: Any, n: int) -> Tensor:
        """Labels for n data from one for all, or one for each."""
        assert self.label is not None
        y = self._as_tensor(y)
        return y.expand(n, *self.label.shape) if y.shape == self.label.shape else y

    def _as_tensor(self, y: Any) -> Tensor:
        try:
            y = as_numbers(y, "y") if getattr(y, "ndim", 0) else y  # lists and single numbers are torch's to convert
            return torch.as_tensor(y, device=self.device)
        except (ValueError, TypeError, RuntimeError) as error:
            raise DataError(f"y: {error}") from error


def _frozen(part: Part) -> bool:
    """Whether a part has weights and none of them is to be trained: it was trained before, and stays as it is."""
    weights = list(part.parameters())
    return bool(weights) and not any(weight.requires_grad for weight in weights)
