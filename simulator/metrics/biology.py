"""Biology of a fractionated course: BED and EQD2, tumour control (TCP) and complications (NTCP).

Linear-quadratic model (Fowler 1989, doi:10.1259/0007-1285-62-740-679), fraction by fraction at each point:

    BED = sum_f d_f (1 + d_f / (α/β)) = D + S2 / (α/β)        D = sum_f d_f, S2 = sum_f d_f^2
    EQD2 = BED / (1 + 2 Gy / (α/β))
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
from scipy.special import ndtr

from simulator.ground.conventions import Stream, Streams, log_normal
from simulator.ground.spec import Field, PositiveFloat, Spec
from simulator.kernels.dvh import generalised_mean
from simulator.kernels.radiobiology import surviving_volume
from simulator.metrics.fraction_sums import FractionSums
from simulator.uncertainty.source import RandomNumbers

_TISSUE = "row of the published parameters that fills the keys left out"
_AlphaBeta = Annotated[float, Field(ge=0.1, le=1000)]


def bed_gy(sums: FractionSums, alpha_beta_gy: float | np.ndarray) -> np.ndarray:
    """Biologically effective dose float32 (course, point) in Gy; α/β is a number, or one for each course (course,)."""
    per_course = np.reshape(np.asarray(alpha_beta_gy, np.float32), (-1, 1))
    return sums.dose_gy + sums.squares_gy2 / per_course


def eqd2_gy(sums: FractionSums, alpha_beta_gy: float | np.ndarray) -> np.ndarray:
    """Isoeffective dose in fractions of 2 Gy, float32 (course, point) in Gy; α/β as in `bed_gy`."""
    per_course = np.reshape(np.asarray(alpha_beta_gy, np.float32), (-1, 1))
    return bed_gy(sums, alpha_beta_gy) / (1 + 2 / per_course)


@dataclass(frozen=True)
class BiologicalDose:
    """Which biological dose a metric is taken of."""

    quantity: Literal["BED", "EQD2"]
    alpha_beta_gy: float

    @property
    def label(self) -> str:
        """As in a goal, for example "EQD2(2)"."""
        return f"{self.quantity}({self.alpha_beta_gy:g})"

    def at_scale(self, scale: float) -> tuple["BiologicalDose", float]:
        """A biological dose and a factor whose product is this one when all doses are scaled by s.

        sum_f s d_f (1 + s d_f / (α/β)) = s BED with α/β / s; EQD2 divides by 1 + 2 Gy / (α/β).
        """
        other = replace(self, alpha_beta_gy=self.alpha_beta_gy / scale)
        if self.quantity == "BED":
            return other, scale
        return other, scale * (1 + 2 / other.alpha_beta_gy) / (1 + 2 / self.alpha_beta_gy)

    def of(self, sums: FractionSums) -> np.ndarray:
        """The dose, float32 (course, point) in Gy."""
        return (bed_gy if self.quantity == "BED" else eqd2_gy)(sums, self.alpha_beta_gy)


class Response(Protocol):
    """What a structure of a run of courses does with a dose."""

    def probability(self, sums: FractionSums, volume_cc: np.ndarray) -> np.ndarray:
        """Probability of the endpoint, float64 (course,); volumes float64 (point,), or (course, point)."""
        ...


@dataclass(frozen=True)
class TumourResponse:
    """Radiosensitivity (course,) of a tumour in a run of courses."""

    alpha_per_gy: np.ndarray
    alpha_beta_gy: np.ndarray
    clonogens_per_cc: float

    def probability(self, sums: FractionSums, volume_cc: np.ndarray) -> np.ndarray:
        """Probability that no clonogenic cell survives, exp(-ρ sum_p v_p exp(-α BED_p))."""
        log_kill = self.alpha_per_gy[:, None] * bed_gy(sums, self.alpha_beta_gy)
        return np.exp(-self.clonogens_per_cc * surviving_volume(log_kill, np.atleast_2d(volume_cc)))


@dataclass(frozen=True)
class TissueResponse:
    """Tolerance (course,) of an organ in a run of courses; n is the volume exponent."""

    td50_gy: np.ndarray
    m: np.ndarray
    n: float
    alpha_beta_gy: np.ndarray

    def probability(self, sums: FractionSums, volume_cc: np.ndarray) -> np.ndarray:
        """Probability of the complication, Φ((gEUD - TD50) / (m TD50)), gEUD of EQD2 with a = 1 / n."""
        gy = eqd2_gy(sums, self.alpha_beta_gy)
        geud = generalised_mean(gy, np.atleast_2d(volume_cc), 1 / self.n)
        return ndtr((geud - self.td50_gy) / (self.m * self.td50_gy))


class ResponseModel(Spec, ABC):
    """Parameters of a response of one structure; those left out are those of a published tissue.

    Attributes
    ----------
    example : of the parameters that it cannot do without.
    has_usual_tissue : whether a structure's name tells its tissue.
    """

    example: ClassVar[Mapping[str, float | str]]
    has_usual_tissue: ClassVar[bool] = False

    tissue: str | None = Field(None, description=_TISSUE)

    @abstractmethod
    def draw(self, numbers: RandomNumbers | None, name: str) -> Response:
        """The response of a structure in each course; without random numbers, that of the mean parameters."""

    @abstractmethod
    def describe(self, name: str) -> str:
        """A phrase for the report."""


class TumourControl(ResponseModel):
    """Poisson tumour control probability with linear-quadratic cell kill at each point of the structure.

    TCP = exp(-ρ sum_p v_p exp(-α BED_p)), without repopulation. Radiosensitivity may vary between courses (patients),
    log-normally with the mean and the SD given. Source: Webb & Nahum 1993, doi:10.1088/0031-9155/38/6/001.
    """

    example: ClassVar[Mapping[str, float | str]] = {
        "alpha_per_gy": 0.3,
        "alpha_beta_gy": 10,
        "clonogens_per_cc": "1.0e+7",
    }

    alpha_per_gy: Annotated[float, Field(ge=0.001, le=10)] | None = Field(
        None, description="mean radiosensitivity α in 1/Gy"
    )
    alpha_beta_gy: _AlphaBeta | None = Field(None, description="mean α/β in Gy")
    clonogens_per_cc: Annotated[float, Field(ge=1, le=1e12)] | None = Field(
        None, description="density ρ of clonogenic cells in 1/cc"
    )
    alpha_sd_per_gy: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0, description="SD of α between courses in 1/Gy, log-normal"
    )
    alpha_beta_sd_gy: Annotated[float, Field(ge=0, le=100)] = Field(
        0.0, description="SD of α/β between courses in Gy, log-normal"
    )

    def draw(self, numbers: RandomNumbers | None, name: str) -> TumourResponse:
        """The response of a structure in each course; without random numbers, that of the mean parameters."""
        return TumourResponse(
            _vary(self.alpha_per_gy, self.alpha_sd_per_gy, numbers, Stream.TCP_ALPHA, name),
            _vary(self.alpha_beta_gy, self.alpha_beta_sd_gy, numbers, Stream.TCP_ALPHA_BETA, name),
            _known(self.clonogens_per_cc),
        )

    def describe(self, name: str) -> str:
        """A phrase for the report."""
        return (
            f"TCP of {name}: Poisson model with α = {_spread(self.alpha_per_gy, self.alpha_sd_per_gy)} /Gy, "
            f"α/β = {_spread(self.alpha_beta_gy, self.alpha_beta_sd_gy)} Gy, {self.clonogens_per_cc:g} clonogens per cc"
        )


class Complication(ResponseModel):
    """Lyman-Kutcher-Burman complication probability with the gEUD of EQD2.

    NTCP = Φ((gEUD - TD50) / (m TD50)), gEUD = (sum_p v_p EQD2_p^(1/n) / sum_p v_p)^n. Tolerance may vary between courses
    (patients), log-normally with the mean and the SD given. Sources: Lyman 1985, doi:10.2307/3583506; Kutcher & Burman
    1989, Int J Radiat Oncol Biol Phys 16:1623; gEUD: Niemierko 1997, doi:10.1118/1.598063.
    """

    example: ClassVar[Mapping[str, float | str]] = {"td50_gy": 60, "m": 0.2, "n": 0.1, "alpha_beta_gy": 3}
    has_usual_tissue = True

    tissue: str | None = Field(None, description=f"{_TISSUE}; that of the structure's name by default")
    td50_gy: Annotated[float, Field(ge=1, le=500)] | None = Field(
        None, description="mean uniform EQD2 in Gy that leads to the complication in half of the patients"
    )
    m: Annotated[float, Field(ge=0.01, le=5)] | None = Field(
        None, description="mean width of the response, relative to TD50"
    )
    n: Annotated[float, Field(ge=0.01, le=2)] | None = Field(
        None, description="volume exponent: 1 is the mean dose, towards 0 the maximum"
    )
    alpha_beta_gy: _AlphaBeta | None = Field(None, description="mean α/β of the complication in Gy")
    td50_sd_gy: Annotated[float, Field(ge=0, le=500)] = Field(
        0.0, description="SD of TD50 between courses in Gy, log-normal"
    )
    m_sd: Annotated[float, Field(ge=0, le=5)] = Field(0.0, description="SD of m between courses, log-normal")
    alpha_beta_sd_gy: Annotated[float, Field(ge=0, le=100)] = Field(
        0.0, description="SD of α/β between courses in Gy, log-normal"
    )

    def draw(self, numbers: RandomNumbers | None, name: str) -> TissueResponse:
        """The response of a structure in each course; without random numbers, that of the mean parameters."""
        return TissueResponse(
            _vary(self.td50_gy, self.td50_sd_gy, numbers, Stream.NTCP_TD50, name),
            _vary(self.m, self.m_sd, numbers, Stream.NTCP_M, name),
            _known(self.n),
            _vary(self.alpha_beta_gy, self.alpha_beta_sd_gy, numbers, Stream.NTCP_ALPHA_BETA, name),
        )

    def describe(self, name: str) -> str:
        """A phrase for the report."""
        return (
            f"NTCP of {name}: Lyman-Kutcher-Burman model in EQD2 with TD50 = {_spread(self.td50_gy, self.td50_sd_gy)} Gy, "
            f"m = {_spread(self.m, self.m_sd)}, n = {self.n:g}, "
            f"α/β = {_spread(self.alpha_beta_gy, self.alpha_beta_sd_gy)} Gy"
        )


MODELS: dict[str, type[ResponseModel]] = {"tcp": TumourControl, "ntcp": Complication}


class Biology(Spec):
    """Response of tumours and organs: parameters of TCP and NTCP. BED and EQD2 need none, their α/β stands in the goal."""

    streams: ClassVar[Streams] = {
        "tumour and tissue response": (
            Stream.TCP_ALPHA,
            Stream.TCP_ALPHA_BETA,
            Stream.NTCP_TD50,
            Stream.NTCP_M,
            Stream.NTCP_ALPHA_BETA,
        )
    }
    tcp: dict[str, TumourControl] = Field(default_factory=dict, description="tumour control, by structure name")
    ntcp: dict[str, Complication] = Field(default_factory=dict, description="complications, by structure name")

    def responses(self, name: str, numbers: RandomNumbers | None = None) -> dict[str, Response]:
        """Responses of a structure by section; without random numbers, of the mean parameters."""
        return {key: models[name].draw(numbers, name) for key, models in self.sections.items() if name in models}

    @property
    def sections(self) -> dict[str, dict[str, ResponseModel]]:
        """Models by section and structure."""
        return {key: getattr(self, key) for key in MODELS}


class PublishedTissue(Spec):
    """Published parameters of one tissue, from one source; those that it does not give are absent.

    `structures` are the names of organs that take it for NTCP unless a study names another tissue.
    """

    tissue: str
    structures: tuple[str, ...] = ()
    alpha_per_gy: PositiveFloat | None = None
    alpha_beta_gy: PositiveFloat | None = None
    td50_gy: PositiveFloat | None = None
    m: PositiveFloat | None = None
    source: str
    reference: str
    checked: bool = False
    note: str = ""

    @property
    def parameters(self) -> dict[str, float]:
        """The parameters that it gives, by key of `tcp` and `ntcp`."""
        keys = ("alpha_per_gy", "alpha_beta_gy", "td50_gy", "m")
        return {key: getattr(self, key) for key in keys if getattr(self, key) is not None}


def _vary(mean: float | None, sd: float, numbers: RandomNumbers | None, stream: Stream, name: str) -> np.ndarray:
    """Log-normal values (course,) with a mean and an SD."""
    centre = _known(mean)
    if numbers is None:
        return np.array([centre])
    return centre * log_normal(numbers.normals(stream, of=name), sd / centre)


def _known(value: float | None) -> float:
    if value is None:
        raise ValueError("the parameters of a response have to be completed first")
    return value


def _spread(mean: float | None, sd: float) -> str:
    return f"{mean:g}" + (f" ± {sd:g}" if sd else "")
