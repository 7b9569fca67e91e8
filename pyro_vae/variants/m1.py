"""M1: a VAE on all data, then a classifier on the codes of the labelled ones."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from pyro.infer.elbo import ELBO as PyroELBO
from torch import Tensor

from pyro_vae.classifiers import Classifier, Logistic
from pyro_vae.errors import ConfigurationError, DataError, check_choice
from pyro_vae.labels import Categorical
from pyro_vae.labels.categorical import as_classes
from pyro_vae.likelihoods import Likelihood
from pyro_vae.networks import Network
from pyro_vae.objectives import Schedule
from pyro_vae.parts import numel
from pyro_vae.posteriors import Posterior
from pyro_vae.priors import Prior
from pyro_vae.program import labelled
from pyro_vae.variants.assembly import check_kinds
from pyro_vae.variants.codes import representative
from pyro_vae.variants.vae import VAE

__all__ = ["M1"]


class M1(VAE):
    """A VAE trained on all data, and a classifier trained on its codes where labels are known.

    The story is the VAE's: labels play no part in it.  :func:`pyro_vae.fit` trains the VAE and then the classifier;
    the labelled codes are kept in the variant, and the classifier is fitted to them anew where it is needed, so that
    a saved M1 is weights and text like any other variant.

    Args:
        label: classes, ``labels.Categorical(10)`` or their number.
        prior, likelihood, posterior, encoder, decoder, beta, objective: as in :class:`pyro_vae.VAE`.
        classifier: of the codes, :class:`pyro_vae.classifiers.Logistic` if not given, or ``SVM``.
        codes: ``"mean"`` classifies E[z | x]; ``"sampled"`` trains on a draw of z and averages predictions over draws.

    Raises:
        ConfigurationError: when the parts do not fit together.

    References:
        Kingma, Rezende, Mohamed & Welling, 2014, section 2.1 (https://arxiv.org/abs/1406.5298)
    """

    labels = "some"
    programs_see_labels = False
    finishes = True

    def __init__(
        self,
        label: int | Categorical,
        prior: Prior,
        likelihood: Likelihood,
        posterior: Posterior | None = None,
        encoder: Network | None = None,
        decoder: Network | None = None,
        classifier: Classifier | None = None,
        codes: str = "mean",
        beta: float | Schedule = 1.0,
        objective: PyroELBO | None = None,
    ) -> None:
        classifier = Logistic() if classifier is None else classifier
        label = as_classes(label)
        check_kinds(label=(label, Categorical), classifier=(classifier, Classifier))
        check_choice("codes", codes, ["mean", "sampled"])
        super().__init__(prior, likelihood, posterior, encoder, decoder, beta, objective)
        self.label = label
        self.classifier = classifier
        self.codes = codes
        self._fitted: Any = None
        # of the data with labels: what the classifier is fitted to
        self.register_buffer("labelled_codes", torch.zeros(0, numel(prior.shape)))
        self.register_buffer("known_labels", torch.zeros(0, dtype=torch.long))

    def completed(self, x: Tensor, y: Tensor | None) -> Tensor | None:
        return None  # the encoder never looks at labels

    def finish(self, x: Tensor, y: Tensor | None) -> None:
        """Fit the classifier to the codes of the data whose labels are known.

        Raises:
            DataError: when they are of fewer than two classes.
        """
        known = self._known(y)
        assert y is not None
        q = self.encode(x[known])
        self.labelled_codes = (representative(q) if self.codes == "mean" else q.sample()).flatten(1)
        self.known_labels = y[known]
        self._fitted = None

    def check_finish(self, y: Tensor | None) -> None:
        self._known(y)  # now, not after all the epochs

    def _known(self, y: Tensor | None) -> Tensor:
        """Which labels are known, (N,).

        Raises:
            DataError: when they are of fewer than two classes.
        """
        if y is None or len(y[labelled(y)].unique()) < 2:
            raise DataError(
                "y: M1's classifier needs known labels of at least two classes; without labels it is a VAE: pv.VAE(...)"
            )
        return labelled(y)

    def unfinish(self) -> None:
        self.labelled_codes, self.known_labels = self.labelled_codes[:0], self.known_labels[:0]
        self._fitted = None

    def epilogue(self) -> str:
        codes = "E[z | x]" if self.codes == "mean" else "draws of z given x"
        return f"then {self.classifier!r} is fitted to the codes of data whose label is known, {codes}, to predict it"

    def score(self, x: Any, y: Any = None) -> dict[str, float]:
        return super().score(x, y) if len(self.known_labels) else {}

    def predict(self, x: Any, *, num_samples: int = 100) -> TorchDistribution:
        """The classifier's probabilities for data (N, \\*shape).

        Args:
            x: data.
            num_samples: draws of z to average over, with ``codes="sampled"``.

        Raises:
            ConfigurationError: before the variant was trained.
            DataError: when the data do not fit.
        """
        assert isinstance(self.label, Categorical)
        if not len(self.known_labels):
            raise ConfigurationError("M1 has no classifier yet; pyro_vae.fit trains it after the VAE")
        if self._fitted is None:
            self._fitted = self.classifier.make().fit(
                self.labelled_codes.cpu().numpy(), self.known_labels.cpu().numpy()
            )
        q = self.encode(x)
        z = representative(q)[None] if self.codes == "mean" else q.sample((num_samples,))
        flat = self._fitted.predict_proba(z.flatten(2).flatten(0, 1).cpu().numpy())
        probs = torch.zeros(len(flat), self.label.classes, dtype=self.dtype)
        # classes of which no label is known have no column
        probs[:, torch.as_tensor(self._fitted.classes_)] = torch.as_tensor(flat, dtype=self.dtype)
        return dist.Categorical(probs=probs.unflatten(0, z.shape[:2]).mean(0).to(self.device), validate_args=False)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        # as many codes as there were labels
        for name in ("labelled_codes", "known_labels"):
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=self.device))
        self._fitted = None
        super()._load_from_state_dict(state_dict, prefix, *others)
