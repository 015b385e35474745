"""A planning system's doses, delivered control point by control point: an engine tells their parts, and what moves them.

The planned dose T stays the planning system's. An engine computes what each part e_p of the RTPLAN gives in a density, and all
of it, E. It is scaled by one factor f, and has to agree with T. Then, e being a hundredth of the highest dose:

    D_p = T (f e_p + w_p e) / (f E + e)            a part, on during the share w_p of the time; all parts sum to T
    D(density) = T + f (E(density) - E)            the same beams in another density
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np

from simulator.case.anatomy import Case, ImportedDose
from simulator.case.geometry import Volume
from simulator.case.treatment_beams import TreatmentBeam
from simulator.ground.once import cached_property
from simulator.ground.spec import ConfigError, Field
from simulator.plan.dose import LimitedSplineDose
from simulator.plan.engine.comparison import LEAST_POINTS_PERCENT, MOST_RMS_PERCENT, compare
from simulator.plan.engine.engines import Engine, EngineName, engine_of
from simulator.plan.engine.grid import density_on, engine_grid
from simulator.plan.engine.segments import Segments, groups_of, segments_of, windows
from simulator.plan.imported import ImportedPlan, OwnPlans
from simulator.plan.in_parts import PlanInParts
from simulator.plan.model import Design, Order
from simulator.plan.quality import Plan
from simulator.strategy import Strategy

_LITTLE = 0.01


class DeliveredDoses(OwnPlans):
    """The case's own doses, each for the candidates that it was planned for, with the control points of their RTPLANs.

    An engine computes what each part of the plan gives, and what the plan gives in another density. It has to agree with the
    planning system's dose, which stays the planned one.
    """

    has_engine: ClassVar[bool] = True
    memory_mb: ClassVar[float] = 3000
    limits_of_doses: ClassVar[str] = (
        "The planned dose is the planning system's, for the images that it was computed on; its parts, and what it is on other "
        "anatomy, come from an engine with a beam model of its own."
    )

    model: Literal["rtplan"] = "rtplan"
    engine: EngineName = Field("pydosert", description="what computes the dose; an extra of the distribution")
    machine: str = Field(
        description="the engine's data of the machine: a preset's name, or a JSON file (docs/how-to/engine.md)"
    )
    part_s: Annotated[float, Field(ge=0.5, le=60)] = Field(
        1.0,
        description="longest time of a part in s: what is delivered together meets breathing together, so that longer parts "
        "understate interplay",
    )
    doses: tuple[ImportedPlan, ...] = Field(
        default_factory=lambda: (ImportedPlan.model_validate({"dose": ""}),),
        min_length=1,
        description="which dose of the planning system, with its RTPLAN, is that of which candidates; the only one by default",
    )

    @property
    def plan_seconds(self) -> float:
        """Rough time of a plan on one processor."""
        return 25

    def check(self, orders: Sequence[Order]) -> None:
        """Refuse what cannot be planned; see `plan`."""
        super().check(orders)
        _Delivery.of(self, orders[0].case)

    def check_parts(self, orders: Sequence[Order]) -> None:
        """The engine tells them."""

    def design(self, orders: Sequence[Order], map_: Callable[..., Iterable[Any]]) -> Sequence[Design]:
        """The dose of each part, (part, z, y, x) in Gy, and how the engine agrees with the planning system.

        Raises
        ------
        ConfigError : it agrees too little.
        """
        delivery = _Delivery.of(self, orders[0].case)
        found_gy, wanted = delivery.parts_gy(orders[0].case.density), delivery.wanted
        total_gy = found_gy.sum(axis=0)
        found = compare(total_gy, wanted.dose_gy)
        if not found.is_close:
            raise ConfigError(
                f"plan: {self.engine} with machine {self.machine!r} does not give dose {wanted.label!r} again: {found}; at "
                f"least {LEAST_POINTS_PERCENT:g} % of points and at most {MOST_RMS_PERCENT:g} % RMS are wanted. Take the "
                "machine of the RTPLAN, give densities that the CT does not show with case.densities, or take the dose as "
                "it is: `plan: {model: rtdose}`"
            )
        times, factor = np.array(windows(delivery.groups)), np.float32(found.factor)
        little_gy = _LITTLE * wanted.dose_gy.values.max()
        share = wanted.dose_gy.values / (factor * total_gy + little_gy)
        at_rest_gy = (np.diff(times, axis=1)[:, 0] * little_gy).astype(np.float32)
        design = {
            "parts_gy": (factor * found_gy + at_rest_gy[:, None, None, None]) * share,
            "engine_gy": factor * total_gy,
            "windows": times,
            "factor": np.array(found.factor),
            "points_percent": np.array(found.points_percent),
            "rms_percent": np.array(found.rms_percent),
        }
        return [design for _ in orders]

    def plan(self, order: Order) -> Plan:
        """The plan of a candidate, for what `of` gives; raises as `check` and `design` do."""
        return self.plans([order], map)[0]

    def plans(
        self, orders: Sequence[Order], map_: Callable[..., Iterable[Any]], designs: Sequence[Design] = ()
    ) -> list[Plan]:
        """The plans of several margins around one planning target."""
        known = designs or self.design(orders, map_)
        return [self._delivered(order, design) for order, design in zip(orders, known, strict=True)]

    def _delivered(self, order: Order, design: Design) -> "DeliveredPlan":
        imported, ptv = self.dose_and_ptv(order)
        return DeliveredPlan(
            **self.rated(order, imported.dose_gy, ptv).__dict__,
            parts_gy=design["parts_gy"],
            windows=design["windows"],
            engine_gy=design["engine_gy"],
            factor=float(design["factor"]),
            model=self,
            case=order.case,
        )

    def describe(self, case: Case, strategies: Sequence[Strategy]) -> list[str]:
        """Whose the dose is, who tells its parts, for whom it is the same, and what its PTV is."""
        return [
            *super().describe(case, strategies),
            f"Its parts are computed from the control points of the RTPLAN by {self.engine} (machine {self.machine_name})",
        ]

    @property
    def machine_name(self) -> str:
        """The machine without the folder of its file."""
        return self.machine.replace("\\", "/").rpartition("/")[2]


@dataclass(frozen=True)
class DeliveredPlan(PlanInParts):
    """A planning system's plan whose dose can be computed on another density.

    Parameters
    ----------
    engine_gy : (z, y, x), what the engine finds for all parts on the density of the plan, times the factor.
    """

    engine_gy: np.ndarray = field(kw_only=True)
    factor: float = field(kw_only=True)
    model: DeliveredDoses = field(kw_only=True)
    case: Case = field(kw_only=True)

    def dose_on(self, density: Volume) -> LimitedSplineDose:
        """The dose if the same beams met another density (relative to water), in the frame of the beam."""
        change_gy = self._delivery.parts_gy(density).sum(axis=0) * np.float32(self.factor) - self.engine_gy
        return LimitedSplineDose(Volume(self.grid, np.maximum(self.parts_gy.sum(axis=0) + change_gy, 0)))

    def scaled(self, factor: float) -> Self:
        """See `PlanInParts`."""
        scaled = super().scaled(factor)
        return replace(scaled, engine_gy=self.engine_gy * np.float32(factor), factor=self.factor * factor)

    @cached_property
    def _delivery(self) -> "_Delivery":
        return _Delivery.of(self.model, self.case)


@dataclass(frozen=True)
class _Delivery:
    """The beams of an RTPLAN in groups, an engine for them, and the dose of the planning system."""

    engine: Engine
    groups: list[Segments]
    wanted: ImportedDose
    n_fractions: int

    @classmethod
    def of(cls, model: DeliveredDoses, case: Case) -> "_Delivery":
        """For what `of` of a model gives.

        Raises
        ------
        ConfigError : the dose has no RTPLAN whose beams are known, or the engine or the machine does not know them.
        """
        wanted = model.entry_of(case.target).dose_in(case)
        beams = _beams_of(wanted)
        engine = engine_of(model.engine, model.machine)
        engine.check(beams)
        groups = groups_of([segments_of(beam, engine.speeds) for beam in beams], model.part_s)
        n_fractions = wanted.plan.fractions if wanted.plan else None
        return cls(engine, groups, wanted, n_fractions or 1)

    def parts_gy(self, density: Volume) -> np.ndarray:
        """Dose float32 (part, z, y, x) in Gy of the course at the nodes of the planning system's dose."""
        grid, kept = engine_grid(density.grid, self.wanted.dose_gy.grid)
        coarse = density_on(density, grid)
        return np.stack(
            [self.engine.dose_gy(coarse, group)[kept] * np.float32(self.n_fractions) for group in self.groups]
        )


def _beams_of(dose: ImportedDose) -> tuple[TreatmentBeam, ...]:
    """The beams of a dose's own RTPLAN."""
    if dose.plan is None or not dose.plan.beams:
        why = dose.plan.beams_unread if dose.plan and dose.plan.beams_unread else "it has no RTPLAN"
        raise ConfigError(
            f"plan: dose {dose.label!r} has no parts: {why}; put its RTPLAN into the folder, or take the planning "
            "system's dose as it is: `plan: {model: rtdose}`"
        )
    return dose.plan.beams
