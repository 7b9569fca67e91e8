"""Variants to draw from, and what ``to_arviz`` draws, as tensors."""

import torch

from pyro_vae.evaluation.arviz import GROUPS
from tests import family

N = 12


def case(name, n=N):
    """A variant with weights that are nothing special, and data for it."""
    variant = family.randomised(family.VARIANTS[name]())
    return variant, *family.arguments_for(variant, n)


def groups_of(idata):
    return [group for group in GROUPS if group in idata]


def tensor(variable):
    """Draws (S, N, \\*event) of a variable."""
    return torch.from_numpy(variable.values[0])
