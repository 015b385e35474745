"""What is known of a source's errors: from how many patients, from a posterior file, or by judgement."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from scipy.special import gammaincinv, ndtri

from simulator.ground.spec import Field, NonNegativeMm3, Spec, model_validator

_NORMAL_95 = 1.959964
_LEAST_PATIENTS = 3
KNOWN = ("known", "after_imaging_known")  # keys of a source that say what is known of its errors
MOST_SCALE = 5.0  # an SD beyond so many times the stated one misses anyway, and would ask for endless dose grids


VarianceShape = Annotated[float, Field(gt=1, le=1000)] | None
VARIANCE_SHAPE: Any = Field(
    None,
    description="shape a of one scale per patient of the variance σ², inverse gamma (a, a - 1) with mean 1: the smaller, the "
    "more patients differ in restlessness; absent: all are alike",
)


def restless(shape: float) -> str:
    """A shape of patients' variances in words."""
    return f"one scale of σ² per patient, inverse gamma with shape {shape:g}"


class Known(Spec):
    """What is known of M, Σ and σ of a source: from a record of `patients` and `fractions`, from a `posterior` file, or to a
    `factor`. Each course draws its own M, Σ and σ from it, which makes probabilities predictive.

    With ν = patients - 1 degrees of freedom Σ² is the stated one times ν / χ²(ν), each axis by itself, and the mean is
    N(stated, Σ² / patients): a course's systematic error is Student t. σ² has fractions - patients degrees of freedom. These
    are the posteriors of normal errors without prior knowledge (Gelman et al., Bayesian Data Analysis, 3rd ed., section 3.2).
    With a factor f, Σ and σ are log-normal about the stated ones as medians, 95 % within 1/f and f times them; the mean stays.
    No draw goes beyond five times what is stated.
    """

    patients: Annotated[int, Field(ge=_LEAST_PATIENTS, le=100_000)] | None = Field(
        None, description="patients in the record that Σ and the mean come from"
    )
    fractions: Annotated[int, Field(ge=5, le=1_000_000)] | None = Field(
        None, description="images of all these patients together, one for each fraction: what σ comes from"
    )
    factor: Annotated[float, Field(gt=1, le=10)] | None = Field(
        None, description="by judgement: Σ, and σ by itself, are within this factor of the stated ones with 95 %"
    )
    posterior: str | None = Field(
        None,
        description="file of `simulator errors --out` (posterior.nc); medians stand beside it as the stated errors",
    )
    clinic: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, description="of several clinics in the posterior file, whose mean; 1 when absent"
    )
    mean_se_mm: NonNegativeMm3 | None = Field(
        None,
        description="standard error of the mean per axis in mm; by default Σ / sqrt(patients), and 0 with a factor (0: known)",
    )
    axes: Literal["separate", "alike"] = Field(
        "separate",
        description="with patients: whether each axis's Σ (and σ) is off by itself, or all by one factor, as with `factor`",
    )

    @model_validator(mode="after")
    def _one_way(self) -> "Known":
        given = [key for key in ("patients", "factor", "posterior") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                f"one of patients, factor and posterior says what is known, got {' and '.join(given) or 'none'}"
            )
        for key, needs in (("fractions", "patients"), ("clinic", "posterior")):
            if getattr(self, key) is not None and given != [needs]:
                raise ValueError(f"{key} goes with {needs}; leave it out beside {given[0]}")
        if self.posterior is not None and (self.mean_se_mm is not None or self.axes != "separate"):
            raise ValueError("a posterior holds means and axes; leave mean_se_mm and axes out")
        if self.patients is not None and self.fractions is not None and self.fractions < self.patients + 2:
            raise ValueError(
                f"{self.fractions} fractions of {self.patients} patients in all say nothing of σ; {self.patients + 2} or more "
                "are wanted, counted over all patients"
            )
        return self

    def check(
        self,
        systematic: Sequence[float],
        random: Sequence[float],
        variances: Sequence[float] = (),
        *,
        key: str = "known",
    ) -> None:
        """Refuse knowledge that does not fit the errors beside it.

        Parameters
        ----------
        systematic, random : of all axes of the source, in mm and degrees. variances : eigenvalues of the axes' correlations.

        Raises
        ------
        ValueError : what is wrong.
        """
        if not any(systematic) and not any(random):
            raise ValueError(f"{key}: there is no error that it could be about; write Σ or σ beside it")
        if self.patients is not None and any(random) and self.fractions is None:
            raise ValueError(f"{key}: fractions is missing, the images in all that σ comes from")
        if self.fractions is not None and not any(random):
            raise ValueError(
                f"{key}: fractions says how well σ is known, and there is no σ; write it or leave fractions out"
            )
        means = zip(self.mean_se_mm or (0, 0, 0), systematic, strict=False)
        if any(se and not sd for se, sd in means):
            raise ValueError(
                f"{key}: mean_se_mm is above 0 on an axis without Σ; write Σ there, or add the mean's doubt to it"
            )
        if min(variances, default=1.0) < 1e-6:
            raise ValueError(
                f"{key}: axes that are one (correlation 1 or -1) have no spread of their own; lower the correlation"
            )

    def check_shape(self, shape: float | None) -> None:
        """Refuse a shape of patients' variances beside a posterior, which has its own.

        Raises
        ------
        ValueError : both are given.
        """
        if self.posterior is not None and shape is not None:
            raise ValueError("patient_variance_shape: the posterior file knows it; leave it out")

    def check_factor(self, what: str, there: bool) -> None:
        """Refuse knowledge of a size that is not a factor, or of a size that is zero.

        Raises
        ------
        ValueError : what is wrong.
        """
        if self.factor is None:
            raise ValueError(f"known: {what} is known to a factor; say factor here")
        if not there:
            raise ValueError(f"known: {what} is zero; write it, or leave known out")

    @property
    def log_sd(self) -> float:
        """SD of the logarithm of what is known to a factor."""
        assert self.factor is not None
        return float(np.log(self.factor) / _NORMAL_95)

    def scales(self, uniforms: np.ndarray, *, random: bool) -> np.ndarray:
        """Σ, or σ if `random`, over the stated one per axis, (draw, 3), from uniform numbers (draw, 3)."""
        own = uniforms if self.axes == "separate" and self.factor is None else uniforms[:, :1]
        if self.factor is not None:
            scale = np.exp(self.log_sd * ndtri(own))
        else:
            assert self.patients is not None
            degrees = (self.fractions or 0) - self.patients if random else self.patients - 1
            scale = np.sqrt(degrees / (2 * gammaincinv(degrees / 2, own))) if degrees > 0 else np.ones_like(own)
        return np.broadcast_to(np.minimum(scale, MOST_SCALE), uniforms.shape)

    def mean_se(self, systematic: np.ndarray, stated_mm: bool) -> np.ndarray:
        """Standard error of the mean per axis, (draw, 3), given Σ (draw, 3); `stated_mm` where mean_se_mm may say so."""
        if self.mean_se_mm is not None:
            return np.broadcast_to(np.asarray(self.mean_se_mm if stated_mm else (0.0, 0.0, 0.0)), systematic.shape)
        return systematic / np.sqrt(self.patients) if self.patients is not None else np.zeros_like(systematic)

    def record(self) -> tuple[float, float]:
        """Patients and images of the record, or of one that knows as much as a factor does; NaN for a posterior."""
        if self.factor is not None:
            degrees = 0.5 / self.log_sd**2
            return 1 + degrees, 1 + 2 * degrees
        return (float(self.patients), float(self.fractions or 0)) if self.patients is not None else (np.nan, np.nan)

    def describe(self) -> str:
        """As the end of a sentence."""
        if self.posterior is not None:
            return "known as the posterior of a record says"
        if self.factor is not None:
            return f"known to a factor of {self.factor:g} (95 %)"
        images = f" and {self.fractions} fractions" if self.fractions else ""
        return f"known from {self.patients} patients{images}"
