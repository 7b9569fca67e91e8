"""What a story is made from: sites, parents, plates and parts, found by running model and guide once."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
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
from pyro_vae.stories.family import alike, innermost, read_family
from pyro_vae.stories.structure import Plate, Site, Structure, merged
from pyro_vae.stories.symbols import joined, symbol, to_text
from pyro_vae.variants.contexts import evaluating

__all__ = ["trace_structure", "untouched"]

_BATCH = 7  # a size that no plate has by accident, so that plates over data can be told from others
_SHORT = 24  # characters of a formula that can stand within another
_INPUT = "argument: "  # marks what comes from an argument of the program, not from a site


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
    """Run guide and model once for each kind of data and read off their structure.

    Args:
        variant: anything with a ``model`` and a ``guide`` that are Pyro programs.
        arguments: of both programs; the variant's own ``examples`` if not given.

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
        examples = variant.examples(_BATCH) if arguments is None else {"data": arguments}
        return merged({kind: _traced(variant, given, kind) for kind, given in examples.items()})


def _traced(variant: Any, arguments: tuple[Any, ...], kind: str) -> Structure:
    """The structure that one run of both programs shows."""
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
    values = [(n["name"], n["value"]) for t in (guide_trace, model_trace) for n in t.nodes.values() if _is_story(n)]
    whole = {name for name, value in [*zip(names, arguments, strict=True), *values] if not _is_float(value)}
    programs = []
    for sign, trace, tracker, program in (
        ("", model_trace, model_tracker, variant.model),
        ("-", guide_trace, guide_tracker, variant.guide),
    ):
        again, sources = _again(program, trace, arguments)
        sites = {
            name: _site(node, tracker, known, sizes, again.nodes[name], sources, whole)
            for name, node in trace.nodes.items()
            if _is_story(node)
        }
        programs.append({name: _with_term(site, program, kind, sign) for name, site in sites.items()})
    model, guide = programs
    parents = {parent for site in [*model.values(), *guide.values()] for parent in site.parents}
    given = tuple(name for name in names if name in parents and name not in model and name not in guide)
    return Structure(model, guide, given)


def _with_term(site: Site, program: Any, kind: str, sign: str) -> Site:
    """A factor with what it adds to the objective, which subtracts what is added in the guide."""
    if not site.family.factor:
        return site
    name = f"{symbol(site.name)}({joined(site.parents)})"
    told = getattr(program, "factors", {})
    formula = told.get(f"{kind}/{site.name}", told.get(site.name, ""))
    if not formula:
        return replace(site, term=f"{sign}{name}")
    # what is long gets a name in the objective and a line of its own
    return (
        replace(site, term=formula) if len(to_text(formula)) <= _SHORT else replace(site, term=name, definition=formula)
    )


def _argument_names(program: Callable[..., Any], count: int) -> list[str]:
    function = program.forward if isinstance(program, nn.Module) else program
    names = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return [*names, *(f"input{i}" for i in range(len(names), count))][:count]


def _again(program: Any, trace: Any, arguments: tuple[Any, ...]) -> tuple[Any, list[Tensor]]:
    """The program once more with the same draws, except that sites with a delta are drawn anew.

    Returns:
        Its trace, and the draws and arguments that gradients can be taken of.
    """
    kept = trace.copy()
    sources: list[Tensor] = []

    def source(value: Any) -> Any:
        if not _is_float(value):
            return value
        sources.append(value.detach().clone().requires_grad_())
        return sources[-1] * 1  # which a program may write into

    for name, node in trace.nodes.items():
        if node["type"] != "sample":
            continue
        if not node["is_observed"] and isinstance(innermost(node["fn"]), Delta):
            kept.remove_node(name)
        else:
            node["value"] = source(detach_provenance(node["value"]))
    again = poutine.trace(poutine.replay(program, trace=kept)).get_trace(*map(source, arguments))
    return again, sources


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _computed_parameters(fn: Any, sources: list[Tensor], beside: bool) -> set[str]:
    """The parameters of a distribution that are computed from its parents, by the way that gradients take.

    Args:
        fn: the distribution, which has parents.
        sources: what gradients can be taken of.
        beside: whether there are parents beside them.  From those, and where no gradient leads to a parent (a step of
            z, say), what is no fixed number counts as computed.
    """
    tensors = {name: value for name, value in vars(innermost(fn)).items() if isinstance(value, Tensor)}

    def reaches(parameter: Tensor) -> bool:
        if not parameter.requires_grad or not sources:
            return False
        found = torch.autograd.grad(parameter.sum(), sources, retain_graph=True, allow_unused=True)
        return any(gradient is not None for gradient in found)

    computed = {name for name, parameter in tensors.items() if reaches(parameter)}
    if beside or not computed:
        computed |= {name for name, p in tensors.items() if p.requires_grad or len(p.unique()) > 1}
    return computed


def _site(
    node: Any,
    tracker: _Tracker,
    known: dict[str, str],
    sizes: set[int],
    again: Any,
    sources_again: list[Tensor],
    whole: set[str],
) -> Site:
    name = node["name"]
    part, sources = tracker.parts.get(name, (None, frozenset()))
    try:
        sources = sources | get_provenance(node["fn"].log_prob(node["value"]))
    except Exception:  # a distribution without a density: its part's inputs, or its parameters, must do
        inner = innermost(node["fn"])
        sources = sources | get_provenance([v for v in vars(inner).values() if isinstance(v, Tensor)])
    parents = {known.get(source, source.removeprefix(_INPUT)) for source in sources} - {name}
    computed = _computed_parameters(again["fn"], sources_again, bool(parents & whole)) if parents else set()
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
        read_family(node["fn"], computed, node["value"], again["value"]),
        part,
        bool(node["infer"].get("enumerate")),
        float(scale) if not isinstance(scale, Tensor) or scale.numel() == 1 else 1.0,
        part is not None and _is_frozen(part),
    )


def _is_frozen(part: nn.Module) -> bool:
    trained = [parameter.requires_grad for parameter in part.parameters()]
    return bool(trained) and not any(trained)
