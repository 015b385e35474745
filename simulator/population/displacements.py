"""The region of displacements that holds a stated share of courses.

A target G that a course displaces by u lies inside G + E, the target swept by a convex set E of displacements, if and only if
u lies in E (the law of cancellation of Minkowski sums, Rådström 1952, doi:10.1090/S0002-9939-1952-0045938-2). So the share of
courses whose whole target lies inside is that of displacements in E, whatever the target's shape. E is an ellipsoid, which for
Gaussian errors is the set of the smallest volume that holds its share.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from simulator.ground.spec import ConfigError

_SMALLEST_SD_MM = 0.02
_LEAST_LEFT = 0.1


@dataclass(frozen=True)
class Ellipsoid:
    """Displacements centre + sum of t_i d_i with |t / semi-axes| at most 1.

    Parameters
    ----------
    centre_mm : (3,) in x, y, z. semi_axes_mm : (3,). directions : (3, 3), a unit vector in each column.
    """

    centre_mm: np.ndarray
    semi_axes_mm: np.ndarray
    directions: np.ndarray

    @classmethod
    def of_covariance(cls, centre_mm: np.ndarray, covariance_mm2: np.ndarray, scale: float) -> "Ellipsoid":
        """Displacements within a number of standard deviations of a centre."""
        variance, directions = np.linalg.eigh(covariance_mm2)
        return cls(centre_mm, scale * np.sqrt(np.maximum(variance, 0)), directions)

    @property
    def reach_mm(self) -> np.ndarray:
        """How far it reaches along x, y and z from its centre, (3,)."""
        return np.linalg.norm(self.directions * self.semi_axes_mm, axis=1)


@dataclass(frozen=True)
class SystematicErrors:
    """Constant errors of courses: how far each displaces a target's surface over the whole course.

    Parameters
    ----------
    shift_mm : (course, 3), of the target's centre.
    normals : (n, 3), outward unit vectors at points of the surface.
    outward_mm : (course, n), how far each point moves along its normal besides the shift; zero for what only shifts.
    """

    shift_mm: np.ndarray
    normals: np.ndarray
    outward_mm: np.ndarray

    @property
    def centre_mm(self) -> np.ndarray:
        """Mean shift (3,)."""
        return self.shift_mm.mean(axis=0)

    @property
    def covariance_mm2(self) -> np.ndarray:
        """Covariance (3, 3) of the shifts, with the variance of what moves the surface besides in every direction."""
        besides = float(np.mean(self.outward_mm**2)) + _SMALLEST_SD_MM**2
        return np.atleast_2d(np.cov(self.shift_mm.T)) + besides * np.eye(3)

    def scales(self) -> np.ndarray:
        """By how many standard deviations the ellipsoid has to be wide for each course, (course,).

        Of a shift alone its Mahalanobis distance; what turns or grows besides is asked of each point of the surface, to first
        order: its way along the normal over the ellipsoid's reach along the normal.
        """
        off, covariance = self.shift_mm - self.centre_mm, self.covariance_mm2
        scale = np.sqrt(np.einsum("ca,ab,cb->c", off, np.linalg.inv(covariance), off))
        if not self.outward_mm.any():
            return scale
        reach = np.sqrt(np.einsum("na,ab,nb->n", self.normals, covariance, self.normals))
        return np.maximum(scale, ((off @ self.normals.T + self.outward_mm) / reach).max(axis=1))


@dataclass(frozen=True)
class HeldShare:
    """The ellipsoid that holds a stated share of courses, and the share (0-1) of unseen ones that it holds: 95 % interval."""

    ellipsoid: Ellipsoid
    low: float
    high: float


def ellipsoid_that_holds(errors: SystematicErrors, probability: float) -> HeldShare:
    """The ellipsoid, in the shape of the errors' covariance about their mean, that a share of unseen courses lies in.

    Its scale is that of the course of rank k = ceil(p (n + 1)) of n: the share of unseen courses inside is beta distributed
    with k and n + 1 - k, in the mean k / (n + 1).

    Raises
    ------
    ConfigError : a probability that is none, or that so few courses cannot show.
    """
    if not 0.5 <= probability < 1:
        raise ConfigError(f"export: a probability of 0.5 or more and below 1 is wanted, got {probability:g}")
    scales = np.sort(errors.scales())
    n = len(scales)
    rank = int(np.ceil(probability * (n + 1) - 1e-9))
    if rank > n or n < 20:
        wanted = max(20, int(np.ceil(probability / (1 - probability) - 1e-9)))
        raise ConfigError(f"export: {n} courses cannot show a probability of {probability:g}; run {wanted} or more")
    low, high = beta.ppf([0.025, 0.975], rank, n + 1 - rank)
    scale = _seen_by_the_others(float(scales[rank - 1]), n)
    return HeldShare(Ellipsoid.of_covariance(errors.centre_mm, errors.covariance_mm2, scale), low, high)


def _seen_by_the_others(scale: float, n: int) -> float:
    """The Mahalanobis distance of one of n courses from the mean, by the covariance, of all others.

    Measured by a mean and a covariance that hold its own displacement it would look nearer, and few courses would hold too
    few unseen ones.
    """
    share = scale**2 / (n - 1)
    return n / (n - 1) * float(np.sqrt((n - 2) * share / max(1 - n * share / (n - 1), _LEAST_LEFT)))
