"""What a story is made from: sites, parents, plates and parts, found by running model and guide once."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta
from pyro.ops.provenance import detach_provenance, get_provenance, track_provenance
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from pyro_vae.parts import Part
from pyro_vae.stories.family import Family, alike, innermost, read_family
from pyro_vae.variants.base import evaluating

__all__ = ["Family", "Plate", "Site", "Structure", "trace_structure", "untouched"]

_BATCH = 7  # a size that no plate has by accident, so that plates over data can be told from others
_INPUT = "argument: "  # marks what comes from an argument of the program, not from a site


@dataclass(frozen=True)
class Plate:
    """A ``pyro.plate``; ``over_data`` when its size is that of the batch."""

    name: str
    size: int
    over_data: bool


@dataclass(frozen=True)
class Site:
    """One ``pyro.sample`` statement."""

    name: str
    observed: bool
    parents: tuple[str, ...]
    plates: tuple[Plate, ...]
    family: Family
    part: Part | None
    enumerated: bool
    scale: float


@dataclass(frozen=True)
class Structure:
    """Sites of model and guide, each in the order of the program, and the inputs that no site explains."""

    model: dict[str, Site]
    guide: dict[str, Site]
    given: tuple[str, ...]

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
        """The terms that the model's ``pyro.factor`` statements add."""
        return [site for site in self.model.values() if site.family.factor]

    @property
    def plates(self) -> list[Plate]:
        """All plates, outermost first."""
        sites = [*self.model.values(), *self.guide.values()]
        return list({plate.name: plate for site in sites for plate in site.plates}.values())


@contextlib.contextmanager
def untouched(variant: nn.Module) -> Iterator[None]:
    """A context whose runs of a variant's programs leave no trace: random state, store, buffers, modes."""
    devices = sorted({p.device.index or 0 for p in variant.parameters() if p.is_cuda})
    with evaluating(variant), torch.random.fork_rng(devices=devices), pyro.validation_enabled(False):
        yield


class _Tracker(Messenger):
    """Marks each site's value with its name, and notes which part made each site's distribution."""

    def __init__(self, variant: nn.Module) -> None:
        super().__init__()
        self.variant = variant
        self.calls: list[tuple[Part, Any, frozenset[str]]] = []
        self.parts: dict[str, tuple[Part, frozenset[str]]] = {}
        self.inputs: dict[str, frozenset[str]] = {}

    def __enter__(self) -> Any:
        self.hooks = [m.register_forward_hook(self._hook) for m in self.variant.modules() if isinstance(m, Part)]
        return super().__enter__()

    def __exit__(self, *error: Any) -> Any:
        for hook in self.hooks:
            hook.remove()
        return super().__exit__(*error)

    def _hook(self, part: Any, inputs: Any, output: Any) -> None:
        self.calls.append((part, output, get_provenance(inputs)))

    def _pyro_post_sample(self, msg: Any) -> None:
        if not _is_story(msg):
            return
        for part, output, inputs in reversed(self.calls):
            if isinstance(output, torch.distributions.Distribution) and alike(output, msg["fn"]):
                self.parts[msg["name"]] = part, inputs
                break
        self.inputs[msg["name"]] = get_provenance(msg["value"])
        msg["value"] = track_provenance(detach_provenance(msg["value"]), frozenset({msg["name"]}))


def _is_story(msg: Any) -> bool:
    """Whether a site is part of the story; ``pyro.deterministic`` only names what its parents decide."""
    return msg["type"] == "sample" and not site_is_subsample(msg) and not msg["infer"].get("_deterministic")


def trace_structure(variant: Any, arguments: tuple[Any, ...] | None = None) -> Structure:
    """Run guide and model once and read off their structure.

    Args:
        variant: anything with a ``model`` and a ``guide`` that are Pyro programs.
        arguments: of both programs; made from ``variant.shape`` if not given.

    Raises:
        Exception: whatever the programs themselves raise.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, priors
        >>> structure = trace_structure(pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5)))
        >>> {name: site.parents for name, site in structure.model.items()}
        {'z': (), 'x': ('z',)}
        >>> structure.guide["z"].parents, structure.guide["z"].part
        (('x',), Normal())
    """
    with untouched(variant), torch.enable_grad():
        if arguments is None:
            arguments = variant.program_arguments(_example(variant))
        sizes = {len(a) for a in arguments if isinstance(a, Tensor) and a.dim()}
        names = _argument_names(variant.model, len(arguments))
        marked = tuple(track_provenance(a, frozenset({_INPUT + n})) for n, a in zip(names, arguments, strict=True))
        # the guide first: the model follows it, so that a prior that cannot be drawn from need not be
        with _Tracker(variant) as guide_tracker:
            guide_trace = poutine.trace(variant.guide).get_trace(*marked)
        with _Tracker(variant) as model_tracker:
            model_trace = poutine.trace(poutine.replay(variant.model, trace=guide_trace)).get_trace(*marked)
        # an input that a site observes goes by the site's name
        known: dict[str, str] = {}
        for name, inputs in model_tracker.inputs.items():
            if len(inputs) == 1 and (source := next(iter(inputs))).startswith(_INPUT):
                known.setdefault(source, name)
        programs = []
        for trace, tracker, program in (
            (model_trace, model_tracker, variant.model),
            (guide_trace, guide_tracker, variant.guide),
        ):
            again = _again(program, trace, arguments)
            programs.append(
                {
                    name: _site(node, tracker, known, sizes, again.nodes[name])
                    for name, node in trace.nodes.items()
                    if _is_story(node)
                }
            )
    model, guide = programs
    parents = {parent for site in [*model.values(), *guide.values()] for parent in site.parents}
    given = tuple(name for name in names if name in parents and name not in model and name not in guide)
    return Structure(model, guide, given)


def _example(variant: Any) -> Tensor:
    """A batch that lies in the likelihood's support, where one of the usual values does."""
    fallback = torch.zeros(_BATCH, *variant.shape, dtype=variant.dtype, device=variant.device)
    for value in (0.0, 0.5, 1.0):
        for candidate in (fallback + value, (fallback + value).long()):
            with contextlib.suppress(Exception):
                return variant.as_data(candidate)
    return fallback


def _argument_names(program: Callable[..., Any], count: int) -> list[str]:
    function = program.forward if isinstance(program, nn.Module) else program
    names = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return [*names, *(f"input{i}" for i in range(len(names), count))][:count]


def _again(program: Any, trace: Any, arguments: tuple[Any, ...]) -> Any:
    """The program once more with the same draws, except that sites with a delta are drawn anew."""
    kept = trace.copy()
    for name, node in trace.nodes.items():
        if node["type"] != "sample":
            continue
        if not node["is_observed"] and isinstance(innermost(node["fn"]), Delta):
            kept.remove_node(name)
        else:
            node["value"] = detach_provenance(node["value"])
    return poutine.trace(poutine.replay(program, trace=kept)).get_trace(*arguments)


def _site(node: Any, tracker: _Tracker, known: dict[str, str], sizes: set[int], again: Any) -> Site:
    name = node["name"]
    part, sources = tracker.parts.get(name, (None, frozenset()))
    try:
        sources = sources | get_provenance(node["fn"].log_prob(node["value"]))
    except Exception:  # a distribution without a density: its part's inputs, or its parameters, must do
        inner = innermost(node["fn"])
        sources = sources | get_provenance([v for v in vars(inner).values() if isinstance(v, Tensor)])
    parents = {known.get(source, source.removeprefix(_INPUT)) for source in sources} - {name}
    plates = tuple(
        Plate(f.name, f.full_size or f.size, f.size in sizes)
        for f in sorted(node["cond_indep_stack"], key=lambda f: f.dim if f.dim is not None else 0)
        if f.vectorized
    )
    scale = node["scale"]
    return Site(
        name,
        node["is_observed"],
        tuple(sorted(parents)),
        plates,
        read_family(node["fn"], bool(parents), node["value"], again["value"]),
        part,
        bool(node["infer"].get("enumerate")),
        float(scale) if not isinstance(scale, Tensor) or scale.numel() == 1 else 1.0,
    )
