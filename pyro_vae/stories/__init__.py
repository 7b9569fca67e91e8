"""The printed story of any variant: words, factorisation, objective, diagram and ledger."""

from pyro_vae.stories.diagram import Diagram
from pyro_vae.stories.ledger import Ledger
from pyro_vae.stories.mathsvg import formula_svg
from pyro_vae.stories.story import Story, story

__all__ = ["Diagram", "Ledger", "Story", "formula_svg", "story"]
