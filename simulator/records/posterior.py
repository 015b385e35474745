"""What a table of shifts says of M, Σ and σ: draws from their posterior, credible intervals, and what the prior does."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from simulator.ground.conventions import AXES
from simulator.ground.spec import CaseError
from simulator.records.classical import Errors, Interval
from simulator.records.convergence import effective_draws, r_hat
from simulator.records.gibbs import Draws, Sums, sample

PRIOR_SCALE, OTHER_SCALES = 3.0, (1.0, 10.0)
_N_CHAINS, _N_KEPT, _WARM_UP, _EVERY = 4, 2000, 500, (2, 8)
_STILL, _REPEATED, _FEWEST_ROWS = 1e-6, 1e-9, 5
MOST_R_HAT, FEWEST_EFFECTIVE = 1.01, 400


@dataclass(frozen=True)
class Posterior:
    """Draws, and how far they may be trusted.

    Parameters
    ----------
    draws : (draw, chain, ...) with the prior's scale PRIOR_SCALE.
    errors : medians and 95 % credible intervals; `errors.mean` of the first clinic.
    other_priors : the same for other scales of the prior.
    r_hat, n_effective : the worst of all M, Σ, σ and a.
    """

    draws: Draws
    errors: Errors
    other_priors: dict[float, Errors]
    r_hat: float
    n_effective: float
    seed: int

    @property
    def converged(self) -> bool:
        """Whether chains agree and are long enough."""
        return self.r_hat < MOST_R_HAT and self.n_effective >= FEWEST_EFFECTIVE

    def dataset(self, unit: str) -> xr.Dataset:
        """All draws, chains one after the other; `unit` (mm or deg) ends the names of variables."""
        flat = {name: getattr(self.draws, name) for name in ("mean", "systematic", "random", "shape")}
        flat = {name: values.reshape(-1, *values.shape[2:]) for name, values in flat.items()}
        squared, covariance = f"covariance_{unit}2", ("draw", "axis", "other_axis")
        variables = {
            f"mean_{unit}": (
                ("draw", "clinic", "axis"),
                flat["mean"],
                {"long_name": "population mean M of each clinic"},
            ),
            f"systematic_{unit}": (
                ("draw", "axis"),
                _sd(flat["systematic"]),
                {"long_name": "systematic error, one SD"},
            ),
            f"random_{unit}": (
                ("draw", "axis"),
                _sd(flat["random"]),
                {"long_name": "random error, RMS of patients' SDs"},
            ),
            f"systematic_{squared}": (covariance, flat["systematic"], {"long_name": "covariance of patient means"}),
            f"random_{squared}": (
                covariance,
                flat["random"],
                {"long_name": "mean covariance of days within a patient"},
            ),
            f"patient_variance_shape_{unit}": (
                ("draw",),
                flat["shape"],
                {"long_name": "shape a of patients' variances, inverse gamma (a, a - 1) about the mean"},
            ),
        }
        axes = {"axis": list(AXES), "other_axis": list(AXES), "clinic": np.arange(flat["mean"].shape[1]) + 1}
        return xr.Dataset(variables, axes)


def posterior(shift: np.ndarray, patient: np.ndarray, clinic: np.ndarray, seed: int) -> Posterior:
    """Posterior of M, Σ and σ, by four chains.

    Parameters
    ----------
    shift : (image, 3) in mm, or degrees for rotations.
    patient, clinic : (image,) their numbers; the order of images and patients changes nothing.
    """
    scales = np.repeat([PRIOR_SCALE, *OTHER_SCALES], _N_CHAINS)
    one = sums_of(shift, patient, clinic)
    sums = Sums(one.count, one.clinic, *(np.repeat(x, len(scales), axis=0) for x in (one.mean, one.scatter)))
    for every in _EVERY:
        draws = sample(sums, np.random.default_rng(seed), scale=scales, n_kept=_N_KEPT, n_warm_up=_WARM_UP, every=every)
        own = _of_chains(draws, slice(_N_CHAINS))
        watched = _watched(own)
        worst = max(map(r_hat, watched))
        fewest = min(map(effective_draws, watched))
        if worst < MOST_R_HAT and fewest >= FEWEST_EFFECTIVE:
            break
    others = {
        scale: errors_of(_of_chains(draws, slice(i * _N_CHAINS, (i + 1) * _N_CHAINS)))
        for i, scale in enumerate(OTHER_SCALES, 1)
    }
    return Posterior(own, errors_of(own), others, worst, fewest, seed)


def require_spread(shift: np.ndarray, patient: np.ndarray, where: str) -> None:
    """Refuse shifts under which a spread of nothing would be infinitely likely.

    Raises
    ------
    CaseError : an axis that never varies within patients, or axes that repeat each other.
    """
    _, place, count = np.unique(patient, return_inverse=True, return_counts=True)
    again = count.max() > 1
    means = np.stack([np.bincount(place, axis) for axis in shift.T], axis=1) / count[:, None]
    off = shift - (means[place] if again else shift.mean(axis=0))
    spread = np.sqrt((off**2).mean(axis=0))
    if still := [axis for axis, sd in zip(AXES, spread, strict=True) if sd < _STILL]:
        within = "within any patient" if again else "at all"
        raise CaseError(
            f"{where}: {' and '.join(still)} {'does' if len(still) == 1 else 'do'} not vary {within}: an axis that was not "
            "measured, or means in place of images? give every image"
        )
    if len(off) >= _FEWEST_ROWS and np.linalg.eigvalsh(np.corrcoef(off.T)).min() < _REPEATED:
        raise CaseError(f"{where}: one axis follows from the others, as if a column were copied; correct the table")


def sums_of(shift: np.ndarray, patient: np.ndarray, clinic: np.ndarray) -> Sums:
    """Sums by patient, patients and images in an order that depends on the shifts alone."""
    of_patients = []
    for number in np.unique(patient):
        rows = shift[patient == number]
        rows = rows[np.lexsort(rows.T)]
        mean = rows.mean(axis=0)
        of_patients.append((int(clinic[patient == number][0]), len(rows), *mean, (rows - mean).T @ (rows - mean)))
    of_patients.sort(key=lambda values: values[:5])
    clinics = np.unique([values[0] for values in of_patients], return_inverse=True)[1]
    counts = np.array([values[1] for values in of_patients])
    means = np.array([values[2:5] for values in of_patients])
    return Sums(counts, clinics, means[None], np.array([values[5] for values in of_patients])[None])


def errors_of(draws: Draws, level: float = 0.95, clinic: int = 0) -> Errors:
    """Medians and credible intervals per axis; M of one clinic."""

    def interval(values: np.ndarray) -> Interval:
        tail = (1 - level) / 2
        low, value, high = np.quantile(values.reshape(-1, 3), (tail, 0.5, 1 - tail), axis=0)
        return Interval(value, low, high)

    return Errors(interval(draws.mean[:, :, clinic]), interval(_sd(draws.systematic)), interval(_sd(draws.random)))


def correlations_of(draws: Draws, level: float = 0.95) -> dict[tuple[str, str], tuple[float, float, float]]:
    """Median and credible interval of the correlation of patient means, by pair of axes."""
    sd, tail = _sd(draws.systematic), (1 - level) / 2
    found = {}
    for i, j in ((0, 1), (0, 2), (1, 2)):
        values = draws.systematic[..., i, j] / (sd[..., i] * sd[..., j])
        low, median, high = np.quantile(values, (tail, 0.5, 1 - tail))
        found[AXES[i], AXES[j]] = (float(median), float(low), float(high))
    return found


def _sd(covariance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))


def _of_chains(draws: Draws, chains: slice) -> Draws:
    return Draws(draws.mean[:, chains], draws.systematic[:, chains], draws.random[:, chains], draws.shape[:, chains])


def _watched(draws: Draws) -> list[np.ndarray]:
    """All that is reported, each (draw, chain)."""
    mean = draws.mean.reshape(*draws.mean.shape[:2], -1)
    together = np.concatenate([mean, _sd(draws.systematic), _sd(draws.random), draws.shape[..., None]], axis=-1)
    return list(np.moveaxis(together, -1, 0))
