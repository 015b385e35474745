"""Reading DICOM-RT of a synthetic phantom whose geometry and dose are known in closed form."""

import hashlib

import numpy as np
import pytest
from dicom_factory import (
    GTV_CENTRE,
    GTV_RADIUS,
    IDENTITY,
    ISOCENTRE,
    PATIENT_ID,
    ROOT,
    STUDY,
    circle,
    phantom_structures,
    planned_dose,
    write_phantom_dicom,
)

from simulator.case.density import density_of_hu
from simulator.case.loading import load_case

PRONE = (-1, 0, 0, 0, -1, 0)
FEET_FIRST = (-1, 0, 0, 0, 1, 0)
CORONAL = (1, 0, 0, 0, 0, -1)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return write_phantom_dicom(tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="module")
def case(phantom):
    return load_case(phantom, target="GTV")


def assert_dose_is_planned(volume):
    x, y, z = np.moveaxis(volume.grid.nodes_mm(), -1, 0)
    np.testing.assert_allclose(volume.values, planned_dose(x, y, z), rtol=0, atol=2e-5)


def test_a_phantom_is_read_as_it_was_written(case):
    assert list(case.structures) == ["BODY", "GTV", "SpinalCord"]
    assert [s.role for s in case.structures.values()] == ["external", "target", "oar"]
    assert (case.prescription_gy, case.fractions, case.target) == (50.0, 5, "GTV")
    np.testing.assert_allclose(case.isocentre_mm, ISOCENTRE)
    assert case.structures["SpinalCord"].volume_cc == pytest.approx(np.pi * 5**2 * 63 / 1000, rel=1e-3)
    assert case.structures["BODY"].volume_cc == pytest.approx(np.pi * 50**2 * 63 / 1000, rel=1e-3)
    slabs = sum(np.pi * (GTV_RADIUS**2 - dz**2) * 3 for dz in range(-9, 10, 3)) / 1000
    assert case.gtv.volume_cc == pytest.approx(slabs, rel=1e-3)
    np.testing.assert_allclose(case.gtv.centroid_mm, GTV_CENTRE, atol=0.02)
    assert "Empty" in case.provenance["structures left out"]


def test_dose_lies_on_the_grid_of_the_file(case):
    (dose,) = case.doses
    assert dose.dose_gy.grid.spacing_mm == (3.0, 2.5, 3.0)
    assert dose.dose_gy.grid.origin_mm == (-30.0, -35.0, -24.0)
    assert dose.dose_gy.values.dtype == np.float32
    assert_dose_is_planned(dose.dose_gy)


@pytest.mark.parametrize(
    "options",
    [
        {"offsets": np.arange(-24, 25, 3)},
        {"origin": (-30, -35, 24), "offsets": np.arange(0, -49, -3)},
        {"origin": (-30, -35, 24), "offsets": np.arange(24, -25, -3)},
        {"orientation": PRONE, "origin": (30, 35, -24)},
        {"orientation": FEET_FIRST, "origin": (30, -35, 24)},
        {"orientation": CORONAL, "origin": (-30, -35, 24), "shape": (29, 17, 21), "spacing": (2.5, 3.0, 3.0)},
    ],
    ids=["absolute", "descending", "absolute descending", "prone", "feet first", "coronal"],
)
def test_every_axis_aligned_encoding_gives_the_same_dose(tmp_path, options):
    write_phantom_dicom(tmp_path, ct_z=(), doses=[options])
    (dose,) = load_case(tmp_path, target="GTV").doses
    assert dose.dose_gy.grid.origin_mm == pytest.approx((-30, -35, -24))
    assert dose.dose_gy.grid.shape == (17, 29, 21)
    assert_dose_is_planned(dose.dose_gy)


def test_ct_becomes_density_in_the_box_of_the_body(case):
    grid = case.density.grid
    x, y, _ = np.moveaxis(grid.nodes_mm(), -1, 0)
    assert grid.spacing_mm == (2.0, 2.0, 3.0)
    left, right = (x > 22) & (np.hypot(x, y) < 48), (x < 18) & (np.hypot(x, y) < 48)
    np.testing.assert_allclose(case.density.values[left], 1.1199, rtol=1e-5)
    np.testing.assert_allclose(case.density.values[right], 1.03, rtol=1e-5)
    np.testing.assert_allclose(case.density.values[np.hypot(x, y) > 52], 0.00121, rtol=1e-5)


@pytest.mark.parametrize("orientation", [PRONE, FEET_FIRST], ids=["prone", "feet first"])
def test_a_turned_ct_gives_the_same_density(tmp_path, case, orientation):
    write_phantom_dicom(tmp_path, ct_orientation=orientation)
    turned = load_case(tmp_path, target="GTV").density
    assert turned.grid == case.density.grid
    np.testing.assert_array_equal(turned.values, case.density.values)


def test_ct_slices_at_uneven_distances_are_resampled(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=[-30, -27, -24, -21, -17, -13, -9, -5, -1, 3, 7, 11, 15, 19, 23, 27, 31])
    density = load_case(tmp_path, target="GTV").density
    assert density.grid.spacing_mm[2] == 3.0
    assert density.values[:, density.grid.shape[1] // 2, density.grid.shape[2] // 4] == pytest.approx(1.03, rel=1e-5)


def test_hu_nodes_are_the_published_ones():
    densities = density_of_hu(np.array([-2000, -1000, -98, 14, 100, 101, 1600, 3000, 9000]))
    np.testing.assert_allclose(densities, [0.00121, 0.00121, 0.93, 1.03, 1.1199, 1.0762, 1.9642, 2.8, 2.8], rtol=1e-6)
    assert density_of_hu(np.array([-700.4])) == pytest.approx(0.00121 + 300 / 902 * (0.93 - 0.00121), rel=1e-5)


def test_without_ct_the_body_is_water_and_densities_override(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=())
    case = load_case(tmp_path, target="GTV", densities={"spinalcord": 1.1})
    x, y, z = np.moveaxis(case.density.grid.nodes_mm(), -1, 0)
    inner = np.abs(z) < 28
    assert case.density.values[inner & (np.hypot(x, y - 30) < 3)] == pytest.approx(1.1)
    assert case.density.values[inner & (np.hypot(x, y) < 20)] == pytest.approx(1.0)
    assert case.density.values[np.hypot(x, y) > 53] == pytest.approx(0.00121)
    assert case.provenance["density"] == "no CT: water inside the body outline; SpinalCord 1.1"


def test_without_ct_and_body_everything_is_water(tmp_path):
    structures = {k: v for k, v in phantom_structures().items() if k != "BODY"}
    write_phantom_dicom(tmp_path, ct_z=[0.0], structures=structures)
    case = load_case(tmp_path, target="GTV")
    assert np.all(case.density.values == 1)
    assert case.provenance["density"] == "one CT slice only: water everywhere"


def test_files_without_preamble_and_with_wrong_modality_are_read(tmp_path, case):
    write_phantom_dicom(tmp_path, preamble=False, modality="OT")
    (tmp_path / "notes.txt").write_text("not DICOM")
    again = load_case(tmp_path, target="GTV")
    np.testing.assert_array_equal(again.doses[0].dose_gy.values, case.doses[0].dose_gy.values)
    np.testing.assert_array_equal(again.density.values, case.density.values)


def test_aliases_give_standard_names_and_roles_ignore_case(tmp_path):
    drawn = phantom_structures()
    renamed = {"external": ("", drawn["BODY"][1]), "gtv_1": drawn["GTV"], "Myelon": drawn["SpinalCord"]}
    write_phantom_dicom(tmp_path, structures=renamed)
    case = load_case(
        tmp_path, target="GTV", aliases={"GTV": ["GTV_1"], "SpinalCord": ["cord", "MYELON"], "Heart": ["Herz"]}
    )
    assert list(case.structures) == ["external", "GTV", "SpinalCord"]
    assert (case.target, case.structures["external"].role) == ("GTV", "external")


def test_only_wanted_structures_are_kept(phantom):
    kept = load_case(phantom, target="gtv", structures=["GTV"]).structures
    assert list(kept) == ["BODY", "GTV"]


def test_case_name_is_a_pseudonym_unless_asked_otherwise(phantom, case):
    assert case.name == "case-" + hashlib.sha256(STUDY.encode()).hexdigest()[:8]
    shown = repr(case.name) + repr(case.provenance) + repr([d.label for d in case.doses])
    assert not any(secret in shown for secret in (IDENTITY, "Doe", PATIENT_ID, "19700102"))
    assert load_case(phantom, target="GTV", keep_identity=True).name == IDENTITY


def test_a_beam_dose_beside_the_plan_dose_is_never_added(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=(), doses=[{}, {"summation": "BEAM", "beam": 1}])
    (dose,) = load_case(tmp_path, target="GTV").doses
    assert_dose_is_planned(dose.dose_gy)


def test_beam_doses_of_all_treatment_beams_are_summed(tmp_path):
    beams = [
        {"summation": "BEAM", "beam": 1, "values": lambda x, y, z: 0.25 * planned_dose(x, y, z)},
        {"summation": "BEAM", "beam": 2, "values": lambda x, y, z: 0.75 * planned_dose(x, y, z)},
    ]
    write_phantom_dicom(tmp_path, ct_z=(), doses=beams)
    (dose,) = load_case(tmp_path, target="GTV").doses
    assert_dose_is_planned(dose.dose_gy)


def test_a_dose_tagged_fraction_is_what_the_study_says(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=(), doses=[{"summation": "FRACTION"}])
    total = load_case(tmp_path, target="GTV", dose_is="total").doses[0].dose_gy
    fraction = load_case(tmp_path, target="GTV", dose_is="per-fraction").doses[0].dose_gy
    assert_dose_is_planned(total)
    np.testing.assert_allclose(fraction.values, 5 * total.values, rtol=1e-6)


def test_doses_of_several_plans_are_chosen_by_the_end_of_the_uid_or_the_file_name(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=(), n_plans=2, n_structure_sets=2, doses=[{"plan": 1}, {"plan": 2}])
    case = load_case(tmp_path, target="GTV", rtplan=".4.2", rtdoses=[".5.2", "rd_1.dcm"])
    assert [d.uid for d in case.doses] == [f"{ROOT}.5.2", f"{ROOT}.5.1"]
    assert [d.label for d in case.doses] == ["rd_2", "rd_1"]
    assert case.provenance["RTPLAN"] == f"{ROOT}.4.2"
    assert case.provenance["RTSTRUCT"] == f"{ROOT}.3.2"


def test_the_dose_of_the_chosen_plan_is_taken(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=(), n_plans=2, n_structure_sets=2, doses=[{"plan": 1}, {"plan": 2}])
    (dose,) = load_case(tmp_path, target="GTV", rtplan="rp_2.dcm").doses
    assert dose.uid == f"{ROOT}.5.2"


def test_a_structure_reaching_outside_the_dose_grid_is_recorded(case):
    assert case.provenance["partly outside the dose grid of PLAN"] == "BODY, SpinalCord"


def test_a_gap_between_slices_is_left_empty_and_recorded(tmp_path):
    drawn = phantom_structures()
    cord = [c for c in drawn["SpinalCord"][1] if c[0, 2] not in (0.0, 3.0)]
    write_phantom_dicom(tmp_path, structures=drawn | {"SpinalCord": ("ORGAN", cord)})
    case = load_case(tmp_path, target="GTV")
    assert case.provenance["gaps between slices, left empty"] == "SpinalCord z -3 to 6 mm"
    assert case.structures["SpinalCord"].volume_cc == pytest.approx(np.pi * 25 * 57 / 1000, rel=1e-3)


def test_a_single_slice_takes_the_thickness_of_the_ct(tmp_path):
    structures = phantom_structures() | {"Node": ("GTV", [circle(0, 0, 0, 10)])}
    write_phantom_dicom(tmp_path, structures=structures)
    assert load_case(tmp_path, target="Node").gtv.volume_cc == pytest.approx(np.pi * 100 * 3 / 1000, rel=2e-3)


def test_end_caps_can_be_left_off(phantom):
    cord = load_case(phantom, target="GTV", end_caps="none").structures["SpinalCord"]
    assert cord.volume_cc == pytest.approx(np.pi * 5**2 * 60 / 1000, rel=1e-3)


def test_frame_of_reference_is_checked_only_where_it_is_stated(tmp_path):
    write_phantom_dicom(tmp_path, ct_z=(), doses=[{"frame": ""}])
    assert len(load_case(tmp_path, target="GTV").doses) == 1
