"""Plans whose dose was computed elsewhere: which RTDOSE (or archived dose) is that of which candidates."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self

import numpy as np

from simulator.case.anatomy import Case, ImportedDose, PlanFacts
from simulator.case.geometry import Volume
from simulator.case.structures import Structure
from simulator.ground.spec import CaseError, ConfigError, Field, NonNegativeMm3, Spec, model_validator
from simulator.plan.along_beams import PlanAlongBeams, directions_of
from simulator.plan.dose import LimitedSplineDose
from simulator.plan.in_parts import PlanBeamByBeam
from simulator.plan.model import Order, PlanModelKind
from simulator.plan.quality import Plan, plan_quality
from simulator.plan.targets import Expansion, TargetVolume, expand, planning_target
from simulator.plan.together import added_up, one_for_all
from simulator.strategy import Strategy

_SAME_MARGIN_MM = 0.05
_LEAST_TARGET_IN_PTV = 0.5
_AS_DRAWN = np.zeros((1, 3))


class ImportedPlan(Spec):
    """A dose, the candidates that it was planned for (what is not named, it is the same for), and what was drawn for it."""

    margin_mm: NonNegativeMm3 | None = Field(
        None, description="margin per axis (LR, AP, SI) in mm; one number for all axes; any when absent"
    )
    motion: str | None = Field(None, description="motion management by its kind or its name; any when absent")
    guidance: str | None = Field(None, description="image guidance by its kind or its name; any when absent")
    prv_mm: Annotated[float, Field(ge=0, le=20)] | None = Field(
        None, description="planning-risk volume of the strategy in mm; any when absent"
    )
    dose: str = Field(description="label of the dose, its file, or its SOP instance UID (a unique end of it suffices)")
    plan: str | None = Field(
        None, description="its RTPLAN, by label, file or UID (or its end); by default the one that the dose refers to"
    )
    ptv: str | dict[str, str] | None = Field(
        None,
        description="the PTV as drawn (of several targets each, by target); by default the planning target expanded by the "
        "margin",
    )
    itv: str | dict[str, str] | None = Field(
        None,
        description="what the margin was added to, as drawn (of several targets each, by target); by default the target along "
        "its planned path",
    )

    target: str | None = Field(
        None,
        description="of plans that add up, one for each of several targets: the target whose plan it is; a plan of all targets "
        "when absent",
    )
    prv: tuple[str, ...] = Field(
        (), description="planning-risk volumes as drawn, which the PTV may have had to leave out"
    )

    def fit(self, strategy: Strategy, expansion: Expansion) -> tuple[int, int] | None:
        """How closely it names a candidate: by how many keys, and by how many names rather than kinds; None if it does not."""
        roles = [(self.motion, strategy.motion), (self.guidance, strategy.guidance)]
        fits = [named in (role.kind, role.label()) for named, role in roles if named is not None]
        if self.margin_mm is not None:
            away_mm = expansion.margin_mm - np.array(self.margin_mm)[:, None]
            fits.append(bool(np.all(np.abs(away_mm) < _SAME_MARGIN_MM)))
        if self.prv_mm is not None:
            fits.append(self.prv_mm == strategy.prv_mm)
        by_name = sum(named is not None and named == role.name for named, role in roles)
        return (len(fits), by_name) if all(fits) else None

    def named(self) -> str:
        """The candidates that it names, in words."""
        keys = {"motion": self.motion, "guidance": self.guidance}
        keys = {"margin": None if self.margin_mm is None else _words(self.margin_mm)} | keys
        keys |= {"PRV": None if self.prv_mm is None else f"{self.prv_mm:g} mm", "target": self.target}
        return ", ".join(f"{key} {value}" for key, value in keys.items() if value is not None) or "all strategies"

    def dose_in(self, case: Case) -> ImportedDose:
        """The dose, with what its RTPLAN says.

        Raises
        ------
        ConfigError : a name fits none or several of the case's doses or plans, or the dose refers to another plan.
        """
        dose = _find_dose(case, self.dose)
        if self.plan is None:
            return dose
        plan = _find_plan(case, self.plan, dose)
        if dose.plan_uid and dose.plan and plan.uid != dose.plan_uid:
            raise ConfigError(
                f"plan.doses: dose {self.dose!r} refers to RTPLAN {dose.plan.source}, not to {plan.source}; correct plan, or "
                "leave it out"
            )
        return replace(dose, plan=plan)

    def drawn_for(self, target: str, key: Literal["ptv", "itv"]) -> str | None:
        """The name of what was drawn for a target; None where nothing was."""
        named = self.ptv if key == "ptv" else self.itv
        return named.get(target) if isinstance(named, dict) else named

    def drawn_for_planning(self) -> list[str]:
        """Names of all that was drawn for it."""
        named = [list(of.values()) if isinstance(of, dict) else [of] for of in (self.ptv, self.itv)]
        return [name for some in (*named, self.prv) for name in some if name is not None]

    def ptv_in(self, case: Case, target: TargetVolume, expansion: Expansion) -> TargetVolume:
        """The PTV as drawn, or the planning target expanded by the margin.

        Raises
        ------
        ConfigError : there is no such structure, or it is of another target.
        """
        name = self.drawn_for(case.target, "ptv")
        if name is None:
            return expand(target, expansion)
        ptv = drawn(case, "ptv", name)
        gtv = case.gtv.region.occupancy(ptv.lattice)
        inside = float(np.minimum(gtv, ptv.occupancy).sum()) * ptv.lattice.voxel_cc / case.gtv.volume_cc
        if inside < _LEAST_TARGET_IN_PTV:
            raise ConfigError(
                f"plan.doses: ptv {name!r} of dose {self.dose!r} holds {100 * inside:.0f} % of {case.target}; name the PTV "
                "of this target"
            )
        return ptv

    def spared_in(self, case: Case, ptv: TargetVolume) -> np.ndarray:
        """Share of each voxel of the PTV's lattice that planning-risk volumes fill.

        Raises
        ------
        ConfigError : there is no such structure.
        """
        spared = np.zeros(ptv.lattice.shape, np.float32)
        for name in self.prv:
            np.maximum(spared, _structure(case, "prv", name).region.occupancy(ptv.lattice), out=spared)
        return spared


class OwnPlans(PlanModelKind):
    """The case's own plans, each for the candidates that it was planned for."""

    plans_any_margin: ClassVar[bool] = False
    has_parts: ClassVar[bool] = True

    prv = "a name"

    model: str
    doses: tuple[ImportedPlan, ...] = Field(
        min_length=1,
        description="which dose of the case is that of which candidates; what names a candidate most closely holds",
    )

    @model_validator(mode="after")
    def _is_for_all_or_for_each(self) -> Self:
        for_all = [entry.dose for entry in self.doses if entry.target is None]
        if for_all and self.treats_each:
            raise ValueError(
                f"doses: {', '.join(for_all)} name no target, others do; name it in all of them where plans add up, or in none"
            )
        return self

    @property
    def treats_each(self) -> bool:
        """Whether each of several targets has a plan of its own."""
        return any(entry.target is not None for entry in self.doses)

    def of(self, strategy: Strategy, expansions: Mapping[str, Expansion]) -> Self:
        """The one dose of a candidate, for each target where plans add up: that which names it by most keys, then by names
        rather than kinds.

        Raises
        ------
        ConfigError : no dose fits, or several equally.
        """
        if not self.treats_each:
            first = next(iter(expansions.values()))
            return self.model_copy(update={"doses": (self._closest(self.doses, strategy, first, ""),)})
        if unknown := [entry.target for entry in self.doses if entry.target not in expansions]:
            raise ConfigError(
                f"plan.doses: {unknown[0]!r} is no target of this study ({', '.join(expansions)}); correct target, or name it "
                "under targets"
            )
        closest = [
            self._closest([e for e in self.doses if e.target == target], strategy, expansion, f", target {target}")
            for target, expansion in expansions.items()
        ]
        return self.model_copy(update={"doses": tuple(closest)})

    def _closest(
        self, doses: Sequence[ImportedPlan], strategy: Strategy, expansion: Expansion, of_target: str
    ) -> ImportedPlan:
        fits = {i: fit for i, entry in enumerate(doses) if (fit := entry.fit(strategy, expansion)) is not None}
        closest = [doses[i] for i, fit in fits.items() if fit == max(fits.values())]
        said = f"strategy {strategy.label()!r} (margin {_words_of(expansion)}{of_target})"
        if not closest:
            given = "; ".join(entry.named() for entry in self.doses)
            raise ConfigError(
                f"plan.doses: no dose for {said}; there are doses for {given}. Add the dose of that plan, or leave the "
                "strategy out"
            )
        if len(closest) > 1:
            which = " and ".join(f"{entry.dose!r} ({entry.named()})" for entry in closest)
            raise ConfigError(
                f"plan.doses: {said} fits {len(closest)} doses equally: {which}; name more of margin_mm, motion, guidance and "
                "prv_mm, or take one out"
            )
        return closest[0]

    def check_all_used(self, by_candidates: Collection[PlanModelKind]) -> None:
        """Refuse doses that are of no candidate."""
        used = {entry for model in by_candidates if isinstance(model, OwnPlans) for entry in model.doses}
        if unused := [entry for entry in self.doses if entry not in used]:
            which = "; ".join(f"{entry.dose!r} ({entry.named()})" for entry in unused)
            raise ConfigError(
                f"plan.doses: no strategy has the dose {which}; add the strategy, correct margin_mm, motion, guidance and "
                "prv_mm (kind or name, as under strategies), or take the dose out"
            )

    def used(self, case: Case) -> list[ImportedDose]:
        """The doses that the study names, each once.

        Raises
        ------
        ConfigError : a name fits none or several of the case's doses or plans.
        """
        return list({(entry.dose, entry.plan): entry.dose_in(case) for entry in self.doses}.values())

    def used_for(self, case: Case, target: str) -> list[ImportedDose]:
        """The doses that treat a target."""
        own = tuple(entry for entry in self.doses if entry.target in (None, target))
        return self.model_copy(update={"doses": own}).used(case)

    def entry_of(self, target: str) -> ImportedPlan:
        """The dose that treats a target, for what `of` gives."""
        return next(entry for entry in self.doses if entry.target in (None, target))

    def planning_structure(self, target: str) -> str | None:
        """The ITV as drawn, for what `of` gives."""
        return self.entry_of(target).drawn_for(target, "itv")

    def planning_target(self, case: Case, target: Structure, path_mm: np.ndarray) -> TargetVolume:
        """The ITV as drawn or, where none is named, a target along a path; for what `of` gives."""
        itv = self.planning_structure(target.name)
        return super().planning_target(case, target, path_mm) if itv is None else drawn(case, "itv", itv)

    def ptv(self, order: Order) -> TargetVolume:
        """The PTV as drawn or, where none is named, the planning target grown by the margin; for what `of` gives."""
        entry = self.entry_of(order.case.target)
        return order.ptv if entry.ptv is None else entry.ptv_in(order.case, order.target, order.expansion)

    @property
    def planning_volumes(self) -> frozenset[str]:
        """PTVs, ITVs and planning-risk volumes as drawn."""
        return frozenset(name for entry in self.doses for name in entry.drawn_for_planning())

    def check(self, orders: Sequence[Order]) -> None:
        """Refuse what cannot be planned; see `plan`."""
        for order in orders:
            _, ptv = self.dose_and_ptv(order)
            self.entry_of(order.case.target).spared_in(order.case, ptv)

    def check_parts(self, orders: Sequence[Order]) -> None:
        """Refuse a dose that is not known beam by beam, or whose beams turn; see `plan`."""
        if self.treats_each:
            raise ConfigError(
                "simulate.interplay: it is not simulated where plans of several targets add up; take interplay out"
            )
        for order in orders:
            imported = self.entry_of(order.case.target).dose_in(order.case)
            if reason := imported.why_no_parts:
                raise ConfigError(
                    f"simulate.interplay: of dose {imported.label!r} it is not known when which part is delivered: {reason}; "
                    "export one RTDOSE for each beam that stands still, let an engine tell (`plan: {model: rtplan}`), or take "
                    "interplay out"
                )

    def plan(self, order: Order) -> Plan:
        """The imported plan of a candidate, for what `of` gives.

        Raises
        ------
        ConfigError : the name of its dose, plan or PTV fits none or several of the case's.
        CaseError : the dose grid does not cover the PTV.
        """
        imported, ptv = self.dose_and_ptv(order)
        plan = self.rated(order, imported.dose_gy, ptv)
        if imported.plan is None or not imported.plan.beams:
            return plan
        known = plan.__dict__ | {"density": order.case.density, "directions": directions_of(imported.plan.beams)}
        if imported.why_no_parts:
            return PlanAlongBeams(**known)
        parts_gy = np.stack([imported.beams_gy[beam.number] for beam in imported.plan.beams])
        return PlanBeamByBeam(**known, parts_gy=parts_gy, windows=imported.plan.windows)

    def rated(self, order: Order, dose_gy: Volume, ptv: TargetVolume) -> Plan:
        """A dose as the plan of a candidate, for what `of` gives."""
        dose, grid = LimitedSplineDose(dose_gy), dose_gy.grid
        spared = self.entry_of(order.case.target).spared_in(order.case, ptv)
        return Plan(dose, ptv, plan_quality(dose, ptv, order.prescription, grid, spared), grid)

    def together(self, plans: Sequence[Plan], orders: Sequence[Order], *, in_turn: bool) -> Plan:
        """The plan of all targets: one dose, or the sum of the doses of each."""
        if not self.treats_each:
            return one_for_all(plans)
        return added_up(plans, [order.prescription for order in orders], in_turn=in_turn)

    def dose_and_ptv(self, order: Order) -> tuple[ImportedDose, TargetVolume]:
        """The dose of a candidate and its PTV, for what `of` gives; see `plan`."""
        entry = self.entry_of(order.case.target)
        case, expansion = order.case, order.expansion
        imported, ptv = entry.dose_in(case), self.ptv(order)
        if not imported.dose_gy.grid.contains(ptv.surface_mm).all():
            name = entry.drawn_for(case.target, "ptv")
            which = f"the PTV of margin {_words_of(expansion)}" if name is None else f"its PTV {name!r}"
            raise CaseError(
                f"dose {imported.label!r} of case {case.name!r} does not cover {which}; export it on a larger grid"
            )
        return imported, ptv

    def describe(self, case: Case, strategies: Sequence[Strategy]) -> list[str]:
        """Whose the dose is, for whom it is the same, and what its PTV is."""
        return [self._in_words(entry, case, strategies) for entry in self.doses]

    def _in_words(self, entry: ImportedPlan, case: Case, strategies: Sequence[Strategy]) -> str:
        imported = entry.dose_in(case)
        plan = imported.plan
        of_plan = f" of RTPLAN {plan.source}" if plan else ""
        motions = dict.fromkeys(s.motion.label() for s in strategies)
        values = {
            "margin": (entry.margin_mm, [s.margin.label() for s in strategies]),
            "motion management": (entry.motion, motions),
            "image guidance": (entry.guidance, [s.guidance.label() for s in strategies]),
            "PRV": (entry.prv_mm, [f"{s.prv_mm:g} mm" for s in strategies if s.prv_mm]),
        }
        same = [
            f"{what} ({', '.join(dict.fromkeys(of))})" for what, (named, of) in values.items() if named is None and of
        ]
        whatever = f"; the same whatever the {' and the '.join(same)}" if same else ""
        whatever += ", none of which has a plan of its own" if entry.motion is None and len(motions) > 1 else ""
        treated = [target.name for target in case.targets if entry.target in (None, target.name)]
        ptv = ", ".join(_ptv_in_words(entry, case, target) for target in treated)
        spared = f", its planning-risk volumes are {', '.join(entry.prv)}" if entry.prv else ""
        named = entry.dose or imported.label
        parts = (
            ""
            if imported.why_no_parts
            else f"; its parts are its {len(imported.beams_gy)} beams, each the same while it is on"
        )
        return f"Dose {named!r}{of_plan} is that of {entry.named()}{whatever}; its PTV is {ptv}{spared}{parts}"


class ImportedDoses(OwnPlans):
    """The case's own doses, each for the candidates that it was planned for: nothing is synthesised and nothing rescaled."""

    limits_of_doses: ClassVar[str] = (
        "An imported dose holds for the images that it was computed on, all of one frame of reference."
    )

    model: Literal["rtdose"] = "rtdose"


def _ptv_in_words(entry: ImportedPlan, case: Case, target: str) -> str:
    itv, ptv = (entry.drawn_for(target, key) for key in ("itv", "ptv"))
    if ptv is not None:
        return f"{ptv} as drawn ({_structure(case, 'ptv', ptv).volume_cc:.1f} cc)"
    return f"{'the planning target' if itv is None else f'{itv} as drawn'} expanded here by the margin"


def drawn(case: Case, key: str, name: str) -> TargetVolume:
    """A structure that was drawn for planning.

    Raises
    ------
    ConfigError : there is none of that name.
    """
    return planning_target(_structure(case, key, name).region, _AS_DRAWN)


def _structure(case: Case, key: str, name: str) -> Structure:
    try:
        return case.structure(name)
    except CaseError as error:
        raise ConfigError(f"plan.doses: {key} {name!r}: {error}") from None


def _find_dose(case: Case, name: str) -> ImportedDose:
    """The dose with that label or UID, of that file, or with a UID that ends so; without a name the only one."""
    if not case.doses and not name:
        raise ConfigError(
            f"plan: case {case.name!r} has no planned dose; give a folder with its RTDOSE as case.dicom, or plan by inverse-arc"
        )
    found = [d for d in case.doses if name in (d.label, d.uid, d.source, "")]
    found = found or [d for d in case.doses if d.uid.endswith(name) or d.source.endswith(f"/{name}")]
    if len(found) != 1:
        known = ", ".join(f"{d.label} ({d.uid})" if d.uid else d.label for d in case.doses) or "none"
        problem = "fits several doses" if found else "is not a dose"
        raise ConfigError(f"plan.doses: {name!r} {problem} of case {case.name!r}; it has: {known}")
    return found[0]


def _find_plan(case: Case, name: str, dose: ImportedDose) -> PlanFacts:
    """The RTPLAN with that label or UID, of that file, or with a UID that ends so."""
    found = [p for p in case.plans if name in (p.label, p.uid, p.source)]
    found = found or [p for p in case.plans if p.uid.endswith(name) or p.source.endswith(f"/{name}")]
    if len(found) != 1:
        known = ", ".join(f"{p.label} ({p.source})" if p.label else p.source for p in case.plans) or "none"
        problem = "fits several plans" if found else "is not the plan of a dose"
        raise ConfigError(
            f"plan.doses: plan {name!r} of dose {dose.label!r} {problem} of case {case.name!r}; it has: {known}"
        )
    return found[0]


def _words_of(expansion: Expansion) -> str:
    margin = expansion.margin_mm
    return _words(margin[:, 0]) if np.array_equal(margin[:, 0], margin[:, 1]) else f"{margin.tolist()} mm"


def _words(margin_mm: tuple[float, float, float] | np.ndarray) -> str:
    values = [float(m) for m in margin_mm]
    return f"{values[0]:g} mm" if len(set(values)) == 1 else "/".join(f"{m:g}" for m in values) + " mm"
