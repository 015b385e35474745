"""Errors that may be: draws of M, Σ and σ, from a posterior file among others, and how likely they make a course."""

from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np
from scipy.special import gammaln

from simulator.ground.spec import ConfigError


@dataclass(frozen=True)
class Possible:
    """Draws of what a three-axis error may be: N(mean, S) per course plus N(0, s V) per fraction.

    Parameters
    ----------
    mean : (draw, 3). systematic, random : roots (draw, 3, 3) of S and V, so that root @ normal numbers has that covariance.
    shape : (draw,) shape a of the scale s of one patient's variance, inverse gamma (a, a - 1); infinite where s is 1,
        in all draws or in none.
    """

    mean: np.ndarray
    systematic: np.ndarray
    random: np.ndarray
    shape: np.ndarray

    def some(self, which: np.ndarray) -> "Possible":
        """Some of the draws."""
        return Possible(self.mean[which], self.systematic[which], self.random[which], self.shape[which])

    def followed_by(self, other: "Possible") -> "Possible":
        """These draws, and others after them."""
        return Possible(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))

    def log_of_course(self, course: np.ndarray) -> np.ndarray:
        """Log density float32 (course, draw), up to a constant, of systematic shifts (course, 3), on axes with a spread."""
        axes = _with_spread(self.systematic)
        inverse, log_sd = _inverse(self.systematic, axes)
        centre = self.mean.mean(axis=0)[axes]
        own, mean = course[:, axes] - centre, self.mean[:, axes] - centre
        product = np.einsum("dij,dj->di", inverse, mean)
        constant = -0.5 * (product * mean).sum(axis=1) - log_sd
        products = (own[:, :, None] * own[:, None, :]).reshape(len(own), -1)
        of_course = np.concatenate([products, own, np.ones((len(own), 1))], axis=1, dtype=np.float32)
        of_draw = [-0.5 * inverse.reshape(len(inverse), -1), product, constant[:, None]]
        return of_course @ np.concatenate(of_draw, axis=1, dtype=np.float32).T

    def log_of_fractions(self, fraction: np.ndarray) -> np.ndarray:
        """The same of the shifts (course, fraction, 3) of fractions, one patient's scale integrated out."""
        axes = _with_spread(self.random)
        inverse, log_sd = _inverse(self.random, axes)
        own = fraction[..., axes]
        n_numbers = own[0].size
        products = np.einsum("cfi,cfj->cij", own, own).reshape(len(own), -1).astype(np.float32)
        squares = products @ inverse.reshape(len(inverse), -1).T.astype(np.float32)
        constant = -fraction.shape[1] * log_sd
        if np.isinf(self.shape[0]):
            return -0.5 * squares + constant.astype(np.float32)
        a, half = self.shape, n_numbers / 2
        constant = constant + gammaln(a + half) - gammaln(a) - half * np.log(a - 1)
        near = np.log1p(squares * (0.5 / (a - 1)).astype(np.float32))
        return constant.astype(np.float32) - (a + half).astype(np.float32) * near


def _with_spread(root: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.any(root, axis=(0, 2)))


def _inverse(root: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse covariance (draw, axis, axis) on some axes, and the sum of logarithms of SDs (draw,)."""
    covariance = (root @ np.swapaxes(root, 1, 2))[:, axes][:, :, axes]
    return np.linalg.inv(covariance), 0.5 * np.linalg.slogdet(covariance)[1]


def posterior_of(path: str, unit: str, clinic: int) -> Possible:
    """The draws of a posterior file of `simulator errors`, from small errors to large ones.

    Parameters
    ----------
    unit : mm for shifts, deg for rotations. clinic : whose mean, from 1.

    Raises
    ------
    ConfigError : there is no such file, or it does not hold what is asked for.
    """
    try:
        state = Path(path).stat().st_mtime_ns
    except OSError:
        raise ConfigError(
            f"no file {path}; give the path of posterior.nc, which `simulator errors --out` writes"
        ) from None
    return _read(path, state, unit, clinic)


def record_of(path: str) -> tuple[float, float]:
    """Patients and images of the record that a posterior file was made of; NaN where it does not say."""
    with h5py.File(path, "r") as file:
        patients, images = (float(np.ravel(file.attrs.get(key, np.nan))[0]) for key in ("patients", "images"))
    return patients, images


@lru_cache(maxsize=8)
def _read(path: str, state: int, unit: str, clinic: int) -> Possible:
    names = (
        f"mean_{unit}",
        f"systematic_covariance_{unit}2",
        f"random_covariance_{unit}2",
        f"patient_variance_shape_{unit}",
    )
    try:
        with h5py.File(path, "r") as file:
            if missing := [name for name in names if name not in file]:
                what = "rotations; the record had none" if unit == "deg" else f"shifts ({missing[0]} is missing)"
                raise ConfigError(f"{path} holds no posterior of {what}")
            mean, systematic, random, shape = (np.asarray(file[name], float) for name in names)
    except OSError as error:
        raise ConfigError(
            f"{path} is no posterior file ({error}); give the posterior.nc that `simulator errors --out` writes"
        ) from None
    n = len(shape)
    if (
        mean.ndim != 3
        or mean.shape[::2] != (n, 3)
        or systematic.shape != (n, 3, 3)
        or random.shape != (n, 3, 3)
        or n < 100
    ):
        raise ConfigError(f"{path}: its variables are not those of `simulator errors`; run that again")
    if clinic > mean.shape[1]:
        raise ConfigError(f"{path} holds the means of {mean.shape[1]} clinics, and clinic {clinic} is asked for")
    values = np.concatenate([mean.ravel(), systematic.ravel(), random.ravel(), shape])
    least = (
        min(np.linalg.eigvalsh(covariance).min() for covariance in (systematic, random))
        if np.isfinite(values).all()
        else 0
    )
    if not least > 0 or shape.min() <= 1:
        raise ConfigError(f"{path}: not every draw is a possible error; run `simulator errors` again")
    order = np.argsort(np.trace(systematic, axis1=1, axis2=2) + np.trace(random, axis1=1, axis2=2), kind="stable")
    found = Possible(mean[:, clinic - 1], np.linalg.cholesky(systematic), np.linalg.cholesky(random), shape)
    return found.some(order)
