"""Numbers about a trained variant: the ELBO term by term, log p(x), the KL of each dimension, its predictions."""

from pyro_vae.evaluation.aggregate import AggregatePosterior, aggregate_posterior
from pyro_vae.evaluation.codes import ActiveUnits, active_units
from pyro_vae.evaluation.discrepancy import Discrepancy, maximum_mean_discrepancy
from pyro_vae.evaluation.elbo import ELBOTerms, SiteTerm, elbo, kl_per_dimension, site_terms
from pyro_vae.evaluation.gaps import AmortisationGap, amortisation_gap
from pyro_vae.evaluation.gradients import GradientVariance, gradient_variance
from pyro_vae.evaluation.information import MutualInformation, mutual_information
from pyro_vae.evaluation.joint import LogJoint
from pyro_vae.evaluation.likelihood import (
    AIS,
    Bounds,
    Estimate,
    Exact,
    Importance,
    Prior,
    bidirectional,
    log_likelihood,
    log_likelihood_per_class,
)
from pyro_vae.evaluation.mcmc import posterior_mcmc
from pyro_vae.evaluation.pareto import ParetoK, pareto_k
from pyro_vae.evaluation.prediction import (
    Calibration,
    Confusion,
    accuracy,
    calibration,
    confusion,
    mean_absolute_error,
)
from pyro_vae.evaluation.predictive import PredictiveCheck, posterior_predictive_check
from pyro_vae.evaluation.simulation import SimulationBasedCalibration, simulation_based_calibration

__all__ = [
    "AIS",
    "ActiveUnits",
    "AggregatePosterior",
    "AmortisationGap",
    "Bounds",
    "Calibration",
    "Confusion",
    "Discrepancy",
    "ELBOTerms",
    "Estimate",
    "Exact",
    "GradientVariance",
    "Importance",
    "LogJoint",
    "MutualInformation",
    "ParetoK",
    "PredictiveCheck",
    "Prior",
    "SimulationBasedCalibration",
    "SiteTerm",
    "accuracy",
    "active_units",
    "aggregate_posterior",
    "amortisation_gap",
    "bidirectional",
    "calibration",
    "confusion",
    "elbo",
    "gradient_variance",
    "kl_per_dimension",
    "log_likelihood",
    "log_likelihood_per_class",
    "maximum_mean_discrepancy",
    "mean_absolute_error",
    "mutual_information",
    "pareto_k",
    "posterior_mcmc",
    "posterior_predictive_check",
    "simulation_based_calibration",
    "site_terms",
]
