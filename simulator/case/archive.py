"""Cases from files of arrays: .npz with CT, structures and dose, and contours beside a dose in NRRD.

Three layouts are known by their keys. All doses are course totals in Gy.

labels : `ct_hu`, `labels` (z, y, x), `label_ids`, `label_names`, `ct_origin_xyz_mm`, `ct_spacing_xyz_mm`; where wanted
    `dose_gy` with `dose_origin_xyz_mm` and `dose_spacing_xyz_mm`.
open-kbp : `ct` (HU + 1024), `dose`, `voxel_mm`, `names`, `masks` (packed bits). Its axes run to posterior, left and
    inferior (seen from the organs in it); they are turned into (z, y, x), and the first voxel is put at the origin.
contours : `names`, `points` (n, 3) in LPS mm, `offsets`, `roi` (structure of each contour), with the dose in a file
    `<same beginning>_Dose.nrrd` beside it.

A folder of NIfTI files is a case too: `ct` in HU and `dose` in Gy where wanted, and a mask of 0 and 1 for each structure, each
under its name (`GTV.nii.gz`), on grids of their own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import nrrd
import numpy as np

from simulator.case.anatomy import Case, ImportedDose, flaw_of_dose
from simulator.case.cells import Region, sub_voxel_moments
from simulator.case.contours import ContourRegion, EndCaps, slice_spacing
from simulator.case.density import density_of_hu
from simulator.case.geometry import Grid, Volume, cropped, in_house_axes
from simulator.case.naming import StructureNames, select_structures
from simulator.case.nifti import nifti_files, read_nifti
from simulator.case.shapes import Ball
from simulator.case.structures import Structure
from simulator.ground.files import digest_of
from simulator.ground.once import cached_property
from simulator.ground.reading import check_room, reading
from simulator.ground.spec import CaseError

_LAYOUTS = {
    "labels": {"ct_hu", "labels", "label_ids", "label_names", "ct_origin_xyz_mm", "ct_spacing_xyz_mm"},
    "open-kbp": {"ct", "dose", "voxel_mm", "names", "masks"},
    "contours": {"names", "points", "offsets", "roi"},
}
_FINEST_MM, _COARSEST_MM, _FARTHEST_MM = 0.05, 50.0, 5000.0
_KEYS = {*chain.from_iterable(_LAYOUTS.values()), "dose_gy", "dose_origin_xyz_mm", "dose_spacing_xyz_mm"}
_DOSES = ("dose", "dose_gy")
_DTYPES = {"names": "U", "numbers": "biuf"}
_GREATEST, _GREATEST_GY = 1e9, 1000.0
_NOT_A_STRUCTURE = "possible_dose_mask"
_OPENKBP_DIRECTIONS = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])


@dataclass(frozen=True)
class MaskRegion:
    """Region of whole voxels: `mask[z, y, x]` on a grid."""

    grid: Grid
    mask: np.ndarray

    def __post_init__(self) -> None:
        if self.mask.shape != self.grid.shape or not self.mask.any():
            raise ValueError(f"a mask region needs filled voxels of shape {self.grid.shape}, got {self.mask.shape}")

    @cached_property
    def _box(self) -> tuple[np.ndarray, np.ndarray]:
        """First and last filled index along (z, y, x)."""
        filled = np.argwhere(self.mask)
        return filled.min(axis=0), filled.max(axis=0)

    @property
    def bounds_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Outer faces of the filled voxels, two (3,) arrays (x, y, z)."""
        first, last = self._box
        half = np.array(self.grid.spacing_mm) / 2
        return self.grid.points_mm(first) - half, self.grid.points_mm(last) + half

    def occupancy(self, grid: Grid) -> np.ndarray:
        """Share of each voxel inside the filled ones, exact, float32 (z, y, x) in 0-1."""
        first, last = self._box
        part = self.mask[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))].astype(np.float32)
        lower, upper = self.bounds_mm
        for axis in range(3):
            n, step = grid.shape[axis], grid.spacing_mm[2 - axis]
            own = np.linspace(lower[2 - axis], upper[2 - axis], part.shape[axis] + 1)
            wanted = grid.origin_mm[2 - axis] + (np.arange(n + 1) - 0.5) * step
            overlap = np.minimum(wanted[1:, None], own[1:]) - np.maximum(wanted[:-1, None], own[:-1])
            share = (np.maximum(overlap, 0) / step).astype(np.float32)
            part = np.moveaxis(np.tensordot(share, part, axes=(1, axis)), 0, axis)
        return np.clip(part, 0, 1, out=np.ascontiguousarray(part))

    def moments(self, grid: Grid, index_zyx: np.ndarray) -> np.ndarray:
        """Moments float64 (n, 10) within some voxels, see `Region`."""
        return sub_voxel_moments(self.occupancy, grid, index_zyx)

    def edges_mm(self, spacing_mm: float) -> np.ndarray:
        """Points (n, 3) on the outer faces of the filled voxels, their edges and corners included, at most so far apart."""
        steps = np.ceil(np.array(self.grid.spacing_mm[::-1]) / spacing_mm - 1e-9).astype(int)
        filled = np.pad(self.mask, 1)
        nodes = []
        for axis, side in product(range(3), (0, 1)):
            beyond = np.roll(filled, 1 - 2 * side, axis)
            outer = np.argwhere(filled & ~beyond) - 1
            offsets = [np.arange(n + 1) if other != axis else [side * n] for other, n in enumerate(steps)]
            on_face = np.stack(np.meshgrid(*offsets, indexing="ij"), axis=-1).reshape(-1, 3)
            nodes.append((outer[:, None] * steps + on_face).reshape(-1, 3))
        shape = np.array(self.mask.shape) * steps + 1
        numbers = np.unique(np.ravel_multi_index(np.concatenate(nodes).T, tuple(shape)))
        return self.grid.points_mm(np.stack(np.unravel_index(numbers, tuple(shape)), axis=1) / steps - 0.5)


@dataclass(frozen=True)
class Archive:
    """What a case file holds, in house axes; `problems` says why a named structure has no region."""

    layout: str
    regions: dict[str, Region]
    problems: dict[str, str]
    ct_hu: Volume | None
    dose_gy: Volume | None
    dose_file: Path | None = None


def read_archive(path: str | Path, end_caps: EndCaps = "half-slice") -> Archive:
    """Read a case file.

    Raises
    ------
    CaseError : no such file, or arrays that follow none of the known layouts.
    """
    file = Path(path)
    if file.is_dir() and (volumes := nifti_files(file)):
        return _read_nifti_folder(volumes)
    if not file.is_file():
        what = "is a folder without NIfTI files" if file.is_dir() else "does not exist"
        raise CaseError(
            f"case file {path} {what}; case.file names an .npz file or a folder of NIfTI files, relative to the study file"
        )
    with reading(f"case file {path}", "save it anew with numpy.savez"):
        arrays = _arrays(file)
        layout = next((name for name, keys in _LAYOUTS.items() if keys <= arrays.keys()), None)
        if layout is None:
            known = "; ".join(f"{name}: {', '.join(sorted(keys))}" for name, keys in _LAYOUTS.items())
            raise CaseError(
                f"case file {path} has the arrays {', '.join(arrays)}; wanted are those of one layout of {known}"
            )
        if layout == "labels":
            return _read_labels(arrays)
        if layout == "open-kbp":
            return _read_openkbp(arrays)
        return _read_contours(arrays, file, end_caps)


def _arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a case file, once their headers have said how large they are."""
    if not is_zipfile(file):
        raise CaseError(f"case file {file} cannot be read as .npz; save it with numpy.savez")
    with ZipFile(file) as stored:
        check_room(sum(_n_bytes(stored, name) for name in stored.namelist()), f"case file {file}", "crop the image")
    with np.load(file, allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    for key in _KEYS & arrays.keys():
        values, wanted = arrays[key], "names" if "names" in key else "numbers"
        if values.dtype.kind not in _DTYPES[wanted]:
            raise ValueError(f"{key} holds {values.dtype} where {wanted} are wanted")
        if key in _DOSES:
            continue  # judged as a dose
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"{key} is nan or inf in places")
        if wanted == "numbers" and values.size and not abs(float(values.max())) + abs(float(values.min())) < _GREATEST:
            raise ValueError(f"{key} reaches from {values.min():g} to {values.max():g}")
    return arrays


def _n_bytes(stored: ZipFile, name: str) -> float:
    """Size of an array in bytes as its header states it."""
    with stored.open(name) as member:
        version = np.lib.format.read_magic(member)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(member)
    return math.prod(shape) * dtype.itemsize


def _named(names: np.ndarray) -> list[str]:
    """Names of structures, each of them once."""
    found = [str(name) for name in names]
    twice = next((name for i, name in enumerate(found) if name in found[:i]), None)
    if twice is not None:
        raise ValueError(f"two structures are called {twice!r}")
    return found


def _dose(grid: Grid, values: np.ndarray) -> Volume:
    highest_gy = values.max(initial=0, where=np.isfinite(values))
    if highest_gy > _GREATEST_GY:
        raise ValueError(f"the largest dose is {highest_gy:g} Gy, no total of a course")
    return Volume(grid, values)


def _read_labels(arrays: Mapping[str, np.ndarray]) -> Archive:
    grid = _grid(arrays, "ct", arrays["ct_hu"].shape)
    regions: dict[str, Region] = {}
    problems: dict[str, str] = {}
    if arrays["labels"].shape != grid.shape:
        raise ValueError(f"labels have the shape {arrays['labels'].shape}, ct_hu {grid.shape}")
    for number, name in zip(arrays["label_ids"], _named(arrays["label_names"]), strict=True):
        mask = arrays["labels"] == number
        if mask.any():
            regions[name] = MaskRegion(grid, mask)
        else:
            problems[name] = f"structure {name!r} is empty: no voxel has its label {number}"
    dose = None
    if "dose_gy" in arrays:
        prefix = "dose" if "dose_origin_xyz_mm" in arrays else "ct"
        values = arrays["dose_gy"].astype(np.float32)
        dose = _dose(_grid(arrays, prefix, values.shape), values)
    return Archive("labels", regions, problems, Volume(grid, arrays["ct_hu"].astype(np.float32)), dose)


def _grid(arrays: Mapping[str, np.ndarray], prefix: str, shape: tuple[int, ...]) -> Grid:
    x, y, z = (float(v) for v in arrays[f"{prefix}_origin_xyz_mm"])
    dx, dy, dz = (float(v) for v in arrays[f"{prefix}_spacing_xyz_mm"])
    nz, ny, nx = shape
    return _plausible(Grid((x, y, z), (dx, dy, dz), (nz, ny, nx)))


def _plausible(grid: Grid) -> Grid:
    """The grid, if a patient can lie in it."""
    finest, coarsest = min(grid.spacing_mm), max(grid.spacing_mm)
    farthest = np.abs([*grid.origin_mm, *grid.upper_mm]).max()
    if not (finest >= _FINEST_MM and coarsest <= _COARSEST_MM and farthest <= _FARTHEST_MM):
        raise ValueError(
            f"voxels of {finest:g} to {coarsest:g} mm from {grid.origin_mm} to {grid.upper_mm} mm are no patient's image"
        )
    return grid


def _read_openkbp(arrays: Mapping[str, np.ndarray]) -> Archive:
    shape = arrays["ct"].shape
    origin = np.array([0.0, 0.0, (shape[2] - 1) * float(arrays["voxel_mm"][2])])

    def turned(values: np.ndarray) -> tuple[Grid, np.ndarray]:
        grid, house = in_house_axes(origin, _OPENKBP_DIRECTIONS, arrays["voxel_mm"], shape, values)
        assert house is not None
        return _plausible(grid), house

    regions: dict[str, Region] = {}
    problems: dict[str, str] = {}
    masks = np.unpackbits(arrays["masks"], axis=1, count=int(np.prod(shape))).reshape(-1, *shape)
    for name, mask in zip(_named(arrays["names"]), masks, strict=True):
        if name == _NOT_A_STRUCTURE:
            continue
        if mask.any():
            regions[name] = MaskRegion(*turned(mask.astype(bool)))
        else:
            problems[name] = f"structure {name!r} is empty: its mask has no voxel"
    hu = Volume(*turned(arrays["ct"].astype(np.float32) - 1024))
    return Archive("open-kbp", regions, problems, hu, _dose(*turned(arrays["dose"].astype(np.float32))))


def _read_contours(arrays: Mapping[str, np.ndarray], file: Path, end_caps: EndCaps) -> Archive:
    points, offsets = arrays["points"].astype(float), arrays["offsets"]
    if points.ndim != 2 or points.shape[1] != 3 or np.abs(points).max(initial=0) > _FARTHEST_MM:
        raise ValueError(f"points are not (n, 3) coordinates within {_FARTHEST_MM:g} mm")
    if [*offsets[:1], *offsets[-1:]] != [0, len(points)] or np.any(np.diff(offsets) < 1):
        raise ValueError(f"offsets do not rise from 0 to {len(points)} points")
    contours = np.split(points, offsets[1:-1])
    heights = np.unique(np.round([c[0, 2] for c in contours], 2))
    regions: dict[str, Region] = {}
    problems: dict[str, str] = {}
    for number, name in enumerate(_named(arrays["names"])):
        own = [c for c, roi in zip(contours, arrays["roi"], strict=True) if roi == number]
        try:
            regions[name] = ContourRegion.from_contours(own, slice_spacing(heights), name, end_caps)
        except CaseError as problem:
            problems[name] = str(problem)
    beginning = file.stem.split("_contours")[0]
    doses = sorted(file.parent.glob(f"{beginning}*ose*.nrrd"))
    if len(doses) > 1:
        raise CaseError(f"{len(doses)} dose files fit {file.name}: {', '.join(d.name for d in doses)}; keep one")
    dose_file = doses[0] if doses else None
    return Archive("contours", regions, problems, None, read_nrrd(dose_file) if dose_file else None, dose_file)


def read_nrrd(path: str | Path) -> Volume:
    """A scalar volume in NRRD, in house axes.

    Raises
    ------
    CaseError : no patient space is stated, or the axes are oblique.
    """
    with reading(path, "export the volume again"):
        return _read_nrrd(path)


def _read_nrrd(path: str | Path) -> Volume:
    header = nrrd.read_header(str(path))
    check_room(math.prod(float(n) for n in header["sizes"]) * 8, path, "crop the volume")
    values, header = nrrd.read(str(path))
    space = str(header.get("space", "")).lower()
    signs = {"left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1), "right-anterior-superior": (-1, -1, 1)}
    if values.ndim != 3 or space not in {*signs, "ras"} or "space directions" not in header:
        raise CaseError(f"{path}: not a 3-D volume in LPS or RAS patient space (space is {space or 'not given'!r})")
    to_lps = np.array(signs.get(space, (-1, -1, 1)), float)
    vectors = np.array(header["space directions"], float) * to_lps
    steps = np.linalg.norm(vectors, axis=1)
    if not np.all(steps > 0):
        raise ValueError(f"space directions {vectors.tolist()} are no axes of an image")
    directions = vectors / steps[:, None]
    if np.abs(directions - np.rint(directions)).max() > 1e-3:
        raise CaseError(f"{path}: the axes are oblique; resample it along the patient's axes")
    origin = np.array(header["space origin"], float) * to_lps
    grid, house = in_house_axes(origin, np.rint(directions), steps, values.shape, values.astype(np.float32))
    assert house is not None
    return _dose(_plausible(grid), house)


def _read_nifti_folder(files: Mapping[str, Path]) -> Archive:
    """CT, dose and masks by the names of their files; masks are cropped to what they fill."""
    regions: dict[str, Region] = {}
    problems: dict[str, str] = {}
    for name in files.keys() - {"ct", "dose"}:
        volume = _read_volume(files[name])
        if not np.isin(volume.values, (0, 1)).all():
            raise CaseError(f"{files[name]}: a mask of 0 and 1 is wanted, one file for each structure")
        filled = np.argwhere(volume.values)
        if not len(filled):
            problems[name] = f"structure {name!r} is empty: its mask has no voxel"
            continue
        box = cropped(volume, *(volume.grid.points_mm(corner) for corner in (filled.min(axis=0), filled.max(axis=0))))
        regions[name] = MaskRegion(box.grid, box.values.astype(bool))
    ct, dose = (_read_volume(files[name]) if name in files else None for name in ("ct", "dose"))
    if ct is not None and not np.isfinite(ct.values).all():
        raise CaseError(f"{files['ct']}: nan or inf in places; HU are wanted in every voxel, -1000 where there is air")
    return Archive(
        "nifti",
        {name: regions[name] for name in files if name in regions},
        problems,
        None if ct is None else Volume(ct.grid, ct.values.astype(np.float32)),
        None if dose is None else _dose(dose.grid, dose.values.astype(np.float32)),
    )


def _read_volume(path: Path) -> Volume:
    """A NIfTI volume that a patient can lie in."""
    volume = read_nifti(path)
    with reading(path, "export it again, in mm"):
        return Volume(_plausible(volume.grid), volume.values)


def load_archive(
    path: str | Path,
    *,
    target: str | None,
    ball: tuple[Sequence[float], float] | None = None,
    structures: Sequence[str] | None = None,
    aliases: Mapping[str, Sequence[str]] | None = None,
    end_caps: EndCaps = "half-slice",
) -> Case:
    """Read a case file (see the module's text for the layouts).

    Parameters
    ----------
    path : .npz file, or folder of NIfTI files.
    target : name of the target structure; None leaves the case without one.
    ball : centre (x, y, z) and radius in mm of a spherical target, for an anatomy that has none.
    structures : the ones to keep besides the target; all when None. Names ignore case.
    aliases : standard name: names that the file uses for it.
    end_caps : see `simulator.case.contours`.

    Raises
    ------
    CaseError : what is missing or inconsistent, and how to mend it.
    """
    archive = read_archive(path, end_caps)
    if archive.dose_gy and (reason := flaw_of_dose(archive.dose_gy.values)):
        raise CaseError(f"case file {path}: its dose: {reason}")
    names = StructureNames([*archive.regions, *archive.problems], aliases, Path(path).name)
    regions = {names.standard[name]: region for name, region in archive.regions.items()}
    problems = {names.standard[name]: problem for name, problem in archive.problems.items()}
    own_target = None if ball else target
    kept = select_structures(regions, {}, problems, names, own_target, structures)
    if ball is not None:
        if target is None:
            raise CaseError("case.ball needs a name: case.target")
        x, y, z = (float(v) for v in ball[0])
        kept = {target: Structure(target, "target", Ball((x, y, z), ball[1]))} | kept
    notes = {"case file": f"{archive.layout} layout"}
    cut = [name for name, s in kept.items() if isinstance(s.region, MaskRegion) and is_cut(s.region)]
    if cut:
        notes["cut by the edge of the image"] = ", ".join(cut)
    if problems:
        notes["structures left out"] = "; ".join(problems.values())
    return Case(
        name=Path(path).stem,
        structures=kept,
        target=names.find(target) if target and not ball else target or "",
        density=_density(archive, notes),
        doses=(ImportedDose("dose", archive.dose_gy),) if archive.dose_gy else (),
        provenance=notes,
        inputs=_inputs(Path(path), archive.dose_file),
    )


def _inputs(file: Path, dose_file: Path | None) -> dict[str, str]:
    """Digest of every file that the case was made of."""
    if file.is_dir():
        return {path.name: f"case file {digest_of(path)}" for path in nifti_files(file).values()}
    of_dose = {dose_file.name: f"dose {digest_of(dose_file)}"} if dose_file else {}
    return {file.name: f"case file {digest_of(file)}"} | of_dose


def is_cut(region: MaskRegion) -> bool:
    """Whether filled voxels touch the first or the last plane of the image, so that the organ may go on beyond it."""
    first, last = region._box
    return bool(np.any(first == 0) or np.any(last == np.array(region.grid.shape) - 1))


def _density(archive: Archive, notes: dict[str, str]) -> Volume:
    if archive.ct_hu is not None:
        notes["density"] = "CT"
        return Volume(archive.ct_hu.grid, density_of_hu(archive.ct_hu.values))
    notes["density"] = "no CT: water everywhere"
    boxes = [region.bounds_mm for region in archive.regions.values()]
    if not boxes:
        raise CaseError(f"no structure has a region: {'; '.join(archive.problems.values()) or 'there is none'}")
    grid = Grid.covering(np.min([b[0] for b in boxes], axis=0), np.max([b[1] for b in boxes], axis=0), 2.5)
    check_room(4.0 * math.prod(grid.shape), "contours", "leave out what lies far away")
    return Volume(grid, np.ones(grid.shape, np.float32))
