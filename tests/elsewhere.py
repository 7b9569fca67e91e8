"""A device that is not there, for tests: tensors on it lie in the CPU's memory, and may not meet those of the CPU.

It behaves as a GPU does towards the rest of the program: an operation on tensors of both devices is an error (except
for scalars, indices and copies), NumPy cannot read what lies on it, and what is made without ``device=`` is not on it.
What it computes is what the CPU computes, to the last bit.
"""

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")  # the one device besides the CPU that every build of torch has

_aten = torch.ops.aten
_ACROSS = {_aten.copy_.default, _aten._to_copy.default, _aten.set_.source_Tensor}
_INDEXED = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default}


class Elsewhere(Tensor):
    """A tensor on the device."""

    @staticmethod
    def __new__(cls, inner):
        return Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
            requires_grad=inner.requires_grad,
        )

    def __init__(self, inner):
        self.inner = inner.detach()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    def __deepcopy__(self, memo):
        made = Elsewhere(self.inner.clone()).requires_grad_(self.requires_grad)
        return torch.nn.Parameter(made, self.requires_grad) if isinstance(self, torch.nn.Parameter) else made

    def __reduce_ex__(self, protocol):
        return self.inner.__reduce_ex__(protocol)  # files are read on the CPU

    def as_subclass(self, cls):
        return self  # which cannot be two

    def tolist(self):
        return self.inner.tolist()

    def numpy(self, *args, **kwargs):
        raise TypeError("can't convert a tensor that lies elsewhere to numpy; copy it to the CPU first")

    __array__ = numpy


def _inner(value):
    return value.inner if isinstance(value, Elsewhere) else value


def _wrapped(value):
    return Elsewhere(value) if isinstance(value, Tensor) and not isinstance(value, Elsewhere) else value


def _is_here(value):
    return isinstance(value, Tensor) and not isinstance(value, Elsewhere)


def run(func, args, kwargs):
    """An operation, where its tensors are."""
    values = tree_leaves((args, kwargs))
    there = any(isinstance(value, Elsewhere) for value in values)
    wanted = kwargs.get("device")
    if there and func not in _ACROSS:
        # what an index is made of may lie on the CPU; what it is an index of may not
        checked = tree_leaves((args[0], *args[2:])) if func in _INDEXED else values
        if any(_is_here(value) and value.dim() for value in checked):
            raise RuntimeError(f"expected all tensors to be on one device, but {func} was given some on each")
    if wanted is not None:
        there = torch.device(wanted).type == DEVICE.type
        kwargs = kwargs | {"device": torch.device("cpu")}
    elif func in (_aten.copy_.default, _aten.set_.source_Tensor):
        there = isinstance(args[0], Elsewhere)
    made = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if not there:
        return made
    return return_and_correct_aliasing(func, args, kwargs, tree_map(_wrapped, made))


_autocast = torch.autocast


def _there(device_type, *args, **kwargs):
    return _autocast("cpu" if device_type == DEVICE.type else device_type, *args, **kwargs)


class _FromNumbers(TorchFunctionMode):
    """Tensors of Python's numbers are made where no dispatch can see it: here they are made on the CPU, and moved."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor) and device is not None and not isinstance(args[0], Tensor):
            return func(*args, **kwargs | {"device": None}).to(device)
        return func(*args, **kwargs)


class Present(TorchDispatchMode):
    """A context in which there is such a device."""

    def __enter__(self):
        torch.autocast = _there
        self.numbers = _FromNumbers()
        self.numbers.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.numbers.__exit__(*error)
        torch.autocast = _autocast

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})
