"""The plans of a patient's folder: what margin and motion management each is of by its names, to be confirmed."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import get_args

from simulator.case.entries import DoseEntry, Inventory, PlanEntry, StructureEntry
from simulator.strategy.motion import Motion
from simulator.study_file.checked_yaml import to_scalar

_MOTIONS = get_args(get_args(Motion)[0])
_NUMBER = r"(\d{1,2}(?:\.\d+)?)"
_MARGINS = (
    rf"(?<![\d.]){_NUMBER}[x/]{_NUMBER}[x/]{_NUMBER} ?mm",
    rf"(?<![\d.]){_NUMBER} ?mm",
    rf"\+ ?{_NUMBER}(?![\d.]|[ _]?gy)",
    rf"(?:[pgci]tv|mid[ _-]?v\w*)[ _^-]*{_NUMBER}(?![\d.]|[ _]?gy)",
)
_LEAST_MM, _MOST_MM = 1.0, 20.0
_OF_NO_PLAN = re.compile(r"(?<![a-z])(block|ring|shell|opt|avoid|help|dummy|prv|eval)(?![a-z])", re.I)


@dataclass(frozen=True)
class OwnPlan:
    """A dose of the folder, and what names say of it; None where they say nothing.

    Parameters
    ----------
    margin_mm : one number, or three (LR, AP, SI).
    """

    dose: DoseEntry
    plan: PlanEntry | None
    margin_mm: tuple[float, ...] | None
    motion: str | None
    ptv: str | None = None
    itv: str | None = None

    @property
    def isodose_percent(self) -> float | None:
        """Prescription in percent of the highest dose; None where plan and dose do not tell."""
        prescribed = self.plan.prescription_gy if self.plan else None
        isodose = 100 * prescribed / self.dose.max_dose if prescribed and self.dose.max_dose > 0 else 0
        return isodose if 30 <= isodose <= 100 else None

    def with_names(self, short: Mapping[str, str]) -> "OwnPlan":
        """With structures called as in the study."""
        ptv, itv = (None if name is None else short.get(name, name) for name in (self.ptv, self.itv))
        return replace(self, ptv=ptv, itv=itv)

    def line(self, remark: str = "") -> str:
        """The entry of `plan.doses`, with what its plan says as a remark."""
        margin = None if self.margin_mm is None else _yaml_mm(self.margin_mm)
        entry = {"margin_mm": margin, "motion": self.motion, "dose": _quoted(self.dose.source)}
        entry |= {
            "plan": _quoted(self.plan.source if self.plan else None),
            "ptv": _quoted(self.ptv),
            "itv": _quoted(self.itv),
        }
        keys = ", ".join(f"{key}: {value}" for key, value in entry.items() if value)
        said = [self._said()] if self.plan else ["it refers to no RTPLAN of this folder"]
        return f"- {{{keys}}}   # " + "; ".join(filter(None, (*said, remark)))

    def _said(self) -> str:
        assert self.plan is not None
        dose_gy, fractions = ("?" if v is None else f"{v:g}" for v in (self.plan.prescription_gy, self.plan.fractions))
        isodose = "" if self.isodose_percent is None else f" to {self.isodose_percent:.0f} %"
        centre = self.plan.isocentre_mm
        where = "" if centre is None else f", isocentre ({', '.join(f'{v:g}' for v in centre)}) mm"
        return f"{self.plan.label or self.plan.source}: {dose_gy} Gy in {fractions}{isodose}{where}"


def own_plans(found: Inventory, structures: Sequence[StructureEntry]) -> list[OwnPlan]:
    """The plan doses of a folder, with the margin, the motion management and the PTV that names give them.

    The PTV is the structure that the RTPLAN prescribes to, else the one whose name says the same as the plan's. Names are asked
    in this order: that of the plan, of the dose file, of the PTV. Where some speak of motion, the others mean none.
    """
    plans = {p.uid: p for p in found.plans if not p.misfit}
    strangers = {p.uid for p in found.plans if p.misfit}
    usable = [d for d in found.doses if d.units == "GY" and d.summation == "PLAN" and d.max_dose > 0]
    ptvs = [s.name for s in structures if not s.is_empty and _is_ptv(s)]
    itvs = [s.name for s in structures if not s.is_empty and re.match(r"z?itv", s.name, re.I)]
    some = [_read(d, plans.get(d.plan_uid), ptvs) for d in usable if d.plan_uid not in strangers]
    if any(own.motion for own in some):
        some = [replace(own, motion=own.motion or "none") for own in some]
    itv = itvs[0] if len(itvs) == 1 else None
    return [replace(own, itv=itv if own.motion == "itv" else None) for own in some]


def is_grid(plans: Sequence[OwnPlan]) -> bool:
    """Whether names give a margin to every dose, and every motion management has one dose for each of the same margins."""
    pairs = Counter((own.margin_mm, own.motion) for own in plans)
    margins, motions = {margin for margin, _ in pairs}, {motion for _, motion in pairs}
    return (
        bool(plans) and None not in margins and set(pairs.values()) == {1} and len(pairs) == len(margins) * len(motions)
    )


def entries(plans: Sequence[OwnPlan]) -> list[str]:
    """The entries of `plan.doses` to confirm."""
    pairs = Counter((own.margin_mm, own.motion) for own in plans)
    lines = []
    for own in plans:
        unsaid = "" if own.margin_mm else "no name says the margin: write margin_mm"
        twice = "CHOOSE: another dose has the same names" if pairs[own.margin_mm, own.motion] > 1 else ""
        lines.append(own.line("; ".join(filter(None, (unsaid, twice)))))
    return lines


def margins_of(plans: Iterable[OwnPlan]) -> str:
    """Every margin once, ascending, as YAML."""
    return f"[{', '.join(map(_yaml_mm, sorted({own.margin_mm for own in plans if own.margin_mm})))}]"


def motions_of(plans: Iterable[OwnPlan]) -> str:
    """Every motion management once, as YAML; empty where names say nothing of it."""
    motions = [own.motion for own in plans if own.motion]
    return f"[{', '.join(dict.fromkeys(motions))}]" if motions else ""


def _read(dose: DoseEntry, plan: PlanEntry | None, ptvs: Sequence[str]) -> OwnPlan:
    names = [plan.label] if plan else []
    names.append(PurePosixPath(dose.source).stem)
    ptv = plan.target if plan and plan.target in ptvs else _ptv_like(names, ptvs)
    names += [ptv] if ptv else []
    margin = next(filter(None, map(margin_in, names)), None)
    return OwnPlan(dose, plan, margin, next(filter(None, map(motion_in, names)), None), ptv)


def _ptv_like(names: Sequence[str], ptvs: Sequence[str]) -> str | None:
    """The only PTV, or the only one whose name says the same margin and motion management."""
    margin = next(filter(None, map(margin_in, names)), None)
    motion = next(filter(None, map(motion_in, names)), "none")
    like = [p for p in ptvs if margin and (margin_in(p), motion_in(p) or "none") == (margin, motion)]
    if len(ptvs) == 1 and margin_in(ptvs[0]) in (None, margin):
        return ptvs[0]
    return like[0] if len(like) == 1 else None


def margin_in(name: str) -> tuple[float, ...] | None:
    """The margin in mm that a name says: PTV_5mm, PTV_ITV3, PTV+3, PTV_MidV_4, 5x5x8 mm; None for doses and running numbers."""
    for pattern in _MARGINS:
        if found := re.search(pattern, name, re.I):
            margin = tuple(map(float, found.groups()))
            return margin if all(_LEAST_MM < m <= _MOST_MM for m in margin) else None
    return None


def motion_in(name: str) -> str | None:
    """The motion management that a name speaks of."""
    for motion in _MOTIONS:
        kind: str = motion.model_fields["kind"].default
        if re.search(motion.named_like or kind.replace("-", "[ _-]?"), name, re.I):
            return kind
    return None


def _is_ptv(structure: StructureEntry) -> bool:
    is_named = structure.kind == "PTV" or re.match(r"z?ptv", structure.name, re.I)
    return bool(is_named) and not _OF_NO_PLAN.search(structure.name)


def _yaml_mm(margin_mm: tuple[float, ...]) -> str:
    return f"{margin_mm[0]:g}" if len(set(margin_mm)) == 1 else f"[{', '.join(f'{m:g}' for m in margin_mm)}]"


def _quoted(name: str | None) -> str | None:
    return None if name is None else to_scalar(name, quoted=True)
