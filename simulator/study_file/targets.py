"""Several targets in a study: what each has of its own."""

from typing import Annotated, Any

from simulator.ground.spec import Deg3, Field, NonNegativeMm3, Spec
from simulator.plan.prescription import Prescription
from simulator.uncertainty import OF_EACH_TARGET, Uncertainty
from simulator.uncertainty.baseline import Baseline
from simulator.uncertainty.delineation import Delineation
from simulator.uncertainty.registration import Registration
from simulator.uncertainty.respiration import Respiration, TiedStructure
from simulator.uncertainty.source import Source

_OF_FIRST = {
    "amplitude_mm": "its breathing is uncertainty.respiration.amplitude_mm",
    "lag_deg": "its breathing is uncertainty.respiration.lag_deg",
    "baseline_correlation": "the shifts of others follow it",
}


class TargetOfStudy(Spec):
    """One of several targets; what is absent is that of the study.

    Setup, rotation, drift, guidance and the isocentre's error are those of the patient and shared. Shifts against bone,
    registration and delineation are drawn for each target by itself, breathing by one signal with an amplitude of its own.
    """

    dose_gy: Annotated[float, Field(ge=0.1, le=300)] | None = Field(
        None, description="its prescribed dose of the whole course in Gy; goals on it in percent refer to it"
    )
    isodose_percent: Annotated[float, Field(ge=30, le=100)] | None = Field(
        None, description="its prescription isodose in percent of the maximum dose in it"
    )
    margin_mm: NonNegativeMm3 | None = Field(
        None,
        description="its margin per axis (LR, AP, SI) in mm under every strategy; that of the strategy when absent",
    )
    amplitude_mm: NonNegativeMm3 | None = Field(
        None,
        description="its breathing, peak to peak per axis (LR, AP, SI) in mm; that of the study's respiration when absent",
    )
    lag_deg: Deg3 | None = Field(
        None, description="how far it trails the breathing signal, degrees of the cycle per axis"
    )
    baseline: Baseline | None = Field(None, description="its shifts against bone")
    baseline_correlation: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.0, description="correlation of its shifts against bone with those of the first target, per axis"
    )
    registration: Registration | None = Field(None, description="co-registration error of it as drawn")
    delineation: Delineation | None = Field(None, description="delineation error of its surface")

    def prescribed(self, study: Prescription) -> Prescription:
        """Its prescription, in the fractions of the study."""
        own = {key: getattr(self, key) for key in ("dose_gy", "isodose_percent")}
        return study.model_copy(update={key: value for key, value in own.items() if value is not None})

    def errors(self, study: Uncertainty, owner: str = "") -> Uncertainty:
        """The errors as it meets them; what is not known of those that it has for itself goes by the name of their owner."""
        own = {key: source.owned_by(owner) for key, source in self.sources.items()}
        return study.model_copy(update=own)

    @property
    def sources(self) -> dict[str, Source]:
        """The errors that it has for itself, by key."""
        own = {key: getattr(self, key) for key in OF_EACH_TARGET}
        return {key: source for key, source in own.items() if source is not None}

    def tied(self, respiration: Respiration) -> TiedStructure:
        """Its breathing by the signal of the first target."""
        amplitude_mm = respiration.amplitude_mm if self.amplitude_mm is None else self.amplitude_mm
        return TiedStructure(
            amplitude_mm=amplitude_mm, lag_deg=respiration.lag_deg if self.lag_deg is None else self.lag_deg
        )


def first_is_that_of_the_case(raw: Any) -> Any:
    """A study as read, whose case's target is the first of several, so that it need not be written twice; a phantom's node
    keeps its name."""
    if not isinstance(raw, dict) or not isinstance(raw.get("targets"), dict) or not raw["targets"]:
        return raw
    case, first = raw.get("case"), next(iter(raw["targets"]))
    if not isinstance(case, dict) or "phantom" in case:
        return raw
    if case.get("target", first) != first:
        raise ValueError(f"targets: the first is {first}, but case.target is {case['target']!r}; leave case.target out")
    return raw | {"case": case | {"target": first}}


def check_first(targets: dict[str, TargetOfStudy]) -> None:
    """Refuse that the first target, which the study's own keys are about, has them a second time.

    Raises
    ------
    ValueError : it has.
    """
    first = next(iter(targets), None)
    for key, instead in _OF_FIRST.items():
        if first is not None and getattr(targets[first], key) != TargetOfStudy.model_fields[key].default:
            raise ValueError(f"targets.{first}.{key}: {first} is the first target; {instead}, leave it out here")
