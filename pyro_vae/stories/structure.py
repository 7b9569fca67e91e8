"""What a story is about: the sites of model and guide, for each kind of data that the programs tell apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyro_vae.parts import Part
from pyro_vae.stories.family import Family
from pyro_vae.stories.symbols import joined, to_text

__all__ = ["Plate", "Site", "Structure", "merged"]


@dataclass(frozen=True)
class Plate:
    """A ``pyro.plate``; ``over_data`` when its size is that of the batch."""

    name: str
    size: int
    over_data: bool


@dataclass(frozen=True)
class Site:
    """One ``pyro.sample`` statement.

    Attributes:
        name: of the site.
        observed: whether it is data.
        parents: what it depends on.
        plates: that it stands in, outermost first.
        family: of its distribution.
        part: that made the distribution, or ``None``.
        enumerated: whether all its values are summed over.
        scale: the weight of its log-probability.
        frozen: whether its part has parameters and none of them is trained.
        term: of a ``pyro.factor``: what it adds to the objective, LaTeX with its sign.
        definition: what ``term`` stands for, where it is only a name.
    """

    name: str
    observed: bool
    parents: tuple[str, ...]
    plates: tuple[Plate, ...]
    family: Family
    part: Part | None
    enumerated: bool
    scale: float
    frozen: bool = False
    term: str = ""
    definition: str = ""


@dataclass(frozen=True)
class Structure:
    """Sites of model and guide, each in the order of the program, and the inputs that no site explains.

    Where the programs tell several kinds of data apart, such as those with labels and those without, ``each`` holds
    the structure of each kind, and the sites here are those of all kinds together.
    """

    model: dict[str, Site]
    guide: dict[str, Site]
    given: tuple[str, ...]
    each: dict[str, Structure] = dataclasses.field(default_factory=dict)

    @property
    def kinds(self) -> dict[str, Structure]:
        """The structure of each kind of data; with one kind only it goes by ``""``."""
        return self.each or {"": self}

    @property
    def latents(self) -> list[Site]:
        """The model's sites that are not data."""
        return [site for site in self.model.values() if not site.observed]

    @property
    def observed(self) -> list[Site]:
        """The model's sites that are data."""
        return [site for site in self.model.values() if site.observed and not site.family.factor]

    @property
    def factors(self) -> list[Site]:
        """The terms that ``pyro.factor`` statements add, the model's and then the guide's."""
        return [site for program in (self.model, self.guide) for site in program.values() if site.family.factor]

    @property
    def plates(self) -> list[Plate]:
        """All plates, outermost first."""
        sites = [*self.model.values(), *self.guide.values()]
        return list({plate.name: plate for site in sites for plate in site.plates}.values())

    @property
    def read(self) -> set[str]:
        """The data that the guide's distributions depend on."""
        sites = [site for site in self.guide.values() if not site.family.factor]
        return {parent for site in sites for parent in site.parents} - set(self.guide)

    @property
    def known(self) -> set[str]:
        """The names of all data, of inputs too."""
        return {site.name for site in self.observed} | set(self.given)

    @property
    def partly_known(self) -> list[str]:
        """The sites that are data of some kinds only."""
        everywhere = set.intersection(*(structure.known for structure in self.kinds.values()))
        return [name for name in self.model if name in self.known - everywhere]

    def circumstance(self, kind: str) -> str:
        """By what a kind differs from the others, in words: ``where y is known``; ``""`` where there is one kind.

        Args:
            kind: one of :attr:`kinds`.
        """
        if not (partly := self.partly_known):
            return f"for {kind} data" if kind else ""
        known = [name for name in partly if name in self.kinds[kind].known]
        missing = [name for name in partly if name not in known]
        clauses = [
            f"{to_text(joined(names))} {'is' if len(names) == 1 else 'are'} {state}"
            for names, state in ((known, "known"), (missing, "missing"))
            if names
        ]
        return f"where {' and '.join(clauses)}"

    def drawn_behind(self, names: Iterable[str]) -> set[str]:
        """Those of the names, and of what the guide made them from, that the guide draws at random."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in self.guide and name not in found:
                found.add(name)
                waiting += self.guide[name].parents
        return {name for name in found if not self.guide[name].family.point}

    def has_kl(self, name: str) -> bool:
        """Whether the term of a latent is a KL between its two conditionals.

        It is none where what the model conditions it on depends, in the guide, on this very site.
        """
        after = {name}
        for site in self.guide.values():  # in the program's order: parents come first
            if after & set(site.parents):
                after.add(site.name)
        return not set(self.model[name].parents) & after


def merged(each: Mapping[str, Structure]) -> Structure:
    """One structure of several kinds of data: a site is the union of what it is in each.

    Example:
        >>> merged({"data": Structure({}, {}, ("x",))})
        Structure(model={}, guide={}, given=('x',), each={})
    """
    if len(each) == 1:
        return next(iter(each.values()))
    programs = [_union([getattr(one, side) for one in each.values()]) for side in ("model", "guide")]
    given = dict.fromkeys(name for one in each.values() for name in one.given)
    return Structure(programs[0], programs[1], tuple(n for n in given if n not in programs[0]), dict(each))


def _union(programs: list[dict[str, Site]]) -> dict[str, Site]:
    """The sites of all, in an order that every program agrees with where they have one."""
    order: list[str] = []
    for program in programs:
        place = 0
        for name in program:
            if name in order:
                place = order.index(name) + 1
            else:
                order.insert(place, name)
                place += 1
    return {name: _one([program[name] for program in programs if name in program]) for name in order}


def _one(sites: list[Site]) -> Site:
    return dataclasses.replace(
        sites[0],
        observed=any(site.observed for site in sites),
        parents=tuple(sorted({parent for site in sites for parent in site.parents})),
        enumerated=any(site.enumerated for site in sites),
    )
