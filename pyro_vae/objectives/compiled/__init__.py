"""Objectives as graphs of tensor operations: the programs are run once, and then no more."""

from pyro_vae.objectives.compiled.objective import Compiled

__all__ = ["Compiled"]
