"""One self-contained HTML page on a trained variant: no network, no server, no scripts."""

from pyro_vae.report.numbers import Number, Numbers, numbers
from pyro_vae.report.page import write

__all__ = ["Number", "Numbers", "numbers", "write"]
