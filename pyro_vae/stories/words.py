"""The generative story in words, one line a step."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pyro_vae.stories.structure import Plate, Site, Structure
from pyro_vae.stories.symbols import joined, symbol, to_text

__all__ = ["family_words", "guide_lines", "model_lines", "plate_words"]

_PROPER = {"Bernoulli", "Beta", "Cauchy", "Dirichlet", "Gamma", "Gumbel", "Laplace", "Pareto", "Poisson", "Weibull"}


def model_lines(structure: Structure) -> list[tuple[int, str]]:
    """How the data came about: pairs of depth and text."""
    lines = _walk(structure, structure.model.values(), numbered=True)
    if not structure.given:
        return lines
    given = f"given {_names(structure.given)}"
    depth, first = lines[0]
    if first.endswith(":"):  # the heading of a plate
        return [(depth, f"{first[:-1]}, {given}:"), *lines[1:]]
    return [(0, f"{given.capitalize()}:"), *((depth + 1, text) for depth, text in lines)]


def guide_lines(structure: Structure) -> list[tuple[int, str]]:
    """How the guide proposes the latents, and what it adds to the objective: pairs of depth and text."""
    sites = [site for site in structure.guide.values() if not site.family.factor]
    if not structure.guide:
        return [(0, "Nothing is latent: there is nothing for a guide to propose.")]
    lines = [*_walk(structure, sites, numbered=False), *((0, text) for text in _added(structure))]
    return [(0, _reading(structure)), *((depth + 1, text) for depth, text in lines)]


def _reading(structure: Structure) -> str:
    always = set.intersection(*(one.read for one in structure.kinds.values()))
    sometimes = set.union(*(one.read for one in structure.kinds.values())) - always
    where = [
        f"{_names(names)} where {'it is' if len(names) == 1 else 'they are'} known"
        for names in [sometimes]
        if sometimes
    ]
    read = ", and ".join([_names(always)] * bool(always) + where)
    return f"The guide, reading {read}:" if read else "The guide, which reads no data:"


def _added(structure: Structure) -> list[str]:
    """What the guide's factors are for; one that is not the same for all data says where it is."""
    told = [
        (
            kind,
            f"add {to_text(site.term)} to the objective"
            if site.term[:1] != "-"
            else (f"subtract {to_text(site.term[1:])} from the objective"),
        )
        for kind, one in structure.kinds.items()
        for site in one.guide.values()
        if site.family.factor
    ]
    texts = [text for _, text in told]
    everywhere = {text for text in texts if texts.count(text) == len(structure.kinds)}
    return list(
        dict.fromkeys(text if text in everywhere else f"{structure.circumstance(kind)}, {text}" for kind, text in told)
    )


def _walk(structure: Structure, sites: Iterable[Site], numbered: bool) -> list[tuple[int, str]]:
    sites = list(sites)
    lines: list[tuple[int, str]] = []
    open_plates: tuple[Plate, ...] = ()
    everything = {plate.name for site in sites for plate in site.plates}
    for count, site in enumerate(sites, start=1):
        # the guide's heading has said that it reads the data; only what differs between data needs a line
        plates = site.plates if numbered or len(everything) > 1 else ()
        shared = 0
        while shared < min(len(plates), len(open_plates)) and plates[shared] == open_plates[shared]:
            shared += 1
        for depth, plate in enumerate(plates[shared:], start=shared):
            lines.append((depth, f"{plate_words(plate, structure)}:"))
        open_plates = plates
        text = _circumstance(site, structure, numbered)
        text += _sentence(site, structure, numbered, alone=not numbered and len(sites) == 1)
        lines.append((len(plates), f"{count}. {text}" if numbered else text))
    return lines


def plate_words(plate: Plate, structure: Structure) -> str:
    """What a plate repeats over."""
    over_data = [p for p in structure.plates if p.over_data]
    if not plate.over_data:
        return f"For each of {plate.size} in plate {plate.name!r}"
    if len(over_data) == 1:
        return "For each datum n = 1, ..., N"
    return f"For each datum n = 1, ..., N of plate {plate.name!r}"


def _sentence(site: Site, structure: Structure, in_model: bool, alone: bool) -> str:
    name = to_text(symbol(site.name))
    given = f" given {_names(site.parents)}" if site.parents and not alone else ""
    if site.family.factor:
        return f"add the term {name}({_names(site.parents)}) to the log-density"
    per_datum = any(plate.over_data for plate in site.plates)
    whose = "its code " if in_model and not site.observed and per_datum and site.family.event_shape else ""
    family = family_words(site, in_model)
    if site.family.improper:
        text = f"let {whose}{name} be {family}"
    elif site.family.point:
        text = f"set {name} to {family}"
    else:
        text = f"draw {whose}{name}{given} from {family}"
    if site.enumerated and not (in_model and site.name in structure.guide):
        text += " (no draw is needed: all its values are summed over)"
    if in_model and site.name in structure.partly_known:
        latent = all(site.name in one.model for one in structure.kinds.values())
        text += f" (known for some data{'' if latent else ', left out for the others'})"
    return text + " (kept as trained)" * site.frozen


def _circumstance(site: Site, structure: Structure, in_model: bool) -> str:
    """In which kinds of data the guide has a site, where it does not have it in all."""
    kinds = [kind for kind, one in structure.kinds.items() if site.name in one.guide]
    if in_model or len(kinds) == len(structure.kinds):
        return ""
    return " or ".join(structure.circumstance(kind) for kind in kinds) + ", "


def family_words(site: Site, in_model: bool) -> str:
    """A site's distribution in words, from its part, or from the distribution itself where it has none."""
    if site.part is None:
        return _described(site)
    # a part says "the decoder" or "the encoder" for its network; which of them it is, its place decides
    if not in_model:
        network = "the encoder"
    elif site.observed:
        network = "the decoder"
    else:
        network = f"a network of {_names(site.parents)}"
    words = re.sub(r"\bthe (en|de)coder\b", network, site.part.words())
    if in_model and not site.observed:
        # a likelihood's family that describes a code
        words = re.sub(r", for each of (\d+) values,? ", r" in \1 dimensions ", words)
    return re.sub(r"\b1 (bit|component|dimension|level|normal|transformation|value|variable)s\b", r"1 \1", words)


def _described(site: Site) -> str:
    family = site.family
    words = re.findall(r"[A-Z][a-z0-9]*|[A-Z]+(?![a-z])", family.name) or [family.name]
    name = " ".join(word if word in _PROPER else word.lower() for word in words).replace("one hot", "one-hot")
    parameters = family.parameters
    standard = family.name == "Normal" and parameters == {"loc": 0.0, "scale": 1.0}
    article = "an" if name[0].lower() in "aeiou" else "a"
    text = f"a standard {name}" if standard else f"{article} {name}"
    shape = family.event_shape
    if family.point:
        text = f"a value computed from {_names(site.parents)}" if site.parents else "a fixed value"
    elif len(shape) == 1:
        text += f" in {shape[0]} dimension{'s' * (shape[0] > 1)}"
    elif shape:
        text += f", for each of {'x'.join(map(str, shape))} values"
    levels = getattr(family.support, "upper_bound", None)
    if "ategorical" in family.name and parameters.get("probs") is not None:
        return text.replace(f"{article} {name}", f"a uniform {name}") + (f" over {levels + 1} values" if levels else "")
    if standard or family.point or not parameters:
        return text
    told = [f"{name} {value:g}" for name, value in parameters.items() if value is not None]
    if family.computed:
        told.append(f"{' and '.join(family.computed)} computed from {_names(site.parents)}")
    if family.learned:
        told.append(f"learned {' and '.join(family.learned)}")
    others = {name for name, value in parameters.items() if value is None} - {*family.computed, *family.learned}
    if others:
        told.append(f"given {' and '.join(name for name in parameters if name in others)}")
    return f"{text}{',' * (len(shape) > 1)} with {' and '.join(told)}"


def _names(names: Iterable[str]) -> str:
    return to_text(joined(names))
