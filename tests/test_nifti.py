"""NIfTI in and out: axes and affine by a named landmark, a folder as a case, maps and masks of results."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr
from synthetic_results import synthetic_results
from test_check import exit_code

import simulator
from simulator.case.geometry import Grid, Volume
from simulator.case.inventory import inventory
from simulator.case.loading import load_case
from simulator.case.nifti import read_nifti, write_nifti
from simulator.commands.export_nifti import export_map, export_masks
from simulator.execution.problems import problem_of
from simulator.ground.spec import CaseError, SimulatorError
from simulator.study_file.loading import dump_study
from simulator.study_file.schema import StudyConfig

nibabel = pytest.importorskip("nibabel")
GRID = Grid((-20.0, -30.0, -18.0), (2.0, 2.5, 3.0), (13, 25, 21))
STRATEGY = "none, 3 mm, none"


def ball(centre_mm, radius_mm):
    return (np.linalg.norm(GRID.nodes_mm() - centre_mm, axis=-1) <= radius_mm).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """CT, dose and masks; the GTV lies left (+x), anterior (-y) and superior (+z)."""
    folder = tmp_path_factory.mktemp("nifti")
    x, y, z = np.moveaxis(GRID.nodes_mm(), -1, 0)
    volumes = {
        "ct": np.full(GRID.shape, 20.0, np.float32),
        "dose": (20 + 0.1 * x + 0.2 * y + 0.3 * z).astype(np.float32),
        "GTV": ball((6, -8, 4), 6),
        "SpinalCord": ball((0, 20, 0), 4),
        "Heart": np.zeros(GRID.shape, np.uint8),
    }
    for name, values in volumes.items():
        write_nifti(folder / f"{name}.nii.gz", Volume(GRID, values))
    return folder


def test_a_voxel_in_patient_coordinates_keeps_its_place(folder):
    """RAS outside, LPS inside: a voxel of index (z, y, x) lies at the same point of the patient for both."""
    image = nibabel.load(folder / "dose.nii.gz")
    k, j, i = 7, 4, 15
    point_lps = GRID.points_mm(np.array([k, j, i]))
    np.testing.assert_allclose(image.affine @ [i, j, k, 1], [*(point_lps * [-1, -1, 1]), 1], atol=1e-6)
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    assert image.get_fdata()[i, j, k] == pytest.approx(20 + point_lps @ [0.1, 0.2, 0.3], abs=1e-4)
    assert (int(image.header["sform_code"]), image.header.get_xyzt_units()[0]) == (1, "mm")
    volume = read_nifti(folder / "dose.nii.gz")
    np.testing.assert_allclose(volume.grid.origin_mm, GRID.origin_mm, atol=1e-4)
    np.testing.assert_allclose(volume.values, nibabel.load(folder / "dose.nii.gz").get_fdata().T, atol=1e-5)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "PIL"])
def test_axes_in_any_order_and_direction_are_the_same_volume(folder, tmp_path, codes):
    image = nibabel.load(folder / "dose.nii.gz")
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(codes)
    )
    nibabel.save(image.as_reoriented(turn), tmp_path / "turned.nii")
    found = read_nifti(tmp_path / "turned.nii")
    np.testing.assert_allclose(found.values, read_nifti(folder / "dose.nii.gz").values, atol=1e-5)
    np.testing.assert_allclose(found.grid.origin_mm, GRID.origin_mm, atol=1e-4)
    np.testing.assert_allclose(found.grid.spacing_mm, GRID.spacing_mm, atol=1e-5)


def test_a_folder_is_a_case(folder):
    case = load_case(folder)
    assert list(case.structures) == ["GTV", "SpinalCord"]
    np.testing.assert_allclose(case.gtv.centroid_mm, [6, -8, 4], atol=0.5)
    assert case.gtv.volume_cc == pytest.approx(ball((6, -8, 4), 6).sum() * GRID.voxel_cc, rel=0.02)
    assert case.structure("SpinalCord").centroid_mm[1] == pytest.approx(20, abs=0.5)
    dose = case.doses[0].dose_gy
    assert dose.values[7, 4, 15] == pytest.approx(20 + GRID.points_mm(np.array([7, 4, 15])) @ [0.1, 0.2, 0.3], abs=1e-4)
    assert case.left_out == {}
    assert "Heart" in case.description
    assert case.inputs["GTV.nii.gz"].startswith("case file ")
    assert set(case.inputs) == {f"{n}.nii.gz" for n in ("ct", "dose", "GTV", "SpinalCord", "Heart")}
    found = inventory(folder)
    assert {s.name for s in found.structures} >= {"GTV", "SpinalCord"}
    assert len(found.images) == len(found.doses) == 1


def test_wrong_volumes_are_refused(folder, tmp_path):
    for name, change, reason in (
        ("GTV", lambda values: 2 * values, "GTV.nii.gz: a mask of 0 and 1 is wanted, one file for each structure"),
        ("GTV", lambda values: np.stack([values] * 2, axis=-1), "GTV.nii.gz: a 3-D volume is wanted"),
        ("GTV", lambda values: values.astype(complex), "GTV.nii.gz: cannot be read .it holds complex128 where numbers"),
        ("ct", lambda values: values + np.nan, "ct.nii.gz: nan or inf in places; HU are"),
    ):
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        image = nibabel.load(folder / f"{name}.nii.gz")
        values = change(np.asanyarray(image.dataobj))
        nibabel.save(nibabel.Nifti1Image(values, image.affine), tmp_path / f"{name}.nii.gz")
        with pytest.raises(CaseError, match=reason):
            load_case(tmp_path)
    image = nibabel.load(folder / "ct.nii.gz")
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(), image.affine / 1000), tmp_path / "ct.nii.gz")
    with pytest.raises(CaseError, match=r"ct.nii.gz: cannot be read \(voxels of 0.002 to .*; export it again, in mm"):
        load_case(tmp_path)
    oblique = image.affine @ np.array([[1, 0.1, 0, 0], [-0.1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(), oblique), tmp_path / "ct.nii.gz")
    with pytest.raises(CaseError, match=r"ct.nii.gz: the axes are oblique; resample it"):
        read_nifti(tmp_path / "ct.nii.gz")
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(), None), tmp_path / "ct.nii.gz")
    with pytest.raises(CaseError, match=r"ct.nii.gz: states no patient space"):
        read_nifti(tmp_path / "ct.nii.gz")
    (tmp_path / "ct.nii.gz").write_bytes(b"no NIfTI")
    with pytest.raises(CaseError, match=r"ct.nii.gz: cannot be read .* export the volume again"):
        read_nifti(tmp_path / "ct.nii.gz")


def test_a_dose_map_comes_back_on_its_grid(tmp_path):
    results = synthetic_results()
    export_map(results, "itv, 3 mm, none", "mean", tmp_path / "mean.nii.gz")
    expected, found = results["dose/mean"].sel(strategy="itv, 3 mm, none"), read_nifti(tmp_path / "mean.nii.gz")
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)
    for own, axis in zip(found.grid.axes_mm, "xyz", strict=True):
        np.testing.assert_allclose(own, expected[axis], atol=1e-4)


def as_finished(study):
    """What results keep of a study to find its volumes again, without its courses."""
    problem = problem_of(study)
    about = {"config": dump_study(study), "inputs": json.dumps(problem.inputs), "n_courses": study.courses}
    names = {"strategy": [s.label() for s in problem.strategies]}
    goals = xr.Dataset({"probability": (("strategy", "goal"), np.zeros((1, 1)))}, names)
    root = xr.Dataset(attrs=about | {"simulator_version": simulator.__version__, "name": study.name})
    return xr.DataTree.from_dict({"/": root, "/metrics": xr.Dataset(coords=names), "/goals": goals})


def test_masks_of_a_study_lie_on_its_ct(folder, tmp_path, capsys):
    study = StudyConfig.model_validate(
        {
            "name": "nifti",
            "case": {"file": str(folder), "target": "GTV", "structures": []},
            "prescription": {"dose_gy": 18, "fractions": 3, "isodose_percent": 80},
            "plan": {"model": "rtdose", "doses": [{"dose": "dose"}]},
            "uncertainty": {"setup": {"systematic_mm": 1}},
            "strategies": {"margins_mm": [3], "motion": ["none"], "guidance": ["none"]},
            "goals": ["GTV D98% >= 95%"],
            "courses": 40,
            "numerics": {"instants": 2, "max_points": 1000},
        }
    )
    results = as_finished(study)
    found = export_masks(results, STRATEGY, tmp_path / "masks.nii.gz")
    assert [v.name for v in found.volumes[:3]] == ["GTV", "PTV", "PTV_p90"]
    drawn, ptv = (nibabel.load(tmp_path / f"masks_{name}.nii.gz") for name in ("GTV", "PTV"))
    np.testing.assert_allclose(drawn.affine, nibabel.load(folder / "ct.nii.gz").affine, atol=1e-4)
    original = np.asanyarray(nibabel.load(folder / "GTV.nii.gz").dataobj)
    assert np.mean(np.asanyarray(drawn.dataobj) != original) < 2e-3
    assert np.all(np.asanyarray(ptv.dataobj) >= np.asanyarray(drawn.dataobj))
    assert (tmp_path / "masks_PTV_p90.nii.gz").exists()
    with pytest.raises(SimulatorError, match=r"masks_GTV.nii.gz"):
        export_masks(results, STRATEGY, tmp_path / "masks.nii.gz")
    options = ("--strategy", STRATEGY, "--ptv", "--out", tmp_path / "b.nii.gz", "--reference", folder / "ct.nii.gz")
    assert exit_code("export", tmp_path, *options) == 2
    assert "NIfTI says nothing of a patient" in capsys.readouterr().err
