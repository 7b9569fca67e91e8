"""The history as TensorBoard events."""

from __future__ import annotations

from pathlib import Path

from pyro_vae.errors import ConfigurationError
from pyro_vae.training.history import History

__all__ = ["TensorBoard"]


class TensorBoard:
    """Writes the last epoch of a history to event files in a folder.

    Raises:
        ConfigurationError: when the package tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigurationError(
                "tensorboard=True needs the package tensorboard: pip install 'pyro-vae[tensorboard]'"
            ) from error
        self._writer = SummaryWriter(str(folder))

    def write(self, history: History, epoch: int) -> None:
        """Write the quantities of the last epoch that are one number."""
        for name, values in history.items():
            if isinstance(values[-1], float):
                self._writer.add_scalar(name, values[-1], epoch)

    def close(self) -> None:
        """Finish the files."""
        self._writer.close()
