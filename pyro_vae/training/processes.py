"""Several processes that train one variant together."""

from __future__ import annotations

import atexit
import contextlib
import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae.errors import ConfigurationError

__all__ = ["Processes", "device_of_process"]

TIMEOUT = datetime.timedelta(minutes=10)
"""How long a process waits for the others before it gives up."""

_STARTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What ``torchrun`` tells each process that it starts."""


def device_of_process(device: torch.device) -> torch.device:
    """Which of several devices this process is to take: the GPU of its number on this machine.

    Raises:
        ConfigurationError: when there are fewer GPUs than processes.
    """
    if device.type != "cuda" or device.index is not None or not _started():
        return device
    number, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= there:
        raise ConfigurationError(
            f"process {number} of this machine has no GPU: there are {there}; start as many processes, or give "
            f"device='cpu'"
        )
    return torch.device("cuda", number)


def _started() -> bool:
    return all(name in os.environ for name in _STARTED) and int(os.environ["WORLD_SIZE"]) > 1


class Processes:
    """The processes that ``torchrun`` (or a launcher like it) started, as one of them sees them; often it is alone.

    Args:
        device: that this process trains on: GPUs speak to each other by NCCL, all else by gloo.

    Attributes:
        rank: the number of this process, from 0.
        size: how many there are.
    """

    def __init__(self, device: torch.device) -> None:
        self.rank, self.size = 0, 1
        distributed = torch.distributed
        if not distributed.is_available():
            return
        if not distributed.is_initialized() and _started():
            import ignite.distributed

            backend = "nccl" if device.type == "cuda" else "gloo"
            ignite.distributed.initialize(backend, timeout=TIMEOUT)
            atexit.register(_leave)  # not before: a script may call fit more than once
        if distributed.is_initialized():
            self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    @property
    def first(self) -> bool:
        """Whether this is the one process that writes files and shows progress."""
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """Which of how many processes this is."""
        return self.rank, self.size

    def sum_gradients(self, parameters: Sequence[nn.Parameter], *numbers: float) -> list[float]:
        """Replace gradients by their sums over all processes, and return the sums of ``numbers``.

        All travel together, in one message.  A parameter that has no gradient in any process is left without one.
        """
        if self.size == 1:
            return list(numbers)
        like = parameters[0]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flags = [float(p.grad is not None) for p in parameters]
        rest = torch.tensor([*flags, *numbers], dtype=like.dtype, device=like.device)
        message = torch.cat([*(g.flatten() for g in gradients), rest])
        with _others_needed():
            torch.distributed.all_reduce(message)
        *sums, rest = message.split([*(p.numel() for p in parameters), len(rest)])
        values: list[float] = rest.tolist()
        for parameter, total, found in zip(parameters, sums, values, strict=False):
            parameter.grad = total.view_as(parameter).to(parameter.dtype) if found else None
        return values[len(flags) :]

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in the order of their numbers; the same list in each."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        with _others_needed():
            torch.distributed.all_gather_object(found, value)
        return found

    def broadcast(self, tensors: Mapping[str, Tensor]) -> None:
        """Give tensors the values that they have in the first process."""
        if self.size == 1 or not tensors:
            return
        sent = [{name: tensor.detach().cpu() for name, tensor in tensors.items()} if self.first else None]
        with _others_needed():
            torch.distributed.broadcast_object_list(sent)
        received = sent[0]
        assert received is not None
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(received[name])

    def check_same(self, what: Mapping[str, Any]) -> None:
        """Check that all processes were given the same.

        Raises:
            ConfigurationError: in all of them, when they were not.
        """
        everyone = self.gather(dict(what))
        for rank, others in enumerate(everyone):
            for name, wanted in everyone[0].items():
                if others[name] != wanted:
                    raise ConfigurationError(
                        f"all processes must train the same: {name} is {wanted} in the first, and {others[name]} in "
                        f"process {rank}"
                    )


def _leave() -> None:
    """End the group's threads: a process that ends with them is aborted, now and then."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _others_needed() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        # gloo and NCCL tell of addresses and sockets
        raise RuntimeError(
            f"another process of this run has ended, or does not answer; what it printed says why "
            f"({str(error).splitlines()[0][:200]})"
        ) from error
