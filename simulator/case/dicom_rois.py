"""Regions of interest of a structure set, each under a name of its own, with its closed contours."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.case.contours import ContourRegion, EndCaps
from simulator.case.dicom_elements import Elements
from simulator.case.dicom_files import DicomFile, items
from simulator.ground.spec import CaseError

_CLOSED_TYPES = ("", "CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR", "CLOSED_NONPLANAR")
_CLOSES_MM = 0.1


@dataclass(frozen=True)
class Roi:
    """One ROI of a structure set.

    Parameters
    ----------
    name : unlike any other of the set; `GTV (1)`, `GTV (2)` where several drawn ones are called GTV.
    own_name : as the file has it.
    kind : RT ROI interpreted type.
    contours : closed ones, (n, 3) in mm.
    others : number of contours of each type that encloses nothing.
    frame_uid : frame of reference that the ROI says it is in, or an empty text.
    number : by which other files refer to it.
    """

    name: str
    own_name: str
    kind: str
    contours: tuple[np.ndarray, ...]
    others: tuple[tuple[str, int], ...] = ()
    frame_uid: str = ""
    number: int = 0

    @property
    def remark(self) -> str:
        """What was not read of it, in words; empty when everything was."""
        return ", ".join(f"{n} {kind} contour{'s' if n > 1 else ''}" for kind, n in self.others)

    def region(
        self, name: str, slice_spacing_mm: float | None, end_caps: EndCaps, image_z_mm: np.ndarray
    ) -> ContourRegion:
        """The tissue inside the contours, under a name for messages; see `ContourRegion.from_contours`.

        Raises
        ------
        CaseError : why it has none.
        """
        if self.others and not self.contours:
            raise CaseError(
                f"structure {name!r} has no closed contour, only {self.remark}, which enclose no volume; "
                "draw or export it as closed contours on transverse slices"
            )
        return ContourRegion.from_contours(self.contours, slice_spacing_mm, name, end_caps, image_z_mm)


def rois_of(structure_set: DicomFile) -> list[Roi]:
    """Every ROI of a structure set, in the order of the file.

    Raises
    ------
    CaseError : two of them have one number, so that contours belong to either.
    """
    header = structure_set.header
    types = {
        o.whole("ReferencedROINumber"): str(o.get("RTROIInterpretedType") or "").strip().upper()
        for o in items(header, "RTROIObservationsSequence")
    }
    drawn: dict[int, list[Elements]] = {}
    for roi in items(header, "ROIContourSequence"):
        drawn.setdefault(roi.whole("ReferencedROINumber"), []).extend(items(roi, "ContourSequence"))
    listed = items(header, "StructureSetROISequence")
    numbers = [roi.whole("ROINumber") for roi in listed]
    own_names = [_own_name(roi, number) for roi, number in zip(listed, numbers, strict=True)]
    for number, n in Counter(numbers).items():
        if n > 1:
            alike = " and ".join(repr(own) for own, its in zip(own_names, numbers, strict=True) if its == number)
            raise header.refusal("ROINumber", f"{number} is that of {alike}, whose contours cannot be told apart")
    contours = [_contours(drawn.get(number, [])) for number in numbers]
    names = _unique(own_names, [bool(closed) for closed, _ in contours])
    return [
        Roi(
            name,
            own,
            types.get(number, ""),
            closed,
            others,
            str(roi.get("ReferencedFrameOfReferenceUID") or "").strip(),
            number,
        )
        for roi, number, own, name, (closed, others) in zip(listed, numbers, own_names, names, contours, strict=True)
    ]


def elsewhere(rois: Sequence[Roi], frames: frozenset[str]) -> list[Roi]:
    """The drawn ROIs that say that they are in none of some frames of reference."""
    return [r for r in rois if r.contours and r.frame_uid and frames and r.frame_uid not in frames]


def namesakes(rois: Sequence[Roi]) -> dict[str, list[str]]:
    """The names of drawn ROIs that the file calls alike, by what it calls them."""
    alike: dict[str, list[str]] = {}
    for roi in rois:
        if roi.contours and roi.name != roi.own_name:
            alike.setdefault(roi.own_name, []).append(roi.name)
    return {own: names for own, names in alike.items() if len(names) > 1}


def _own_name(roi: Elements, number: int) -> str:
    """The name in the file; a backslash in it, which DICOM takes for a separator, is part of it."""
    value = roi.get("ROIName")
    parts = value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value or ""]
    return "\\".join(str(part) for part in parts).strip() or f"ROI {number}"


def _contours(drawn: Sequence[Elements]) -> tuple[tuple[np.ndarray, ...], tuple[tuple[str, int], ...]]:
    """Closed contours, and the number of those of each other type."""
    closed: list[np.ndarray] = []
    others: Counter[str] = Counter()
    for contour in drawn:
        if not contour.has("ContourData"):
            continue
        kind = str(contour.get("ContourGeometricType") or "").strip().upper()
        points = _points_mm(contour)
        ends_where_it_began = len(points) > 3 and np.abs(points[0] - points[-1]).max() < _CLOSES_MM
        if kind in _CLOSED_TYPES or (kind != "POINT" and ends_where_it_began):
            closed.append(points)
        else:
            others[kind] += 1
    return tuple(closed), tuple(others.items())


def _points_mm(contour: Elements) -> np.ndarray:
    """Points (n, 3) of a contour."""
    values = contour.numbers("ContourData")
    if len(values) % 3:
        raise contour.refusal("ContourData", f"has {len(values)} numbers, three for each point wanted")
    return values.reshape(-1, 3)


def _unique(own_names: Sequence[str], is_drawn: Sequence[bool]) -> list[str]:
    """A name for each ROI: its own, if no other drawn ROI is called so, else its own and a number."""
    n_drawn = Counter(name for name, drawn in zip(own_names, is_drawn, strict=True) if drawn)
    taken = set(own_names)
    names: list[str] = []
    for own, drawn in zip(own_names, is_drawn, strict=True):
        is_first = own not in names
        keeps = n_drawn[own] == 1 if drawn else n_drawn[own] == 0
        if keeps and is_first:
            names.append(own)
            continue
        number = 1
        while f"{own} ({number})" in taken:
            number += 1
        names.append(f"{own} ({number})")
        taken.add(names[-1])
    return names
