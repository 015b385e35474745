"""Commented starter studies for `simulator init`."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from simulator.case.entries import Inventory, StructureEntry
from simulator.case.inventory import inventory
from simulator.case.tg263 import is_organ, standard_names
from simulator.ground.spec import ConfigError
from simulator.study_file.checked_yaml import to_scalar
from simulator.study_file.json_schema import FILE
from simulator.study_file.own_plans import OwnPlan, entries, is_grid, margins_of, motions_of, own_plans
from simulator.study_file.published import library_names


@dataclass(frozen=True)
class _Site:
    """What is usual at a site; the errors are those of configs/*_strategies.yaml, which names their sources."""

    dose_gy: float
    fractions: int
    setup_mm: str
    baseline: str
    respiration: str
    motion: str
    organ: str


_BREATHING = """  respiration:
    amplitude_mm: {amplitude}   # peak to peak{{own_amplitude}}
    course_cv: 0.4         # {{amplitude_between_courses}}
    fraction_cv: 0.2       # its spread between fractions
"""


@dataclass(frozen=True)
class _Subject:
    """Whom a study is about, and what its spreads between courses are then."""

    line: str
    errors: str
    own_amplitude: str
    amplitude_between_courses: str


_POPULATION = _Subject(
    "population        # patients in general; `patient`: one of them (init --dicom writes that)",
    "# systematic: between patients; random: between the fractions of each",
    "",
    "its spread between patients",
)
_PATIENT = _Subject(
    "patient           # this one: what is measured of him is known (docs/how-to/motion.md); `population`: patients in general",
    """# systematic: between patients of the clinic, of whom he is one, so that his own
                           # is drawn anew in each course; random: from fraction to fraction""",
    ", usual at the site; his own by `simulator motion FOLDER` (4DCT)",
    """how well his own amplitude is known: as patients differ, until it is measured;
                           # then only as his days do (fraction_cv, after one 4DCT)""",
)
_MANAGED = "[none, itv]      # also mid-ventilation, gating, breath-hold, tracking, compression"
_SITES = {
    "mediastinal": _Site(
        50, 5, "[2.7, 2.7, 2.7]", "systematic_mm: [2.1, 1.7, 3.4], random_mm: [2.0, 1.5, 2.3]",
        _BREATHING.format(amplitude="[2.3, 2.1, 4.6]"), _MANAGED, "Esophagus",
    ),
    "abdominal": _Site(
        35, 5, "[2.7, 2.7, 2.7]", "systematic_mm: [1.2, 1.2, 1.2], random_mm: [1.5, 1.5, 1.5]",
        _BREATHING.format(amplitude="[1.5, 2.0, 5.7]"), _MANAGED, "Duodenum",
    ),
    "pelvic": _Site(
        30, 3, "[2.3, 3.0, 2.8]", "systematic_mm: [1.9, 1.9, 1.9], random_mm: [1.4, 1.4, 1.4]",
        "  # respiration: {{amplitude_mm: [0.3, 0.5, 1.0]}}         # pelvic nodes hardly breathe\n",
        "[none]           # with respiration also itv, mid-ventilation, gating, breath-hold, tracking, compression",
        "Rectum",
    ),
}  # fmt: skip

_TARGET_SIGNS = ("^gtv", "^ctv", "tumou?r", r"node|lesion|metas|\bmets?\b", "^ptv|^itv")
_TARGET_TYPES = ("GTV", "CTV", "PTV")
_AID = re.compile(
    r"(?<![a-z])(block|ring|shell|opt|avoid|help|dummy|prv|body|external|outline|patient|skin)(?![a-z])", re.I
)

_PHANTOM = """case:
  phantom: {site}          # mediastinal, abdominal, pelvic or sphere; or give your patient's data instead:
  # dicom: path/to/folder  # RTSTRUCT and, where wanted, CT, RTDOSE, RTPLAN; `simulator inspect FOLDER` lists them
  # target: GTV
"""

_DICOM = """case:
  dicom: {folder}
{structure_set}  target: {target}         # {remark}
  {aliases}   # standard name: your clinic's names
  # densities: {{Lung_L: 0.26}}               # relative to water, where there is no CT
"""

_PLAN = """  model: conformal-arc     # or your own plan for each margin, by file name or UID:
  # model: rtdose
  # doses: [{margin_mm: 5, dose: RD.plan-with-5-mm.dcm}]"""

_MARGINS = "[0, 3, 5, 8] # also [5, 5, 8] per axis, or van-herk"

_STUDY = (
    f"# yaml-language-server: $schema={FILE}\n"
    """# A study: what can go wrong, what is done about it, what counts as success.
# Every key is explained in docs/reference/configuration.md. Next: simulator check THIS_FILE
name: {study}
subject: {subject.line}

{case}
prescription: {prescription}

plan:
{plan}

uncertainty:               # one standard deviation per axis (LR, AP, SI); leave out what you do not want
                           {subject.errors}
  setup:
    systematic_mm: {site.setup_mm}
    random_mm: {site.setup_mm}
  baseline: {{{site.baseline}}}   # of the target against bone
  drift: {{sd_mm_per_min: [0.08, 0.08, 0.08]}}   # of the patient during the session
{respiration}  registration: {{systematic_mm: [2.0, 2.0, 2.0]}}   # PET-CT to planning CT (judgement)
  delineation: {{sd_mm: 1.5, correlation_deg: 45}}   # of the drawn target (judgement)
  isocentre: {{systematic_mm: [0.4, 0.4, 0.4]}}      # between image and beam
  # organs: {{Bowel_Small: {{random_mm: 4.5, degrees_of_freedom: 3}}}}   # that move on their own
  # configs/{name}_strategies.yaml gives typical values of every source with their publications

strategies:                # every margin with every motion management and every guidance protocol
  margins_mm: {margins}
  motion: {motion}
  guidance: [none, online-bone, online-target]   # also nal, enal

goals:
  {published}
  - {coverage}      # your own: STRUCTURE METRIC OP VALUE
  # - "{site.organ} D1cc <= 28 Gy"     # goals on organs, with your own limits
  # - {biological}  # biological doses, with the alpha/beta in Gy: BED(10):, EQD2(3):

# simulate: {{interplay: screen, model_error: true}}   # what the limits of the model are worth in this study; minutes
courses: 2000
seed: 1
"""
)


def starter_study(site: str, dicom: Path | None = None) -> str:
    """A commented study file.

    Parameters
    ----------
    site : mediastinal, abdominal or pelvic.
    dicom : folder of a patient to start from; its structures are named in the file.

    Raises
    ------
    ConfigError : unknown site, or a folder without structures.
    """
    if site not in _SITES:
        raise ConfigError(f"--site {site}: has to be one of {', '.join(_SITES)}")
    usual = _SITES[site]
    target, case, found, own = "GTV", _PHANTOM.format(site=site), Inventory(""), list[OwnPlan]()
    if dicom is not None:
        found = inventory(dicom)
        target, case = _dicom_case(dicom, found.structures)
        drawn = [s for s in found.structures if s.source == found.structures[0].source]
        short = {name: short for short, name in aliases_of([s.name for s in drawn]).items()}
        own = [plan.with_names(short) for plan in own_plans(found, drawn)]
        case += _which_plan(found, own)
    prescription, fractions = _prescription(usual, found)
    subject = _POPULATION if dicom is None else _PATIENT
    return _STUDY.format(
        subject=subject,
        respiration=usual.respiration.format(
            own_amplitude=subject.own_amplitude, amplitude_between_courses=subject.amplitude_between_courses
        ),
        study=f"my-{site}-node" if dicom is None else f"{site}-{_pseudonym(dicom)}",
        name=site,
        site=usual,
        case=case,
        prescription=prescription,
        plan=_own_doses(own) if own else _PLAN,
        margins=f"{margins_of(own)}   # those of the doses" if is_grid(own) else _MARGINS,
        motion=f"{motions_of(own)}   # those of the doses" if is_grid(own) and motions_of(own) else usual.motion,
        published=_published(site, fractions),
        coverage=to_scalar(f"{target} D98% >= 95%", quoted=True),
        biological=to_scalar(f"{target} BED(10):D98% >= 100 Gy", quoted=True),
    )


def _own_doses(own: Sequence[OwnPlan]) -> str:
    """The lines that replace plans made here by the doses of the folder, to be confirmed."""
    lines = [
        "  model: conformal-arc     # or the doses of the folder: take this line out and the # off the following, CONFIRM each",
        "  # model: rtdose",
        "  # doses:                 # each is that of the strategies that its keys name, and of all where it names none",
        *(f"  #   {line}" for line in entries(own)),
    ]
    return "".join(map(_in_one_line, lines)).rstrip("\n")


def _which_plan(found: Inventory, own: Sequence[OwnPlan]) -> str:
    """The lines that choose one of several plans and the doses of them; nothing where there is no choice."""
    plans = [p for p in found.plans if not p.misfit]
    if len(plans) < 2:
        return ""
    doses = ", ".join(to_scalar(o.dose.source, quoted=True) for o in own)
    rtdoses = _in_one_line(f"rtdoses: [{doses}]   # those of plan.doses below") if own else ""
    if any(o.margin_mm for o in own) and all(o.plan for o in own):
        return f"  {rtdoses}"
    each = ", ".join(f"{p.source} ({_said(p.prescription_gy)} Gy in {_said(p.fractions)})" for p in plans)
    which = _in_one_line(f"  rtplan: {to_scalar(plans[0].source)}   # CHOOSE one of {len(plans)} plans: {each}")
    return which + (f"  # {rtdoses}" if own else "")


def _prescription(usual: _Site, found: Inventory) -> tuple[str, int]:
    """The prescription with a remark on where it comes from, and its fractions."""
    plan = next((p for p in found.plans if not p.misfit), None)
    if plan is None:
        strangers = "; ".join(f"{p.source} {p.misfit}, and is not used" for p in found.plans)
        return _prescribed(usual.dose_gy, usual.fractions, 80, strangers), usual.fractions
    given = {"dose": plan.prescription_gy, "fractions": plan.fractions}
    own = " and ".join(name for name, value in given.items() if value)
    lacking = " and ".join(name for name, value in given.items() if not value)
    dose_gy, fractions = plan.prescription_gy or usual.dose_gy, plan.fractions or usual.fractions
    remarks = [f"{own} of {plan.source}"] if own else []
    remarks += [f"{plan.source} does not give the {lacking}, usual ones of the site are"] if lacking else []
    highest = [(d.max_dose, d.source) for d in found.doses if d.plan_uid == plan.uid and d.units == "GY"]
    isodose = 100 * dose_gy / highest[0][0] if highest and plan.prescription_gy and highest[0][0] > 0 else 0
    is_known = 30 <= isodose <= 100
    remarks.append(f"isodose from the highest dose of {highest[0][1]}" if is_known else "the isodose is a guess")
    remarks += plan.remarks
    same = (plan.prescription_gy, plan.fractions)
    others = [p for p in found.plans if not p.misfit and (p.prescription_gy, p.fractions) != same]
    remarks += [f"{p.source} prescribes {_said(p.prescription_gy)} Gy in {_said(p.fractions)}" for p in others]
    return _prescribed(dose_gy, fractions, round(isodose) if is_known else 80, "; ".join(remarks)), fractions


def _prescribed(dose_gy: float, fractions: int, isodose: int, remark: str) -> str:
    values = f"{{dose_gy: {dose_gy:g}, fractions: {fractions}, isodose_percent: {isodose}}}"
    return _in_one_line(f"{values}   # {remark}").rstrip() if remark else values


def _said(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"


def _in_one_line(text: str) -> str:
    """A line of the file; line breaks in names of files become spaces."""
    return "".join(c if c.isprintable() else " " for c in text) + "\n"


def _pseudonym(dicom: Path) -> str:
    """A name for the patient of a folder; the folder's own may be the patient's."""
    return hashlib.sha256(str(dicom.resolve()).encode()).hexdigest()[:6]


def _published(site: str, fractions: int) -> str:
    """The line of the goals that names the published ones."""
    library = f"{site}-{fractions}fx"
    if library in library_names():
        return f"- {library}      # published constraints for this site and number of fractions"
    others = [name for name in library_names() if name.startswith(site)]
    return f"# - {others[0]}      # nothing published is known for {fractions} fractions; there are {', '.join(others)}"


def _dicom_case(dicom: Path, structures: Sequence[StructureEntry]) -> tuple[str, str]:
    """The target, TARGET where the user has to choose one, and the lines about the case."""
    folder = str(dicom.resolve())
    if not structures:
        raise ConfigError(
            f"{dicom}: no RTSTRUCT with structures here, and a study needs them; `simulator inspect {dicom}` says what there is"
        )
    try:
        folder.encode()
    except UnicodeEncodeError:
        shown = folder.encode(errors="replace").decode()
        raise ConfigError(
            f"--dicom {shown}: its name is not Unicode, which a study file is; rename the folder"
        ) from None
    sources = list(dict.fromkeys(s.source for s in structures))
    own = [s for s in structures if s.source == sources[0]]
    which = f"  structure_set: {to_scalar(sources[0])}   # CHOOSE one of {', '.join(sources)}"
    aliases = aliases_of([s.name for s in own])
    shown = ", ".join(f"{to_scalar(short)}: [{to_scalar(name, quoted=True)}]" for short, name in aliases.items())
    target, why = target_of(own)
    names = ", ".join(s.name for s in own)
    short = next((short for short, name in aliases.items() if name == target), target)
    return short or "TARGET", _DICOM.format(
        folder=to_scalar(folder),
        structure_set=_in_one_line(which) if len(sources) > 1 else "",
        target=to_scalar(short) if short else "",
        remark=_in_one_line(f"{why}; structures: {names}").rstrip(),
        aliases=f"aliases: {{{shown}}}" if aliases else "# aliases: {SpinalCord: [cord, Myelon]}",
    )


def target_of(structures: Sequence[StructureEntry]) -> tuple[str | None, str]:
    """The structure that margins are added to, and why it is taken to be the target; None where none can be told.

    One typed GTV goes first, then one so called, then CTV, other words for a tumour, and PTV. Empty structures, organs (by
    type or by name) and the body are never targets; what is named as a planning aid is the last choice.
    """
    ranked = [(rank, i) for i, s in enumerate(structures) if (rank := _rank(s)) is not None]
    if not ranked:
        return None, "CHOOSE the target: no drawn structure is typed or named as one"
    (_, order, _), i = min(ranked)
    chosen = structures[i]
    is_typed = order in (0, 2, 5)
    why = f"typed {chosen.kind}" if is_typed else "taken for the target by its name"
    if order > 1:
        why += "; no structure is a GTV: margins are added to this one"
    others = [structures[k].name for (_, other, _), k in ranked if other == order and k != i]
    return chosen.name, why + (f"; could also be {', '.join(others)}" if others else "")


def _rank(structure: StructureEntry) -> tuple[bool, int, int] | None:
    """How likely a structure is the target, the lowest first; None if it cannot be."""
    is_target_type = structure.kind in _TARGET_TYPES
    if structure.is_empty or is_organ(structure.name) or (structure.kind and not is_target_type):
        return None
    sign = next((i for i, sign in enumerate(_TARGET_SIGNS) if re.search(sign, structure.name, re.I)), None)
    orders = [] if sign is None else [(1, 3, 4, 4, 6)[sign]]
    orders += [(0, 2, 5)[_TARGET_TYPES.index(structure.kind)]] if is_target_type else []
    return (
        (bool(_AID.search(structure.name)), min(orders), len(_TARGET_SIGNS) if sign is None else sign)
        if orders
        else None
    )


def aliases_of(names: list[str]) -> dict[str, str]:
    """New name: name of the structure set, standard ones for organs, others where a goal cannot spell a name with blanks."""
    aliases = standard_names(names)
    for name in names:
        if name not in aliases.values() and not (re.fullmatch(r"\S+", name) and name.isprintable()):
            plain = re.sub(r"\W+", "_", name).strip("_") or "structure"
            taken = {*names, *aliases}
            numbered = (f"{plain}_{n}" for n in count(2))
            aliases[plain if plain not in taken else next(n for n in numbered if n not in taken)] = name
    return aliases
