"""The story of a variant: words, factorisation, objective, diagram and ledger from the traced programs."""

from __future__ import annotations

import html
import re
import textwrap
from typing import Any

from torch import nn

from pyro_vae.errors import ConfigurationError
from pyro_vae.stories.accounts import make_ledger
from pyro_vae.stories.diagram import Diagram
from pyro_vae.stories.formulas import FamilyLine, factorisations, families
from pyro_vae.stories.ledger import Ledger
from pyro_vae.stories.mathsvg import formula_svg
from pyro_vae.stories.objective import Objective, describe_objective
from pyro_vae.stories.structure import Structure
from pyro_vae.stories.symbols import to_text
from pyro_vae.stories.tracing import trace_structure
from pyro_vae.stories.words import guide_lines, model_lines

__all__ = ["Story", "story"]

_WIDTH = 80
_SIDES = ("model", "guide")


def story(variant: Any, *arguments: Any) -> Story:
    r"""The generative story of a variant, read off its programs and parts.

    Model and guide are run once; sites, parents, plates and parts are what that run used, so the story cannot say
    anything else than the programs do.

    Programs that are no variant's, with plain Pyro distributions, get a story too, as the ``model`` and ``guide`` of
    one ``torch.nn.Module``, in the form of Pyro's tutorials: ``pv.story(pair, x)``.  What is maximised is then Pyro's
    ``Trace_ELBO``, if the module has no ``objective``.

    Args:
        variant: any variant, or a ``torch.nn.Module`` with a ``model`` and a ``guide``.
        arguments: of model and guide, where they should not be the variant's own ``examples``.

    Raises:
        ConfigurationError: for what is neither, or without arguments where there are no ``examples``.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5), beta=4)
        >>> print(pv.story(vae))
        VAE
        <BLANKLINE>
        The story
          For each datum n = 1, ..., N:
            1. draw its code z from a standard normal in 2 dimensions
            2. draw x given z from a Bernoulli, for each of 5 values, with logits from
               the decoder
          The guide, reading x:
            draw z from a normal with means and scales from the encoder
        <BLANKLINE>
        Model   p(x, z) = p(z) p(x | z)
          z     ~ N(0, I₂)                   z ∈ ℝ²
          x | z ~ Bernoulli(σ(f_θ(z)))       x ∈ {0, 1}⁵
        Guide   q(z | x)
          z | x ~ N(μ_φ(x), diag σ_φ²(x))    z ∈ ℝ²
        <BLANKLINE>
        Objective, maximised: ELBO()
          L(x) = E_q(z|x)[log p(x | z)] − 4 KL(q(z | x) ‖ p(z))
          β = 4 weighs the KL of z
    """
    if not isinstance(variant, nn.Module) or not all(callable(getattr(variant, side, None)) for side in _SIDES):
        raise ConfigurationError(
            f"a story is told of a variant, or of a torch.nn.Module that has a model and a guide, followed by their "
            f"arguments: pv.story(pair, x); got {variant!r}"
        )
    if not arguments and not hasattr(variant, "examples"):
        raise ConfigurationError(
            f"{type(variant).__name__} has no examples of its data; give the arguments of its model and guide: "
            f"pv.story({type(variant).__name__.lower()}, x)"
        )
    return Story(variant, trace_structure(variant, arguments or None))


class Story:
    """What a variant says about its data; made by :func:`story`.

    Attributes:
        title: the variant's name.
        structure: sites, parents, plates and parts.
        model_latex: factorisation of the joint density, LaTeX.
        guide_latex: factorisation of the guide; empty where nothing is latent.
        families: for ``model`` and ``guide`` the family and size of each site, LaTeX.
        objective: what is maximised.
    """

    def __init__(self, variant: Any, structure: Structure) -> None:
        self._variant = variant
        self.structure = structure
        self.title = type(variant).__name__
        self.model_latex, self.guide_latex = factorisations(structure)
        self.families: dict[str, list[FamilyLine]] = {
            "model": families(structure.model.values(), True),
            "guide": families(structure.guide.values(), False),
        }
        self.objective: Objective = describe_objective(variant, structure)

    @property
    def words(self) -> str:
        """The generative story and what the guide does, one line a step."""
        return "\n".join("  " * depth + text for depth, text in self._steps)

    @property
    def _steps(self) -> list[tuple[int, str]]:
        """Pairs of depth and text."""
        after = self._variant.epilogue() if hasattr(self._variant, "epilogue") else ""
        end = [(0, f"{after[0].upper()}{after[1:]}.")] if after else []
        return [*model_lines(self.structure), *guide_lines(self.structure), *end]

    @property
    def formulas(self) -> list[str]:
        """Every formula of the story, LaTeX without dollar signs."""
        lines = [self.model_latex, *(line.latex for line in self.families["model"])]
        lines += [self.guide_latex, *(line.latex for line in self.families["guide"])]
        return [line for line in [*lines, *self.objective.lines] if line]

    def diagram(self) -> Diagram:
        """The graphical models of model and guide, an SVG drawing."""
        return Diagram(self.structure)

    def ledger(self, x: Any, y: Any = None, num_samples: int = 1, seed: int = 0) -> Ledger:
        """What each site contributes to the ELBO of data ``x`` (N, \\*shape), in nats per datum.

        The rows add up to ``evaluation.elbo`` of the same draws, those that follow ``torch.manual_seed(seed)``.

        Args:
            x: data, or a split, whose labels are used where ``y`` is not given.
            y: labels, in variants that have them; -1 or NaN where they are missing.
            num_samples: draws from the guide for each datum.
            seed: of the draws; the random stream outside is left alone.

        Raises:
            DataError: when the data do not fit.
            ConfigurationError: where the programs are no variant's.

        Example:
            >>> import torch
            >>> import pyro_vae as pv
            >>> from pyro_vae import likelihoods, priors
            >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
            >>> ledger = pv.story(vae).ledger(torch.zeros(10, 5))
            >>> [row.what for row in ledger.rows if row.part_of is None]
            ['−KL(q(z | x) ‖ p(z))', 'log p(x | z)']
        """
        if not hasattr(self._variant, "program_arguments"):
            raise ConfigurationError(
                f"a ledger is made for a variant, which knows how its programs take data, and {self.title} is none"
            )
        return make_ledger(self._variant, self.structure, x, y, num_samples, seed)

    def __str__(self) -> str:
        lines = [self.title, "", "The story"]
        for depth, text in self._steps:
            lines += _wrapped(text, indent=2 + 2 * depth, hang=3 if text[:1].isdigit() else 2)
        lines.append("")
        table = [[to_text(cell or "") for cell in line] for side in self.families.values() for line in side]
        left = max((len(cells[0]) for cells in table), default=0)
        middle = min(max((len(cells[1]) for cells in table), default=0), _WIDTH - left - 20)
        for side, factorisation in (("model", self.model_latex), ("guide", self.guide_latex)):
            told = to_text(factorisation) or "none: nothing is latent"
            lines += _wrapped(f"{side.capitalize()}   {told}", indent=0, hang=8)
            for line in self.families[side]:
                name, family = to_text(line.left), to_text(line.family)
                inside = f"{name.split(' ')[0]} ∈ {to_text(line.space)}" if line.space else ""
                text = f"  {name:<{left}} ~ {family:<{middle}}    {inside}".rstrip()
                if len(text) > _WIDTH and inside:
                    lines += [f"  {name:<{left}} ~ {family}", f"  {'':<{left}}   {inside}"]
                else:
                    lines.append(text)
        lines += ["", f"Objective, maximised: {self.objective.name}"]
        for formula in self.objective.lines:
            lines += _wrapped(to_text(formula), indent=2, hang=7)
        for note in self.objective.notes:
            lines += _wrapped(note, indent=2, hang=2)
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_latex_(self) -> str:
        relation = [line.replace(r" \sim ", r" &\sim ", 1) for line in self.formulas]
        # the first equals sign is the one to align at
        aligned = [
            line if "&" in line else line.replace(" = ", " &= ", 1) if " = " in line else f"{line} &"
            for line in relation
        ]
        return "$$\\begin{aligned}\n" + " \\\\\n".join(aligned) + "\n\\end{aligned}$$"

    def _repr_html_(self) -> str:
        steps = "".join(
            f'<div style="margin-left:{1.4 * depth:.1f}em">{html.escape(text)}</div>' for depth, text in self._steps
        )

        def formula(latex: str, indent: int = 0) -> str:
            # a formula wider than the page scrolls
            style = f"padding:.2em 0;overflow-x:auto;overflow-y:hidden;margin-left:{1.4 * indent:.1f}em"
            return f'<div style="{style}">{formula_svg(latex)}</div>'

        sides = ""
        for side, factorisation in (("model", self.model_latex), ("guide", self.guide_latex)):
            sides += "".join(formula(latex) for latex in [factorisation] if latex)
            sides += "".join(formula(line.latex, 1) for line in self.families[side])
        notes = "".join(f'<div style="opacity:.75">{html.escape(note)}</div>' for note in self.objective.notes)
        heading = '<div style="font-weight:600;margin:.9em 0 .25em">{}</div>'
        return (
            f'<div class="pyro-vae-story" style="line-height:1.5;max-width:60em">'
            f'<div style="font-weight:600;font-size:1.2em">{html.escape(self.title)}</div>'
            f"{heading.format('The story')}{steps}"
            f"{heading.format('Model and guide')}{sides}"
            f"{heading.format('Objective, maximised: ' + html.escape(self.objective.name))}"
            f"{''.join(map(formula, self.objective.lines))}{notes}"
            f'<div style="margin-top:1em">{self.diagram().svg}</div></div>'
        )


def _wrapped(text: str, indent: int, hang: int) -> list[str]:
    """Lines of at most 80 columns that do not break inside parentheses, nor inside brackets unless they must."""
    lines = _broken(text, indent, hang, "([", ")]")
    return lines if max(map(len, lines), default=0) <= _WIDTH else _broken(text, indent, hang, "(", ")")


def _broken(text: str, indent: int, hang: int, opening: str, closing: str) -> list[str]:
    depth, kept = 0, ""
    for character in text:
        depth += (character in opening) - (character in closing)
        kept += "\N{NO-BREAK SPACE}" if character == " " and depth > 0 else character
    # an operator stays with what follows it, a weight with what it weighs
    kept = re.sub(r"([−+] \S+) (?=E|KL|log|max)", "\\1\N{NO-BREAK SPACE}", kept)
    for sign in (" −", " +", " ‖", "log"):
        kept = kept.replace(f"{sign} ", f"{sign}\N{NO-BREAK SPACE}")
    wrapped = textwrap.wrap(
        kept,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hang),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in wrapped]
