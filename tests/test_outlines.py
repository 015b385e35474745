"""Outlines of volumes on slices, written as RTSTRUCT: read back by the own loader and by another reader they are the volume."""

from itertools import pairwise

import numpy as np
import pytest
from contour_reader import read_polygons, volume_cc
from scipy.spatial import cKDTree

from simulator.case.archive import load_archive
from simulator.case.contours import ContourRegion
from simulator.case.dicom_files import read_file
from simulator.case.dicom_rois import rois_of
from simulator.case.dicom_slices import ImageSlices
from simulator.case.dicom_structure_set import DrawnRoi, write_rtstruct
from simulator.case.loading import load_case
from simulator.case.shapes import Ball, Difference, Ellipsoid, EllipticColumn, Tube, Union
from simulator.case.structures import Structure, surface
from simulator.ground.spec import CaseError
from simulator.plan.outlines import outlines, slab_edges
from simulator.plan.targets import planning_target

BALL = Ball((0.2, -0.1, 0.4), 10.0)
TWO_CORES = Difference(Ball((0, 0, 0.3), 14.0), (Ball((5, 0, 0.3), 4.0), Ball((-5, 1, 0), 4.0)))
SHAPES = {
    "ball": BALL,
    "small ball": Ball((0.1, 0.2, 0.3), 4.0),
    "shell": Difference(Ball((0, 0, 0.3), 14.0), (Ball((0, 0, 0.3), 8.0),)),
    "two holes": TWO_CORES,
    "an island in a hole": Union((Difference(Ball((0, 0, 0), 16.0), (Ball((0, 0, 0), 11.0),)), Ball((0, 0, 0), 6.0))),
    "two parts": Union((Ball((0, 0, 0), 7.0), Ball((22, 3, 4), 8.0))),
    "parts side by side": Union((Ellipsoid((0, 0, 0), (5, 5, 14)), Ellipsoid((0, 14, 0), (5, 5, 14)))),
    "a column with flat ends": EllipticColumn((0, 0, 0.3), (9, 6), 11.0),
    "a bent tube": Tube(((0, 0, -12), (6, 2, 0), (0, 8, 12)), 5.0),
}


def written(path, volume, z_mm, **names):
    """A structure set with one volume on slices."""
    slabs = enumerate(pairwise(slab_edges(np.asarray(z_mm))))
    polygons = {k: found for k, slab in slabs if (found := outlines(volume, *slab))}
    roi = DrawnRoi("PTV", "PTV", "a shape", (0, 0, 255), polygons)
    about = {"name": "shapes", "description": "shapes", "pseudonym": "nobody"} | names
    write_rtstruct(path, [roi], ImageSlices(np.asarray(z_mm)), **about)
    return roi


def read_back(path, spacing_mm):
    """The region that the own loader makes of the only structure."""
    (roi,) = rois_of(read_file(path, path.name))
    return ContourRegion.from_contours(roi.contours, spacing_mm, image_z_mm=np.arange(-99, 99, spacing_mm))


def distance_p95_mm(region, volume):
    """95th percentile of the distance between two surfaces, the larger of both ways."""
    own, _ = surface(Structure("read back", "target", region), 0.75)
    true = volume.surface_mm
    return max(np.percentile(cKDTree(b).query(a)[0], 95) for a, b in ((own, true), (true, own)))


@pytest.mark.parametrize(
    ("name", "spacing_mm"), [*((name, 3.0) for name in SHAPES), ("small ball", 1.0), ("a bent tube", 2.0)]
)
def test_what_is_written_reads_back(tmp_path, name, spacing_mm):
    volume, z_mm = planning_target(SHAPES[name], np.zeros((1, 3))), np.arange(-30, 31, spacing_mm)
    path = tmp_path / "shape.dcm"
    roi = written(path, volume, z_mm)
    allowed = max(0.01 * volume.volume_cc, 0.05)
    region = read_back(path, spacing_mm)
    assert region.volume_cc == pytest.approx(volume.volume_cc, abs=allowed)
    assert roi.volume_cc(z_mm) == pytest.approx(volume.volume_cc, abs=allowed)
    (by_height,) = read_polygons(path).values()
    assert volume_cc(by_height, spacing_mm) == pytest.approx(volume.volume_cc, abs=allowed)
    assert distance_p95_mm(region, volume) < max(0.5, spacing_mm / 2)


def test_a_slice_of_one_part_is_one_polygon_whatever_its_holes():
    volume = planning_target(TWO_CORES, np.zeros((1, 3)))
    (polygon,) = outlines(volume, -0.05, 0.05)
    x, y = polygon.T
    area = 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    assert area == pytest.approx(np.pi * (14**2 - 0.3**2 - 2 * 4**2 + 0.3**2), rel=0.004)
    assert outlines(volume, 20.0, 22.0) == []


def test_outlines_lie_on_the_surface():
    volume = planning_target(BALL, np.zeros((1, 3)))
    for z in (-8.0, 0.0, 5.5):
        (ring,) = outlines(volume, z - 0.75, z + 0.75)
        radius, expected = np.hypot(ring[:, 0] - 0.2, ring[:, 1] + 0.1), np.sqrt(100 - (z - 0.4) ** 2 - 1.5**2 / 12)
        np.testing.assert_allclose(radius, expected, atol=0.15)
        assert radius.mean() == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("top_mm", [24.1, 24.7, 25.4])
def test_a_flat_end_between_slices_costs_no_volume(top_mm):
    """A column that fills a slab in part: the section of its slice would be off by up to half a slice."""
    half = top_mm - 10
    volume = planning_target(EllipticColumn((0, 0, 10), (9, 6), half), np.zeros((1, 3)))
    z_mm = np.arange(-30, 40, 3.0)
    slabs = pairwise(slab_edges(z_mm))
    polygons = {k: found for k, slab in enumerate(slabs) if (found := outlines(volume, *slab))}
    found = DrawnRoi("PTV", "PTV", "", (0, 0, 0), polygons).volume_cc(z_mm)
    assert found == pytest.approx(volume.volume_cc, rel=0.002)
    assert found == pytest.approx(np.pi * 9 * 6 * 2 * half / 1000, rel=0.01)


def test_names_that_no_system_takes_are_refused(tmp_path):
    volume = planning_target(BALL, np.zeros((1, 3)))
    long = DrawnRoi("PTV of the whole mediastinum", "PTV", "", (0, 0, 255), {0: outlines(volume, 0.0, 1.0)})
    with pytest.raises(CaseError, match="at most 16 characters and differ"):
        write_rtstruct(tmp_path / "a.dcm", [long], ImageSlices(np.zeros(1)), name="a", description="a", pseudonym="a")


@pytest.mark.parametrize("name", ["PTV1", "Optic Chiasm"])
def test_contours_of_eclipse_go_out_and_come_back(data_folder, tmp_path, name):
    case = load_archive(str(data_folder / "slicerrt_eclipse" / "EclipseEnt_contours_LPSmm.npz"), target=name)
    _comes_back(case.gtv, tmp_path)


def test_contours_of_raystation_go_out_and_come_back(data_folder, tmp_path):
    _comes_back(load_case(data_folder / "alderson_pelvis", target="PTV").gtv, tmp_path)


def _comes_back(structure, tmp_path):
    """On its own slices, so that slabs are the same."""
    heights = np.array([s.z_mm for s in structure.region.slices])
    spacing = float(np.median(np.diff(heights)))
    volume = planning_target(structure.region, np.zeros((1, 3)))
    written(tmp_path / "own.dcm", volume, heights)
    region = read_back(tmp_path / "own.dcm", spacing)
    allowed = max(0.01 * structure.volume_cc, 0.05)
    assert region.volume_cc == pytest.approx(structure.volume_cc, abs=allowed)
    (by_height,) = read_polygons(tmp_path / "own.dcm").values()
    assert volume_cc(by_height, spacing) == pytest.approx(structure.volume_cc, abs=allowed)
    assert distance_p95_mm(region, volume) < max(0.5, spacing / 2)
