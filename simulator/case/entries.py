"""Entries of an inventory: image series, structures, doses, plans and traces as plain data, and as tables."""

from collections.abc import Iterable
from dataclasses import dataclass, field

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
        volume = "empty" if self.volume_cc is None else volume_in_words(self.volume_cc)
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
    plan_uid: str = ""


@dataclass(frozen=True)
class PlanEntry:
    """An RTPLAN; None where it does not say.

    Parameters
    ----------
    misfit : why it does not belong to any structure set beside it.
    remarks : what is not plain in it.
    target : the structure that it prescribes to; empty where it names none or several.
    """

    source: str
    uid: str
    label: str
    fractions: int | None
    prescription_gy: float | None
    isocentre_mm: tuple[float, float, float] | None
    n_beams: int
    misfit: str = ""
    remarks: tuple[str, ...] = ()
    target: str = ""


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


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def volume_in_words(cc: float) -> str:
    return f"{cc:.1f}" if cc >= 100 else f"{cc:.2f}"


def _join(values: Iterable[object]) -> str:
    return ", ".join(f"{v:.2f}".rstrip("0").rstrip(".") if isinstance(v, float) else str(v) for v in values)


def _range(z_mm: tuple[float, float] | None) -> str:
    return "-" if z_mm is None else f"{z_mm[0]:.1f} to {z_mm[1]:.1f}"


def _short(name: str) -> str:
    """The end of a long UID or file name: enough to choose by."""
    last = name.rsplit("/", 1)[-1]
    return last if len(last) <= _SHOWN else f"...{last[-_SHOWN:]}"
