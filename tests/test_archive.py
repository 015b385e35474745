"""Case files of arrays: masks as regions, layouts by their keys, and messages."""

import io
import zipfile
from contextlib import suppress

import numpy as np
import pytest

from simulator.case.archive import MaskRegion, load_archive, read_nrrd
from simulator.case.cells import sample_region
from simulator.case.geometry import Grid, in_house_axes
from simulator.case.structures import Structure
from simulator.case.traces import Trace, one_record, read_trace
from simulator.ground.spec import CaseError

nrrd = pytest.importorskip("nrrd")


@pytest.fixture
def mask():
    grid = Grid((-4.0, 10.0, 100.0), (2.0, 3.0, 5.0), (4, 6, 7))
    filled = np.zeros(grid.shape, bool)
    filled[1:3, 2:5, 1:6] = True
    filled[1, 2, 1] = False
    return MaskRegion(grid, filled)


def test_mask_bounds_are_the_faces_of_its_voxels(mask):
    lower, upper = mask.bounds_mm
    np.testing.assert_allclose(lower, [-3, 14.5, 102.5])
    np.testing.assert_allclose(upper, [7, 23.5, 112.5])


def test_mask_fills_its_own_grid_and_shares_voxels_by_overlap(mask):
    np.testing.assert_array_equal(mask.occupancy(mask.grid), mask.mask)
    coarse = Grid((-4.0, 10.0, 100.0), (4.0, 3.0, 5.0), (4, 6, 3))
    np.testing.assert_allclose(mask.occupancy(coarse)[1, 2], [0.0, 0.75, 1.0], atol=1e-6)


@pytest.mark.parametrize("spacing", [0.7, 1.0, 4.0, 9.0])
def test_mask_volume_does_not_depend_on_the_lattice(mask, spacing):
    truth = mask.mask.sum() * mask.grid.voxel_cc
    assert sample_region(mask, spacing).volume_cc.sum() == pytest.approx(truth, rel=1e-6)
    assert Structure("x", "oar", mask).volume_cc == pytest.approx(truth, rel=1e-6)


def test_axes_of_any_order_and_sense_come_home():
    rng = np.random.default_rng(1)
    grid = Grid((-3.0, 2.0, 7.0), (1.0, 2.0, 3.0), (3, 4, 5))
    values = rng.normal(size=grid.shape)
    stored = values.transpose(1, 2, 0)[::-1, :, ::-1]
    directions = np.array([[0, -1, 0], [1, 0, 0], [0, 0, -1]])
    origin = np.array([-3.0, 2.0 + 3 * 2, 7.0 + 2 * 3])
    home, turned = in_house_axes(origin, directions, np.array([2.0, 1.0, 3.0]), stored.shape, stored)
    assert home == grid
    np.testing.assert_array_equal(turned, values)


def test_labels_layout(tmp_path):
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1:3, 2:4, 2:5] = 7
    labels[0, 0, 0] = 9
    np.savez(
        tmp_path / "a.npz",
        ct_hu=np.where(labels == 7, 1600, -1000).astype(np.int16),
        labels=labels,
        label_ids=[7, 9, 11],
        label_names=["kidney_left", "aorta", "spleen"],
        ct_origin_xyz_mm=[10.0, 20.0, 30.0],
        ct_spacing_xyz_mm=[1.0, 2.0, 3.0],
        dose_gy=np.full((2, 2, 2), 3.0),
        dose_origin_xyz_mm=[1.0, 2.0, 3.0],
        dose_spacing_xyz_mm=[4.0, 5.0, 6.0],
    )
    case = load_archive(tmp_path / "a.npz", target="Kidney_L", aliases={"Kidney_L": ["KIDNEY_left"]})
    assert list(case.structures) == ["Kidney_L", "aorta"]
    assert case.gtv.volume_cc == pytest.approx(12 * 6e-3)
    np.testing.assert_allclose(case.gtv.region.bounds_mm, [(11.5, 23, 31.5), (14.5, 27, 37.5)])
    assert case.density.values[1, 2, 2] == pytest.approx(1.9642)
    assert case.provenance["cut by the edge of the image"] == "aorta"
    assert "spleen" in case.provenance["structures left out"]
    (dose,) = case.doses
    assert dose.dose_gy.grid == Grid((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), (2, 2, 2))
    assert load_archive(tmp_path / "a.npz", target=None).target == ""


def test_nrrd_in_lps_and_ras_mean_the_same(tmp_path):
    values = np.random.default_rng(2).normal(size=(4, 3, 2)).astype(np.float32)
    lps = {"space": "left-posterior-superior", "space directions": np.diag([2.0, 3.0, 4.0]), "space origin": [1, 2, 3]}
    ras = {
        "space": "right-anterior-superior",
        "space directions": np.diag([-2.0, -3.0, 4.0]),
        "space origin": [-1, -2, 3],
    }
    nrrd.write(str(tmp_path / "lps.nrrd"), values, lps)
    nrrd.write(str(tmp_path / "ras.nrrd"), values, ras)
    first, second = read_nrrd(tmp_path / "lps.nrrd"), read_nrrd(tmp_path / "ras.nrrd")
    assert first.grid == second.grid == Grid((1.0, 2.0, 3.0), (2.0, 3.0, 4.0), (2, 3, 4))
    np.testing.assert_array_equal(first.values, values.transpose(2, 1, 0))
    np.testing.assert_array_equal(second.values, first.values)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(CaseError) as raised:
        load_archive(tmp_path / "no.npz", target="GTV")
    assert str(raised.value) == (
        f"case file {tmp_path / 'no.npz'} does not exist; case.file names an .npz file or a folder of NIfTI files, relative "
        "to the study file"
    )
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(CaseError, match=r"cannot be read as \.npz; save it with numpy\.savez$"):
        load_archive(tmp_path / "text.npz", target="GTV")
    np.savez(tmp_path / "other.npz", image=np.zeros(3))
    with pytest.raises(CaseError, match=r"has the arrays image; wanted are those of one layout of labels: ct_hu, "):
        load_archive(tmp_path / "other.npz", target="GTV")


def test_iec_trace_becomes_patient_coordinates(tmp_path):
    (tmp_path / "trace.txt").write_text("0 1 2 3 0 0 0\n0.5 4 5 6 0 0 0\n1.0 7 8 9 0 0 0\n")
    trace = read_trace(tmp_path / "trace.txt")
    assert trace is not None
    np.testing.assert_allclose(trace.position_mm, [(1, -3, 2), (4, -6, 5), (7, -9, 8)])
    assert (trace.rate_hz, trace.duration_s, trace.axes) == (2.0, 1.5, ("LR", "AP", "SI"))


def test_marker_trace_drops_the_zero_row(tmp_path):
    (tmp_path / "marker.csv").write_text(
        '"Frame";"Timestamp";"x";"y";"z"\n0;0;-490,7;4,1;64,7\n6;100;-490,2;4,3;64,2\n0;0;0;0;0\n'
    )
    trace = read_trace(tmp_path / "marker.csv")
    assert trace is not None
    np.testing.assert_allclose(trace.position_mm, [(-490.7, 4.1, 64.7), (-490.2, 4.3, 64.2)])
    np.testing.assert_allclose(trace.time_s, [0, 0.1])


def test_other_text_is_no_trace(tmp_path):
    (tmp_path / "a.csv").write_text("structure,volume\nGTV,3\n")
    (tmp_path / "b.txt").write_text("free text\n")
    assert read_trace(tmp_path / "a.csv") is None
    assert read_trace(tmp_path / "b.txt") is None


def test_a_repeated_record_is_found_and_an_independent_one_is_not():
    rng = np.random.default_rng(4)
    record = np.cumsum(rng.normal(size=(200, 3)), axis=0)
    noise = 0.01 * rng.normal(size=(600, 3))
    axes = ("LR", "AP", "SI")
    repeated = Trace(np.arange(600) * 0.2, np.tile(record, (3, 1)) + noise, axes)
    assert one_record(repeated).duration_s == pytest.approx(40.0)
    single = Trace(np.arange(600) * 0.2, np.cumsum(rng.normal(size=(600, 3)), axis=0), axes)
    assert one_record(single) is single


def label_arrays():
    labels = np.zeros((6, 5, 4), np.uint8)
    labels[1:4, 1:4, 1:3] = 1
    return {
        "ct_hu": np.zeros(labels.shape, np.int16),
        "labels": labels,
        "label_ids": np.array([1]),
        "label_names": np.array(["GTV"]),
        "ct_origin_xyz_mm": np.zeros(3),
        "ct_spacing_xyz_mm": np.full(3, 2.0),
        "dose_gy": np.full(labels.shape, 3.0),
    }


def contour_arrays():
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    slices = [np.stack([9 * np.cos(angle), 9 * np.sin(angle), np.full(20, z)], axis=1) for z in (-3.0, 0.0, 3.0)]
    return {
        "names": np.array(["GTV"]),
        "points": np.concatenate(slices),
        "offsets": np.array([0, 20, 40, 60]),
        "roi": np.zeros(3, int),
    }


def with_value(values, value):
    changed = np.array(values, dtype=float)
    changed.flat[3 % changed.size] = value
    return changed


@pytest.mark.parametrize(
    ("make", "change", "words"),
    [
        (label_arrays, lambda a: {"dose_gy": with_value(a["dose_gy"], np.nan)}, "1 of 120 voxels are NaN or infinite"),
        (label_arrays, lambda a: {"dose_gy": with_value(a["dose_gy"], np.inf)}, "1 of 120 voxels are NaN or infinite"),
        (label_arrays, lambda a: {"dose_gy": 0 * a["dose_gy"]}, "no voxel is above 0 Gy (the highest is 0)"),
        (label_arrays, lambda a: {"dose_gy": -a["dose_gy"]}, "no voxel is above 0 Gy (the highest is -3)"),
        (label_arrays, lambda a: {"dose_gy": 2500 * a["dose_gy"]}, "the largest dose is 7500 Gy"),
        (label_arrays, lambda a: {"dose_gy": a["dose_gy"][0]}, "not enough values"),
        (label_arrays, lambda a: {"ct_hu": with_value(a["ct_hu"], 1e300)}, "ct_hu reaches from 0 to 1e+300"),
        (label_arrays, lambda a: {"ct_hu": a["ct_hu"].astype(complex)}, "ct_hu holds complex128 where numbers"),
        (label_arrays, lambda a: {"labels": a["labels"][:-1]}, "labels have the shape (5, 5, 4), ct_hu (6, 5, 4)"),
        (label_arrays, lambda a: {"label_ids": np.array([1, 2])}, "shorter"),
        (label_arrays, lambda a: {"label_ids": np.array([1, 1]), "label_names": np.array(["GTV", "GTV"])},
         "two structures are called 'GTV'"),
        (label_arrays, lambda a: {"label_names": np.array([7])}, "label_names holds int64 where names are wanted"),
        (label_arrays, lambda a: {"ct_spacing_xyz_mm": np.array([0.0, 1, 1])}, "positive spacing"),
        (label_arrays, lambda a: {"ct_spacing_xyz_mm": np.array([1e-9, 1, 1])}, "no patient's image"),
        (label_arrays, lambda a: {"ct_spacing_xyz_mm": np.array([1.0, 1e6, 1])}, "no patient's image"),
        (label_arrays, lambda a: {"ct_spacing_xyz_mm": np.array([1.0, 1])}, "not enough values"),
        (label_arrays, lambda a: {"ct_origin_xyz_mm": np.array([0, 0, 1e8])}, "no patient's image"),
        (contour_arrays, lambda a: {"points": with_value(a["points"], 1e9)}, "points reaches from"),
        (contour_arrays, lambda a: {"points": with_value(a["points"], 1e5)}, "coordinates within 5000 mm"),
        (contour_arrays, lambda a: {"points": with_value(a["points"], np.nan)}, "points is nan or inf in places"),
        (contour_arrays, lambda a: {"points": a["points"][:, :2]}, "points are not (n, 3)"),
        (contour_arrays, lambda a: {"offsets": np.array([0, 40, 20, 60])}, "offsets do not rise from 0 to 60"),
        (contour_arrays, lambda a: {"offsets": np.array([0, 20, 40, 61])}, "offsets do not rise from 0 to 60"),
        (contour_arrays, lambda a: {"roi": np.zeros(2, int)}, "shorter"),
    ],
)  # fmt: skip
def test_flawed_archives_are_refused_with_their_name(make, change, words, tmp_path):
    arrays = make()
    np.savez(tmp_path / "good.npz", **arrays)
    assert load_archive(tmp_path / "good.npz", target="GTV").gtv.volume_cc > 0
    np.savez(tmp_path / "bad.npz", **(arrays | change(arrays)))
    with pytest.raises(CaseError) as told:
        load_archive(tmp_path / "bad.npz", target="GTV")
    assert str(told.value).startswith(f"case file {tmp_path / 'bad.npz'}: ")
    assert words in str(told.value)


def test_damaged_archives_are_refused(tmp_path):
    np.savez(tmp_path / "good.npz", **label_arrays())
    content = (tmp_path / "good.npz").read_bytes()
    bad = tmp_path / "bad.npz"
    for part in (content[:100], content[: len(content) // 2], content[:-10], content[200:], b""):
        bad.write_bytes(part)
        with pytest.raises(CaseError, match=r"bad\.npz"):
            load_archive(bad, target="GTV")
    for at in range(0, len(content), 97):
        bad.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        with suppress(CaseError):
            load_archive(bad, target="GTV")


def test_an_archive_that_unpacks_to_more_than_a_patient_is_refused_before_it_is_read(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (4000, 4000, 4000)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as stored:
        stored.writestr("ct_hu.npy", header.getvalue())
    with pytest.raises(CaseError, match=r"bomb\.npz: 477 GiB of memory wanted, at most 1 are given; crop the image"):
        load_archive(tmp_path / "bomb.npz", target="GTV")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("sizes: 2 3 4", "sizes: 200000 300000 400000"), "GiB of memory wanted"),
        (("sizes: 2 3 4", "sizes: 2 3"), ""),
        (("space origin: (1,2,3)", "space origin: (nan,2,3)"), ""),
        (("space origin: (1,2,3)\n", ""), "space origin is missing"),
        (("(2,0,0)", "(0,0,0)"), "are no axes of an image"),
        (("(2,0,0)", "(2e9,0,0)"), "no patient's image"),
        (("encoding: raw", "encoding: magic"), ""),
        (("type: float", "type: banana"), ""),
    ],
)
def test_flawed_nrrd_volumes_are_refused(change, words, tmp_path):
    text = (
        "NRRD0004\ntype: float\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 3 4\n"
        "space directions: (2,0,0) (0,2,0) (0,0,2)\nendian: little\nencoding: raw\nspace origin: (1,2,3)\n\n"
    )
    values = np.arange(24, dtype="<f4").tobytes()
    (tmp_path / "a.nrrd").write_bytes(text.encode() + values)
    assert read_nrrd(tmp_path / "a.nrrd").values.max() == 23
    assert change[0] in text
    flawed = [text.replace(*change).encode() + values, text.encode() + values[:-9], text.encode()[:60]]
    for content, wanted in zip(flawed, (words, "", ""), strict=True):
        (tmp_path / "a.nrrd").write_bytes(content)
        with pytest.raises(CaseError) as told:
            read_nrrd(tmp_path / "a.nrrd")
        assert str(told.value).startswith(str(tmp_path / "a.nrrd"))
        assert wanted in str(told.value)


def test_points_on_the_surface_of_a_mask_lie_on_its_faces_edges_and_corners():
    mask = np.zeros((6, 7, 8), bool)
    mask[1:4, 2:5, 3:7] = True
    mask[4, 2, 3] = True
    region = MaskRegion(Grid((10.0, 20.0, 30.0), (2.0, 3.0, 4.0), mask.shape), mask)
    points = region.edges_mm(1.0)
    lower, upper = region.bounds_mm
    np.testing.assert_allclose((points.min(axis=0), points.max(axis=0)), (lower, upper))
    corners = np.stack(np.meshgrid(*zip(lower, (23.0, 33.5, 44.0), strict=True), indexing="ij"), axis=-1).reshape(-1, 3)
    is_there = np.linalg.norm(points[:, None] - corners, axis=-1).min(axis=0) < 1e-9
    assert is_there.all()
    assert len(points) == len(np.unique(points, axis=0))
    eight = 0.01 * np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    index = np.rint(region.grid.index_zyx((points[:, None] + eight).reshape(-1, 3))).astype(int)
    inside = mask[tuple(index.T)].reshape(len(points), 8)
    assert inside.any(axis=1).all()
    assert not inside.all(axis=1).any()
    steps = np.array([2.0, 3.0, 4.0]) / np.ceil([2.0, 3.0, 4.0])
    nearest = np.linalg.norm((points[:, None] - points) / steps, axis=-1)
    assert np.sort(nearest, axis=1)[:, 1].max() <= 1 + 1e-9
