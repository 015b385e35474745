"""What a folder or a file holds, as plain data: image series, structures with volumes, doses, plans, motion traces.

Nothing is refused here: what is missing or inconsistent becomes a note. No identity is read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from simulator.case.archive import MaskRegion, is_cut, read_archive, read_nrrd
from simulator.case.contours import ContourRegion, slice_spacing
from simulator.case.dicom import plan_facts
from simulator.case.dicom_files import DicomFile, contours_by_roi, items, of_kind, read_file, scan
from simulator.case.dicom_grids import ct_heights, dose_header, missing_heights, read_dose
from simulator.case.geometry import Grid, Volume
from simulator.case.structures import Region, Structure
from simulator.case.traces import Trace, one_record, read_trace
from simulator.spec import CaseError

_SHOWN = 24

Section = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


@dataclass(frozen=True)
class ImageEntry:
    """An image series or a CT array: shape (z, y, x), spacing (x, y, z) in mm, range of z in mm."""

    source: str
    n_slices: int
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    z_mm: tuple[float, float]
    frame_uid: str = ""


@dataclass(frozen=True)
class StructureEntry:
    """One structure; an empty one has no volume and no range."""

    source: str
    name: str
    kind: str
    volume_cc: float | None
    n_contours: int | None = None
    n_slices: int | None = None
    z_mm: tuple[float, float] | None = None
    spacing_mm: float | None = None
    note: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether it has no usable contour or voxel."""
        return self.volume_cc is None

    def row(self) -> tuple[str, ...]:
        """Name, type, volume, contours, slices, spacing, range of z and note, as text."""
        volume = "empty" if self.volume_cc is None else _volume(self.volume_cc)
        counts = (_text(self.n_contours), _text(self.n_slices), _text(self.spacing_mm))
        return (self.name, self.kind or "-", volume, *counts, _range(self.z_mm), self.note)


@dataclass(frozen=True)
class DoseEntry:
    """A dose grid; `max_dose` is in `units`."""

    source: str
    uid: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    units: str
    summation: str
    max_dose: float
    plan: str = ""
    n_dvhs: int = 0


@dataclass(frozen=True)
class PlanEntry:
    """An RTPLAN; None where it does not say."""

    source: str
    uid: str
    label: str
    fractions: int | None
    prescription_gy: float | None
    isocentre_mm: tuple[float, float, float] | None
    n_beams: int


@dataclass(frozen=True)
class TraceEntry:
    """A motion trace: length, rate, and 2.5-97.5 % range in mm along each of its axes."""

    source: str
    duration_s: float
    n_samples: int
    rate_hz: float
    axes: tuple[str, ...]
    range_mm: tuple[float, ...]
    note: str = ""


@dataclass(frozen=True)
class Inventory:
    """Everything found at a path."""

    path: str
    images: tuple[ImageEntry, ...] = ()
    structures: tuple[StructureEntry, ...] = ()
    doses: tuple[DoseEntry, ...] = ()
    plans: tuple[PlanEntry, ...] = ()
    traces: tuple[TraceEntry, ...] = ()
    frames: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    other_files: tuple[str, ...] = field(default=())

    def sections(self) -> list[Section]:
        """Tables as (title, column names, rows of text); empty ones are left out."""
        tables: list[Section] = [
            (
                "Images",
                ("series", "slices", "shape z, y, x", "spacing x, y, z (mm)", "z (mm)"),
                [
                    (_short(i.source), str(i.n_slices), _join(i.shape), _join(i.spacing_mm), _range(i.z_mm))
                    for i in self.images
                ],
            ),
            *self._structure_tables(),
            (
                "Doses",
                ("file", "shape z, y, x", "spacing x, y, z (mm)", "max", "units", "summation", "plan", "DVHs", "UID"),
                [
                    (
                        _short(d.source),
                        _join(d.shape),
                        _join(d.spacing_mm),
                        f"{d.max_dose:.2f}",
                        d.units or "-",
                        d.summation or "-",
                        d.plan or "-",
                        str(d.n_dvhs),
                        _short(d.uid) or "-",
                    )
                    for d in self.doses
                ],
            ),
            (
                "Plans",
                ("file", "label", "fractions", "prescription (Gy)", "isocentre x, y, z (mm)", "beams", "UID"),
                [
                    (
                        _short(p.source),
                        p.label or "-",
                        _text(p.fractions),
                        _text(p.prescription_gy),
                        _join(p.isocentre_mm) if p.isocentre_mm else "-",
                        str(p.n_beams),
                        _short(p.uid),
                    )
                    for p in self.plans
                ],
            ),
            (
                "Motion traces",
                ("file", "duration (s)", "samples", "rate (Hz)", "axes", "2.5-97.5 % range (mm)", "note"),
                [
                    (
                        t.source,
                        f"{t.duration_s:.1f}",
                        str(t.n_samples),
                        f"{t.rate_hz:.2f}",
                        _join(t.axes),
                        ", ".join(f"{r:.1f}" for r in t.range_mm),
                        t.note,
                    )
                    for t in self.traces
                ],
            ),
            ("Frames of reference", ("UID",), [(uid,) for uid in self.frames]),
            ("Other files", ("file",), [(name,) for name in self.other_files]),
            ("Notes", ("note",), [(note,) for note in self.notes]),
        ]
        return [table for table in tables if table[2]]

    def _structure_tables(self) -> list[Section]:
        """One table per structure set or case file; sets of a single structure share one."""
        by_source: dict[str, list[StructureEntry]] = {}
        for s in self.structures:
            by_source.setdefault(s.source, []).append(s)
        columns = ("name", "type", "volume (cc)", "contours", "slices", "spacing (mm)", "z (mm)", "note")
        if all(sum(not s.is_empty for s in entries) <= 1 for entries in by_source.values()):
            return [("Structures", ("file", *columns), [(_short(s.source), *s.row()) for s in self.structures])]
        return [(f"Structures of {source}", columns, [s.row() for s in own]) for source, own in by_source.items()]


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
    found.dicom(scan(root) if root.is_dir() else [single] if single else [])
    seen = found.dicom_paths
    for file in [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file()):
        if file not in seen:
            found.file(file, file.name if root.is_file() else file.relative_to(root).as_posix())
    result = found.result(str(path))
    if not (result.images or result.structures or result.doses or result.plans or result.traces):
        raise CaseError(f"{path}: nothing found that can be read (DICOM-RT, .npz case, .nrrd dose, motion trace)")
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
            tuple(self.notes),
            tuple(self.other_files),
        )

    def file(self, file: Path, name: str) -> None:
        try:
            if file.suffix == ".npz":
                self._archive(file, name)
            elif file.suffix == ".nrrd":
                self._dose_volume(name, read_nrrd(file))
            elif file.suffix in (".csv", ".txt") and (trace := read_trace(file)):
                self.traces.append(_trace_entry(name, trace))
            else:
                self.other_files.append(name)
        except CaseError as problem:
            self.notes.append(str(problem))

    def dicom(self, files: Sequence[DicomFile]) -> None:
        self.dicom_paths = {f.path for f in files}
        if not files:
            return
        for f in files:
            self.frames |= f.frame_uids
        spacing = self._ct(of_kind(files, "CT"))
        for structure_set in of_kind(files, "RTSTRUCT"):
            self._structure_set(structure_set, spacing)
        if self.structures and not any(s.kind == "GTV" or s.name.upper().startswith("GTV") for s in self.structures):
            self.notes.append("no structure is called GTV: case.target says what margins are added to")
        plans = of_kind(files, "RTPLAN")
        for plan in plans:
            facts = plan_facts(plan)
            centre = None if facts.isocentre_mm is None else tuple(float(v) for v in facts.isocentre_mm)
            self.plans.append(
                PlanEntry(
                    plan.name,
                    plan.uid,
                    facts.label,
                    facts.fractions,
                    facts.prescription_gy,
                    centre,  # type: ignore[arg-type]
                    len(facts.beam_numbers),
                )
            )
        self._rtdoses(of_kind(files, "RTDOSE"), {p.uid: p.label or p.uid for p in plans})
        for kind, why in (("RTSTRUCT", "structures"), ("RTPLAN", "fractions and prescription"), ("RTDOSE", "dose")):
            if not of_kind(files, kind):
                self.notes.append(f"no {kind}: {why} must come from elsewhere")
        if len(self.frames) > 1:
            self.notes.append(f"{len(self.frames)} frames of reference: not all files belong together")
        for kind in ("RTSTRUCT", "RTDOSE", "RTPLAN"):
            uids = [f.uid for f in of_kind(files, kind)]
            if len(set(uids)) < len(uids):
                self.notes.append(f"several {kind} files carry the same UID: choose by file name")

    def _ct(self, slices: Sequence[DicomFile]) -> float | None:
        series: dict[str, list[DicomFile]] = {}
        for f in slices:
            series.setdefault(str(f.header.get("SeriesInstanceUID", "")), []).append(f)
        if not series:
            self.notes.append("no CT: density comes from the body outline and case.densities")
        spacing = None
        for uid, members in series.items():
            heights, header = ct_heights(members), members[0].header
            step = slice_spacing(heights)
            spacing = spacing or step
            thickness = float(header.get("SliceThickness") or 0)
            dy, dx = (float(v) for v in header.PixelSpacing)
            frame = next(iter(members[0].frame_uids), "")
            shape = (len(members), int(header.Rows), int(header.Columns))
            z = (float(heights[0]), float(heights[-1]))
            self.images.append(
                ImageEntry(f"CT {uid[-12:]}", len(members), shape, (dx, dy, step or thickness), z, frame)
            )
            if len(members) == 1:
                self.notes.append("CT: 1 slice only, so density is water inside the body outline, and case.densities")
            if lacking := missing_heights(heights):
                self.notes.append(f"CT: missing slices at {', '.join(f'{h:g}' for h in lacking)} mm")
        return spacing

    def _structure_set(self, file: DicomFile, ct_spacing: float | None) -> None:
        rois = contours_by_roi(file)
        spacings = [slice_spacing(np.unique([c[0, 2] for c in contours])) for _, contours in rois.values() if contours]
        spacing = ct_spacing or min((s for s in spacings if s), default=None)
        source = file.name
        for name, (kind, contours) in rois.items():
            try:
                region = ContourRegion.from_contours(contours, spacing, name)
            except CaseError as problem:
                note = "" if not contours else str(problem)
                self.structures.append(StructureEntry(source, name, kind, None, len(contours), 0, note=note))
                continue
            uncapped = ContourRegion.from_contours(contours, spacing, name, "none")
            self.structures.append(_contour_entry(source, name, kind, region, uncapped))

    def _rtdoses(self, files: Sequence[DicomFile], plan_labels: dict[str, str]) -> None:
        values: list[tuple[str, Volume]] = []
        for file in files:
            said = dose_header(file)
            try:
                volume = read_dose(file)
            except CaseError as problem:
                self.notes.append(str(problem))
                continue
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
                    file.name, file.uid, grid.shape, grid.spacing_mm, said.units, said.summation, highest, plan, n_dvhs
                )
            )
            if n_dvhs:
                self.notes.append(f"DVHs stored in RTDOSE {file.name}: {n_dvhs}")
            if said.summation not in ("PLAN", "MULTI_PLAN", "BEAM"):
                self.notes.append(f"RTDOSE {said.summation or 'without summation type'}: {file.name}; say case.dose_is")
            if said.units != "GY":
                self.notes.append(f"RTDOSE in {said.units or 'unknown units'}: {file.name}; only GY can be used")

    def _archive(self, file: Path, name: str) -> None:
        archive = read_archive(file)
        uncapped = read_archive(file, "none").regions if archive.layout == "contours" else {}
        if archive.ct_hu is not None:
            self._image(name, archive.ct_hu.grid)
        for structure, region in archive.regions.items():
            if isinstance(region, ContourRegion):
                self.structures.append(_contour_entry(name, structure, "", region, uncapped[structure]))
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
        self.doses.append(
            DoseEntry(source, "", grid.shape, grid.spacing_mm, "GY (by convention)", "", float(dose.values.max()))
        )


def _contour_entry(source: str, name: str, kind: str, region: ContourRegion, uncapped: Region) -> StructureEntry:
    z = np.array([s.z_mm for s in region.slices])
    volume, without = (Structure(name, "oar", r).volume_cc for r in (region, uncapped))
    remarks = [f"gap at z {low:g} to {high:g} mm" for low, high in region.gaps_mm]
    if volume - without > 0.01 * volume:
        remarks.append(f"{_volume(without)} cc without end caps")
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


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _volume(cc: float) -> str:
    return f"{cc:.1f}" if cc >= 100 else f"{cc:.2f}"


def _join(values: Iterable[object]) -> str:
    return ", ".join(f"{v:.2f}".rstrip("0").rstrip(".") if isinstance(v, float) else str(v) for v in values)


def _range(z_mm: tuple[float, float] | None) -> str:
    return "-" if z_mm is None else f"{z_mm[0]:.1f} to {z_mm[1]:.1f}"


def _short(name: str) -> str:
    """The end of a long UID or file name: enough to choose by."""
    last = name.rsplit("/", 1)[-1]
    return last if len(last) <= _SHOWN else f"...{last[-_SHOWN:]}"
