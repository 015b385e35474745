"""A Gibbs sampler for patients' shifts: mean, systematic and random covariance, one scale of variance per patient.

    m_i ~ N(M_c, S)                 mean of patient i of clinic c; Σ² is the diagonal of S
    y_ij ~ N(m_i, s_i V)            day-to-day errors; σ² is the diagonal of V, since E s = 1
    s_i ~ inverse gamma(a, a - 1)   how much less or more one patient moves than another, a > 1
    M_c ~ N(0, 20²),  1.5 <= a <= 51, even in log(a - 1)
    S, V : inverse Wishart given auxiliary scales, so that each SD is half-t with 2 degrees of freedom and the correlations
           are uniform between -1 and 1

Sources: Huang and Wand 2013, Bayesian Analysis 8:439 (the prior of S and V); Herschtal 2012, Phys Med Biol 57:2743 (inverse
gamma of patients' variances; cited from memory). σ²/F needs no correction: m_i is not the mean of the images.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

_NU, _P = 2.0, 3
_MEAN_SD = 20.0
_SHAPES = 1 + np.geomspace(0.5, 50, 60)
_STRETCH_SD = 0.5


@dataclass(frozen=True)
class Sums:
    """What the model needs of tables of equal make: sums by patient.

    Parameters
    ----------
    count : (patient,) images.
    clinic : (patient,) number of the clinic, from 0 without gaps.
    mean : (table, patient, 3).
    scatter : (table, patient, 3, 3), sum of squares and products about the mean.
    """

    count: np.ndarray
    clinic: np.ndarray
    mean: np.ndarray
    scatter: np.ndarray


@dataclass(frozen=True)
class Draws:
    """Draws (draw, chain, ...) of M by clinic, S, V, and the shape a."""

    mean: np.ndarray
    systematic: np.ndarray
    random: np.ndarray
    shape: np.ndarray


def sample(
    sums: Sums, rng: np.random.Generator, *, scale: np.ndarray, n_kept: int, n_warm_up: int, every: int = 1
) -> Draws:
    """Draw from the posterior of each table, one chain for each; a table given several times has several chains.

    Parameters
    ----------
    scale : (table,) scale A of the half-t priors of Σ and σ, in the unit of the shifts.
    """
    chain = _Chain(sums, rng, scale)
    kept = []
    for step in range(n_warm_up + n_kept * every):
        chain.step()
        if step >= n_warm_up and (step - n_warm_up) % every == every - 1:
            kept.append((chain.centre, chain.systematic, chain.random, chain.shape))
    return Draws(*(np.stack(values) for values in zip(*kept, strict=True)))


class _Chain:
    """State of all chains; every array begins with the axis of chains."""

    def __init__(self, sums: Sums, rng: np.random.Generator, scale: np.ndarray) -> None:
        self.sums, self.rng, self.scale = sums, rng, scale[:, None]
        n_chains, n_patients, _ = sums.mean.shape
        self.member = np.eye(sums.clinic.max() + 1)[sums.clinic].T
        start = np.exp(rng.uniform(-1, 1, (2, n_chains, 1, 1)))  # chains begin apart
        spread = np.eye(_P) * (sums.mean.var(axis=1)[:, None, :] + 0.01)
        within = sums.scatter.sum(axis=1) / max(1, (sums.count - 1).sum())
        self.systematic = start[0] * spread
        self.random = start[1] * (np.eye(_P) * within + 0.01 * np.eye(_P))
        self.centre = np.zeros((n_chains, len(self.member), _P))
        self.own = sums.mean.copy()
        self.size = np.ones((n_chains, n_patients))
        self.shape = np.full(n_chains, 5.0)

    def step(self) -> None:
        """One draw of everything."""
        self._own_means()
        self._centres()
        self._shift_together()
        self.systematic = self._covariance(self.systematic, self._about(self.own), len(self.sums.count))
        self._stretch()
        self._random_part()

    def _own_means(self) -> None:
        """m_i given the rest."""
        precise = np.linalg.inv(self.systematic)[:, None]
        seen = np.linalg.inv(self.random)[:, None] * (self.sums.count / self.size)[..., None, None]
        known = precise @ self.centre[:, self.sums.clinic, :, None] + seen @ self.sums.mean[..., None]
        self.own = self._normal(precise + seen, known)

    def _centres(self) -> None:
        """M of each clinic, given patient means."""
        inverse = np.linalg.inv(self.systematic)[:, None]
        n = self.member.sum(axis=1)[:, None, None]
        sums = self.member @ self.own
        self.centre = self._normal(n * inverse + np.eye(_P) / _MEAN_SD**2, inverse @ sums[..., None])

    def _shift_together(self) -> None:
        """M of each clinic with its patients in tow, given their distances from it: moves far where Σ is small."""
        off = self.own - self.centre[:, self.sums.clinic]
        weight = self.sums.count / self.size
        inverse = np.linalg.inv(self.random)[:, None]
        seen = self.member @ (weight[..., None] * (self.sums.mean - off))
        precision = inverse * (weight @ self.member.T)[..., None, None] + np.eye(_P) / _MEAN_SD**2
        self.centre = self._normal(precision, inverse @ seen[..., None])
        self.own = off + self.centre[:, self.sums.clinic]

    def _covariance(self, now: np.ndarray, scatter: np.ndarray, n: float) -> np.ndarray:
        """A covariance given sums of squares and products of n vectors, by way of the prior's auxiliary scales."""
        inverse = np.diagonal(np.linalg.inv(now), axis1=-2, axis2=-1)
        rate = _NU * inverse + 1 / self.scale**2
        auxiliary = rate / self.rng.standard_gamma((_NU + _P) / 2, rate.shape)
        return self._inverse_wishart(scatter + np.eye(_P) * (2 * _NU / auxiliary)[..., None], _NU + _P - 1 + n)

    def _stretch(self) -> None:
        """Scale S and patients' distances from M together, axis by axis: where Σ is small, this alone moves far.

        Given M and the scaled distances, the density of S times the change of volume is that of its prior with the auxiliary
        scales integrated out; the auxiliary scales are drawn anew in the next step.
        """
        for axis in range(_P):
            step = _STRETCH_SD * self.rng.standard_normal(len(self.own))
            factor = np.ones((len(step), _P))
            factor[:, axis] = np.exp(step)
            centre = self.centre[:, self.sums.clinic]
            own = centre + (self.own - centre) * factor[:, None]
            systematic = self.systematic * factor[:, :, None] * factor[:, None, :]
            gain = self._fit(own) - self._fit(self.own) + self._prior(systematic) - self._prior(self.systematic)
            # volume of S, (p + 1) log factor; of patients' distances it cancels with their density
            taken = np.log(self.rng.random(len(step))) < gain + (_P + 1) * step
            self.own = np.where(taken[:, None, None], own, self.own)
            self.systematic = np.where(taken[:, None, None], systematic, self.systematic)

    def _random_part(self) -> None:
        """V, s_i and a."""
        n, count = self.sums, self.sums.count
        off = n.mean - self.own
        scatter = n.scatter + count[:, None, None] * off[..., :, None] * off[..., None, :]
        self.random = self._covariance(self.random, (scatter / self.size[..., None, None]).sum(axis=1), count.sum())
        distance = (np.linalg.inv(self.random)[:, None] * scatter).sum(axis=(-2, -1))
        gamma = self.rng.standard_gamma(self.shape[:, None] + _P * count / 2)
        self.size = (self.shape[:, None] - 1 + distance / 2) / gamma
        log_sum, inverse_sum = np.log(self.size).sum(axis=1), (1 / self.size).sum(axis=1)
        a = _SHAPES
        log_density = (
            len(count) * (a * np.log(a - 1) - gammaln(a)) - (a + 1) * log_sum[:, None] - (a - 1) * inverse_sum[:, None]
        )
        gumbel = -np.log(self.rng.standard_exponential(log_density.shape))
        self.shape = a[np.argmax(log_density + gumbel, axis=1)]

    def _fit(self, own: np.ndarray) -> np.ndarray:
        """Log-likelihood of the images' means, up to a constant."""
        off = self.sums.mean - own
        distance = (off @ np.linalg.inv(self.random) * off).sum(axis=-1)
        return -(self.sums.count / self.size * distance).sum(axis=-1) / 2

    def _prior(self, covariance: np.ndarray) -> np.ndarray:
        """Log of the Huang-Wand density, up to a constant."""
        inverse = np.diagonal(np.linalg.inv(covariance), axis1=-2, axis2=-1)
        tails = np.log(_NU * inverse + 1 / self.scale**2).sum(axis=-1)
        return -(_NU + 2 * _P) / 2 * np.linalg.slogdet(covariance)[1] - (_NU + _P) / 2 * tails

    def _about(self, own: np.ndarray) -> np.ndarray:
        off = own - self.centre[:, self.sums.clinic]
        return np.swapaxes(off, 1, 2) @ off

    def _normal(self, precision: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Normal vectors with a precision and a mean of precision^-1 known."""
        lower = np.linalg.cholesky(np.linalg.inv(precision))
        mean = lower @ (np.swapaxes(lower, -1, -2) @ known)
        return (mean + lower @ self.rng.standard_normal(known.shape))[..., 0]

    def _inverse_wishart(self, scatter: np.ndarray, n: float) -> np.ndarray:
        """Inverse Wishart matrices by Bartlett's decomposition."""
        n_chains = len(scatter)
        triangle = np.zeros((n_chains, _P, _P))
        triangle[:, range(_P), range(_P)] = np.sqrt(
            2 * self.rng.standard_gamma((n - np.arange(_P)) / 2, (n_chains, _P))
        )
        below = np.tril_indices(_P, -1)
        triangle[:, below[0], below[1]] = self.rng.standard_normal((n_chains, len(below[0])))
        lower = np.linalg.cholesky(np.linalg.inv(scatter)) @ triangle
        return np.linalg.inv(lower @ np.swapaxes(lower, 1, 2))
