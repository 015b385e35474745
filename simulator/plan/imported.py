"""Plans whose dose was computed elsewhere: one RTDOSE (or archived dose) for each candidate margin."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from simulator.case.anatomy import Case, ImportedDose
from simulator.plan.dose import LimitedSplineDose
from simulator.plan.model import PlanModelKind
from simulator.plan.prescription import Prescription
from simulator.plan.quality import Plan, plan_quality
from simulator.plan.sparing import Sparing
from simulator.plan.targets import Expansion, TargetVolume, expand
from simulator.spec import CaseError, ConfigError, Field, NonNegativeMm3, Spec

_SAME_MARGIN_MM = 0.05


class MarginDose(Spec):
    """The dose that belongs to one margin."""

    margin_mm: NonNegativeMm3 = Field(description="margin per axis (LR, AP, SI) in mm; one number for all axes")
    dose: str = Field(description="label of the dose, its file, or its SOP instance UID (a unique end of it suffices)")


class ImportedDoses(PlanModelKind):
    """The case's own doses, one per margin: nothing is synthesised and nothing rescaled."""

    prv = "a name"

    model: Literal["rtdose"] = "rtdose"
    doses: tuple[MarginDose, ...] = Field(min_length=1, description="which dose of the case belongs to which margin")

    def used(self, case: Case) -> list[ImportedDose]:
        """The doses that the study names, each once.

        Raises
        ------
        ConfigError : a name fits none or several of the case's doses.
        """
        found = [_find(case, entry.dose) for entry in self.doses]
        return list({id(dose): dose for dose in found}.values())

    def dose_of(self, case: Case, expansion: Expansion) -> ImportedDose:
        """The dose of a margin.

        Raises
        ------
        ConfigError : no dose for this margin, or its name fits none or several of the case's doses.
        """
        return _find(case, self._entry(expansion).dose)

    def check(
        self,
        case: Case,
        target: TargetVolume,
        expansions: Sequence[Expansion],
        prescription: Prescription,
        sparings: Sequence[Sparing] = (),
    ) -> None:
        """Refuse margins that cannot be planned; see `plan`."""
        for expansion in expansions:
            self._dose_and_ptv(case, target, expansion)

    def plan(self, case: Case, target: TargetVolume, expansion: Expansion, prescription: Prescription) -> Plan:
        """The imported plan for a margin.

        Raises
        ------
        ConfigError : no dose for this margin, or its name fits none or several of the case's doses.
        CaseError : the dose grid does not cover the PTV.
        """
        imported, ptv = self._dose_and_ptv(case, target, expansion)
        dose, grid = LimitedSplineDose(imported.dose_gy), imported.dose_gy.grid
        return Plan(dose, ptv, plan_quality(dose, ptv, prescription, grid), grid)

    def _dose_and_ptv(
        self, case: Case, target: TargetVolume, expansion: Expansion
    ) -> tuple[ImportedDose, TargetVolume]:
        """The dose of a margin, and the PTV that it covers."""
        entry = self._entry(expansion)
        imported, ptv = _find(case, entry.dose), expand(target, expansion)
        if not imported.dose_gy.grid.contains(ptv.surface_mm).all():
            raise CaseError(
                f"dose {imported.label!r} of case {case.name!r} does not cover the PTV of margin "
                f"{_words(entry.margin_mm)}; export it on a larger grid"
            )
        return imported, ptv

    def _entry(self, expansion: Expansion) -> MarginDose:
        wanted = expansion.margin_mm
        for entry in self.doses:
            if np.all(np.abs(wanted - np.array(entry.margin_mm)[:, None]) < _SAME_MARGIN_MM):
                return entry
        given = ", ".join(_words(d.margin_mm) for d in self.doses)
        asked = _words(wanted[:, 0]) if np.array_equal(wanted[:, 0], wanted[:, 1]) else f"{wanted.tolist()} mm"
        raise ConfigError(
            f"plan.doses: no dose for margin {asked}; there are doses for {given}. Add the dose of that plan, or leave "
            "the margin out of the strategies"
        )


def _find(case: Case, name: str) -> ImportedDose:
    """The dose with that label or UID, of that file, or with a UID that ends so."""
    found = [d for d in case.doses if name in (d.label, d.uid, d.source)]
    found = found or [d for d in case.doses if d.uid.endswith(name) or d.source.endswith(f"/{name}")]
    if len(found) != 1:
        known = ", ".join(f"{d.label} ({d.uid})" if d.uid else d.label for d in case.doses) or "none"
        problem = "fits several doses" if found else "is not a dose"
        raise ConfigError(f"plan.doses: {name!r} {problem} of case {case.name!r}; it has: {known}")
    return found[0]


def _words(margin_mm: tuple[float, float, float] | np.ndarray) -> str:
    values = [float(m) for m in margin_mm]
    return f"{values[0]:g} mm" if len(set(values)) == 1 else "/".join(f"{m:g}" for m in values) + " mm"
