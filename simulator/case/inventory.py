"""What a folder or a file holds, as plain data: image series, structures with volumes, doses, plans, motion traces.

Nothing is refused here: what is missing or inconsistent becomes a note. No identity is read.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np

from simulator.case.anatomy import PlanFacts, flaw_of_dose
from simulator.case.archive import MaskRegion, is_cut, read_archive, read_nrrd
from simulator.case.cells import Region
from simulator.case.contours import ContourRegion, drawn_spacing, slice_spacing
from simulator.case.dicom_elements import REMEDY
from simulator.case.dicom_files import KINDS, LOCALIZER, DicomFile, items, of_kind, read_file, scan
from simulator.case.dicom_grids import ct_heights, dose_header, missing_heights, read_dose
from simulator.case.dicom_planes import with_whole_doses
from simulator.case.dicom_plans import misfit, plan_facts
from simulator.case.dicom_rois import elsewhere, namesakes, rois_of
from simulator.case.entries import (
    DoseEntry,
    ImageEntry,
    Inventory,
    PlanEntry,
    StructureEntry,
    TraceEntry,
    volume_in_words,
)
from simulator.case.geometry import Grid, Volume
from simulator.case.nifti import nifti_files
from simulator.case.traces import Trace, one_record, read_trace
from simulator.ground.conventions import CC_PER_MM3
from simulator.ground.reading import reading
from simulator.ground.spec import CaseError

_MOST_GY = 1000.0


def inventory(path: str | Path) -> Inventory:
    """List what a DICOM folder, a case file, a dose volume or motion traces hold.

    Raises
    ------
    CaseError : no such path, or nothing in it that could be read.
    """
    root = Path(path)
    if not root.exists():
        raise CaseError(f"{path} does not exist; name a DICOM folder, a case file or a folder of motion traces")
    found = _Found()
    single = read_file(root, root.name) if root.is_file() else None
    found.dicom(with_whole_doses(scan(root)) if root.is_dir() else [single] if single else [])
    seen = found.dicom_paths
    if root.is_dir() and (volumes := nifti_files(root)):
        seen = seen | set(volumes.values())
        found.nifti(root)
    for file in [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file()):
        if file not in seen:
            found.file(file, file.name if root.is_file() else file.relative_to(root).as_posix())
    result = found.result(str(path))
    if not (result.images or result.structures or result.doses or result.plans or result.traces):
        why = "\n".join(["", *found.problems])
        raise CaseError(
            f"{path}: nothing found that can be read (DICOM-RT, .npz case, NIfTI, .nrrd dose, motion trace){why}"
        )
    return result


class _Found:
    """Collects entries while files are read."""

    def __init__(self) -> None:
        self.images: list[ImageEntry] = []
        self.structures: list[StructureEntry] = []
        self.doses: list[DoseEntry] = []
        self.plans: list[PlanEntry] = []
        self.traces: list[TraceEntry] = []
        self.frames: set[str] = set()
        self.notes: list[str] = []
        self.problems: list[str] = []
        self.other_files: list[str] = []
        self.dicom_paths: set[Path] = set()

    def result(self, path: str) -> Inventory:
        return Inventory(
            path,
            tuple(self.images),
            tuple(self.structures),
            tuple(self.doses),
            tuple(self.plans),
            tuple(self.traces),
            tuple(sorted(self.frames)),
            tuple(dict.fromkeys((*self.problems, *self.notes))),
            tuple(self.other_files),
        )

    @contextmanager
    def _noting(self, where: str) -> Iterator[None]:
        """A file that cannot be read becomes a note; the rest is listed all the same."""
        try:
            with reading(where, REMEDY):
                yield
        except CaseError as problem:
            self.problems.append(str(problem))

    def file(self, file: Path, name: str) -> None:
        with self._noting(name):
            if file.suffix == ".npz":
                self._archive(file, name)
            elif file.suffix == ".nrrd":
                self._dose_volume(name, read_nrrd(file))
            elif file.suffix in (".csv", ".txt") and (trace := read_trace(file)):
                self.traces.append(_trace_entry(name, trace))
            else:
                self.other_files.append(name)

    def nifti(self, folder: Path) -> None:
        with self._noting(folder.name):
            self._archive(folder, folder.name)

    def dicom(self, files: Sequence[DicomFile]) -> None:
        self.dicom_paths = {path for f in files for path in f.paths}
        self.problems += [f.problem for f in files if f.problem]
        files = [f for f in files if not f.problem]
        if not files:
            return
        for f in files:
            with self._noting(f"{f.kind} {f.name}"):
                self.frames |= f.frame_uids
            if f.private_class:
                self.notes.append(
                    f"{f.name}: {f.kind} in the private SOP class {f.private_class}, read by its Modality"
                )
        image_z_mm = self._ct(self._placed_slices(of_kind(files, "CT")))
        self._other_kinds(files, bool(self.images))
        images = of_kind(files, "RTDOSE") or of_kind(files, "CT")
        for structure_set in of_kind(files, "RTSTRUCT"):
            with self._noting(f"RTSTRUCT {structure_set.name}"):
                self._structure_set(structure_set, image_z_mm)
                strangers = elsewhere(rois_of(structure_set), frozenset(uid for f in images for uid in f.frame_uids))
                if strangers:
                    self.notes.append(
                        f"RTSTRUCT {structure_set.name}: drawn in another frame of reference than the {images[0].kind}: "
                        + ", ".join(roi.name for roi in strangers)
                    )
        if self.structures and not any(s.kind == "GTV" or s.name.upper().startswith("GTV") for s in self.structures):
            self.notes.append("no structure is called GTV: case.target says what margins are added to")
        plans = of_kind(files, "RTPLAN")
        for plan in plans:
            with self._noting(f"RTPLAN {plan.name}"):
                self._plan(plan, of_kind(files, "RTSTRUCT"))
        self._rtdoses(of_kind(files, "RTDOSE"), {p.uid: p.label or p.uid for p in plans})
        self._lacking_and_doubled(files)

    def _lacking_and_doubled(self, files: Sequence[DicomFile]) -> None:
        for kind, why in (("RTSTRUCT", "structures"), ("RTPLAN", "fractions and prescription"), ("RTDOSE", "dose")):
            if not of_kind(files, kind):
                self.notes.append(f"no {kind}: {why} must come from elsewhere")
        if len(self.frames) > 1:
            self.notes.append(f"{len(self.frames)} frames of reference: not all files belong together")
        for kind in ("RTSTRUCT", "RTDOSE", "RTPLAN"):
            uids = [f.uid for f in of_kind(files, kind)]
            if len(set(uids)) < len(uids):
                self.notes.append(f"several {kind} files carry the same UID: choose by file name")

    def _plan(self, file: DicomFile, structure_sets: Sequence[DicomFile]) -> None:
        facts = plan_facts(file)
        centre = None if facts.isocentre_mm is None else tuple(float(v) for v in facts.isocentre_mm)
        misfits = [misfit(file, s) for s in structure_sets]
        reason = misfits[0] if misfits and all(misfits) else ""
        if reason:
            belongs = f"RTPLAN {file.name} does not belong to RTSTRUCT {structure_sets[0].name}: it {reason}"
            self.notes.append(belongs)
        self.notes += facts.remarks
        self.plans.append(
            PlanEntry(
                file.name,
                file.uid,
                facts.label,
                facts.fractions,
                facts.prescription_gy,
                centre,  # type: ignore[arg-type]
                len(facts.beam_numbers),
                reason,
                tuple(facts.remarks),
                _only_target(file, facts, structure_sets),
            )
        )

    def _placed_slices(self, slices: Sequence[DicomFile]) -> list[DicomFile]:
        """The CT slices whose place is known; one note for all others."""
        placed, problems = [], []
        for f in slices:
            try:
                ct_heights([f])
                f.header.numbers("PixelSpacing", 2)
                placed.append(f)
            except CaseError as problem:
                problems.append(str(problem))
        if problems:
            more = f" (and {len(problems) - 1} more CT files likewise)" if len(problems) > 1 else ""
            self.problems.append(problems[0] + more)
        return placed

    def _ct(self, slices: Sequence[DicomFile]) -> np.ndarray:
        """List every CT series; the heights of the slices of the largest one."""
        series: dict[str, list[DicomFile]] = {}
        for f in slices:
            series.setdefault(str(f.header.get("SeriesInstanceUID", "")), []).append(f)
        largest = np.zeros(0)
        for uid, members in series.items():
            with self._noting(f"CT {uid[-12:]}"):
                heights, header = ct_heights(members), members[0].header
                largest = heights if len(heights) > len(largest) else largest
                thickness = float(header.get("SliceThickness") or 0)
                dy, dx = (float(v) for v in header.PixelSpacing)
                frame = next(iter(members[0].frame_uids), "")
                shape = (len(members), int(header.Rows), int(header.Columns))
                z = (float(heights[0]), float(heights[-1]))
                spacing = (dx, dy, slice_spacing(heights) or thickness)
                self.images.append(ImageEntry(f"CT {uid[-12:]}", len(members), shape, spacing, z, frame))
                if len(members) == 1:
                    self.notes.append(
                        "CT: 1 slice only, so density is water inside the body outline, and case.densities"
                    )
                if lacking := missing_heights(heights):
                    self.notes.append(f"CT: missing slices at {', '.join(f'{h:g}' for h in lacking)} mm")
        return largest

    def _other_kinds(self, files: Sequence[DicomFile], has_ct: bool) -> None:
        """Name the DICOM files that are not read."""
        kinds = Counter(f.kind for f in files if f.kind not in KINDS.values())
        n_localizers = kinds.pop(LOCALIZER, 0)
        if n_localizers:
            self.notes.append(f"{n_localizers} CT localizer (topogram), left out")
        images = [kind for kind in kinds if "Image" in kind and "Capture" not in kind]
        for kind, n in kinds.items():
            text = f"{kind}: {n} file{'s' if n > 1 else ''}, not read"
            self.notes.append(text + ("; a density needs a plain axial CT" if kind in images else ""))
        if not has_ct:
            unread = ["a CT that is noted above"] if of_kind(files, "CT") else []
            there = ", ".join([*images, *unread])
            what = f"no CT that can be read (there is {there})" if there else "no CT"
            self.notes.append(f"{what}: density comes from the body outline and case.densities")

    def _structure_set(self, file: DicomFile, image_z_mm: np.ndarray) -> None:
        rois = rois_of(file)
        spacing = slice_spacing(image_z_mm) or min(
            filter(None, (drawn_spacing(r.contours) for r in rois)), default=None
        )
        for own_name, names in namesakes(rois).items():
            self.notes.append(f"{len(names)} structures are called {own_name!r}; they are listed as {', '.join(names)}")
        for names in _alike([r.name for r in rois]):
            self.notes.append(
                f"{' and '.join(map(repr, names))} differ only in case: write the one that is meant exactly so"
            )
        source = file.name
        for roi in rois:
            try:
                region = roi.region(roi.name, spacing, "half-slice", image_z_mm)
                uncapped = roi.region(roi.name, spacing, "none", image_z_mm)
            except CaseError as problem:
                note = str(problem) if roi.contours or roi.others else ""
                self.structures.append(
                    StructureEntry(source, roi.name, roi.kind, None, len(roi.contours), 0, note=note)
                )
                continue
            self.structures.append(_contour_entry(source, roi.name, roi.kind, region, uncapped, roi.remark))

    def _rtdoses(self, files: Sequence[DicomFile], plan_labels: dict[str, str]) -> None:
        values: list[tuple[str, Volume]] = []
        for file in files:
            volume = None
            with self._noting(f"RTDOSE {file.name}"):
                said, volume = dose_header(file), read_dose(file)
            if volume is None:
                continue
            if reason := flaw_of_dose(volume.values):
                self.problems.append(f"RTDOSE {file.name}: {reason}")
            for other, same in values:
                if same.grid == volume.grid and np.array_equal(same.values, volume.values):
                    self.notes.append(f"two RTDOSE hold the same values: {other} and {file.name}; never add them")
            values.append((file.name, volume))
            n_dvhs = len(items(file.header, "DVHSequence"))
            plan = plan_labels.get(file.plan_uid, "not in this folder" if file.plan_uid else "")
            grid = volume.grid
            highest = float(volume.values.max())
            self.doses.append(
                DoseEntry(
                    file.name,
                    file.uid,
                    grid.shape,
                    grid.spacing_mm,
                    said.units,
                    said.summation,
                    highest,
                    plan,
                    n_dvhs,
                    file.plan_uid,
                )
            )
            if file.planes:
                self.notes.append(f"RTDOSE {file.name}: {len(file.planes)} files of one plane each, put together")
            if n_dvhs:
                self.notes.append(f"DVHs stored in RTDOSE {file.name}: {n_dvhs}")
            if said.summation not in ("PLAN", "MULTI_PLAN", "BEAM"):
                self.notes.append(f"RTDOSE {said.summation or 'without summation type'}: {file.name}; say case.dose_is")
            if highest > _MOST_GY:
                self.notes.append(
                    f"RTDOSE {file.name} goes up to {highest:g} Gy: is it in cGy, or its DoseGridScaling wrong?"
                )
            if said.units != "GY":
                self.notes.append(f"RTDOSE in {said.units or 'unknown units'}: {file.name}; only GY can be used")

    def _archive(self, file: Path, name: str) -> None:
        archive = read_archive(file)
        uncapped = read_archive(file, "none").regions if archive.layout == "contours" else {}
        if archive.ct_hu is not None:
            self._image(name, archive.ct_hu.grid)
        for structure, region in archive.regions.items():
            if isinstance(region, ContourRegion):
                self.structures.append(_contour_entry(name, structure, "", region, uncapped[structure]))  # type: ignore[arg-type]
            else:
                self.structures.append(_mask_entry(name, structure, region))
        self.structures += [StructureEntry(name, structure, "", None) for structure in archive.problems]
        if archive.dose_gy is None:
            self.notes.append(f"{name}: no dose")
        elif archive.layout != "contours":
            self._dose_volume(name, archive.dose_gy)

    def _image(self, source: str, grid: Grid) -> None:
        z = (grid.origin_mm[2], grid.upper_mm[2])
        self.images.append(ImageEntry(source, grid.shape[0], grid.shape, grid.spacing_mm, z))

    def _dose_volume(self, source: str, dose: Volume) -> None:
        grid = dose.grid
        if reason := flaw_of_dose(dose.values):
            self.problems.append(f"{source}: its dose: {reason}")
        self.doses.append(
            DoseEntry(source, "", grid.shape, grid.spacing_mm, "GY (by convention)", "", float(dose.values.max()))
        )


def _only_target(plan: DicomFile, facts: PlanFacts, structure_sets: Sequence[DicomFile]) -> str:
    """The structure that a plan prescribes to, if it names one of its structure set."""
    own = [s for s in structure_sets if s.uid == plan.structure_set_uid] or structure_sets[:1]
    named = (
        {roi.name for s in own for roi in rois_of(s) if roi.number in facts.target_rois} if facts.target_rois else set()
    )
    return named.pop() if len(named) == 1 else ""


def _alike(names: Iterable[str]) -> list[list[str]]:
    """Names that differ only in case."""
    by_lower: dict[str, list[str]] = {}
    for name in names:
        by_lower.setdefault(name.casefold(), []).append(name)
    return [alike for alike in by_lower.values() if len(alike) > 1]


def _contour_entry(
    source: str, name: str, kind: str, region: ContourRegion, uncapped: ContourRegion, unread: str = ""
) -> StructureEntry:
    z = np.unique([s.z_mm for s in region.slices])
    volume = region.volume_cc
    without = sum(a.area_mm2 * (b.upper_mm - b.lower_mm) for a, b in zip(region.slices, uncapped.slices, strict=True))
    without *= CC_PER_MM3
    remarks = [f"gap at z {low:g} to {high:g} mm" for low, high in region.gaps_mm]
    if unread:
        remarks.append(f"{unread} left out")
    steps = np.diff(z)[[(a, b) not in region.gaps_mm for a, b in pairwise(z)]]
    if len(steps) and steps.max() > 1.4 * steps.min() and len(z) == len(region.slices):
        remarks.append(f"slices {steps.min():.3g} to {steps.max():.3g} mm apart, each reaching half-way to the next")
    if volume - without > 0.01 * volume:
        remarks.append(f"{volume_in_words(without)} cc without end caps")
    return StructureEntry(
        source,
        name,
        kind,
        volume,
        region.n_contours,
        len(z),
        (float(z[0]), float(z[-1])),
        slice_spacing(z),
        "; ".join(remarks),
    )


def _mask_entry(source: str, name: str, region: Region) -> StructureEntry:
    assert isinstance(region, MaskRegion)
    lower, upper = region.bounds_mm
    note = "cut by the edge of the image" if is_cut(region) else ""
    volume = float(region.mask.sum()) * region.grid.voxel_cc
    return StructureEntry(source, name, "", volume, z_mm=(float(lower[2]), float(upper[2])), note=note)


def _trace_entry(source: str, trace: Trace) -> TraceEntry:
    record = one_record(trace)
    low, high = np.percentile(trace.position_mm, [2.5, 97.5], axis=0)
    range_mm = tuple(float(v) for v in high - low)
    n_samples = len(record.time_s)
    return TraceEntry(source, record.duration_s, n_samples, record.rate_hz, record.axes, range_mm, record.note)
