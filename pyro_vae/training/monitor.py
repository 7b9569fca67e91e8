"""Which epoch was best."""

from __future__ import annotations

from collections.abc import Iterable

from pyro_vae.errors import ConfigurationError
from pyro_vae.training.history import History

__all__ = ["Monitor"]


class Monitor:
    """The quantity of the history that says which epoch was best.

    Args:
        name: what it is called there; the ELBO if not given, that of the validation data where there are any.
        validated: whether there are.
    """

    def __init__(self, name: str | None, validated: bool) -> None:
        self.asked_for = name is not None
        self.name = name or ("valid_elbo" if validated else "elbo")
        lower_is_better = any(word in self.name for word in ("loss", "error", "kl"))
        self._sign = -1 if lower_is_better else 1

    def check(self, measured: Iterable[str]) -> None:
        """Check that it is among the quantities that are measured, one number for each epoch.

        Raises:
            ConfigurationError: when it is not.
        """
        known = sorted(measured)
        if self.name not in known:
            raise ConfigurationError(f"monitor={self.name!r} is not measured in this run; there are {', '.join(known)}")

    def score(self, history: History) -> float:
        """Of the last epoch; more is better."""
        return self._sign * history[self.name][-1]  # type: ignore[no-any-return]

    def improved(self, history: History) -> bool:
        """Whether no epoch was better than the last."""
        return self.score(history) >= max(self._sign * value for value in history[self.name])
