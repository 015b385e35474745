"""The structure sets of a 4DCT: which phase each one is, and what it draws. Nothing is guessed.

A phase is a percentage of the breathing cycle, `30%`, `T30`, `Gated 30`, `phase 30`, that stands in what a structure set says
of itself, in the description of the CT series that it was drawn on, or else in the name of its file or folder.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.case.contours import drawn_spacing, slice_spacing
from simulator.case.dicom_files import DicomFile, items, of_kind, scan
from simulator.case.dicom_grids import ct_heights
from simulator.case.dicom_rois import Roi, rois_of
from simulator.ground.spec import CaseError

_PERCENT = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?)\s*%")
_NAMED = re.compile(
    r"(?<![a-z])(?:t|ph|phase|gated|resp)[\s_=:,-]*(\d{1,3}(?:\.\d+)?)(?![\d.%]|\s*(?:of|/)\s*\d)", re.I
)
_BY_DEPTH = re.compile(r"\d\s*%?\s*(?:in|ex)(?:h|hale|sp|spiration)?(?![a-z])|(?<![a-z])(?:in|ex)\s*\d+\s*%", re.I)
_NO_PHASE = re.compile(r"(?<![a-z])(?:avg|ave|average|aip|mip|minip|mean|untagged|itv)(?![a-z])", re.I)
_OWN_WORDS = ("StructureSetLabel", "StructureSetName", "StructureSetDescription", "SeriesDescription")
_CYCLE, _SAME_PERCENT, _ROUNDING = 100.0, 0.9, 1.01
_MOST_MISSING, _MOST_NAMES = 9, 3
_HOW = "name its file or folder after the phase, such as T30, or put the percentage into its label"


@dataclass(frozen=True)
class DrawnPhase:
    """One structure set of a 4DCT.

    Parameters
    ----------
    percent : of the breathing cycle, from 0 to below 100.
    rois : by the name that a structure has in every phase: `GTV T30` of phase 30 % is `GTV`.
    spacing_mm, image_z_mm : of its slices, where known.
    """

    file: DicomFile
    percent: float
    rois: dict[str, Roi]
    spacing_mm: float | None
    image_z_mm: np.ndarray


def read_phases(folder: str) -> tuple[list[DrawnPhase], list[str]]:
    """The phases of the 4DCT in a folder, ascending, equally spaced over the cycle, and notes on what was left out.

    Raises
    ------
    CaseError : a phase that is missing, doubled or not told, or sets that are not of one patient and frame of reference.
    """
    files = scan(folder)
    for file in files:
        if file.problem:
            raise CaseError(file.problem)
    sets = of_kind(files, "RTSTRUCT")
    if not sets:
        found = ", ".join(sorted({f.kind for f in files})) or "no DICOM-RT file at all"
        raise CaseError(f"{folder}: no RTSTRUCT (structure set of a phase) found; the folder has: {found}")
    _require_one_patient(sets)
    series = _series(of_kind(files, "CT"))
    percents = {file.name: _percent_of(file, series) for file in sets}
    untold = [name for name, percent in percents.items() if percent is None]
    told = [(percent % _CYCLE, file) for file in sets if (percent := percents[file.name]) is not None]
    _require_whole_cycle(folder, sorted(told, key=lambda pair: pair[0]), untold)
    notes = [f"{name} says no phase, and is left out" for name in untold]
    phases = [_drawn(file, percent, series) for percent, file in sorted(told, key=lambda pair: pair[0])]
    return phases, notes


def _require_one_patient(sets: Sequence[DicomFile]) -> None:
    if len({file.patient_id for file in sets if file.patient_id}) > 1:
        raise CaseError(
            "the structure sets are of several patients (PatientID); one patient's phases are wanted in a folder"
        )
    first, frames = sets[0], sets[0].frame_uids
    for file in sets[1:]:
        if frames and file.frame_uids and not frames & file.frame_uids:
            raise CaseError(
                f"RTSTRUCT {file.name} is in another frame of reference than {first.name}, so places cannot be compared; "
                "export all phases in that of the 4DCT"
            )


def _series(slices: Sequence[DicomFile]) -> dict[str, list[DicomFile]]:
    by_uid: dict[str, list[DicomFile]] = {}
    for file in slices:
        by_uid.setdefault(str(file.header.get("SeriesInstanceUID") or ""), []).append(file)
    return by_uid


def _drawn_on(file: DicomFile, series: dict[str, list[DicomFile]]) -> list[DicomFile]:
    """The slices that a structure set says it was drawn on; none where the folder lacks them."""
    named = [
        str(s.get("SeriesInstanceUID") or "")
        for frame in items(file.header, "ReferencedFrameOfReferenceSequence")
        for study in items(frame, "RTReferencedStudySequence")
        for s in items(study, "RTReferencedSeriesSequence")
    ]
    return next((series[uid] for uid in named if uid in series), [])


def _percent_of(file: DicomFile, series: dict[str, list[DicomFile]]) -> float | None:
    """The phase that a structure set states, None where it says none.

    Raises
    ------
    CaseError : it says two, or bins of depth in place of time.
    """
    said = {
        "it": [str(file.header.get(word) or "") for word in _OWN_WORDS],
        "its CT series": [text for ct in _drawn_on(file, series)[:1] for text in _of_series(ct)],
    }
    stated = {who: _percents(file, texts) for who, texts in said.items()}
    if not any(stated.values()) and not any(_NO_PHASE.search(text) for texts in said.values() for text in texts):
        stated["its place"] = _percents(file, [file.name.rsplit(".", 1)[0].replace("/", " ")])
    found = sorted({percent for percents in stated.values() for percent in percents})
    if len(found) > 1:
        words = "; ".join(f"{who} says {' and '.join(f'{p:g} %' for p in of)}" for who, of in stated.items() if of)
        raise CaseError(f"RTSTRUCT {file.name}: which phase? {words}; {_HOW}")
    return found[0] if found else None


def _of_series(ct: DicomFile) -> tuple[str, str]:
    """What a CT slice says of its phase."""
    nominal = ct.header.get("NominalPercentageOfRespiratoryPhase")
    return str(ct.header.get("SeriesDescription") or ""), "" if nominal is None else f"{nominal} %"


def _percents(file: DicomFile, texts: Sequence[str]) -> list[float]:
    """The percentages that texts state, each once."""
    found: set[float] = set()
    for text in texts:
        if _BY_DEPTH.search(text):
            raise CaseError(
                f"RTSTRUCT {file.name}: its phase is a depth of inhale or exhale, and such phases do not share the time "
                "equally; sort the 4DCT by phase, or give a breathing record"
            )
        if not _NO_PHASE.search(text):
            found |= {float(v) for v in _PERCENT.findall(text) or _NAMED.findall(text)}
    return sorted(percent for percent in found if percent <= _CYCLE)


def _require_whole_cycle(folder: str, told: Sequence[tuple[float, DicomFile]], untold: Sequence[str]) -> None:
    """Refuse phases that are doubled or do not share the cycle equally."""
    if len(told) < 2:
        without = f" ({_listed(untold)})" if untold else ""
        raise CaseError(
            f"{folder}: {len(told)} structure sets say which phase of the breathing they are, two or more are wanted; "
            f"{len(untold)} say none{without}; {_HOW}"
        )
    percents = np.array([percent for percent, _ in told])
    steps = np.diff(np.append(percents, percents[0] + _CYCLE))
    for i, step in enumerate(steps):
        if step < _SAME_PERCENT:
            one, other = told[i][1].name, told[(i + 1) % len(told)][1].name
            raise CaseError(f"{folder}: {one} and {other} are both of phase {percents[i]:g} %; leave one of them")
    n = round(_CYCLE / steps.min())
    wanted = percents[0] + _CYCLE / n * np.arange(n)
    missing = [w % _CYCLE for w in wanted if np.abs(percents - w).min() > _ROUNDING]
    if missing or len(percents) != n:
        which = ", ".join(f"{m:.3g} %" for m in missing)
        lacking = f"phase {which} is missing" if 0 < len(missing) <= _MOST_MISSING else "they are not"
        also = f"; {_listed(untold)} say no phase: {_HOW}" if untold else ""
        shown = ", ".join(f"{p:g}" for p in percents)
        raise CaseError(f"{folder}: phases {shown} % have to be equally spaced over the cycle: {lacking}{also}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _drawn(file: DicomFile, percent: float, series: dict[str, list[DicomFile]]) -> DrawnPhase:
    rois = rois_of(file)
    names = {roi.name for roi in rois}
    plain = {roi.name: _without_phase(roi.name, percent) for roi in rois}
    unique = [name for name in plain.values() if list(plain.values()).count(name) == 1 and name not in names]
    heights = ct_heights(_drawn_on(file, series))
    spacing = slice_spacing(heights) or min(filter(None, _spacings(rois)), default=None)
    named = {plain[roi.name] if plain[roi.name] in unique else roi.name: roi for roi in rois}
    return DrawnPhase(file, percent, named, spacing, heights)


def _spacings(rois: Sequence[Roi]) -> Iterator[float | None]:
    return (drawn_spacing(roi.contours) for roi in rois)


def _without_phase(name: str, percent: float) -> str:
    """A structure's name without the phase of its own set at the end."""
    ending = re.compile(rf"[\s_.,-]*(?:t|ph|phase|gated)?[\s_]*0*{percent:g}\s*%?$", re.I)
    return ending.sub("", name) or name
