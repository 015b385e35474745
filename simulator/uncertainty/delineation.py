"""Delineation: the true surface of the target lies off the drawn one."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from scipy.special import sph_harm_y, spherical_in

from simulator.ground.conventions import Stream, Streams
from simulator.ground.spec import Field, model_validator
from simulator.uncertainty.knowledge import Known
from simulator.uncertainty.shifts import LogSize
from simulator.uncertainty.source import RandomNumbers, Source

_VARIANCE_KEPT = 0.9995
_MOST_DEGREES = 40
_FARTHEST_SD = 3.5


@dataclass(frozen=True)
class SurfaceField:
    """A Gaussian random field on directions, as a sum of real spherical harmonics.

    Parameters
    ----------
    basis : float32 (term, direction); a field is the sum of terms times standard normal numbers.
    """

    basis: np.ndarray

    @classmethod
    def on(cls, directions: np.ndarray, correlation_deg: float | None) -> "SurfaceField":
        """The field of variance 1 on directions (n, 3) of any length, the zero vector standing for superior.

        Correlation over an angle g is exp(-(1 - cos g) / l^2), which is exp(-g^2 / 2 l^2) for small angles: the trace on
        the sphere of a Gaussian covariance. Its share of degree n is (2 n + 1) exp(-k) i_n(k) with k = 1 / l^2
        and i_n the modified spherical Bessel function. `correlation_deg` None is the limit of a uniform field.
        """
        share = _shares(correlation_deg)
        x, y, z = np.asarray(directions, float).T
        polar, azimuth = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
        columns = []
        for degree, variance in enumerate(share):
            scale = np.sqrt(4 * np.pi * variance / (2 * degree + 1))
            for order in range(degree + 1):
                harmonic = sph_harm_y(degree, order, polar, azimuth)
                if order == 0:
                    columns.append(scale * harmonic.real)
                else:
                    columns += [scale * np.sqrt(2) * harmonic.real, scale * np.sqrt(2) * harmonic.imag]
        return cls(np.stack(columns).astype(np.float32))


def _shares(correlation_deg: float | None) -> np.ndarray:
    """Share of the variance in each degree, up to 99.95 % of it; they sum to 1."""
    if correlation_deg is None:
        return np.ones(1)
    k = 1 / np.radians(correlation_deg) ** 2
    degree = np.arange(_MOST_DEGREES + 1)
    share = (2 * degree + 1) * np.exp(-k) * spherical_in(degree, k)
    n_kept = int(np.searchsorted(np.cumsum(share), _VARIANCE_KEPT)) + 1
    return share[:n_kept] / share[:n_kept].sum()


class Delineation(Source):
    """The true surface lies at the signed distance d from the drawn one: a Gaussian random field over the directions
    from the target's centre, constant in a course. The anatomy stays as drawn and guidance aligns what was drawn.
    """

    streams: ClassVar[Streams] = {
        "delineation": (Stream.DELINEATION, Stream.DELINEATION_SIZE),
        "what is not known of delineation": (Stream.DELINEATION_KNOWN,),
    }
    sd_mm: Annotated[float, Field(ge=0, le=20)] = Field(0.0, description="SD of the distance in mm")
    correlation_deg: Annotated[float, Field(ge=10, le=180)] | None = Field(
        None, description="angular correlation length in degrees; absent: the whole surface expands or shrinks"
    )
    mean_mm: Annotated[float, Field(ge=-20, le=20)] = Field(
        0.0, description="mean distance in mm; above zero the target was drawn too small"
    )

    known: Known | None = Field(
        None, description="`factor` alone: within what factor the SD is known; exact when absent"
    )

    @model_validator(mode="after")
    def _is_known_to_a_factor(self) -> "Delineation":
        if self.known is not None:
            self.known.check_factor("the SD of the distance", self.sd_mm > 0)
        return self

    @property
    def farthest_mm(self) -> float:
        """Largest distance that is simulated, 3.5 SD (the largest that is likely) beyond the mean; fields are cut off there."""
        largest = (self.known.factor or 1.0) if self.known else 1.0
        return abs(self.mean_mm) + _FARTHEST_SD * largest * self.sd_mm

    def draw(self, numbers: RandomNumbers, correlation_terms: int) -> np.ndarray:
        """Coefficients of the surface field, float32 (course, term), for the SD as stated."""
        coefficients = numbers.normals(Stream.DELINEATION, correlation_terms)
        for size in self.not_exact():
            coefficients = coefficients * size.factor(numbers)[:, None]
        return coefficients.astype(np.float32)

    def not_exact(self) -> tuple[LogSize, ...]:
        """The logarithm of the SD over the stated one."""
        name = self._owned("delineation")
        return LogSize.of(
            name, self.known, Stream.DELINEATION_SIZE, Stream.DELINEATION_KNOWN, structure=name if self._owner else ""
        )

    def describe(self) -> str:
        """One sentence for the report."""
        length = (
            "uniform over the surface"
            if self.correlation_deg is None
            else (f"correlated over {self.correlation_deg:g} degrees of the surface")
        )
        mean = f", mean {self.mean_mm:g} mm" if self.mean_mm else ""
        known = f", {self.known.describe()}" if self.known else ""
        return f"Delineation of the target: SD {self.sd_mm:g} mm{mean}, {length}{known}."
