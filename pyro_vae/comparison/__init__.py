"""What labels are worth: classifiers with and without a generative model, at few labels and at many."""

from pyro_vae.comparison.compare import Cell, Comparison, compare
from pyro_vae.comparison.systems import SYSTEMS, System
from pyro_vae.comparison.tasks import RECIPES, Recipe, Task, recipe_for

__all__ = ["RECIPES", "SYSTEMS", "Cell", "Comparison", "Recipe", "System", "Task", "compare", "recipe_for"]
