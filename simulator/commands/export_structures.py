"""Planning volumes of finished results as DICOM RTSTRUCT: planning target, PTV, and the PTV for a stated probability."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import xarray as xr

from simulator.case.dicom_identity import within_long_string
from simulator.case.dicom_slices import ImageSlices, reference_slices
from simulator.case.dicom_structure_set import DrawnRoi, write_rtstruct
from simulator.case.sources import DicomCase
from simulator.commands.export import refuse_patient_for_phantom
from simulator.commands.planning_volumes import (
    NamedVolume,
    in_axes_mm,
    of_target,
    recipes_for,
    volume_for,
    volumes_of_plan,
    with_own_names,
)
from simulator.execution.unchanged import place_of, refuse_sweep, unchanged_problem
from simulator.ground.spec import CaseError
from simulator.plan.outlines import outlines, slab_edges
from simulator.problem.problem import Problem
from simulator.simulation.probable_ptv import ProbablePtv, probable_ptv

_OWN_SLICES_MM = 1.0
_BEYOND_MM = 0.5
_COLOURS = {"GTV": (255, 0, 0), "CTV": (255, 165, 0), "PTV": (0, 0, 255)}
_COLOUR_OF_PROBABLE = (0, 200, 200)
_WORTH_A_NOTE = 0.005


@dataclass(frozen=True)
class ExportedVolume:
    """A volume of a strategy.

    Parameters
    ----------
    name : of the structure that was written; of a margin recipe where it was not.
    what : it is, in words.
    volume_cc : by itself. drawn_cc : of its contours, each a slab of the slices; None where it was not written.
    """

    name: str
    what: str
    volume_cc: float
    drawn_cc: float | None = None


@dataclass(frozen=True)
class ExportedStructures:
    """What was written, margin recipes to compare it with, and what the user should know of it."""

    volumes: tuple[ExportedVolume, ...]
    notes: tuple[str, ...]

    def rows(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Columns and rows of a table of the volumes."""
        columns = ("volume", "what it is", "cc", "cc, as contoured")
        return columns, [
            (v.name, v.what, f"{v.volume_cc:.2f}", "" if v.drawn_cc is None else f"{v.drawn_cc:.2f}")
            for v in self.volumes
        ]


def export_rtstruct(
    results: xr.DataTree,
    strategy: str,
    path: str | Path,
    reference: str | Path | None = None,
    *,
    probability: float | None = None,
) -> ExportedStructures:
    """Write target, planning target (ITV), PTV and the PTV for a stated probability of a strategy as RTSTRUCT.

    Parameters
    ----------
    results : of a study, not of a sweep, whose files are still what they were.
    strategy : name as in the results.
    reference : a DICOM file of the patient (CT or RTSTRUCT, or RTPLAN or RTDOSE beside the CT). Structures are then drawn on
        the slices of its CT and carry the identity of this patient; without it, they are drawn every 1 mm under a pseudonym.
    probability : that the PTV holds the whole target, from 0.5 to below 1; by default the study's wanted coverage.

    Returns
    -------
    The volumes, beside those of published margin recipes for the same coverage.

    Raises
    ------
    ConfigError : unknown strategy, a sweep, changed files, a reference for a phantom, or too few courses for the probability.
    CaseError : a reference that cannot be used or is another patient's, or slices that do not reach around the volumes.
    """
    refuse_patient_for_phantom(results, reference)
    planned = planned_volumes(results, strategy, probability)
    volumes, case = planned.volumes, planned.problem.config.case
    frames = str(results.attrs.get("frame_digest", ""))
    folders = [Path(case.dicom)] if isinstance(case, DicomCase) else []
    slices = _own_slices(volumes) if reference is None else reference_slices(Path(reference), frames, *folders)
    colours = [_COLOUR_OF_PROBABLE if v.is_probable else _COLOURS[v.kind] for v in volumes]
    rois = [_drawn(v, colour, slices) for v, colour in zip(volumes, colours, strict=True)]
    write_rtstruct(
        Path(path),
        rois,
        slices,
        name=within_long_string("simulated: ", strategy, ""),
        description=within_long_string("structures: ", strategy, ", research use only"),
        pseudonym=str(results.attrs["name"]),
        reference=None if reference is None else Path(reference),
        frame_digest=frames,
    )
    return planned.exported([roi.volume_cc(slices.z_mm) for roi in rois])


@dataclass(frozen=True)
class PlannedVolumes:
    """Volumes of a strategy of some results (of each target the one for a probability last), recipes beside them, and notes."""

    problem: Problem
    volumes: list[NamedVolume]
    recipes: list[NamedVolume]
    notes: tuple[str, ...]

    def exported(self, drawn_cc: Sequence[float]) -> ExportedStructures:
        """What to tell of them once they are written with these volumes."""
        written = [
            ExportedVolume(v.name, v.what, v.volume.volume_cc, cc) for v, cc in zip(self.volumes, drawn_cc, strict=True)
        ]
        recipes = [ExportedVolume(v.name, v.what, v.volume.volume_cc) for v in self.recipes]
        return ExportedStructures((*written, *recipes), self.notes)


def planned_volumes(results: xr.DataTree, strategy: str, probability: float | None) -> PlannedVolumes:
    """The volumes of a strategy, and for a probability (by default the study's wanted coverage)."""
    refuse_sweep(results, "export")
    names = [str(s) for s in results["metrics"].to_dataset()["strategy"].values]
    place = place_of("strategy", strategy, names, "export")
    problem = unchanged_problem(results, "export")
    own, request = problem.strategies[place], problem.requests[place]
    p = problem.config.decision.probability if probability is None else probability
    n = int(results.attrs["n_courses"])
    volumes: list[NamedVolume] = []
    recipes: list[NamedVolume] = []
    notes: list[str] = []
    for target in problem.targets:
        probable = probable_ptv(problem, own, target, n, p)
        found = [*volumes_of_plan(problem, own, request, target), volume_for(p, probable, n, target)]
        found = of_target(found, target) if len(problem.targets) > 1 else found
        volumes += found
        recipes += recipes_for(p, problem, own, request, target)
        notes += _notes(found[0], found[-1], probable)
    return PlannedVolumes(problem, with_own_names(volumes), recipes, tuple(notes))


def _own_slices(volumes: list[NamedVolume]) -> ImageSlices:
    """Slices of their own around some volumes."""
    low = min(v.volume.lattice.origin_mm[2] for v in volumes)
    high = max(v.volume.lattice.upper_mm[2] for v in volumes)
    return ImageSlices(np.arange(np.floor(low), np.ceil(high) + 1, _OWN_SLICES_MM))


def _drawn(named: NamedVolume, colour: tuple[int, int, int], slices: ImageSlices) -> DrawnRoi:
    """A volume on slices, which have to reach around it."""
    volume, edges = named.volume, slab_edges(slices.z_mm)
    filled = np.flatnonzero(volume.mask.any(axis=(1, 2)))
    low, high = volume.lattice.origin_mm[2] + volume.lattice.spacing_mm[2] * (filled[[0, -1]] + [-0.5, 0.5])
    polygons = {k: found for k, slab in enumerate(pairwise(edges)) if (found := outlines(volume, *slab))}
    if low < edges[0] - _BEYOND_MM or high > edges[-1] + _BEYOND_MM or not polygons:
        raise CaseError(
            f"export: {named.name} reaches from z = {low:.1f} to {high:.1f} mm, the slices of the reference from {edges[0]:g} "
            f"to {edges[-1]:g} mm; give a file that lies beside the whole planning CT"
        )
    return DrawnRoi(named.name, named.kind, f"{named.what}; simulated, research use only", colour, polygons)


def _notes(drawn: NamedVolume, ptv: NamedVolume, probable: ProbablePtv) -> tuple[str, ...]:
    held, blur = probable.held.ellipsoid, probable.blur
    found = [
        f"{ptv.name}: the target is displaced by {in_axes_mm(held.centre_mm)} in the mean; systematic errors reach "
        f"{in_axes_mm(held.reach_mm)} about that, and blurring {in_axes_mm(blur.reach_mm)} beyond (LR, AP, SI)"
    ]
    outside = ~probable.volume.on_grid(drawn.volume.lattice)
    share = float(drawn.volume.occupancy[outside].sum() / drawn.volume.occupancy.sum())
    if share > _WORTH_A_NOTE:
        found.append(
            f"{100 * share:.1f} % of {drawn.name} as drawn lie outside {ptv.name}: the target is expected elsewhere when the "
            "beam is on"
        )
    return tuple(found)
